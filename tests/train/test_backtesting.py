"""Errors from moving origins, compared with NumPy on the series itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import UsageError

VALUES = (np.arange(80.0) ** 1.5).round(3)
LENGTH, HORIZON, TEST = 6, 3, 14  # a fifth of 72 windows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bm.Data:
    path = tmp_path_factory.mktemp("series") / "s.csv"
    rows = [f"{1900 + row},{value}" for row, value in enumerate(VALUES)]
    path.write_text("\n".join(["year,level", *rows]) + "\n")
    options = {"column": "level", "date": "year", "length": LENGTH, "horizon": HORIZON}
    return bm.datasets.load("series", path, **options)


def test_errors_are_those_of_each_origin_and_step(data: bm.Data) -> None:
    found = bm.backtest(data, data.test, data.test.truth + np.arange(1.0, 4), 4)
    np.testing.assert_allclose(found.errors, np.tile([1.0, 2.0, 3.0], (4, 1)))


def test_the_naive_errors_are_of_the_value_before_the_origin(data: bm.Data) -> None:
    found = bm.backtest(data, data.test, data.test.truth, 2)
    firsts = [80 - HORIZON - (TEST - 1), 80 - HORIZON]
    expected = [np.abs(VALUES[first : first + HORIZON] - VALUES[first - 1]) for first in firsts]
    np.testing.assert_allclose(found.naive, expected, rtol=1e-4)
    assert found.origins == tuple(str(1900 + first) for first in firsts)


def test_origins_of_several_series_are_as_far_from_the_end(tmp_path: Path) -> None:
    rows = [f"{name},{value}" for name, scale in (("a", 1), ("b", 10)) for value in VALUES * scale]
    (tmp_path / "s.csv").write_text("\n".join(["name,level", *rows]) + "\n")
    data = bm.datasets.load(
        "series", tmp_path / "s.csv", column="level", by="name", length=LENGTH, horizon=HORIZON
    )
    found = bm.backtest(data, data.test, data.test.truth, 1)
    assert found.origins == (f"{TEST - 1} before the last",)
    first = 80 - HORIZON - (TEST - 1)
    expected = np.abs(VALUES[first : first + HORIZON] - VALUES[first - 1]) * 11 / 2
    np.testing.assert_allclose(found.naive[0], expected, rtol=1e-4)


def test_more_origins_than_windows_are_refused(data: bm.Data) -> None:
    with pytest.raises(UsageError, match="15 origins were asked for, and there are 14 windows"):
        bm.backtest(data, data.test, data.test.truth, 15)


def test_data_that_are_no_series_are_refused() -> None:
    digits = bm.datasets.load("digits")
    with pytest.raises(UsageError, match="no windows of a series"):
        bm.backtest(digits, digits.test, digits.test.y, 2)
