"""Methods whose values add up: integrated gradients and Shapley values."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import NumericsError
from tests.explaining import models


def assert_adds_up(found: Any) -> None:
    wanted = found.outputs - found.baseline
    assert (np.abs(wanted) > 1e-3).all(), "nothing is to be added up"
    np.testing.assert_allclose(found.total, wanted, rtol=0.01, atol=1e-4)


def test_integrated_gradients_of_a_table_add_up_to_what_numpy_computes() -> None:
    model = models.perceptron()
    found = bm.explain(model, models.TABLE, target=1)
    ends = [models.numpy_scores(model, x)[:, 1] for x in (models.TABLE, np.zeros_like(models.TABLE))]
    np.testing.assert_allclose(found.total, ends[0] - ends[1], rtol=0.01)


def test_integrated_gradients_of_images_add_up() -> None:
    found = bm.explain(models.convolutions(), models.IMAGES)
    assert found.values.shape == models.IMAGES.shape
    assert_adds_up(found)


def test_integrated_gradients_of_texts_add_up_over_tokens() -> None:
    found = bm.explain(models.reader(), models.TOKENS)
    assert found.values.shape == models.TOKENS.shape
    assert_adds_up(found)


def test_places_without_a_token_count_nothing() -> None:
    for method in ("integrated-gradients", "shapley", "occlusion"):
        values = bm.explain(models.reader(), models.TOKENS, method).values
        assert (values[models.TOKENS < 0] == 0).all(), method


def test_integrated_gradients_add_up_where_layers_are_called_several_times() -> None:
    first, second = np.abs(models.TOKENS), np.abs(models.TOKENS[:, ::-1])
    found = bm.explain(models.reused(), (first, second), target=2)
    assert [array.shape for array in found.values] == [first.shape, second.shape]
    assert_adds_up(found)


def test_integrated_gradients_of_a_linear_model_are_weights_times_what_changes() -> None:
    model = models.built(bm.layers.Dense(2), bm.Spec(("N", 4)))
    base = np.float32([1, -1, 0, 2])
    found = bm.explain(model, models.TABLE, target=1, baseline=base)
    wanted = (models.TABLE - base) * model.state()["weight"][:, 1]
    np.testing.assert_allclose(found.values, wanted, rtol=1e-4, atol=1e-6)


def test_the_baseline_of_a_text_may_be_a_token() -> None:
    model = models.reader()
    found = bm.explain(model, models.TOKENS, target=0, baseline=7)
    only_sevens = np.where(models.TOKENS < 0, -1, 7)
    np.testing.assert_allclose(found.baseline, model(only_sevens)[:, 0], rtol=1e-5)
    assert_adds_up(found)


def steep() -> Any:
    """tanh(x @ weight), which two steps from 0 are too few for."""
    model = bm.Sequential(bm.layers.Dense(8), bm.layers.Tanh(), bm.layers.Dense(3))
    models.built(model, bm.Spec(("N", 4)))
    model.load_state({"dense_1/weight": 30 * model.state()["dense_1/weight"]}, partial=True)
    return model


def test_steps_double_until_the_sum_is_right() -> None:
    found = bm.explain(steep(), models.TABLE, "integrated-gradients:steps=2")
    assert_adds_up(found)
    assert found.facts["steps"].max() >= 8


def test_a_sum_that_stays_wrong_is_an_error() -> None:
    with pytest.raises(NumericsError, match=r"after 4 steps the values of sample \d add up to .* within 1 %"):
        bm.explain(steep(), models.TABLE, "integrated-gradients:steps=2,most_steps=4")


def test_no_steps_are_lost_on_a_sample_with_a_nan() -> None:
    x = models.TABLE.copy()
    x[2, 1] = np.nan
    with pytest.raises(NumericsError, match=r"(?s)NaN or infinite.*such numbers in the inputs"):
        bm.explain(models.perceptron(), x)


class Wrong(bm.Explainer):
    is_additive = True

    def explain(self, question: bm.Question) -> bm.Attribution:
        return question.answer(self, [array * 0 for array in question.points], has_baseline=True)


def test_what_calls_itself_additive_is_held_to_it() -> None:
    with pytest.raises(NumericsError, match="add up to 0, and not to"):
        bm.explain(models.perceptron(), models.TABLE, Wrong())


# Shapley values --------------------------------------------------------------------------------------------


def all_orders(model: Any, x: np.ndarray, target: int) -> np.ndarray:
    """Shapley values by their definition, from zeros: the mean over all orders of features."""
    found = np.zeros(x.shape)
    for order in permutations(range(x.shape[1])):
        mixed = np.zeros(x.shape)
        for feature in order:
            before = models.numpy_scores(model, mixed)[:, target]
            mixed[:, feature] = x[:, feature]
            found[:, feature] += models.numpy_scores(model, mixed)[:, target] - before
    return found / math.factorial(x.shape[1])


def test_exact_shapley_values_are_those_of_all_orders() -> None:
    model = models.perceptron()
    found = bm.explain(model, models.TABLE, "shapley", target=0)
    np.testing.assert_allclose(found.values, all_orders(model, models.TABLE, 0), atol=1e-5)


def test_drawn_shapley_values_come_close_to_exact_ones() -> None:
    model = models.perceptron()
    exact = bm.explain(model, models.TABLE, "shapley", target=0).values
    drawn = bm.explain(model, models.TABLE, "shapley:exact=0,pairs=200", target=0)
    assert (np.abs(drawn.values - exact) <= 4 * drawn.facts["deviations"] + 1e-5).all()
    assert 0 < drawn.facts["deviations"].max() < 0.1
    assert_adds_up(drawn)


def test_one_pair_of_orders_tells_no_standard_errors() -> None:
    found = bm.explain(models.perceptron(), models.TABLE, "shapley:exact=0,pairs=1")
    assert "deviations" not in found.facts
    assert_adds_up(found)
