"""The conformance sweep: every check of the kit over everything that plugins offer, with references."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorboardX  # noqa: F401  # here once, not in each copy of the process that a check runs in

import bigmodel_core as bm
from bigmodel_core import registry
from bigmodel_core.testing import Check, checks_for
from tests.ops.ctc_reference import ctc_losses
from tests.ops.resize_reference import resized
from tests.plugins import (
    test_augmentations,
    test_detection_models,
    test_recurrent_layers,
    test_recurrent_models,
    test_segmentation,
)

Reference = Callable[..., Any]
erf = np.vectorize(math.erf, otypes=[float])


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def dense(x: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    return x @ state["weight"] + state["bias"]


def mlp(x: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    hidden = np.maximum(x.reshape(len(x), -1) @ state["dense_1/weight"] + state["dense_1/bias"], 0)
    return hidden @ state["dense_2/weight"] + state["dense_2/bias"]


def linear(x: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    return x.reshape(len(x), -1) @ state["dense_1/weight"] + state["dense_1/bias"]


def layer_norm(x: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    normal = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return normal * state["scale"] + state["shift"]


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def under(x: np.ndarray, size: int, stride: int, padding: int = 0) -> np.ndarray:
    """(N, C, H', W', size, size), or so for volumes: what lies under windows."""
    x = np.pad(x, ((0, 0), (0, 0), *[(padding, padding)] * (x.ndim - 2)))
    axes = tuple(range(2, x.ndim))
    seen = np.lib.stride_tricks.sliding_window_view(x, (size,) * len(axes), axes)
    return seen[(..., *[slice(None, None, stride)] * len(axes), *[slice(None)] * len(axes))]


def conv2d(x: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    bias = state["bias"][:, None, None]
    return np.einsum("nchwrs,kcrs->nkhw", under(x, 3, 2, 1), state["weight"]) + bias


def conv3d(x: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    seen = under(x, 3, 2, 1)
    return np.einsum("ncdhwqrs,kcqrs->nkdhw", seen, state["weight"]) + state["bias"].reshape(-1, 1, 1, 1)


def conv1d(x: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    seen = np.lib.stride_tricks.sliding_window_view(x, 3, 2)
    return np.einsum("nctr,kcr->nkt", seen, state["weight"]) + state["bias"][:, None]


def conv_transpose2d(x: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    n, _, height, width = x.shape
    y = np.zeros((n, state["weight"].shape[1], 2 * height + 1, 2 * width + 1)) + state["bias"][:, None, None]
    for i in range(height):
        for j in range(width):
            spread = np.einsum("nc,ckrs->nkrs", x[:, :, i, j], state["weight"])
            y[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += spread
    return y


def conv_transpose3d(x: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    weight, bias = state["weight"], state["bias"].reshape(-1, 1, 1, 1)
    sizes = [2 * size + 1 for size in x.shape[2:]]
    y = np.zeros((len(x), len(bias), *sizes)) + bias
    for place in np.ndindex(*x.shape[2:]):
        spread = np.einsum("nc,ckqrs->nkqrs", x[(..., *place)], weight)
        y[(..., *(slice(2 * i, 2 * i + 3) for i in place))] += spread
    return y


def column(vector: np.ndarray) -> np.ndarray:
    return vector[:, None, None]


def batch_norm(x: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    normal = (x - column(state["running_mean"])) / np.sqrt(column(state["running_variance"]) + 1e-5)
    return normal * column(state["scale"]) + column(state["shift"])


def group_norm(x: np.ndarray, state: dict[str, np.ndarray], groups: int = 2) -> np.ndarray:
    rows = x.reshape(len(x), groups, -1)
    rows = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + 1e-5)
    return rows.reshape(x.shape) * column(state["scale"]) + column(state["shift"])


LAYERS: list[tuple[Any, list[Any], Reference | None]] = [
    (bm.layers.Dense(4), [(4, 7)], dense),
    (bm.layers.Dense(3, use_bias=False), [(3, 2, 5)], lambda x, state: x @ state["weight"]),
    (bm.layers.Dense(4, activation="tanh"), [(4, 7)], lambda x, state: np.tanh(dense(x, state))),
    (bm.layers.Relu(), [(4, 7)], lambda x: np.maximum(x, 0)),
    (bm.layers.LeakyRelu(0.2), [(4, 7)], lambda x: np.where(x > 0, x, 0.2 * x)),
    (bm.layers.Elu(0.7), [(4, 7)], lambda x: np.where(x > 0, x, 0.7 * np.expm1(x))),
    (bm.layers.Sigmoid(), [(4, 7)], lambda x: 1 / (1 + np.exp(-x))),
    (bm.layers.Tanh(), [(4, 7)], np.tanh),
    (bm.layers.Gelu(), [(4, 7)], lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2)))),
    (bm.layers.Gelu(approximate=True), [(4, 7)], gelu_tanh),
    (bm.layers.Silu(), [(4, 7)], lambda x: x / (1 + np.exp(-x))),
    (bm.layers.Softplus(), [(4, 7)], lambda x: np.logaddexp(x, 0)),
    (bm.layers.Softsign(), [(4, 7)], lambda x: x / (1 + np.abs(x))),
    (bm.layers.Softmax(), [(4, 7)], lambda x: np.exp(log_softmax(x))),
    (bm.layers.LogSoftmax(), [(4, 7)], log_softmax),
    (bm.layers.Dropout(0.3), [(4, 7)], lambda x: x),
    (bm.layers.LayerNorm(), [(4, 7)], layer_norm),
    (bm.layers.Flatten(), [(3, 2, 5)], lambda x: x.reshape(len(x), 10)),
    (bm.layers.Reshape((5, -1)), [(3, 2, 5)], lambda x: x.reshape(len(x), 5, 2)),
    (bm.layers.Conv1d(4, 3), [(3, 2, 9)], conv1d),
    (bm.layers.Conv2d(4, 3, stride=2, padding=1), [(3, 2, 7, 6)], conv2d),
    (bm.layers.Conv3d(4, 3, stride=2, padding=1), [(3, 2, 5, 4, 3)], conv3d),
    (bm.layers.ConvTranspose2d(4, 3, stride=2), [(3, 2, 4, 3)], conv_transpose2d),
    (bm.layers.ConvTranspose3d(4, 3, stride=2), [(3, 2, 2, 3, 2)], conv_transpose3d),
    (
        bm.layers.MaxPool1d(3, 1),
        [(3, 2, 8)],
        lambda x: under(np.repeat(x[:, :, None], 3, 2), 3, 1)[:, :, 0].max((-2, -1)),
    ),
    (bm.layers.MaxPool2d(3, 2), [(3, 2, 8, 7)], lambda x: under(x, 3, 2).max((-2, -1))),
    (bm.layers.MaxPool3d(3, 2), [(3, 2, 5, 4, 3)], lambda x: under(x, 3, 2).max((-3, -2, -1))),
    (bm.layers.AveragePool1d(2), [(3, 2, 8)], lambda x: x.reshape(*x.shape[:2], -1, 2).mean(-1)),
    (bm.layers.AveragePool2d(3, 2, 1), [(3, 2, 8, 7)], lambda x: under(x, 3, 2, 1).mean((-2, -1))),
    (bm.layers.AveragePool3d(3, 2, 1), [(3, 2, 5, 4, 3)], lambda x: under(x, 3, 2, 1).mean((-3, -2, -1))),
    (bm.layers.GlobalAveragePool(), [(3, 2, 8, 7)], lambda x: x.mean((2, 3))),
    (bm.layers.GlobalAveragePool(), [(3, 2, 4, 3, 2)], lambda x: x.mean((2, 3, 4))),
    (bm.layers.AdaptiveAveragePool2d(2), [(3, 2, 8, 6)], lambda x: x.reshape(-1, 2, 2, 4, 2, 3).mean((3, 5))),
    (bm.layers.BatchNorm(), [(3, 2, 4, 5)], batch_norm),
    (bm.layers.BatchNorm(), [(5, 4)], None),
    (bm.layers.GroupNorm(2), [(3, 4, 3, 5)], group_norm),
    (bm.layers.InstanceNorm(), [(3, 4, 3, 5)], lambda x, state: group_norm(x, state, 4)),
    (bm.layers.ZeroPad2d((1, 2)), [(3, 2, 4, 5)], lambda x: np.pad(x, ((0, 0), (0, 0), (1, 1), (2, 2)))),
    (
        bm.layers.Upsample2d((2, 3), "bicubic", True),
        [(3, 2, 4, 5)],
        lambda x: resized(x, (8, 15), "bicubic", True),
    ),
    (bm.layers.Resize((7, 3)), [(3, 2, 4, 5)], lambda x: resized(x, (7, 3), "bilinear")),
    (bm.layers.Resize(6, "nearest"), [(3, 2, 4)], lambda x: resized(x, (6,), "nearest")),
    (bm.layers.Upsample2d(2), [(3, 2, 4, 5)], lambda x: x.repeat(2, 2).repeat(2, 3)),
    (bm.models.LinearRegression(2), [(4, 3)], linear),
    (bm.models.LogisticRegression(3), [(4, 2, 3)], linear),
    (bm.models.LinearSvm(3), [(4, 6)], linear),
    (bm.models.Mlp(widths=(5,), classes=3, dropout=0.2), [(4, 2, 3)], mlp),
    (bm.models.Lenet(3), [(2, 1, 16, 16)], None),
    (bm.models.BigmodelCnn(3, (2, 3), 5), [(2, 1, 4, 4)], None),
    (bm.models.Alexnet(3, 1, dropout=0.0), [(2, 1, 63, 63)], None),
    (bm.models.Vgg11(3, 1, 8, dropout=0.0), [(2, 1, 32, 32)], None),
    (bm.models.Vgg16(3, 1, 8, dropout=0.0, batch_norm=False), [(2, 1, 32, 32)], None),
    (bm.models.Resnet20(3, 2), [(2, 1, 9, 9)], None),
    (bm.models.Resnet18(3, 2), [(2, 1, 16, 16)], None),
    (bm.models.Resnet50(3, 1), [(2, 1, 16, 16)], None),
    (bm.models.Densenet121(3, 1, (2, 1)), [(2, 1, 16, 16)], None),
    (bm.models.Inception(3, 1, dropout=0.0), [(2, 1, 16, 16)], None),
]


def cross_entropy(x: np.ndarray, y: np.ndarray, smoothing: float = 0.0) -> np.ndarray:
    goal = np.eye(x.shape[-1])[y] * (1 - smoothing) + smoothing / x.shape[-1]
    return -(goal * log_softmax(x)).sum(-1)


def binary_cross_entropy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    p = 1 / (1 + np.exp(-x))
    return -(y * np.log(p) + (1 - y) * np.log(1 - p))


def hinge(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    right = np.take_along_axis(x, y[:, None], -1)[:, 0]
    wrong = np.where(np.eye(x.shape[-1])[y] > 0, -np.inf, x).max(-1)
    return np.maximum(0, 1 + wrong - right)


def huber(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    error = np.abs(x - y)
    return np.where(error <= 0.8, 0.5 * error**2, 0.8 * (error - 0.4))


def pinball(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    levels, error = np.array([0.1, 0.5, 0.9]), y[..., None] - x
    return np.where(error > 0, levels * error, (levels - 1) * error).mean(-1)


def divergence(x: Any, y: Any) -> Any:
    own, theirs = (np.exp(item / 2) / np.exp(item / 2).sum(1, keepdims=True) for item in (x, y))
    return 4 * (theirs * np.log(theirs / own)).sum(1)


scores = np.random.default_rng(1).normal(size=(9, 4))
labels = np.random.default_rng(2).integers(0, 4, 9)
steps_of_scores = np.random.default_rng(4).normal(size=(9, 5, 4))
texts = np.array(
    [[1, 2, 3], [3, 3, 0], [2, 1, 2], [0, 0, 0], [3, 0, 0], [1, 2, 1], [2, 2, 0], [1, 3, 0], [3, 1, 0]]
)
chances = np.random.default_rng(3).uniform(size=(9, 4))

LOSSES: list[tuple[Any, list[Any], Reference]] = [
    (bm.losses.CrossEntropy(), [scores, labels], cross_entropy),
    (bm.losses.CrossEntropy(0.1), [scores, labels], lambda x, y: cross_entropy(x, y, 0.1)),
    (bm.losses.BinaryCrossEntropy(), [scores, chances], binary_cross_entropy),
    (bm.losses.BinaryCrossEntropy(), [scores[:, :1], labels[:, None] // 2], binary_cross_entropy),
    (bm.losses.Hinge(), [scores, labels], hinge),
    (bm.losses.Hinge(), [scores[:, :1], labels // 2], lambda x, y: np.maximum(0, 1 - (2 * y - 1) * x[:, 0])),
    (bm.losses.Distillation(2.0), [scores, 3 * chances], divergence),
    (bm.losses.MeanSquaredError(), [scores, chances], lambda x, y: (x - y) ** 2),
    (bm.losses.MeanAbsoluteError(), [scores, chances], lambda x, y: np.abs(x - y)),
    (bm.losses.Huber(0.8), [scores, chances], huber),
    (bm.losses.Quantile(), [scores[:, :3], chances[:, 0]], pinball),
    (bm.losses.CTC(), [steps_of_scores, texts], lambda x, y: ctc_losses(x, y, None, (y != 0).sum(1))),
    (bm.losses.CTC(3), [steps_of_scores, texts * 0 + 1], lambda x, y: ctc_losses(x, y, blank=3)),
]


def sgd(p: Any, g: Any, state: Any, rate: float, step: int) -> Any:
    return p - rate * g, {}


def momentum(p: Any, g: Any, state: Any, rate: float, step: int) -> Any:
    v = 0.9 * state["velocity"] + g
    return p - rate * v, {"velocity": v}


def nesterov(p: Any, g: Any, state: Any, rate: float, step: int) -> Any:
    v = 0.9 * state["velocity"] + g
    return p - rate * (g + 0.9 * v), {"velocity": v}


def adam(p: Any, g: Any, state: Any, rate: float, step: int) -> Any:
    m = 0.9 * state["mean"] + 0.1 * g
    s = 0.999 * state["square"] + 0.001 * g * g
    right_m, right_s = m / (1 - 0.9**step), s / (1 - 0.999**step)
    return p - rate * right_m / (np.sqrt(right_s) + 1e-8), {"mean": m, "square": s}


def adamw(p: Any, g: Any, state: Any, rate: float, step: int) -> Any:
    return adam(p * (1 - rate * 0.01), g, state, rate, step)


def rmsprop(p: Any, g: Any, state: Any, rate: float, step: int) -> Any:
    s = 0.99 * state["square"] + 0.01 * g * g
    v = 0.5 * state["velocity"] + g / (np.sqrt(s) + 1e-8)
    return p - rate * v, {"square": s, "velocity": v}


def adagrad(p: Any, g: Any, state: Any, rate: float, step: int) -> Any:
    t = state["total"] + g * g
    return p - rate * g / (np.sqrt(t) + 1e-10), {"total": t}


OPTIMIZERS: list[tuple[Any, None, Reference]] = [
    (bm.optimizers.SGD(0.1), None, sgd),
    (bm.optimizers.SGD(0.1, momentum=0.9), None, momentum),
    (bm.optimizers.SGD(0.1, momentum=0.9, nesterov=True), None, nesterov),
    (bm.optimizers.Adam(bm.schedules.InverseTime(0.01)), None, adam),
    (bm.optimizers.AdamW(0.01), None, adamw),
    (bm.optimizers.RMSprop(0.01, momentum=0.5), None, rmsprop),
    (bm.optimizers.Adagrad(0.1, initial_accumulator=0.1), None, adagrad),
]

SCHEDULES: list[tuple[Any, None, Reference]] = [
    (bm.schedules.Constant(0.1), None, lambda step: 0.1),
    (bm.schedules.StepDecay(0.1, every=100, factor=0.5), None, lambda step: 0.1 * 0.5 ** (step // 100)),
    (
        bm.schedules.Cosine(0.1, steps=100, final=0.01),
        None,
        lambda step: 0.01 + 0.09 * (1 + math.cos(math.pi * min(step, 100) / 100)) / 2,
    ),
    (
        bm.schedules.WarmUp(10, then=bm.schedules.InverseTime(0.1)),
        None,
        lambda step: 0.01 * step if step < 10 else 0.1 / (step - 9),
    ),
    (bm.schedules.InverseTime(0.1), None, lambda step: 0.1 / (step + 1)),
]


def swept() -> list[Check]:
    """The checks of all classes that plugins offer: those above with references, the others on examples."""
    cases: list[tuple[Any, Any, Any]] = [*LAYERS, *LOSSES, *OPTIMIZERS, *SCHEDULES]
    of_images = (test_augmentations, test_segmentation, test_detection_models)
    for module in (test_recurrent_layers, test_recurrent_models, *of_images):
        cases += module.CASES
    known = {type(subject) for subject, _, _ in cases}
    for kind in registry.KINDS:
        for cls in registry.classes(kind):
            origin = registry.origin(cls)
            assert origin is not None
            if cls not in known and origin.plugin.distribution == "bigmodel":
                cases.append((cls, None, None))
    return [check for subject, inputs, reference in cases for check in checks_for(subject, inputs, reference)]


SWEPT = swept()


def test_the_sweep_covers_everything() -> None:
    offered = {cls for kind in registry.KINDS for cls in registry.classes(kind)}
    assert len(offered) > 40
    assert {check.subject for check in SWEPT} >= {registry.display_name(cls) for cls in offered}


@pytest.mark.parametrize("check", SWEPT, ids=[f"{check.subject}-{check.name}" for check in SWEPT])
def test_conformance(check: Check) -> None:
    check()
