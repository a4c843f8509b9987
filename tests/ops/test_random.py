"""Dropout: a function of seed, step and path alone, with the right share and mean."""

from __future__ import annotations

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.graph import Graph
from bigmodel_core.ops.random import SEED, STEP
from bigmodel_core.plan import Program, Variables, device_named

ONES = np.ones((100, 100), "float32")


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


def test_philox_matches_its_published_test_vectors() -> None:
    """Known answers of Philox 4x32-10 (Salmon et al., 2011, the Random123 distribution's kat_vectors)."""
    from bigmodel_core.ops.random import random_bits

    assert random_bits(0, 0, 0, 0) == 0x6627E8D5
    ones, pi = 0xFFFFFFFFFFFFFFFF, (0x85A308D3243F6A88, 0x0370734413198A2E, 0x299F31D0A4093822)
    assert random_bits(ones, ones, ones, 0) == 0x408F276D
    assert random_bits(pi[0], pi[2], pi[1], 0) == 0xD16CFE09
