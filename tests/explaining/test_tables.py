"""The importance of features: by weights, and by permutation."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

import bigmodel_core as bm
from tests.explaining import models

X = np.random.default_rng(3).normal(size=(200, 4)).astype("float32")


def linear(weights: Any) -> Any:
    model = models.built(bm.layers.Dense(1), bm.Spec(("N", 4)))
    model.load_state({"weight": np.float32(weights)[:, None], "bias": np.zeros(1, "float32")})
    return model


def test_weights_of_a_linear_model_have_signs_and_no_units() -> None:
    x = X * np.float32([1, 10, 1, 1])
    found = bm.explain(linear([2, -0.1, 0, 1]), x, "weights")
    np.testing.assert_allclose(found.values, np.array([2, -0.1, 0, 1]) * x.std(0), rtol=1e-5)


def test_weights_of_a_first_layer_are_lengths_of_rows() -> None:
    model = models.perceptron()
    found = bm.explain(model, X, "weights")
    rows = np.linalg.norm(model.state()["dense_1/weight"], axis=1)
    np.testing.assert_allclose(found.values, rows * X.std(0), rtol=1e-5)


def test_a_feature_that_the_model_does_not_use_costs_nothing() -> None:
    y = X @ np.float32([2, -1, 0, 0.5])
    found = bm.explain(linear([2, -1, 0, 0.5]), X, "permutation", y=y[:, None], metric="mean_squared_error")
    assert found.values[2] == 0
    assert 0 <= found.facts["measured"] < 1e-9, "the error of the truth"
    assert np.argsort(-found.values).tolist() == [0, 1, 3, 2]


def test_permutation_agrees_with_scikit_learn() -> None:
    from sklearn.inspection import permutation_importance
    from sklearn.linear_model import LinearRegression

    noise = np.random.default_rng(4).normal(size=len(X))
    y = X @ np.array([2, -1, 0, 0.5]) + noise
    theirs = LinearRegression().fit(X, y)
    model = linear(theirs.coef_)
    model.load_state({"bias": np.float32([theirs.intercept_])}, partial=True)
    wanted = permutation_importance(theirs, X, y, n_repeats=40, random_state=0, scoring="r2")
    found = bm.explain(model, X, "permutation:repeats=40", y=np.float32(y)[:, None], metric="r2")
    errors = np.hypot(wanted.importances_std, found.facts["deviations"]) / np.sqrt(40)
    assert (np.abs(found.values - wanted.importances_mean) <= 4 * errors + 1e-5).all()
    np.testing.assert_allclose(found.facts["measured"], theirs.score(X, y), rtol=1e-4)


def test_steps_with_a_class_each_are_shuffled_by_feature_and_step() -> None:
    model = models.built(bm.layers.Dense(2), bm.Spec(("N", 3, 4)))
    weight = np.zeros((4, 2))
    weight[1] = -5, 5
    model.load_state({"weight": np.float32(weight)}, partial=True)
    x = X[:99].reshape(-1, 3, 4)
    found = bm.explain(model, x, "permutation", y=(x[..., 1] > 0).astype("int64"))
    assert found.values.shape == (3, 4) and found.facts["measured"] == 1
    assert (found.values[:, 1] > 0.05).all() and not found.values[:, [0, 2, 3]].any()


class Both(bm.Layer):
    """A linear model of two tables."""

    def __call__(self, first: Any, second: Any) -> Any:
        return bm.layers.Dense(1)(first) + second


def test_json_can_hold_what_is_said_of_several_tables() -> None:
    tables = X[:, :4], X[:, :1]
    found = bm.explain(Both(), tables, "permutation", y=tables[1]).to_dict()
    again = json.loads(json.dumps(found))
    assert {name: np.shape(array) for name, array in again["deviations"].items()} == {
        "first": (4,),
        "second": (1,),
    }


def test_classes_are_measured_by_accuracy() -> None:
    model = models.perceptron()
    y = models.numpy_scores(model, X).argmax(1)
    found = bm.explain(model, X, "permutation", y=y)
    assert found.facts["measured"] == 1 and found.values.min() > 0.02


def test_a_metric_of_which_less_is_better_counts_the_other_way() -> None:
    y = X @ np.float32([2, -1, 0, 0.5])
    error = bm.explain(linear([2, -1, 0, 0.5]), X, "permutation", y=y[:, None], metric="mean_squared_error")
    np.testing.assert_allclose(error.values[0], 2 * 4 * X[:, 0].var(), rtol=0.2)
