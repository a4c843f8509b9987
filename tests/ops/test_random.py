"""Random numbers: a function of seed, step and path alone, distributed as they should be."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.graph import Graph
from bigmodel_core.ops.random import SEED, STEP
from bigmodel_core.plan import Program, Variables, device_named

ONES = np.ones((100, 100), "float32")
FLOATS = ("float32", "float64")


def dropped(rate: float = 0.3, path: str = "dropout", seed: int = 0, step: int = 1) -> np.ndarray:
    """Dropout at a path, applied to ones."""
    graph = Graph()
    with graph.active(), graph.scope(path, "Dropout"):
        y = ops.dropout(graph.input("x", bm.Spec(ONES.shape)), rate)
    given = {"x": ONES, SEED: np.int64(seed), STEP: np.int64(step)}
    return Program(graph, [y]).run(Variables(device_named("cpu")), given)[0]


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_share_and_mean(rate: float) -> None:
    y = dropped(rate)
    spread = (rate * (1 - rate) / ONES.size) ** 0.5
    assert abs((y == 0).mean() - rate) < 5 * spread
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate), rtol=1e-6)


def test_the_same_seed_step_and_path_give_the_same_mask() -> None:
    np.testing.assert_array_equal(dropped(), dropped())


@pytest.mark.parametrize("change", [{"seed": 1}, {"step": 2}, {"path": "other"}, {"seed": 2**40}])
def test_another_seed_step_or_path_gives_an_independent_mask(change: dict[str, object]) -> None:
    first, second = dropped(0.5) == 0, dropped(0.5, **change) == 0
    assert abs((first & second).mean() - 0.25) < 0.025


def test_rows_and_columns_are_not_correlated() -> None:
    mask = (dropped(0.5) == 0).astype(float) - 0.5
    for shift in (1, 2, 100):
        correlation = 4 * (mask.ravel()[shift:] * mask.ravel()[:-shift]).mean()
        assert abs(correlation) < 0.05


def test_two_dropouts_of_one_layer_differ() -> None:
    graph = Graph()
    with graph.active():
        x = graph.input("x", bm.Spec(ONES.shape))
        first, second = ops.dropout(x, 0.5), ops.dropout(x, 0.5)
    a, b = Program(graph, [first, second]).run(Variables(device_named("cpu")), {"x": ONES})
    assert not np.array_equal(a, b)


def test_the_mask_does_not_depend_on_threads() -> None:
    before, found = bm.num_threads(), []
    try:
        for count in (1, 2, 8):
            bm.set_num_threads(count)
            found.append(dropped())
    finally:
        bm.set_num_threads(before)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_the_gradient_has_the_mask_of_the_output() -> None:
    graph = Graph()
    with graph.active():
        x = graph.input("x", bm.Spec(ONES.shape))
        y = ops.dropout(x, 0.4)
        from bigmodel_core.graph.autodiff import gradients

        (dx,) = gradients(ops.sum(y), [x])
    output, gradient = Program(graph, [y, dx]).run(Variables(device_named("cpu")), {"x": ONES})
    np.testing.assert_array_equal(output, gradient)


def test_a_rate_of_zero_changes_nothing() -> None:
    np.testing.assert_array_equal(dropped(0.0), ONES)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0, float("nan")])
def test_rates_outside_the_limits(rate: float) -> None:
    with pytest.raises(bm.errors.ConfigError, match="rate"):
        dropped(rate)


# Uniform and normal ----------------------------------------------------------------------------------------


def drawn(
    draw: Callable[[], Any], path: str = "noise", seed: int = 0, step: int = 1, **arrays: np.ndarray
) -> np.ndarray:
    """What is drawn at a path."""
    graph = Graph()
    with graph.active(), graph.scope(path, "Noise"):
        values = {name: graph.input(name, bm.Spec(x.shape, x.dtype.name)) for name, x in arrays.items()}
        y = draw(**values)
    given = {**arrays, SEED: np.int64(seed), STEP: np.int64(step)}
    return Program(graph, [y]).run(Variables(device_named("cpu")), given)[0]


def furthest(numbers: np.ndarray, share_below: Callable[[np.ndarray], np.ndarray]) -> float:
    """The statistic of Kolmogorov and Smirnov: how far the shares of numbers below a limit are from what they
    should be, in units in which 1.95 is passed once in a thousand times."""
    expected, count = share_below(np.sort(numbers.astype("float64"), None)), numbers.size
    steps = np.arange(count + 1) / count
    return float(np.sqrt(count) * max((steps[1:] - expected).max(), (expected - steps[:-1]).max()))


def below_normal(x: np.ndarray) -> np.ndarray:
    return np.array([math.erfc(-number / math.sqrt(2)) / 2 for number in x])


@pytest.mark.parametrize("dtype", FLOATS)
def test_uniform_numbers_fill_their_interval_evenly(dtype: str) -> None:
    found = drawn(lambda: ops.uniform((300, 400), -2.0, 6.0, dtype))
    assert found.dtype == dtype and -2 <= found.min() < -1.999 and 5.999 < found.max() < 6
    assert furthest(found, lambda x: (x + 2) / 8) < 1.95
    for power, expected in ((1, 2.0), (2, 4 + 16 / 3)):
        assert abs((found.astype("float64") ** power).mean() - expected) < 0.1


@pytest.mark.parametrize("dtype", FLOATS)
def test_normal_numbers_have_the_moments_of_the_distribution(dtype: str) -> None:
    found = drawn(lambda: ops.normal((300, 400), dtype=dtype))
    assert found.dtype == dtype and np.isfinite(found).all()
    assert furthest(found, below_normal) < 1.95
    for power, expected, spread in ((1, 0, 1.0), (2, 1, 2**0.5), (3, 0, 15**0.5), (4, 3, 96**0.5)):
        assert abs((found.astype("float64") ** power).mean() - expected) < 5 * spread / found.size**0.5
    shifted = drawn(lambda: ops.normal((300, 400), 3.0, 0.5, dtype))
    np.testing.assert_allclose(shifted, 3 + 0.5 * found, rtol=1e-5)


def test_the_end_of_an_interval_is_never_drawn() -> None:
    """Half of these draws would be rounded to 2, were they not below it."""
    near = np.float32(2 - 2.0**-23)
    found = drawn(lambda: ops.uniform(10_000, float(near), 2.0))
    np.testing.assert_array_equal(found, near)
    limits = {"low": np.array(near), "high": np.array(2.0, "float32")}
    np.testing.assert_array_equal(drawn(lambda low, high: ops.uniform(10_000, low, high), **limits), near)


@pytest.mark.parametrize("dtype", FLOATS)
def test_numbers_have_all_digits_of_their_type(dtype: str) -> None:
    digits = {"float32": 24, "float64": 53}[dtype]
    whole = np.ldexp(drawn(lambda: ops.uniform(1000, dtype=dtype)), digits)
    assert (whole == np.floor(whole)).all() and 0.4 < (whole % 2).mean() < 0.6


@pytest.mark.parametrize("draw", [ops.uniform, ops.normal])
@pytest.mark.parametrize("change", [{"seed": 1}, {"step": 2}, {"step": -1}, {"path": "other"}])
def test_streams_do_not_depend_on_each_other(draw: Any, change: dict[str, Any]) -> None:
    first, again, other = (drawn(lambda: draw((100, 100)), **more) for more in ({}, {}, change))
    np.testing.assert_array_equal(first, again)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.04


def test_draws_of_one_layer_differ_and_dropout_is_one_of_them() -> None:
    def both() -> Any:
        x = ops.normal((100, 100))
        dropped = ops.dropout(x, 0.5) * 0
        return ops.concatenate([x, ops.normal((100, 100)), dropped + ops.uniform((100, 100))], 0)

    first, second, third = np.split(drawn(both), 3)
    for one, other in ((first, second), (first, third), (second, third)):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.04


def test_gradients_flow_to_the_mean_the_deviation_and_the_limits() -> None:
    mean, std = np.arange(6.0).reshape(2, 3), np.array([7.0, 8.0, 9.0])

    def slopes(draw: Any) -> Any:
        def apply(a: Any, b: Any) -> Any:
            with a.node.graph.scope("noise", "Noise"):
                return draw((2, 3), a, b)

        return bm.testing.evaluate.compute_gradients(apply, mean, std)

    def noise(draw: Any) -> np.ndarray:
        graph = Graph()
        with graph.active(), graph.scope("noise", "Noise"):
            y = draw((2, 3), dtype="float64")
        return Program(graph, [y]).run(Variables(device_named("cpu")), {})[0]

    for found, unit in ((slopes(draw), noise(draw)) for draw in (ops.normal, ops.uniform)):
        whole = np.ones_like(mean) if unit.min() < 0 else 1 - unit
        np.testing.assert_allclose(found[0], whole, rtol=1e-12)
        np.testing.assert_allclose(found[1], unit.sum(0), rtol=1e-12)


# In models ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Noise(bm.Layer):
    """Adds noise, in inference too."""

    std: float = 1.0

    def __call__(self, x: Any) -> Any:
        return x + ops.normal(x.shape, std=self.std)


@dataclass(frozen=True)
class Walk(bm.Layer):
    """A random walk, one step at each call."""

    def __call__(self, x: Any) -> Any:
        at = self.carried("at", x.shape) + ops.normal(x.shape)
        self.assign("at", at)
        return at


def test_each_call_of_a_model_draws_anew_and_a_new_model_the_same() -> None:
    calls = []
    for _ in range(2):
        model = Noise().build(bm.Spec(("N", 3)))
        calls.append([model(np.zeros((size, 3), "float32")) for size in (4, 4, 50)])
    for one, other in zip(*calls, strict=True):
        np.testing.assert_array_equal(one, other)
    first, second, third = calls[0]
    assert np.abs(first - second).min() > 0 and np.abs(first - third[:4]).min() > 0
    other = Noise().build(bm.Spec(("N", 3)), seed=1)
    assert np.abs(other(np.zeros((4, 3), "float32")) - first).min() > 0


def test_a_call_does_not_draw_what_a_step_of_training_draws() -> None:
    step = bm.compile(
        bm.Sequential(bm.layers.Dense(1), Noise()), "mean_squared_error", bm.optimizers.SGD(0.0)
    )
    x = np.zeros((1, 2), "float32")
    losses = [step(x, x[:, :1]) for _ in range(3)]
    calls = [float(step.network(x)[0, 0]) ** 2 for _ in range(3)]
    assert len({round(number, 6) for number in (*losses, *calls)}) == 6


def test_an_evaluation_draws_the_same_each_time() -> None:
    model = bm.Sequential(bm.layers.Dense(1), Noise())
    x = np.zeros((8, 2), "float32")
    trainer = bm.Trainer(model, "mean_squared_error")
    trainer.fit((x, x[:, :1]), epochs=1, verbose=False)
    assert trainer.evaluate((x, x[:, :1])) == trainer.evaluate((x, x[:, :1]))


def test_each_call_of_a_session_draws_anew() -> None:
    session = Walk().build(bm.Spec(("N", 1))).session()
    places = [float(session(np.zeros((1, 1), "float32"))[0, 0]) for _ in range(4)]
    steps = np.diff([0.0, *places])
    assert len(set(steps.round(5))) == 4 and np.abs(steps).min() > 0


def test_a_model_that_draws_is_not_exported(tmp_path: Path) -> None:
    model = bm.Sequential(bm.layers.Dense(2), Noise())
    model.build(bm.Spec(("N", 3)))
    with pytest.raises(bm.errors.ExportError, match=r"by noise_1 \(Noise\)") as caught:
        bm.export(model, tmp_path / "model.onnx")
    assert "pass the noise as an input" in str(caught.value)
    assert not list(tmp_path.iterdir())


REFUSED: list[tuple[Callable[[], Any], type[bm.errors.BigmodelError], str]] = [
    (lambda: ops.uniform((2,), 1.0, 0.0), bm.errors.ConfigError, "from 1.0 to 0.0 is empty"),
    (lambda: ops.uniform((2,), np.float32(1), np.zeros(2)), bm.errors.ConfigError, "from 1.0 to .* is empty"),
    (lambda: ops.uniform((2,), 0.0, float("inf")), bm.errors.ConfigError, "wider than float32"),
    (lambda: ops.uniform((2,), -3e38, 3e38), bm.errors.ConfigError, "-3e[+]38 to 3e[+]38 is wider"),
    (lambda: ops.uniform((2,), high=1e39), bm.errors.DtypeError, "does not fit values of type float32"),
    (lambda: ops.normal((2,), ops.normal((2,)), -2.0), bm.errors.ConfigError, "deviation is -2"),
    (lambda: ops.uniform(2.5), bm.errors.ShapeError, "2.5 is not a dimension"),
    (lambda: ops.normal((2,), std=-1), bm.errors.ConfigError, "deviation is -1"),
    (lambda: ops.normal((2,), std=float("nan")), bm.errors.ConfigError, "deviation is nan"),
    (lambda: ops.normal((2,), dtype="int64"), bm.errors.DtypeError, "not int64"),
    (lambda: ops.normal((2, -1)), bm.errors.ShapeError, "dimension is -1"),
    (lambda: ops.normal((2,), ops.normal((3, 2))), bm.errors.ShapeError, r"mean of \(3, 2\)"),
    (
        lambda: ops.uniform((2,), high=ops.normal((2,)), dtype="float64"),
        bm.errors.DtypeError,
        "high is float32",
    ),
]


@pytest.mark.parametrize(("draw", "error", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_what_cannot_be_drawn_is_refused(
    draw: Callable[[], Any], error: type[bm.errors.BigmodelError], message: str
) -> None:
    with pytest.raises(error, match=message):
        drawn(draw)


# The generator ----------------------------------------------------------------------------------------


def test_philox_matches_its_published_test_vectors() -> None:
    """Known answers of Philox 4x32-10 (Salmon et al., 2011, the Random123 distribution's kat_vectors)."""
    from bigmodel_core.ops.random import random_bits

    assert random_bits(0, 0, 0, 0) == 0x6627E8D5
    ones, pi = 0xFFFFFFFFFFFFFFFF, (0x85A308D3243F6A88, 0x0370734413198A2E, 0x299F31D0A4093822)
    assert random_bits(ones, ones, ones, 0) == 0x408F276D
    assert random_bits(pi[0], pi[2], pi[1], 0) == 0xD16CFE09
