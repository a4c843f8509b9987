"""What users pass for arrays: converted where nothing is lost, else refused by an error of this project."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.data.arrays import as_array, cast
from bigmodel_core.errors import BigmodelError, DataError, DtypeError, ShapeError, UsageError

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = np.arange(12) % 2


def trainer(**more: Any) -> bm.Trainer:
    return bm.Trainer(bm.layers.Dense(2), "cross_entropy", "sgd", **more)


def step() -> Any:
    return bm.compile(bm.layers.Dense(2), "cross_entropy", "sgd")


USES = {
    "step": lambda x, y: step()(x, y),
    "value_and_grad": lambda x, y: bm.value_and_grad(bm.layers.Dense(2), "cross_entropy")(x, y)[0],
    "fit": lambda x, y: trainer().fit((x, y), verbose=False).last["loss"],
}
ODD = {
    "ragged": ([[1.0, 2.0], [3.0]], "differ in length"),
    "nothing": (None, "None"),
    "texts": (["a", "b"], "strings"),
    "objects": (np.array([1.0, object()], object), "object at position"),
    "a missing value": ([[1.0, None], [2.0, 3.0]], "NoneType at position"),
    "a mapping": ({"a": 1}, "dict|inputs a; the model takes x"),
    "dates": (np.array(["2024-01-01"] * 12, "datetime64[D]"), "datetime64"),
    "masked": (np.ma.array(X, mask=X > 1), "masked"),
    "a number": (3.0, "single number|not an array of samples"),
    "a text": ("abc", "strings"),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("place", ["input", "target"])
def test_what_is_no_array_of_numbers_is_refused(use, odd, place):
    value, match = ODD[odd]
    if place == "target":  # a mapping holds targets by the names of outputs
        match = {"nothing": "target", "a mapping": "'a' is a single number"}.get(odd, match)
    with pytest.raises(BigmodelError, match=match):
        USES[use](*((value, Y) if place == "input" else (X, value)))


@pytest.mark.parametrize("use", USES)
def test_lists_are_one_array(use):
    assert USES[use](X.tolist(), Y.tolist()) == USES[use](X, Y)


@pytest.mark.parametrize("use", USES)
def test_tables_of_pandas_are_arrays(use):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=list("abc"))
    table["a"] = table["a"].astype("float64")  # columns of several types
    assert USES[use](table, pandas.Series(Y)) == USES[use](X, Y)
    whole = pandas.DataFrame({"a": X[:, 0], "b": pandas.array(np.arange(12), "Int64"), "c": X[:, 2]})
    assert np.isfinite(USES[use](whole, pandas.Series(Y, dtype="Int64")))
    with pytest.raises(DtypeError, match="strings"):
        USES[use](X, pandas.Series(["yes", "no"] * 6))


@pytest.mark.parametrize("use", USES)
def test_tensors_on_the_cpu_are_arrays(use, torch):
    assert USES[use](torch.tensor(X), torch.tensor(Y)) == USES[use](X, Y)
    with pytest.raises(DataError, match="detach"):
        USES[use](torch.tensor(X, requires_grad=True), Y)


# Numbers that a type cannot hold ---------------------------------------------------------------------------


@pytest.mark.parametrize("use", USES)
def test_floats_beyond_float32_are_refused(use):
    wide = X.astype("float64")
    wide[4, 1] = -1e300
    with pytest.raises(DataError, match=r"input 'x' has -1e\+300 at position \(4, 1\)"):
        USES[use](wide, Y)
    wide[4, 1] = np.inf
    assert np.isinf(cast(wide, "float32", "input")[4, 1])


def test_targets_beyond_float32_are_refused():
    far = np.full((12, 2), 1e300)
    with pytest.raises(DataError, match="target has 1e"):
        bm.compile(bm.layers.Dense(2), "mean_squared_error", "sgd")(X, far)
    with pytest.raises(DataError, match="target has 1e"):
        bm.Trainer(bm.layers.Dense(2), "mean_squared_error", "sgd").fit((X, far), verbose=False)


def test_samples_that_are_read_later_are_not_cut_either():
    class Far(bm.Source):
        shape, dtype = (12, 3), np.dtype("float64")

        def read(self, indices, out):
            out[...] = 1e300

    with pytest.raises(DataError, match=r"1e\+300"):
        trainer().fit((Far(), Y), verbose=False)


@pytest.mark.parametrize("use", USES)
def test_a_label_beyond_int64_is_shown_as_it_is(use):
    labels = Y.astype("uint64")
    labels[3] = 2**63 + 1
    with pytest.raises(DataError, match="9223372036854775809"):
        USES[use](X, labels)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int16", "uint32", "int32", "uint64", ">i4"])
@pytest.mark.parametrize("loss", ["cross_entropy", "hinge"])
def test_labels_of_every_integer_type_and_truth_values(loss, dtype):
    def losses(labels: np.ndarray) -> Any:
        made = bm.Trainer(bm.layers.Dense(2), loss, "sgd", ["accuracy"])
        made.fit((X, labels), verbose=False, validation=(X, labels))
        return made.history.last["loss"], made.evaluate((X, labels))

    assert losses(Y.astype(dtype)) == losses(Y)


def test_states_beyond_their_type_are_refused_and_change_nothing():
    model = bm.layers.Dense(2)
    model(X)
    before = model.state()
    far = {path: array.astype("float64") for path, array in before.items()}
    far["weight"][2, 1] = 1e300
    with pytest.raises(DataError, match=r"weight: the state has 1e\+300"):
        model.load_state(far)
    made = step()
    made(X, Y)
    kept = made.state()
    with pytest.raises(DataError, match=r"weight.*1e\+300"):
        made.load_state({**kept, "weight": far["weight"]}, 1)
    with pytest.raises(ShapeError, match="weight"):
        made.load_state({**kept, "weight": np.zeros((1, 1))}, 1)
    for path, array in made.state().items():
        np.testing.assert_array_equal(array, kept[path])
    for path, array in model.state().items():
        np.testing.assert_array_equal(array, before[path])


def test_a_single_number_stays_one():
    assert as_array(2.5, "input").shape == ()
    assert cast(np.float64(2.5), "float32", "input").shape == ()


# Wrong types for the parts of a trainer --------------------------------------------------------------------


def test_a_module_of_pytorch_is_told_the_way(torch):
    for make in (bm.Trainer, bm.compile):
        with pytest.raises(UsageError, match="torch.onnx.export"):
            make(torch.nn.Linear(3, 2), "cross_entropy", "sgd")


@pytest.mark.parametrize("model", [bm.layers.Dense, 3, None, len, [bm.layers.Dense(2)]], ids=repr)
def test_what_is_no_model_is_refused(model):
    for make in (bm.Trainer, bm.compile, lambda *parts: bm.value_and_grad(*parts[:2])):
        with pytest.raises(UsageError, match="expected a layer"):
            make(model, "cross_entropy", "sgd")


@pytest.mark.parametrize(
    "odd", [3, len, object(), np.zeros(2)], ids=["number", "function", "object", "array"]
)
@pytest.mark.parametrize("part", ["loss", "optimizer", "metrics", "callbacks"])
def test_what_is_no_part_of_a_trainer_is_refused(part, odd):
    parts = {"loss": "cross_entropy", "optimizer": "sgd", part: odd}
    with pytest.raises(UsageError, match=f"is not an? {part.removesuffix('s') if part != 'loss' else part}"):
        bm.Trainer(bm.layers.Dense(2), **parts)


@pytest.mark.parametrize("part", ["metrics", "callbacks"])
def test_one_metric_or_callback_needs_no_list(part):
    name = {"metrics": "accuracy", "callbacks": "early_stopping"}[part]
    instance = {"metrics": bm.metrics.Accuracy, "callbacks": bm.callbacks.EarlyStopping}[part]()
    for one in (name, instance):
        made = trainer(**{"metrics": [], "callbacks": [], part: one})
        assert [type(item) for item in getattr(made, part)] == [type(instance)]


# Data sets --------------------------------------------------------------------------------------------------


def test_data_keep_no_number_that_their_type_cannot_hold():
    wide, few = np.full((4, 2), 1e300), bm.Split(np.ones((4, 2)), np.array([0, 1, 0, 1]))
    with pytest.raises(DataError, match=r"far/train.*input has 1e\+300"):
        bm.Data("far", bm.Split(wide, few.y), few)
    with pytest.raises(DataError, match=r"far/test.*target has 1e\+300"):
        bm.Data("far", bm.Split(few.x, few.x), bm.Split(few.x, wide), task="regression")
    big = np.array([0, 1, 0, 2**63 + 1], "uint64")
    with pytest.raises(DataError, match="9223372036854775809"):
        bm.Data("big", bm.Split(few.x, big), few)
    tokens = bm.Split(np.ones((4, 2), "uint64"), few.y)
    with pytest.raises(DataError, match="input has 9223372036854775809"):
        bm.Data("big", bm.Split(np.full((4, 2), 2**63 + 1, "uint64"), few.y), tokens)


def test_a_split_of_ragged_lists_is_refused():
    with pytest.raises(DataError, match="samples is not an array: its rows differ"):
        bm.Split([[1.0, 2.0], [3.0]], np.array([0, 1]))
    with pytest.raises(DataError, match="target is not an array"):
        bm.Split(np.ones((2, 2)), [[1], [2, 3]])


@pytest.mark.parametrize(("option", "value"), [("seed", "a"), ("seed", 0.5), ("seed", None), ("device", 3)])
def test_seeds_and_devices_are_checked(option, value):
    with pytest.raises(BigmodelError, match=f"{option} is|no {option}"):
        trainer(**{option: value}).fit((X, Y), verbose=False)
