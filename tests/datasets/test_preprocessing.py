"""Preprocessing: the steps, their checks and their description."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bigmodel_core.data.preprocessing import Preprocessing
from bigmodel_core.errors import ConfigError, DtypeError, ShapeError

RGB = Preprocessing(1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "uint8", (3, 4, 5))


@given(hnp.arrays(np.uint8, st.tuples(st.integers(0, 300), st.just(3), st.just(4), st.just(5))))
def test_channels_are_normalised_as_in_float64(raw):
    mean, std = (np.array(values).reshape(3, 1, 1) for values in (RGB.mean, RGB.std))
    expected = (raw.astype(np.float64) / 255 - mean) / std
    result = RGB.apply(raw)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_features_are_normalised_one_by_one():
    raw = np.array([[1.0, 10.0], [3.0, 30.0]])
    result = Preprocessing(mean=(2.0, 20.0), std=(1.0, 10.0), raw_shape=(2,)).apply(raw)
    assert result.tolist() == [[-1, -1], [1, 1]]


def test_steps_are_scale_then_mean_then_std_in_float32():
    preprocessing = Preprocessing(1 / 255, (0.1307,), (0.3081,), "uint8", (256,))
    raw = np.arange(256, dtype=np.uint8)[np.newaxis]
    one = np.float32
    expected = (raw.astype(one) * one(1 / 255) - one(0.1307)) / one(0.3081)
    assert np.array_equal(preprocessing.apply(raw), expected)


def test_raw_input_is_not_changed():
    raw = np.ones((2, 3), np.float32)
    Preprocessing(scale=2.0, raw_shape=(3,)).apply(raw)
    assert np.array_equal(raw, np.ones((2, 3)))


@pytest.mark.parametrize("shape", [(), (3, 4, 5), (2, 4, 5), (1, 3, 5, 4), (0,)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ShapeError, match=r"\(n, 3, 4, 5\)"):
        RGB.apply(np.zeros(shape, np.uint8))


def test_integers_in_range_are_taken_for_bytes():
    raw = np.full((1, 3, 4, 5), 255)
    assert np.array_equal(RGB.apply(raw), RGB.apply(raw.astype(np.uint8)))


@pytest.mark.parametrize("value", [np.float32(0.5), np.int64(256), np.int64(-1)])
def test_values_that_are_no_bytes_are_refused(value):
    with pytest.raises(DtypeError, match="uint8"):
        RGB.apply(np.full((1, 3, 4, 5), value))


def test_words_are_refused():
    with pytest.raises(DtypeError):
        Preprocessing(raw_shape=(1,)).apply(np.array([["a"]]))


@pytest.mark.parametrize(
    "fields",
    [
        {"std": (0.0,)},
        {"std": (-1.0,)},
        {"std": (1e-60,)},
        {"mean": (float("nan"),)},
        {"scale": float("inf")},
        {"scale": 1e60},
        {"mean": (1.0, 2.0), "raw_shape": (3,)},
        {"raw_dtype": "complex64"},
    ],
)
def test_values_without_sense_are_refused(fields):
    with pytest.raises(ConfigError):
        Preprocessing(**fields)


def test_description_survives_json():
    assert Preprocessing.from_dict(json.loads(json.dumps(RGB.to_dict()))) == RGB


@pytest.mark.parametrize("values", [{"unknown": 1}, {"scale": "a"}, {"scale": None}, {"raw_dtype": 3}])
def test_a_damaged_description_is_refused(values):
    with pytest.raises(ConfigError):
        Preprocessing.from_dict(values)
