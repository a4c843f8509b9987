"""Models as estimators of scikit-learn, whose own checks and tools are the oracle."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelError, ConfigError, EstimatorError

QUICK: dict[str, Any] = {
    "options": {"widths": (16,)}, "epochs": 8, "learning_rate": 0.03, "random_state": 0,
}  # fmt: skip
ROUNDED = {
    "check_sample_weight_equivalence_on_dense_data": "sums of float32 differ in the last bits if a sample"
    " counts twice instead of being there twice; to these bits it is tested below"
}


def samples(classes: int = 2, seed: int = 0, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Points around one centre for each class, in units of very different size."""
    generator = np.random.default_rng(seed)
    y = np.arange(count) % classes
    centres = np.random.default_rng(9).normal(size=(classes, 4)) * 3
    x = (centres[y] + generator.normal(size=(count, 4))) * [1, 1000, 0.01, 1] + [0, 5, 0, -7]
    return x, np.array(["left", "right", "up"])[y]


@pytest.fixture(scope="module")
def fitted() -> Any:
    return bm.sklearn.Classifier("mlp", **QUICK).fit(*samples(3))


@pytest.mark.parametrize("kind", ["Classifier", "Regressor"])
@pytest.mark.filterwarnings("ignore")
def test_all_checks_of_scikit_learn_pass(kind: str) -> None:
    estimator = getattr(bm.sklearn, kind)("mlp", **QUICK)
    results = check_estimator(estimator, expected_failed_checks=ROUNDED, on_fail=None)
    assert {item["check_name"]: item["exception"] for item in results if item["status"] == "failed"} == {}
    assert sum(item["status"] == "passed" for item in results) > 50


# What samples count -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Classifier", "Regressor"])
def test_a_sample_of_weight_2_counts_as_if_it_were_there_twice(kind: str) -> None:
    x, y = samples(3, count=30)
    times = np.random.default_rng(1).integers(0, 4, 30)
    y = y if kind == "Classifier" else x[:, 0] ** 2
    one, two = (getattr(bm.sklearn, kind)("mlp", batch_size=100, **QUICK) for _ in range(2))
    one.fit(x, y, sample_weight=times)
    two.fit(x.repeat(times, axis=0), y.repeat(times))
    predict = "predict_proba" if kind == "Classifier" else "predict"
    np.testing.assert_allclose(getattr(one, predict)(x), getattr(two, predict)(x), rtol=1e-4, atol=1e-5)


def test_balanced_classes_count_alike_however_rare() -> None:
    generator = np.random.default_rng(0)
    y = (np.arange(400) % 20 == 0).astype(int)
    x = (generator.normal(size=400) + y)[:, None]
    kinds = (None, "balanced")
    found = [bm.sklearn.Classifier("mlp", class_weight=kind, **QUICK).fit(x, y) for kind in kinds]
    assert found[0].predict(x).mean() < 0.05 < 0.2 < found[1].predict(x).mean() < 0.6


def test_class_weights_are_by_label() -> None:
    x, y = samples(2)
    classifier = bm.sklearn.Classifier("mlp", class_weight={"left": 1.0, "right": 0.0}, **QUICK)
    assert set(classifier.fit(x, y).predict(x)) == {"left"}


# Scaling and answers ----------------------------------------------------------------------------------------


