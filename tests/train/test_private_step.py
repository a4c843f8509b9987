"""The step of DP-SGD against NumPy in float64: clipping by sample, the fixed divisor, the noise."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, GraphError, UsageError
from bigmodel_core.train.private_sampling import Sampling
from bigmodel_core.train.private_step import PIECE, PrivateStep

from .conftest import labelled

CLIP = 1.0


def private_step(model: Any, noise: float, x: Any, y: Any, batch: int = 10, seed: int = 0) -> PrivateStep:
    """A step with plain gradient descent at a rate of 1."""
    privacy = bm.Privacy(noise=1.0, clip=CLIP)
    step = PrivateStep(model, "cross_entropy", bm.optimizers.SGD(1.0), privacy=privacy, seed=seed)
    step.build((x[:1],), y[:1])
    step.draw_as(Sampling(privacy, noise, 0.1, batch, 10, seed=0))
    return step


def clipped_sum(weight: Any, bias: Any, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """The clipped gradients of softmax regression, summed over the samples, in float64."""
    logits = x.astype("float64") @ weight + bias
    p = np.exp(logits - logits.max(1, keepdims=True))
    d = p / p.sum(1, keepdims=True) - np.eye(weight.shape[1])[y]
    each = x[:, :, None] * d[:, None, :]
    norms = np.sqrt((each**2).sum((1, 2)) + (d**2).sum(1))
    factors = np.minimum(1.0, CLIP / norms)
    assert factors.min() < 0.99 < factors.max()  # some are clipped, some are not
    return (each * factors[:, None, None]).sum(0), (d * factors[:, None]).sum(0)


@pytest.mark.parametrize("count", [7, PIECE + 20])
def test_the_sum_of_clipped_gradients_is_numpys_and_the_divisor_is_fixed(count: int) -> None:
    x, y = labelled(count)
    x = x * np.linspace(0.05, 2.0, count, dtype="float32")[:, None]
    step = private_step(bm.layers.Dense(3), 0.0, x, y)
    before = step.state()
    by_weight, by_bias = clipped_sum(before["weight"].astype("float64"), before["bias"], x, y)
    step(x, y)
    after = step.state()
    np.testing.assert_allclose(after["weight"], before["weight"] - by_weight / 10, atol=2e-6)
    np.testing.assert_allclose(after["bias"], before["bias"] - by_bias / 10, atol=2e-6)


def test_the_loss_is_the_mean_over_the_samples_that_are_there() -> None:
    x, y = labelled(7)
    model = bm.layers.Dense(3)
    step = private_step(model, 0.0, x, y)
    expected = bm.Trainer(model, "cross_entropy").evaluate((x, y))["loss"]
    assert step(x, y) == pytest.approx(expected, rel=1e-6)


def test_an_empty_batch_is_a_step_of_noise_alone() -> None:
    x, y = labelled(3)
    step = private_step(bm.layers.Dense(2000, use_bias=False), 2.0, x, y)
    before = step.state()["weight"]
    assert step(x[:0], y[:0]) == 0.0
    change = step.state()["weight"].astype("float64") - before
    deviation = 2.0 * CLIP / 10
    assert change.std() == pytest.approx(deviation, rel=0.03)  # 10,000 numbers: 0.7 % is one deviation
    assert abs(change.mean()) < 4 * deviation / 100
    share = np.mean(np.abs(change) > deviation)
    assert share == pytest.approx(0.3173, abs=0.02)
    assert step.steps == step.ledger.steps == 1


def test_noise_is_drawn_anew_each_step_and_again_with_the_same_seed() -> None:
    x, y = labelled(3)

    def steps_of_noise(seed: int) -> list[np.ndarray]:
        model = bm.layers.Dense(3)
        model.build(bm.Spec(("N", 5)), seed=0)
        step = private_step(model, 1.0, x, y, seed=seed)
        states = [step.state()["weight"]]
        for _ in range(2):
            step(x[:0], y[:0])
            states.append(step.state()["weight"])
        return [b - a for a, b in itertools.pairwise(states)]

    first, again, other = steps_of_noise(1), steps_of_noise(1), steps_of_noise(2)
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert not np.isclose(first[0], first[1]).any() and not np.isclose(first[0], other[0]).any()


def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    x, y = labelled(3 * PIECE)
    states, before = [], bm.num_threads()
    try:
        for count in (1, 3):
            bm.set_num_threads(count)
            model = bm.Sequential(bm.layers.Dense(4), bm.layers.Dropout(0.5), bm.layers.Dense(3))
            step = private_step(model, 0.5, x, y)
            step(x, y)
            states.append(step.state())
    finally:
        bm.set_num_threads(before)
    for path, array in states[0].items():
        assert array.tobytes() == states[1][path].tobytes(), path


def test_dropout_differs_from_sample_to_sample_and_from_piece_to_piece() -> None:
    model = bm.Sequential(bm.layers.Dense(40, use_bias=False), bm.layers.Dropout(0.5))
    x, y = np.ones((PIECE + 1, 1), "float32"), np.zeros(PIECE + 1, "int64")
    step = PrivateStep(model, lambda out, _: out, bm.optimizers.SGD(1.0), privacy=bm.Privacy(noise=1.0))
    step.build((x[:1],), y[:1], np.ones(1))
    step.draw_as(Sampling(step.privacy, 0.0, 0.1, 10, 10, seed=0))
    seen = set()
    for number in (0, 1, PIECE):  # one sample counts; the weights of the others are 0
        before, step.draws = step.state()["dense_1/weight"], 0
        step(x, y, np.eye(len(x))[number])
        seen.add(tuple(np.flatnonzero(step.state()["dense_1/weight"] - before)))
    assert len(seen) == 3


def test_weights_of_samples_scale_their_gradients() -> None:
    x, y = labelled(2)

    def change(weight: list[float]) -> np.ndarray:
        model = bm.layers.Dense(3)
        model.build(bm.Spec(("N", 5)), seed=0)
        privacy = bm.Privacy(noise=1.0, clip=100.0)
        step = PrivateStep(model, "cross_entropy", bm.optimizers.SGD(1.0), privacy=privacy)
        step.build((x[:1],), y[:1], np.ones(1))
        step.draw_as(Sampling(privacy, 0.0, 0.1, 1, 10, seed=0))
        before = step.state()["weight"]
        step(x, y, np.array(weight))
        return step.state()["weight"] - before

    np.testing.assert_allclose(change([0.5, 0.25]), change([0.5, 0.0]) + change([0.0, 0.25]), atol=1e-6)
    np.testing.assert_allclose(change([0.5, 0.0]), 0.5 * change([1.0, 0.0]), atol=1e-6)


@dataclass(frozen=True)
class TwoHeads(bm.Layer):
    def __call__(self, x: Any) -> Any:
        features = bm.ops.tanh(bm.layers.Dense(4)(x))
        return {"kind": bm.layers.Dense(3)(features), "size": bm.layers.Dense(1)(features)}


@pytest.mark.parametrize("kind", ["carried state", "frozen statistics", "two losses"])
def test_any_model_gives_the_clipped_sum_of_the_gradients_of_its_samples(kind: str) -> None:
    x, y = labelled(6)
    model: Any = bm.Sequential(bm.layers.Dense(4), bm.layers.BatchNorm(), bm.layers.Dense(3))
    loss, target, freeze = "cross_entropy", y, ["batch_norm_1/*"]
    if kind == "carried state":  # it begins anew with each sample
        model, freeze = bm.models.build("char-rnn", classes=5, units=4, width=3, layers=1), []
        x, target = np.abs(x * 2).astype("int64") % 5, np.abs(x * 3).astype("int64") % 5
    if kind == "two losses":
        model, freeze = TwoHeads(), []
        loss, target = {"kind": "cross_entropy", "size": "mean_squared_error"}, {"kind": y, "size": x[:, :1]}
    privacy = bm.Privacy(noise=1.0, clip=0.5)
    step = PrivateStep(model, loss, bm.optimizers.SGD(1.0), privacy=privacy, freeze=freeze)
    step.build((x[:1],), bm.Split(x, target).take(np.arange(1)).y)
    step.draw_as(Sampling(privacy, 0.0, 0.1, 10, 10, seed=0))
    plain = bm.compile(bm.clone(step.network.layer), loss, "sgd", freeze=freeze)
    _, each = plain.gradients(x, target, per_sample=True)
    norms = np.sqrt(sum((g.reshape(6, -1).astype("float64") ** 2).sum(1) for g in each.values()))
    before = step.state()
    step(x, target)
    after = step.state()
    for path, gradients in each.items():
        expected = np.tensordot(np.minimum(1.0, 0.5 / norms), gradients, 1) / 10
        np.testing.assert_allclose(before[path] - after[path], expected, atol=1e-6, err_msg=path)


@dataclass(frozen=True)
class Normed(bm.Layer):
    def __call__(self, x: Any) -> Any:
        return bm.layers.Dense(3)(bm.layers.BatchNorm()(bm.layers.Dense(4)(x)))


def test_layers_that_take_statistics_of_the_batch_are_refused_by_name() -> None:
    x, y = labelled(3)
    with pytest.raises(GraphError, match="batch_norm_1.*statistics of the batch"):
        private_step(Normed(), 1.0, x, y)


def test_what_mixes_samples_or_draws_batches_otherwise_is_refused() -> None:
    x, y = labelled(30)
    privacy = bm.Privacy(noise=1.0)
    trainer = bm.Trainer(bm.layers.Dense(3), "cross_entropy", "sgd", privacy=privacy)
    with pytest.raises(UsageError, match="made elsewhere"):
        trainer.fit(iter([(x, y)]), steps_per_epoch=1, verbose=False)
    with pytest.raises(ConfigError, match="batch size is 64"):
        trainer.fit((x, y), verbose=False)
    with pytest.raises(UsageError, match="accumulate"):
        bm.Trainer(bm.layers.Dense(3), "cross_entropy", "sgd", privacy=privacy, accumulate=2).fit(
            (x, y), batch_size=5, verbose=False
        )
    images, shares = np.zeros((30, 1, 8, 8), "float32"), np.eye(3, dtype="float32")[y]
    flat = bm.Sequential(bm.layers.Flatten(), bm.layers.Dense(3))
    mixing = bm.Trainer(flat, "cross_entropy", "sgd", privacy=privacy)
    with pytest.raises(UsageError, match="mixes samples"):
        mixing.fit((images, shares), batch_size=5, augment=["mixup"], verbose=False)
