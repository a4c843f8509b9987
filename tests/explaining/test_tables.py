"""The importance of features: by weights, and by permutation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import UsageError
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


TABLE = "size,kind,day,grade\n" + "".join(
    f"{n % 11},{'abc'[n % 3]},2024-0{1 + n % 4}-0{1 + n % 5},{('low', 'high')[n % 3 == 0]}\n"
    for n in range(90)
)


def of_kinds(folder: Path, form: str) -> tuple[Path, bm.Data, Any]:
    """A model of a table of several kinds of columns, its data, and its parameters."""
    (folder / "table.csv").write_text(TABLE)
    data = bm.datasets.load("csv", folder / "table.csv", categories=form)
    model = (
        bm.models.build("wide-and-deep", widths=(4,)).fitted(data) if form == "embed" else bm.layers.Dense(2)
    )
    x = data.test.x
    inputs = tuple(x.values()) if isinstance(x, dict) else (x,)
    model.build(*(bm.Spec(("N", *array.shape[1:]), array.dtype.name) for array in inputs), seed=0)
    bm.save(model, folder / "model.safetensors", data=data)
    return folder / "model.safetensors", data, model


@pytest.mark.parametrize("method", ["shapley", "permutation"])
@pytest.mark.parametrize("form", ["one-hot", "embed"])
def test_a_column_is_answered_as_a_whole(tmp_path: Path, form: str, method: str) -> None:
    path, data, _ = of_kinds(tmp_path, form)
    found = bm.explain(path, data.test.x, method, y=data.test.y)
    columns = list(dict.fromkeys([*data.columns.origins, *data.columns.coded]))
    assert found.facts["columns"] == columns
    assert sum(part.shape[-1] for part in found.parts.values()) == 3


def test_shapley_values_of_a_column_are_the_sum_of_its_features_in_a_linear_model(tmp_path: Path) -> None:
    path, data, model = of_kinds(tmp_path, "one-hot")
    x, weight = data.test.x, model.state()["weight"]
    found = bm.explain(path, x, "shapley", target=1)
    for place, name in enumerate(found.facts["columns"]):
        own = [origin == name for origin in data.columns.origins]
        np.testing.assert_allclose(found.values[:, place], x[:, own] @ weight[own, 1], rtol=1e-4, atol=1e-5)


def test_the_features_of_a_column_are_shuffled_by_the_same_order(tmp_path: Path) -> None:
    path, data, model = of_kinds(tmp_path, "one-hot")
    own = np.array([origin == "kind" for origin in data.columns.origins])
    weight = np.where(own[:, None], [[-3.0, 3.0]], 0.0).astype("float32")
    model.load_state({"weight": weight, "bias": np.float32([4, 0])})
    bm.save(model, path, data=data)
    # The features of a kind add up to 1, whatever row they came from, unless they are shuffled one by one.
    found = bm.explain(path, data.train.x, "permutation", y=data.train.y)
    assert found.values == pytest.approx([0, 0, 0], abs=1e-6)


def test_codes_at_the_baseline_are_unknown(tmp_path: Path) -> None:
    path, data, _ = of_kinds(tmp_path, "embed")
    x = data.test.x
    nothing = {"numbers": np.zeros_like(x["numbers"]), "categories": np.zeros_like(x["categories"])}
    found = bm.explain(path, x, "shapley", target=1)
    np.testing.assert_allclose(found.baseline, bm.load(path)(*nothing.values())[:, 1], rtol=1e-5)
    np.testing.assert_allclose(found.total, found.outputs - found.baseline, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("cell", "row"), [("b", 1), ("c", 2)])
def test_features_say_the_cells_that_they_came_from(tmp_path: Path, cell: str, row: int) -> None:
    _, data, _ = of_kinds(tmp_path, "one-hot")
    cells = {"size": [str(row)], "kind": [cell], "day": [f"2024-0{1 + row}-0{1 + row}"]}
    x = data.columns.apply(cells)
    assert {name: [data.columns.cell(name, x)] for name in cells} == cells


@pytest.mark.parametrize("columns", [2, 3])
def test_what_was_looked_up_for_pairs_of_columns_is_given_to_none(columns: int) -> None:
    """Of three columns there are three pairs, whose numbers would fit the columns and mean something else."""
    model = bm.models.build("wide-and-deep", widths=(4,), categories=(4,) * columns)
    codes = np.random.default_rng(0).integers(0, 4, (6, columns))
    model.build(bm.Spec(("N", columns), "int64"), seed=0)
    with pytest.raises(UsageError, match="pairs of columns"):
        bm.explain(model, codes, "integrated-gradients")


def test_one_column_of_codes_is_looked_up_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(
        "kind,grade\n" + "".join(f"{'abc'[n % 3]},{n % 3 // 2}\n" for n in range(60))
    )
    data = bm.datasets.load("csv", tmp_path / "table.csv", categories="embed")
    model = bm.models.build("tabular-mlp", widths=(4,), dropout=0.0, waves=0).fitted(data)
    trainer = bm.Trainer(model)
    trainer.fit(data, epochs=2, batch_size=16, verbose=False)
    found = bm.explain(model, data.test.x, "integrated-gradients")
    np.testing.assert_allclose(
        np.asarray(found.values).sum(1), found.outputs - found.baseline, rtol=0.01, atol=1e-4
    )
