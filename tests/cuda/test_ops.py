"""Every op's CUDA kernel, and that of its gradient, gives what NumPy gives in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bigmodel_core.ops as o
from bigmodel_core.graph import Graph
from bigmodel_core.graph.autodiff import gradients
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.borders import MODES
from bigmodel_core.kernels.cuda.engine import launch
from bigmodel_core.kernels.fused import Elementwise
from bigmodel_core.kernels.interpolation import METHODS
from bigmodel_core.ops import losses
from bigmodel_core.ops.batch_normalization import KnownMoments
from bigmodel_core.ops.carried import Carried
from bigmodel_core.ops.channel_sum import ChannelSum
from bigmodel_core.ops.images import SwapPlanes
from bigmodel_core.ops.scatter import REDUCTIONS
from bigmodel_core.ops.vocabulary import VocabularyLoss
from bigmodel_core.plan.kernel_table import known_ops
from tests.cuda.numpy_reference import references, results_and_gradients
from tests.ops import image_reference, recurrent_reference
from tests.ops.boxes_reference import boxes_and_scores
from tests.ops.scan_reference import loops

RNG = np.random.default_rng(7)
X = RNG.standard_normal((5, 7))
Y = RNG.standard_normal((5, 7))
POSITIVE = np.abs(RNG.standard_normal((5, 7))) + 0.5
ROW = RNG.standard_normal(7)
WIDE = RNG.standard_normal((3, 21))
LABELS = np.array([0, 6, 3, 3, 1])
SIGNS = np.array([0, 1, 1, 0, 1])
MASK = RNG.standard_normal((5, 7)) > 0

IMAGES = RNG.standard_normal((2, 3, 3, 4))
"""A channel has more numbers than the simulator's pieces."""
VOLUMES = RNG.standard_normal((3, 2, 2, 3, 2))
HEADS = {
    "q": RNG.standard_normal((2, 2, 3, 4)),
    "k": RNG.standard_normal((2, 1, 5, 4)),
    "v": RNG.standard_normal((2, 1, 5, 3)),
}
MOMENTS = np.array([[0.5, -0.25, 0], [0.5, 1, 2]])

Case = tuple[Callable[..., Any], dict[str, np.ndarray]]


def _weights(gates: int) -> dict[str, np.ndarray]:
    """The arrays of a recurrent layer of 3 units on (4, 2, 2), with lengths."""
    shapes = {"x": (4, 2, 2), "w": (2, 3 * gates), "r": (3, 3 * gates), "b": (3 * gates,), "c": (3 * gates,)}
    arrays = {name: RNG.standard_normal(shape) * 0.7 for name, shape in shapes.items()}
    return {**arrays, "lengths": np.array([4, 2])}


def _vectors(channels: int) -> dict[str, np.ndarray]:
    """Scale and shift of a normalisation."""
    return {"s": np.abs(RNG.standard_normal(channels)) + 0.5, "b": RNG.standard_normal(channels)}


def _recurrent(cell: str, x: Any, w: Any, r: Any, b: Any, c: Any, lengths: Any) -> list[Any]:
    """Both directions, the second one from the last states of the first."""
    y, last = o.recurrent(cell, x, w, r, b, c)
    back, ends = o.recurrent(cell, x, w, r, b, c, lengths, last, True)
    return [y, back, *ends]


