"""Split and Data: what they accept, what they make of it, and what they refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bigmodel_core.data.data import Data
from bigmodel_core.data.loader import Loader
from bigmodel_core.data.preprocessing import Preprocessing
from bigmodel_core.data.split import Split
from bigmodel_core.errors import BigmodelError, ConfigError, DataError


def classification(n: int = 10, **options) -> Data:
    x = np.arange(n * 2, dtype=np.float64).reshape(n, 2)
    split = Split(x, np.arange(n) % 2)
    return Data(**{"name": "toy", "train": split, "test": split, **options})


def test_split_counts_its_samples():
    assert len(Split(np.zeros((7, 3)))) == 7


def test_split_takes_samples_and_targets_together():
    split = Split(np.arange(8).reshape(4, 2), np.array([10, 11, 12, 13])).take(np.array([3, 1]))
    assert split.x.tolist() == [[6, 7], [2, 3]]
    assert split.y.tolist() == [13, 11]


@pytest.mark.parametrize(("x", "y"), [(3.0, None), (np.zeros((3, 1)), np.zeros(2)), (np.zeros((3, 1)), 1)])
def test_split_refuses_what_has_no_sample_axis_or_another_length(x, y):
    with pytest.raises(DataError, match="Split|single number"):
        Split(x, y)


def test_an_empty_split_can_be_made():
    assert len(Split(np.zeros((0, 3)), np.zeros(0))) == 0


def test_data_makes_x_contiguous_float32():
    x = np.asfortranarray(np.arange(12.0).reshape(4, 3))
    data = Data("toy", Split(x, np.zeros(4, int)), Split(x, np.zeros(4, int)))
    assert data.train.x.dtype == np.float32
    assert data.train.x.flags.c_contiguous
    assert np.array_equal(data.train.x, x)


def test_data_does_not_copy_x_that_is_already_right():
    x = np.zeros((4, 3), np.float32)
    assert np.shares_memory(Data("toy", Split(x), Split(x)).train.x, x)


def test_data_keeps_integer_samples_as_int64():
    tokens = np.array([[1, 2], [3, 4]], np.int32)
    assert Data("toy", Split(tokens), Split(tokens)).train.x.dtype == np.int64


def test_labels_become_int64():
    assert classification().train.y.dtype == np.int64


def test_a_vector_of_regression_targets_becomes_a_column():
    split = Split(np.zeros((3, 1)), np.array([1.0, 2.0, 3.0]))
    y = Data("toy", split, split, task="regression").test.y
    assert (y.shape, y.dtype) == ((3, 1), np.float32)


@pytest.mark.parametrize(
    ("options", "classes"),
    [
        ({}, 2),
        ({"labels": ("a", "b", "c")}, 3),
        ({"task": "binary"}, 2),
        ({"task": "regression"}, None),
    ],
)
def test_number_of_classes(options, classes):
    assert classification(**options).classes == classes


@pytest.mark.parametrize(
    "options",
    [
        {"test": Split(np.zeros((0, 2)), np.zeros(0, int))},
        {"test": Split(np.zeros((2, 3)), np.zeros(2, int))},
        {"test": Split(np.zeros((2, 2)), np.array([0, -1]))},
        {"test": Split(np.zeros((2, 2)), np.array([0, 2])), "labels": ("a", "b")},
        {"test": Split(np.zeros((2, 2)), np.array([0, 2])), "task": "binary"},
        {"test": Split(np.zeros((2, 2)), np.array([0.0, 1.0]))},
        {"test": Split(np.zeros((2, 2)), np.array(["a", "b"])), "task": "regression"},
        {"test": Split(np.array([["a", "b"]]), np.array([0]))},
    ],
)
def test_data_refuses_a_bad_split_and_names_it(options):
    with pytest.raises(DataError, match="^toy/test: "):
        classification(**options)


def test_data_refuses_an_unknown_task():
    with pytest.raises(ConfigError, match="classification, binary, multilabel, regression"):
        classification(task="clustering")


def test_split_validation_parts_the_training_samples():
    data = classification(20)
    parted = data.split_validation(0.25, seed=3)
    together = np.concatenate([parted.train.x, parted.validation.x])
    assert len(parted.validation) == 5
    assert np.array_equal(np.sort(together, axis=0), data.train.x)
    assert np.array_equal(parted.test.x, data.test.x)


def test_split_validation_depends_on_its_seed_alone():
    data = classification(50)
    first, same, other = (data.split_validation(0.2, seed).validation.x for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_split_validation_twice_is_refused():
    with pytest.raises(ConfigError, match="already"):
        classification().split_validation(0.2).split_validation(0.2)


def test_summary_is_json_and_complete():
    preprocessing = Preprocessing(raw_shape=(2,))
    data = classification(labels=("no", "yes"), preprocessing=preprocessing, source="made here")
    summary = json.loads(json.dumps(data.split_validation(0.2).summary()))
    assert summary["samples"] == {"train": 8, "test": 10, "validation": 2}
    assert summary["labels"] == ["no", "yes"]
    assert summary["input_shape"] == [2]
    assert Preprocessing.from_dict(summary["preprocessing"]) == preprocessing


def test_errors_of_this_module_have_one_root():
    with pytest.raises(BigmodelError):
        Split(np.zeros(3), np.zeros(4))


def test_weights_are_passed_by_name_and_come_with_each_batch():
    x, weight = np.arange(10.0).reshape(5, 2), np.arange(5.0)
    with pytest.raises(DataError, match="weights by name"):
        Split(x, np.arange(5), weight)
    split = Split(x, np.arange(5), weight=weight)
    for seed in (None, 3):
        for part, label, own in Loader(split, 2, shuffle_seed=seed):
            np.testing.assert_array_equal(own, label)
            np.testing.assert_array_equal(part[:, 0], 2 * label)
