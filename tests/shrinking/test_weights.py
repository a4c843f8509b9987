"""Pruning of single weights: the smallest become zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm


@pytest.fixture(scope="module")
def model() -> Any:
    found = bm.Sequential(bm.layers.Dense(8, activation="relu"), bm.layers.Dense(3))
    found.build(bm.Spec(("N", 4)), seed=3)
    return found


def test_the_smallest_weights_of_each_layer_become_zeros(model: Any) -> None:
    before, after = model.state(), bm.prune(model, 0.5).state()
    for path in ("dense_1/weight", "dense_2/weight"):
        size = np.abs(before[path])
        expected = np.where(size > np.sort(size, axis=None)[size.size // 2 - 1], before[path], 0)
        np.testing.assert_array_equal(after[path], expected)


def test_globally_the_smallest_of_all_weights_become_zeros(model: Any) -> None:
    before, after = model.state(), bm.prune(model, 0.5, scope="global").state()
    paths = ("dense_1/weight", "dense_2/weight")
    limit = np.median(np.abs(np.concatenate([before[path].reshape(-1) for path in paths])))
    for path in paths:
        np.testing.assert_array_equal(after[path] == 0, np.abs(before[path]) < limit)


def test_biases_and_other_layers_stay(model: Any) -> None:
    before, after = model.state(), bm.prune(model, 0.5, only="dense_2").state()
    changed = [path for path in before if (before[path] != after[path]).any()]
    assert changed == ["dense_2/weight"]