CASES: dict[str, Case] = {
    "arithmetic": (lambda x, y: [x + y, x - y, x * y, -x, abs(x), o.sign(x), o.square(x)], {"x": X, "y": Y}),
    "divide": (lambda x, y: x / y, {"x": X, "y": POSITIVE}),
    "power": (lambda x, y: [x**y, x**3.5], {"x": POSITIVE, "y": Y}),
    "extremes": (lambda x, y: [o.maximum(x, y), o.minimum(x, y)], {"x": X, "y": Y}),
    "row broadcast": (lambda x, y: x * y + 1.5, {"x": X, "y": ROW}),
    "column broadcast": (lambda x, y: o.exp(x) * y, {"x": X, "y": RNG.standard_normal((5, 1))}),
    "two-sided broadcast": (
        lambda x, y: x * y,
        {"x": RNG.standard_normal((2, 1, 3, 1)), "y": RNG.standard_normal((1, 4, 1, 2))},
    ),
    "scalar broadcast": (lambda x, y: x * y, {"x": X, "y": np.array(1.25)}),
    "functions": (
        lambda x: [o.exp(x), o.log(x), o.sqrt(x), o.floor(x), o.ceil(x)],
        {"x": POSITIVE * 2},
    ),
    "near 0": (lambda x: [o.log1p(x * x), o.expm1(x), o.erf(x)], {"x": X}),
    "division": (
        lambda x, y, i, j: [x % y, x // y, i % j, i // j, o.round(x * 4.0), x % 0.75],
        {"x": X * 9, "y": POSITIVE, "i": np.arange(-17, 18).reshape(5, 7), "j": np.arange(-3, 4)},
    ),
    "trigonometry": (lambda x: [o.sin(x), o.cos(x)], {"x": X * 9}),
    "clip": (lambda x: o.clip(x, -0.5, 0.7), {"x": X}),
    "relu": (lambda x: [o.relu(x), o.leaky_relu(x, 0.1), o.elu(x, 0.8)], {"x": X}),
    "sigmoid": (lambda x: [o.sigmoid(x), o.tanh(x), o.silu(x)], {"x": X * 3}),
    "gelu": (lambda x: [o.gelu(x), o.gelu_tanh(x)], {"x": X}),
    "soft": (lambda x: [o.softplus(x), o.softsign(x)], {"x": X * 4}),
    "far": (lambda x: [o.sigmoid(x), o.tanh(x), o.softplus(x), o.exp(-abs(x))], {"x": X * 60}),
    "comparisons": (
        lambda x, y: [o.equal(x, x), o.not_equal(x, y), o.less(x, y), o.less_equal(x, y), x > y, x >= y],
        {"x": X, "y": Y},
    ),
    "logic": (
        lambda x, y: [(x > 0) & (y > 0), (x > 0) | (y > 0), ~(x > 0), (x > 0) ^ (y > 0)],
        {"x": X, "y": Y},
    ),
    "where": (lambda m, x, y: o.where(m, x, y), {"m": MASK, "x": X, "y": Y}),
    "cast": (
        lambda x: [x.astype("int64"), x.astype("float64"), x.astype("int32"), x.astype("bool")],
        {"x": X * 9},
    ),
    "integers": (
        lambda i: [i + i, i * 3, -i, o.sum(i), o.max(i, 1), o.argmax(i)],
        {"i": (X * 9).astype("int64")},
    ),
    "affine": (
        lambda x, w, b: o.affine(x, w, b),
        {"x": X, "w": RNG.standard_normal((7, 9)), "b": RNG.standard_normal(9)},
    ),
    "matmul": (lambda x, w: x @ w, {"x": X, "w": RNG.standard_normal((7, 9))}),
    "batched": (
        lambda a, b: o.matmul(a, b),
        {"a": RNG.standard_normal((3, 4, 5)), "b": RNG.standard_normal((3, 5, 2))},
    ),
    "batch and one": (
        lambda a, w: o.matmul(a, w),
        {"a": RNG.standard_normal((3, 4, 5)), "w": RNG.standard_normal((5, 2))},
    ),
    "sum": (lambda x: [o.sum(x), o.sum(x, 0), o.sum(x, 1), o.mean(x), o.mean(x, 0, keepdims=True)], {"x": X}),
    "sum of pieces": (
        lambda x: [o.sum(x, 0), o.sum(x, 1), o.sum(x), o.norm(x, axis=0), o.norm(x)],
        {"x": RNG.standard_normal((19, 18))},
    ),
    "reductions of axes": (
        lambda x: [
            o.sum(x, (0, 2)),
            o.max(x, (1, 2)),
            o.min(x, 1),
            o.argmax(x, 1),
            o.argmax(x, 0),
            o.argmin(x, 1),
        ],
        {"x": RNG.standard_normal((4, 3, 5))},
    ),
    "sums and products": (
        lambda x, i: [
            *(o.cumsum(x), o.cumsum(x, 1), o.cumsum(x, 0, True, True), o.cumsum(x, 1, exclusive=True)),
            *(o.cumsum(i), o.prod(i, 0), o.prod(x, 1), o.prod(x, 2)),
            *(o.norm(x, axis=1), o.norm(x, axis=2), o.roll(x, 1, 1), o.roll(x, -2, 2), o.roll(i, 4)),
        ],
        {"x": RNG.standard_normal((2, 3, 5)), "i": np.arange(-2, 4).reshape(2, 3)},
    ),
    "extremes of rows": (lambda x: [o.max(x), o.max(x, 1), o.min(x, 0), o.min(x, 1)], {"x": WIDE}),
    "softmax": (lambda x: [o.softmax(x), o.log_softmax(x)], {"x": X * 5}),
    "softmax of long rows": (lambda x: [o.softmax(x), o.log_softmax(x)], {"x": WIDE * 5}),
    "softmax along columns": (lambda x: [o.softmax(x, 0), o.log_softmax(x, 0)], {"x": X}),
    "cross-entropy of labels that count": (
        lambda x, t: [o.cross_entropy(x, t, 0.1, 1), o.cross_entropy(x, t - 1, 0.0, -1)],
        {"x": X, "t": LABELS},
    ),
    **{
        f"vocabulary loss{' of a table' * turned}": (
            lambda x, w, b, t, g, turned=turned: VocabularyLoss(0.1, 2, turned, True, True)(x, w, b, t, g),
            {
                "x": X,
                "w": RNG.standard_normal((11, 7) if turned else (7, 11)),
                "b": RNG.standard_normal(11),
                "t": LABELS,
                "g": RNG.standard_normal(5),
            },
        )
        for turned in (False, True)
    },
    "cross-entropy": (lambda x, t: o.cross_entropy(x, t), {"x": X, "t": LABELS}),
    "cross-entropy, smoothed, long rows": (
        lambda x, t: o.cross_entropy(x, t, 0.1),
        {"x": WIDE, "t": np.array([20, 0, 7], "int32")},
    ),
    "layer norm": (lambda x, s, b: o.layer_norm(x, s, b), {"x": X, "s": POSITIVE[0], "b": ROW}),
    "layer norm of long rows": (
        lambda x, s, b: o.layer_norm(x, s, b),
        {"x": WIDE, "s": RNG.standard_normal(21), "b": RNG.standard_normal(21)},
    ),
    "rms norm": (lambda x, s: o.rms_norm(x, s), {"x": X, "s": POSITIVE[0]}),
    "rms norm of long rows": (lambda x, s: o.rms_norm(x, s), {"x": WIDE, "s": RNG.standard_normal(21)}),
    "rotary": (
        lambda x, i: [
            o.rotary(x, i),
            o.rotary(x, i[0], 100.0, 2, interleaved=True),
            o.transpose(
                o.rotary(o.transpose(o.transpose(x, (0, 2, 1, 3)) * 1.0, (0, 2, 1, 3)), i), (0, 2, 1, 3)
            ),
        ],
        {"x": RNG.standard_normal((2, 3, 5, 4)), "i": np.array([[0, 1, 2, 3, 4], [7, 9, 1, 0, 3]])},
    ),
    "local response norm": (
        lambda x: o.local_response_norm(x, 3, 0.5),
        {"x": RNG.standard_normal((2, 4, 3))},
    ),
    "transpose": (
        lambda x: [o.transpose(x), o.transpose(x, (1, 0, 2))],
        {"x": RNG.standard_normal((2, 3, 4))},
    ),
    "slice": (lambda x: [x[1:4], x[:, 2], x[:, ::3], x[..., -2:], x[::-1, ::-2]], {"x": X}),
    "update slice": (
        lambda x, y, i: [o.update_slice(x, y[:2, :3], (1, i[0])), o.update_slice(x * 2.0, y[:1], (-1, 0))],
        {"x": X, "y": Y, "i": np.array([2])},
    ),
    "concatenate": (lambda x, y: [o.concatenate([x, y], 0), o.concatenate([x, y, x], 1)], {"x": X, "y": Y}),
    "reshape": (lambda x: [o.reshape(x, (7, 5)) * 2.0, o.flatten(x)], {"x": X}),
    "broadcast_to": (lambda x: o.broadcast_to(x, (5, 7)), {"x": ROW}),
    "gather": (
        lambda t, i: o.gather(t, i),
        {"t": X, "i": np.array([4, 0, 4, 2, 4, 0])},
    ),
    "gather by a matrix": (lambda t, i: o.gather(t, i), {"t": X, "i": np.array([[1, 1], [3, 0]], "int32")}),
    "gather with padding": (
        lambda t, i: [o.gather(t, i, padded=True), o.gather(t, i, 1, padded=True)],
        {"t": X, "i": np.array([4, -1, 4, 2, -1, 0])},
    ),
    "gather of columns": (
        lambda x, i: [o.gather(x, i, 1), o.gather_nd(x, i)],
        {"x": RNG.standard_normal((3, 4, 2)), "i": np.array([[0, 3], [2, 3]])},
    ),
    "sort": (
        lambda x: [o.sort(x, 0), o.argsort(x, 1, True), *o.top_k(x, 3)],
        {"x": X},
    ),
    "non-maximum suppression": (
        lambda x, s: [
            o.non_max_suppression(x, s, max_outputs=3, iou_threshold=0.3, score_threshold=0.0),
            o.non_max_suppression(x, s, max_outputs=9, iou_threshold=0.1),
        ],
        dict(zip("xs", boxes_and_scores(5, 20), strict=True)),
    ),
    "take along axis": (
        lambda x, i: [o.take_along_axis(x, i, 0), o.take_along_axis(x, i, 1)],
        {"x": X[:, :5], "i": RNG.integers(0, 5, (5, 5))},
    ),
    "scatter": (
        lambda x, i, u: [o.scatter(x, i, u, axis, how) for axis in (0, 1) for how in REDUCTIONS],
        {"x": X[:, :5], "i": RNG.integers(0, 5, (5, 5)), "u": Y[:, :5]},
    ),
    "dropout": (lambda x: o.dropout(x, 0.4), {"x": RNG.standard_normal((9, 13))}),
    "noise": (lambda x: [o.normal(x.shape, x, x * x), o.uniform(x.shape, x)], {"x": X}),
    "binary cross-entropy": (
        lambda x, t: losses.BinaryCrossEntropy()(x, t),
        {"x": X * 30, "t": (Y > 0) * 1.0},
    ),
    "huber": (lambda x: losses.Huber(0.8)(x), {"x": X}),
    "hinge over classes": (lambda x, t: losses.MultiClassHinge(1.0)(x, t)[0], {"x": X, "t": LABELS}),
    "ctc": (
        lambda x, t, s, n: [o.ctc_loss(x, t, s, n), o.ctc_loss(x[:, 1:], t, blank=3, zero_infinity=True)],
        {
            "x": RNG.standard_normal((4, 4, 4)),
            "t": np.array([[1, 2], [1, 1], [2, 1], [0, 2]]),
            "s": np.array([4, 3, 2, 0]),
            "n": np.array([2, 2, 1, 0], "int32"),
        },
    ),
    "scan": (
        lambda x, i, w: [
            *loops(o.tanh, o.scan, x, i, w, 0),
            o.scan(lambda c, _: (c + 1.0, None), x, length=0)[0],
        ],
        {
            "x": RNG.standard_normal((5, 2, 3)),
            "i": np.array([[3, 1], [2, 0], [1, 1], [0, 2], [4, 1]]),
            "w": RNG.standard_normal((3, 3)) * 0.7,
        },
    ),
    "recurrent tanh": (lambda **v: _recurrent("tanh", **v), _weights(1)),
    "recurrent relu": (lambda **v: _recurrent("relu", **v), _weights(1)),
    "recurrent lstm": (lambda **v: _recurrent("lstm", **v), _weights(4)),
    "recurrent gru": (lambda **v: _recurrent("gru", **v), _weights(3)),
    "positions": (lambda x: [o.positions(x, 0) * 1, o.positions(x, 1) + 2], {"x": X}),
    "sizes": (lambda x: x / x.shape[0], {"x": X}),
    "again": (lambda x: o.differentiation.again(x, 1, o.exp(x)) * 2.0, {"x": X}),
    "carried": (lambda x: Carried("state", x.shape)(o.sum(x, 0)), {"x": X}),
    "zero pad": (lambda x: o.zero_pad(x, (1, 0, 2, 3)), {"x": IMAGES}),
    "pad": (
        lambda x, i: [
            *(o.pad(x, ((1, 0), (0, 2), (2, 1)), mode) for mode in MODES),
            *(o.pad(x, ((-1, 2), 0, (0, -1)), value=0.5), o.pad(i, 2, value=7), o.pad(i > 3, 1, value=True)),
        ],
        {"x": RNG.standard_normal((2, 3, 3)), "i": np.arange(6).reshape(2, 3)},
    ),
    "resize": (
        lambda x, v: [
            *(o.resize(x, (4, 3), method) for method in METHODS),
            *(o.resize(x, (3, 7), "bicubic", True), o.resize(v, (2, 4, 3), "bilinear")),
        ],
        {"x": RNG.standard_normal((1, 2, 3, 5)), "v": RNG.standard_normal((1, 1, 3, 2, 4))},
    ),
    "swap planes": (lambda x: [SwapPlanes(True)(x), SwapPlanes(False)(x)], {"x": IMAGES}),
    "channel sum": (lambda x: [ChannelSum()(x), ChannelSum()(x[:, :, :1, :1])], {"x": IMAGES}),
    "batch norm": (lambda x, s, b: o.batch_norm(x, s, b)[0], {"x": IMAGES[..., :1], **_vectors(3)}),
    "batch norm of pieces": (lambda x, s, b: o.batch_norm(x, s, b)[0], {"x": IMAGES, **_vectors(3)}),
    "fixed norm": (
        lambda x, s, b: o.fixed_norm(x, s, b, *(x.node.graph.constant(a, x.dtype) for a in MOMENTS)),
        {"x": IMAGES, **_vectors(3)},
    ),
    "known moments": (lambda v, s: KnownMoments(1e-5)(v, s), {"v": POSITIVE[0], "s": ROW}),
    "max pool": (lambda x: [o.max_pool(x, 2), o.max_pool(x, (3, 2), (2, 1), (1, 1))], {"x": IMAGES}),
    "average pool": (
        lambda x: [o.average_pool(x, 2), *(o.average_pool(x, 3, (2, 3), (1, 2), c) for c in (True, False))],
        {"x": IMAGES},
    ),
    "convolution": (
        lambda x, w, b: o.conv2d(x, w, b, stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
        {"x": IMAGES, "w": RNG.standard_normal((5, 3, 2, 2)), "b": RNG.standard_normal(5)},
    ),
    "convolution of groups": (
        lambda x, w: o.conv2d(x, w, padding=(3, 0), groups=3),
        {"x": IMAGES, "w": RNG.standard_normal((6, 1, 2, 3))},
    ),
    "convolution with few weights": (
        lambda x, w: o.conv2d(x, w, stride=(1, 2)),
        {"x": IMAGES[:, :1], "w": RNG.standard_normal((1, 1, 1, 2))},
    ),
    "transposed convolution": (
        lambda x, w, b: o.conv_transpose2d(
            x, w, b, stride=(3, 2), padding=1, output_padding=(1, 0), dilation=(2, 1)
        ),
        {"x": IMAGES, "w": RNG.standard_normal((3, 4, 2, 3)), "b": RNG.standard_normal(4)},
    ),
    "convolution of volumes": (
        lambda x, w, b: o.conv3d(x, w, b, stride=(1, 2, 1), padding=(1, 0, 2), dilation=(1, 1, 2), groups=2),
        {"x": VOLUMES, "w": RNG.standard_normal((4, 1, 2, 2, 2)), "b": RNG.standard_normal(4)},
    ),
    "transposed convolution of volumes": (
        lambda x, w, b: o.conv_transpose3d(x, w, b, stride=(2, 1, 1), padding=(1, 0, 1)),
        {"x": VOLUMES, "w": RNG.standard_normal((2, 1, 3, 1, 2)), "b": RNG.standard_normal(1)},
    ),
    "pools of volumes": (
        lambda x: [
            *(o.max_pool3d(x, 2), o.max_pool3d(x, (2, 3, 2), (1, 2, 1), (1, 1, 0))),
            *(o.average_pool3d(x, 2, 1, (1, 0, 1), count) for count in (True, False)),
        ],
        {"x": VOLUMES},
    ),
    "attention": (
        lambda q, k, v, m, b: o.attention(q, k, v, m, causal=True, bias=b),
        {**HEADS, "m": RNG.standard_normal((2, 1, 1, 5)) > -1, "b": RNG.standard_normal((2, 3, 1))},
    ),
    "attention of lengths, steps first": (
        lambda q, k, v, lengths: o.transpose(
            o.attention(*(o.transpose(x, (0, 2, 1, 3)) for x in (q, k, v)), lengths=lengths), (0, 2, 1, 3)
        ),
        {**{name: x.transpose(0, 2, 1, 3) for name, x in HEADS.items()}, "lengths": np.array([3, 0])},
    ),
    "attention with dropout": (lambda q, k, v: o.attention(q, k, v, dropout=0.4), HEADS),
    "labels as numbers": (lambda t: losses.LabelNumbers(2, "float32")(t), {"t": SIGNS}),
}
FIXED = {
    "reshape",
    "broadcast_to",
    "update slice",
    *(f"recurrent {cell}" for cell in ("tanh", "relu", "lstm", "gru")),
}
"""Cases that name sizes, so that no dimension can be free."""


def arrays_of(name: str, dtype: str) -> dict[str, np.ndarray]:
    """The inputs of a case, floats as a dtype."""
    return {
        key: array.astype(dtype) if array.dtype.kind == "f" else array
        for key, array in CASES[name][1].items()
    }


NUMPY = references(recurrent_reference, image_reference)
DRAWN = {"attention with dropout": 1e-6, "dropout": 0, "noise": 1e-6}
"""Cases with random numbers, whose bits have to be those of the CPU, and how far results may be apart."""


def assert_is_numpy(name: str, dtype: str, rtol: float, atol: float, both: Any) -> None:
    """Assert that results and gradients on the CUDA device are those of NumPy in float64."""
    arrays = arrays_of(name, dtype)
    graph, results = both.graph_of(CASES[name][0], arrays, free=name not in FIXED)
    found = both.run(graph, results, arrays, "cuda")
    expected = results_and_gradients(NUMPY[name], arrays)
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol, err_msg=f"result {number}")


def test_every_case_has_an_oracle() -> None:
    assert set(NUMPY) | set(DRAWN) == set(CASES)


@pytest.mark.parametrize("name", sorted(NUMPY))
def test_float32_equals_numpy(name: str, both: Any) -> None:
    assert_is_numpy(name, "float32", 2e-5, 2e-5, both)


@pytest.mark.parametrize(
    "name", ["arithmetic", "gelu", "affine", "softmax of long rows", "layer norm", "sum of pieces"]
)
def test_float64_equals_numpy(name: str, both: Any) -> None:
    assert_is_numpy(name, "float64", 1e-7, 1e-7, both)


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_random_numbers_are_those_of_the_cpu(name: str, both: Any) -> None:
    both.assert_same(CASES[name][0], arrays_of(name, "float32"), 1e-6, DRAWN[name], free=name not in FIXED)


IN_TRAINING = {
    "Copy",
    "Gate",
    "SumOfSquares",
    "_GeluGradOfShare",
    "_GeluShare",
    "_GeluTanhGradOfShare",
    "_GeluTanhShare",
}
"""Ops that programs of training steps alone have: test_training.py and test_failures.py run them."""
ON_CUDA = [op for op in known_ops(["bigmodel_core"]) if op.cuda is not None]


def test_the_cases_use_every_op(both: Any) -> None:
    used = set()
    for name, (build, _) in CASES.items():
        graph, _ = both.graph_of(build, arrays_of(name, "float32"), free=name not in FIXED)
        used |= {type(node.op) for node in graph.nodes}
    assert sorted(op.__name__ for op in ON_CUDA if op not in used) == sorted(IN_TRAINING)


def test_scalar_functions_are_shared_with_the_cpu() -> None:
    for op in ON_CUDA:
        if isinstance(op.cpu, Elementwise):
            assert op.cuda is op.cpu


def test_sums_longer_than_a_piece_are_cut() -> None:
    """The case 'sum of pieces' covers the second pass: it is longer than the simulator's pieces."""
    assert launch.SIMULATOR.row_piece < 18 and launch.SIMULATOR.column_piece < 19


def test_the_mean_over_a_free_dimension(both: Any) -> None:
    both.assert_same(lambda x: o.mean(x, 0), {"x": X.astype("float32")}, 1e-5, 1e-6)


def test_empty_batches_give_empty_results(both: Any) -> None:
    arrays = {"x": np.zeros((0, 7), "float32"), "w": np.ones((7, 3), "float32"), "b": np.ones(3, "float32")}
    graph, results = both.graph_of(
        lambda x, w, b: [o.relu(o.affine(x, w, b)), o.sum(x, 0)], arrays, free=False
    )
    found = both.run(graph, results[:2], arrays, "cuda")
    assert found[0].shape == (0, 3)
    np.testing.assert_array_equal(found[1], np.zeros(7, "float32"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_stop_at_masks_and_ends_are_right(both: Any, dtype: str) -> None:
    """An infinite gradient stops where it is not let through; functions keep their digits and limits."""
    x = np.array([-1, -1e-7, 0, 4, -40, -np.inf], dtype)

    def build(x: Any) -> list[Any]:
        infinite = x.node.graph.constant(np.full(6, np.inf, dtype))
        masks = [o.relu(x), o.clip(x, 0, 9), o.maximum(x, 0.0), o.maximum(0.0, x), o.leaky_relu(x, 0.0)]
        masks.append(o.where(x > 0, x, o.zeros_like(x)))
        elu = o.elu(x)
        return [
            *(gradients(o.sum(y * infinite), [x])[0] for y in masks),
            *(elu, gradients(o.sum(elu), [x])[0], o.softplus(x), gradients(o.sum(o.softplus(x)), [x])[0]),
            gradients(o.sum(x**0), [x])[0],
        ]

    graph = Graph()
    with graph.active():
        results = build(graph.input("x", Spec((6,), dtype)))
    found = both.run(graph, results, {"x": x}, "cuda")
    wide, inf = x.astype("float64"), np.inf
    for gradient, at_0 in zip(found[:6], (0, inf, inf, 0, 0, 0), strict=True):
        np.testing.assert_array_equal(gradient, [0, 0, at_0, inf, 0, 0])
    tight = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(found[6], np.where(wide > 0, wide, np.expm1(wide)), rtol=tight)
    np.testing.assert_allclose(found[7], np.exp(np.minimum(wide, 0)), rtol=tight)
    np.testing.assert_allclose(found[8], np.logaddexp(0, wide), rtol=tight)
    np.testing.assert_allclose(found[9], 1 / (1 + np.exp(-wide)), rtol=tight)
    np.testing.assert_array_equal(found[10], np.zeros(6))


@pytest.mark.parametrize("columns", [5, 300])
def test_layer_norm_of_rows_far_from_0(both: Any, columns: int) -> None:
    rows = (1e6 + 0.1 * RNG.standard_normal((3, columns))).astype("float32")
    ones = np.ones(columns, "float32")
    graph = Graph()
    with graph.active():
        x, scale = graph.input("x", Spec(rows.shape)), graph.input("scale", Spec((columns,)))
        y = o.layer_norm(x, scale, o.zeros_like(scale), 1e-5)
        results = [y, *gradients(o.sum(y * o.square(y)), [x, scale])]
    found = both.run(graph, results, {"x": rows, "scale": ones}, "cuda")
    apart = rows.astype("float64") - rows.astype("float64").mean(1, keepdims=True)
    rate = 1 / np.sqrt((apart**2).mean(1, keepdims=True) + 1e-5)
    normal = apart * rate
    dn = 3 * normal**2
    dx = rate * (dn - dn.mean(1, keepdims=True) - normal * (dn * normal).mean(1, keepdims=True))
    for ours, right in zip(found, (normal, dx, (dn * normal).sum(0)), strict=True):
        np.testing.assert_allclose(ours, right, atol=1e-5 * np.abs(right).max())