def test_numbers_are_standardised_as_numpy_does_it_in_float64(fitted: Any) -> None:
    x, _ = samples(3)
    steps = fitted.encoding_.preprocessing
    np.testing.assert_allclose(steps.mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(steps.std, x.std(0), rtol=1e-12)


def test_numbers_are_left_alone_on_request() -> None:
    x, y = samples()
    classifier = bm.sklearn.Classifier("mlp", standardize=False, **QUICK).fit(x, y)
    assert classifier.encoding_.preprocessing is None


def test_timestamps_a_second_apart_are_told_apart() -> None:
    x = 1.7e9 + np.arange(100.0)[:, None]
    regressor = bm.sklearn.Regressor("mlp", **{**QUICK, "epochs": 40}).fit(x, x[:, 0] % 100)
    assert regressor.score(x, x[:, 0] % 100) > 0.9


def test_predictions_are_in_the_units_of_y() -> None:
    x, _ = samples()
    y = np.c_[x[:, 0] * 1e6, x[:, 3] - 1e3]
    regressor = bm.sklearn.Regressor("mlp", **{**QUICK, "epochs": 60}).fit(x, y)
    assert regressor.predict(x).shape == (120, 2)
    assert regressor.score(x, y) > 0.9


def test_columns_of_a_data_frame_are_known_by_name() -> None:
    pandas = pytest.importorskip("pandas")
    x, y = samples()
    table = pandas.DataFrame(x, columns=["a", "b", "c", "d"])
    classifier = bm.sklearn.Classifier("mlp", **QUICK).fit(table, y)
    assert classifier.encoding_.features == ("a", "b", "c", "d") == tuple(classifier.feature_names_in_)
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(table[["b", "a", "c", "d"]])


def test_images_are_scaled_by_channel() -> None:
    x = np.random.default_rng(0).normal(size=(40, 2, 4, 4)) * np.array([1, 100]).reshape(1, 2, 1, 1)
    y = (x[:, 1].mean((1, 2)) > 0).astype(int)
    classifier = bm.sklearn.Classifier("mlp", **QUICK).fit(x, y)
    np.testing.assert_allclose(classifier.encoding_.preprocessing.std, x.std((0, 2, 3)), rtol=1e-12)
    assert classifier.score(x, y) > 0.8


# DataFrames of several kinds of columns ---------------------------------------------------------------------


def customers() -> Any:
    """Rows with numbers that have gaps, words, truth values and dates; the town and the age decide."""
    pandas = pytest.importorskip("pandas")
    generator = np.random.default_rng(0)
    table = pandas.DataFrame(
        {
            "age": generator.integers(18, 80, 300).astype(float),
            "town": generator.choice(["Rome", "Oslo", "Bern"], 300),
            "member": generator.random(300) < 0.5,
            "since": pandas.Timestamp("2020-01-01")
            + pandas.to_timedelta(generator.integers(0, 900, 300), "D"),
            "zip": pandas.Categorical(generator.integers(1000, 1004, 300)),
        }
    )
    y = np.where((table["town"] == "Rome") | (table["age"] > 60), "buys", "no")
    table.loc[::7, "age"] = np.nan
    return table, y


@pytest.mark.parametrize("model", ["mlp", "tabular-mlp"])
def test_a_data_frame_is_taken_as_it_is_and_so_is_a_row_in_onnx_runtime(model: str, tmp_path: Path) -> None:
    table, y = customers()
    classifier = bm.sklearn.Classifier(
        model, options={"widths": (16,)}, epochs=30, learning_rate=0.01, random_state=0
    ).fit(table, y)
    assert classifier.score(table, y) > 0.9
    classifier.export(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    cells = {name: table[[name]].astype(str).to_numpy(object) for name in table if name != "age"}
    label, *_ = session.run(None, {**cells, "age": table[["age"]].to_numpy("float64")})
    assert (classifier.classes_[label] == classifier.predict(table)).all()


def test_what_columns_hold_is_found_by_their_types() -> None:
    table, y = customers()
    columns = bm.sklearn.Classifier("mlp", **QUICK).fit(table, y).encoding_.columns.columns
    kinds = {column.name: column.kind for column in columns}
    assert kinds == {
        "age": "number", "town": "category", "member": "bool", "since": "date", "zip": "category",
    }  # fmt: skip


def test_a_pickle_of_a_model_of_a_data_frame_answers_the_same() -> None:
    table, y = customers()
    classifier = bm.sklearn.Classifier("tabular-mlp", **QUICK).fit(table, y)
    again = pickle.loads(pickle.dumps(classifier))
    assert (again.predict_proba(table) == classifier.predict_proba(table)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.to_numpy(), "expected a DataFrame"),
        (lambda table: table.drop(columns="town"), "town"),
        (lambda table: table.assign(age="old"), "column age: 'old' is not a finite number"),
    ],
    ids=["array", "missing", "word"],
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_another_table_than_in_training_is_a_value_error(change: Any, message: str) -> None:
    table, y = customers()
    classifier = bm.sklearn.Classifier("mlp", **QUICK).fit(table, y)
    with pytest.raises(ValueError, match=message):
        classifier.predict(change(table))


# In scikit-learn's tools ------------------------------------------------------------------------------------


def test_a_grid_search_over_a_pipeline_finds_the_rate_that_learns() -> None:
    x, y = samples(3)
    pipeline = make_pipeline(MinMaxScaler(), bm.sklearn.Classifier("mlp", **QUICK))
    grid = {
        "classifier__learning_rate": [0.0, 0.03],
        "classifier__options": [{"widths": (4,)}, {"widths": (16,)}],
    }
    search = GridSearchCV(pipeline, grid, cv=2).fit(x, y)
    assert search.best_params_["classifier__learning_rate"] == 0.03
    assert search.best_score_ > 0.9


def test_cross_validation_scores_a_regressor() -> None:
    x, _ = samples()
    regressor = bm.sklearn.Regressor("mlp", loss="huber", **{**QUICK, "epochs": 40})
    assert cross_val_score(regressor, x, x[:, 0], cv=3).min() > 0.9


def test_a_layer_is_trained_as_a_copy() -> None:
    x, y = samples()
    layer = bm.Sequential(bm.layers.Dense(8), bm.layers.Relu(), bm.layers.Dense(2))
    estimator = bm.sklearn.Classifier(layer, epochs=20, learning_rate=0.03, random_state=0)
    assert clone(estimator).fit(x, y).score(x, y) > 0.9
    assert not layer.is_built


def test_the_same_random_state_gives_the_same_bits() -> None:
    x, y = samples()
    one, two = (bm.sklearn.Classifier("mlp", **QUICK).fit(x, y).predict_proba(x) for _ in range(2))
    other = bm.sklearn.Classifier("mlp", **{**QUICK, "random_state": 1}).fit(x, y).predict_proba(x)
    assert (one == two).all() and (one != other).any()


def test_no_batch_has_one_sample_alone_which_has_no_variance() -> None:
    x, y = samples(count=33)
    layer = bm.Sequential(bm.layers.Dense(8), bm.layers.BatchNorm(), bm.layers.Dense(2))
    assert bm.sklearn.Classifier(layer, epochs=5, random_state=0).fit(x, y).score(x, y) > 0.5


# Going on ---------------------------------------------------------------------------------------------------


def test_early_stopping_holds_samples_out_and_ends_before_all_epochs() -> None:
    x, y = samples(3)
    y = np.random.default_rng(2).permutation(y)  # there is nothing to learn
    classifier = bm.sklearn.Classifier("mlp", early_stopping=True, patience=2, **{**QUICK, "epochs": 60}).fit(
        x, y
    )
    assert 3 <= len(classifier.history_) < 60
    assert {"val_loss", "val_accuracy"} <= set(classifier.history_.last)


def test_a_warm_start_trains_on_even_after_an_early_stop() -> None:
    x, y = samples()
    estimator = bm.sklearn.Classifier("mlp", warm_start=True, early_stopping=True, patience=0, **QUICK)
    first = len(estimator.fit(x, y).history_)
    assert len(estimator.fit(x, y).history_) > first
    estimator.set_params(warm_start=False, early_stopping=False)
    assert len(estimator.fit(x, y).history_) == 8


def test_parts_of_the_samples_train_one_model() -> None:
    x, y = samples(3)
    classifier = bm.sklearn.Classifier("mlp", **QUICK)
    for _ in range(8):
        for part in np.array_split(np.random.default_rng(0).permutation(120), 2):
            classifier.partial_fit(x[part], y[part], classes=["left", "right", "up"])
    assert classifier.score(x, y) > 0.9
    assert len(classifier.history_) == 16


def test_a_pickle_answers_the_same_and_can_be_trained_on(fitted: Any) -> None:
    x, y = samples(3)
    again = pickle.loads(pickle.dumps(fitted))
    assert (again.predict_proba(x) == fitted.predict_proba(x)).all()
    assert again.partial_fit(x, y).score(x, y) > 0.9


# Export -----------------------------------------------------------------------------------------------------


def test_the_exported_file_takes_raw_numbers_and_gives_labels(fitted: Any, tmp_path: Path) -> None:
    x, _ = samples(3)
    fitted.export(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    label, _, chances = session.run(None, {"x": x.astype("float32")})
    assert (fitted.classes_[label] == fitted.predict(x)).all()
    np.testing.assert_allclose(chances, fitted.predict_proba(x), atol=1e-5)


def test_the_exported_file_of_a_regressor_answers_in_the_units_of_y(tmp_path: Path) -> None:
    x, _ = samples()
    regressor = bm.sklearn.Regressor("mlp", **QUICK).fit(x, 1e4 * x[:, 0])
    regressor.export(tmp_path / "model.onnx")
    (found,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, {"x": x.astype("float32")})
    np.testing.assert_allclose(found[:, 0], regressor.predict(x), rtol=1e-4, atol=1)


# What cannot be used ----------------------------------------------------------------------------------------


def test_one_class_is_an_error_of_scikit_learns_kind_and_ours() -> None:
    x, _ = samples()
    with pytest.raises(EstimatorError, match="there is 1 class") as caught:
        bm.sklearn.Classifier("mlp", **QUICK).fit(x, np.ones(120))
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, BigmodelError)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "mean_squared_error"}, "the loss MeanSquaredError is for numbers"),
        ({"model": "linear-regression"}, "the loss MeanSquaredError is for numbers"),
        ({"model": bm.layers.Dense(2), "options": {"units": 3}}, "options belong to the name"),
        ({"early_stopping": True, "validation_fraction": 1.5}, "validation_fraction is 1.5"),
        ({"epochs": 0}, "epochs is 0"),
        ({"options": {"width": 3}}, "no option 'width'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_an_option_that_makes_no_sense_is_an_error_that_names_it(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        bm.sklearn.Classifier(**options).fit(*samples())


def test_a_regressor_refuses_a_loss_of_classes() -> None:
    with pytest.raises(ConfigError, match="the loss CrossEntropy is for classes"):
        bm.sklearn.Regressor("mlp", loss="cross_entropy").fit(*[samples()[0]] * 2)


def test_numbers_beyond_float32_are_named() -> None:
    x, y = samples()
    with pytest.raises(EstimatorError, match=r"X has numbers as large as 1e\+300"):
        bm.sklearn.Classifier("mlp", **QUICK).fit(np.where(x > 0, 1e300, 0), y)


def test_a_class_that_was_not_named_before_is_an_error_that_names_it() -> None:
    x, y = samples(3)
    classifier = bm.sklearn.Classifier("mlp", **QUICK).partial_fit(x, y, classes=["left", "right", "up"])
    with pytest.raises(EstimatorError, match="class down is not among"):
        classifier.partial_fit(x, np.full(120, "down"))


def test_parts_need_the_names_of_all_classes_first() -> None:
    with pytest.raises(EstimatorError, match="has to name all classes"):
        bm.sklearn.Classifier("mlp").partial_fit(*samples())


def test_balanced_weights_of_parts_are_refused() -> None:
    x, y = samples()
    with pytest.raises(EstimatorError, match="needs all samples"):
        bm.sklearn.Classifier("mlp", class_weight="balanced").partial_fit(x, y, classes=np.unique(y))


def test_an_estimator_that_was_not_fitted_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        bm.sklearn.Classifier("mlp").export(tmp_path / "model.onnx")


def test_without_scikit_learn_the_extra_is_named_and_all_else_works() -> None:
    program = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import bigmodel_core as bm\n"
        "print(bm.sklearn.__name__)\n"
        "bm.sklearn.Classifier\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "bigmodel_core.sklearn\n"
    assert 'pip install "bigmodel[sklearn]"' in done.stderr and "MissingPackageError" in done.stderr


def test_importing_bigmodel_imports_no_scikit_learn() -> None:
    program = "import sys, bigmodel_core as bm; bm.sklearn; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
