"""Folds: every training sample is held out once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError


def numbered(n: int = 50, classes: int = 3, **more: Any) -> bm.Data:
    """Samples that are their own numbers; class 0 is as frequent as all others together."""
    y = np.where(np.arange(n) % 2 == 0, 0, 1 + np.arange(n) % (classes - 1))
    columns = {"who": np.array([f"p{number % 7}" for number in range(n)])}
    train = bm.Split(np.arange(n, dtype="float32")[:, None], y, columns=columns, **more)
    return bm.Data("numbered", train, train)


def held_out(folds: list[bm.Data]) -> list[list[int]]:
    return [fold.validation.x[:, 0].astype(int).tolist() for fold in folds if fold.validation is not None]


def test_each_sample_is_held_out_once_and_trained_on_otherwise() -> None:
    folds = bm.folds(numbered(), 4)
    assert sorted(number for part in held_out(folds) for number in part) == list(range(50))
    for fold, out in zip(folds, held_out(folds), strict=True):
        assert sorted([*fold.train.x[:, 0].astype(int).tolist(), *out]) == list(range(50))


def test_folds_are_of_one_size_and_have_their_share_of_each_class() -> None:
    folds = bm.folds(numbered(), 4)
    counts = np.array([np.bincount(fold.validation.y, minlength=3) for fold in folds if fold.validation])
    assert np.ptp(counts, axis=0).max() <= 1 and np.ptp(counts.sum(1)) <= 1


def test_another_seed_gives_other_folds_and_the_same_seed_the_same() -> None:
    assert held_out(bm.folds(numbered(), 4)) == held_out(bm.folds(numbered(), 4))
    assert held_out(bm.folds(numbered(), 4)) != held_out(bm.folds(numbered(), 4, seed=1))


def test_what_shares_a_cell_is_held_out_together() -> None:
    parts = held_out(bm.folds(numbered(), 3, groups="who"))
    groups = [{number % 7 for number in part} for part in parts]
    assert sum(map(len, groups)) == 7 and set.union(*groups) == set(range(7))
    assert sorted(map(len, groups)) == [2, 2, 3]


def test_numbers_to_predict_have_folds_too() -> None:
    x = np.arange(20, dtype="float32")[:, None]
    data = bm.Data("line", bm.Split(x, x[:, 0]), bm.Split(x, x[:, 0]), task="regression")
    assert [len(part) for part in held_out(bm.folds(data, 3))] == [7, 7, 6]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"count": 1}, ConfigError, "1 folds"),
        ({"count": 51}, DataError, "50 samples are too few for 51 folds"),
        ({"count": 3, "groups": "town"}, ConfigError, "no column 'town'.*there are: who"),
        ({"count": 8, "groups": "who"}, DataError, "7 groups, too few for 8 folds"),
    ],
    ids=["one", "many", "column", "groups"],
)
def test_folds_that_cannot_be_are_errors(options: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        bm.folds(numbered(), **options)


def test_samples_in_an_order_have_no_folds() -> None:
    with pytest.raises(DataError, match="follow each other"):
        bm.folds(numbered(reach=2), 3)
