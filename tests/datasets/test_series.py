"""Series of several columns, with a horizon, dates, gaps, and several series in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_core.testing import checks_for
from bigmodel_core.testing.checks import run_checks
from bigmodel_datasets import Series

GENERATOR = np.random.default_rng(0)
LOAD = GENERATOR.normal(500, 30, 60).round(2)
WARMTH = GENERATOR.normal(15, 4, 60).round(2)
HOLIDAY = GENERATOR.integers(0, 2, 60)


def month(row: int) -> str:
    return f"{2000 + row // 12}-{row % 12 + 1:02}"


def written(path: Path, lines: list[str], header: str = "month,load,warmth,holiday") -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def rows(count: int = 60) -> list[str]:
    return [f"{month(row)},{LOAD[row]},{WARMTH[row]},{HOLIDAY[row]}" for row in range(count)]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return written(tmp_path / "load.csv", rows())


def test_targets_of_a_horizon_are_the_next_values(table: Path) -> None:
    data = Series(column="load", length=6, horizon=3, test_fraction=0.25).load(table)
    assert data.test.truth.shape == (13, 3)  # a quarter of 52 windows
    expected = np.lib.stride_tricks.sliding_window_view(LOAD[6:], 3)[-13:]
    np.testing.assert_allclose(data.test.truth, expected, atol=1e-3)


def test_no_training_sample_reaches_into_the_targets_of_the_test(table: Path) -> None:
    data = Series(column="load", length=6, horizon=3, test_fraction=0.25).load(table)
    np.testing.assert_allclose(data.train.truth[-1], LOAD[60 - 15 - 3 : 60 - 15], atol=1e-3)
    seen = LOAD[: 60 - 15]
    assert data.preprocessing.mean == pytest.approx((seen.mean(),))
    assert data.preprocessing.std == pytest.approx((seen.std(),))


def test_columns_are_scaled_each_and_targets_come_first(table: Path) -> None:
    options: dict[str, Any] = {"columns": ("warmth", "load"), "target": ("load",)}
    data = Series(**options, length=6, test_fraction=0.25).load(table)
    scaled = [
        (column - column[:46].mean()) / column[:46].std() for column in (LOAD, WARMTH)
    ]  # 60 rows, 14 test windows
    np.testing.assert_allclose(data.train.x[3], np.stack(scaled, 1)[3:9], atol=1e-5)
    np.testing.assert_allclose(data.train.y[:, 0], scaled[0][6:46], atol=1e-5)
    raw = np.stack([LOAD, WARMTH], 1)[np.newaxis, :6]
    np.testing.assert_allclose(data.preprocessing.apply(raw), data.train.x[:1], atol=1e-5)


def test_several_targets_keep_their_units(table: Path) -> None:
    data = Series(columns=("load", "warmth"), length=6, horizon=2).load(table)
    assert data.train.y.shape[1:] == (2, 2)
    np.testing.assert_allclose(data.train.truth[0], [[LOAD[6], WARMTH[6]], [LOAD[7], WARMTH[7]]], rtol=1e-5)


def test_what_is_known_in_advance_is_shown_ahead(table: Path) -> None:
    data = Series(target=("load",), known=("holiday",), length=6, horizon=4).load(table)
    raw = data.preprocessing.invert(data.train.x)
    np.testing.assert_allclose(raw[5, :, 1], HOLIDAY[5:11], atol=1e-5)
    np.testing.assert_allclose(raw[5, :, 2], HOLIDAY[9:15], atol=1e-5)


def test_rows_of_the_future_are_no_samples(tmp_path: Path) -> None:
    future = [f"{month(row)},,,{row % 2}" for row in range(60, 64)]
    path = written(tmp_path / "s.csv", rows() + future)
    dataset = Series(target=("load",), known=("holiday",), length=6, horizon=4)
    data = dataset.load(path)
    np.testing.assert_allclose(data.test.truth[-1], LOAD[-4:], rtol=1e-6)
    (line,) = dataset.timelines(path, data.encoding)
    assert line.known is not None and len(line) == 60
    np.testing.assert_array_equal(line.last()[-4:, 2], [0, 1, 0, 1])


def test_a_calendar_is_sine_and_cosine(table: Path) -> None:
    data = Series(column="load", date="month", length=12).load(table)
    raw = data.preprocessing.invert(data.train.x[:1])[0]
    angle = 2 * np.pi * np.arange(12) / 12
    np.testing.assert_allclose(raw[:, 1:], np.stack([np.sin(angle), np.cos(angle)], 1), atol=1e-6)
    assert data.made_by.calendar == ("month",) and data.made_by.step == "1 month"


@pytest.mark.parametrize(
    ("first", "second", "calendar", "beyond"),
    [
        ("2024-01-31 18:00", "2024-01-31 19:00", ("hour", "weekday", "month"), "2024-01-31 20:00:00"),
        ("2024-02-28", "2024-02-29", ("weekday", "month"), "2024-03-01"),
        ("2024/02/20", "2024/02/27", ("month",), "2024-03-05"),
        ("1970 Q3", "1970 Q4", ("month",), "1971 Q1"),
        ("2024-01-31", "2024-02-29", ("month",), "2024-03-31"),
        ("1999", "2000", (), "2001"),
    ],
)
def test_dates_go_on(first: str, second: str, calendar: tuple[str, ...], beyond: str) -> None:
    from bigmodel_datasets.dates import read_dates

    dates = read_dates([("", first), ("", second)])
    assert (dates.usual_kinds(), dates.text(2)) == (calendar, beyond)


def test_windows_do_not_cross_series(tmp_path: Path) -> None:
    values = {"north": np.arange(30.0), "south": 1000 + np.arange(40.0)}
    lines = [f"{name},{value}" for name, column in values.items() for value in column]
    path = written(tmp_path / "s.csv", lines, "place,value")
    data = Series(column="value", by="place", length=5, horizon=2).load(path)
    for split in (data.train, data.test):
        whole = np.concatenate([data.preprocessing.invert(split.x)[..., 0], split.truth], 1)
        np.testing.assert_allclose(np.diff(whole, axis=1), 1, atol=1e-3)
        is_south = split.columns["place"] == "south"
        np.testing.assert_array_equal(whole.min(1) > 500, is_south)


def test_the_last_samples_are_the_latest_of_each_series(tmp_path: Path) -> None:
    lines = [f"{name},{row}" for name in "abc" for row in range(30)]
    path = written(tmp_path / "s.csv", lines, "place,value")
    data = Series(column="value", by="place", length=5).load(path).split_validation(0.2)
    assert data.validation is not None
    assert set(data.validation.columns["place"]) == set("abc")
    assert data.train.truth.max() < data.preprocessing.invert(data.validation.x).min() + 5


def test_gaps_are_filled_along_a_line_and_that_is_said(tmp_path: Path) -> None:
    lines = [str(value) for value in range(40)]
    lines[10] = lines[11] = "NA"
    path = written(tmp_path / "s.csv", lines, "value")
    data = Series(length=5, gaps="fill").load(path)
    np.testing.assert_allclose(data.train.truth[:10, 0], np.arange(5, 15), atol=1e-4)
    assert data.notes == ("2 gaps are filled along a straight line in value, the first in line 12.",)


def test_other_data_are_scaled_as_in_training(table: Path, tmp_path: Path) -> None:
    data = Series(columns=("load", "warmth"), date="month", length=6, horizon=2).load(table)
    other = written(tmp_path / "o.csv", [line.replace("200", "201") for line in rows(40)])
    again = bm.datasets.load("series", other, like=data)
    assert again.preprocessing == data.preprocessing
    np.testing.assert_array_equal(again.train.x[0], data.train.x[0])


def test_a_series_never_seen_is_named(tmp_path: Path) -> None:
    def file(names: str) -> Path:
        lines = [f"{name},{row}" for name in names for row in range(30)]
        return written(tmp_path / f"{names}.csv", lines, "place,value")

    data = Series(column="value", by="place", length=5).load(file("ab"))
    again = bm.datasets.load("series", file("bc"), like=data)
    assert again.notes == ("1 series the model was not trained on (c) is forecast as the others are.",)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"horizon": 90}, r"60 values give 0 windows of 6 with 90 values after each, too few"),
        ({5: "2000-06,,1,0"}, {}, r"line 7, column 2 \(load\): the cell is empty"),
        ({5: "2000-06,NaN,1,0"}, {}, r"line 7, column 2 \(load\): 'NaN' is a gap"),
        ({5: "2000-05,1,1,0"}, {"date": "month"}, r"line 7, column 1 \(month\): '2000-05' is there twice"),
        ({5: "1999-05,1,1,0"}, {"date": "month"}, "'1999-05' comes after '2000-05'"),
        ({59: "2005-02,1,1,0"}, {"date": "month"}, "'2005-02' follows '2004-11', and most dates are 1 month"),
        ({5: "May,1,1,0"}, {"date": "month"}, r"line 7, column 1 \(month\): 'May' is no date"),
        ({}, {"known": ("load",)}, "load is used for two things"),
        ({}, {"date": "day"}, "no column is called 'day'"),
        ({}, {"by": "month"}, "2000-01: 1 values give 0 windows"),
    ],
)
def test_what_cannot_be_used_is_refused(
    tmp_path: Path, change: dict[int, str], options: dict[str, Any], message: str
) -> None:
    lines = [change.get(number, line) for number, line in enumerate(rows())]
    path = written(tmp_path / "s.csv", lines)
    with pytest.raises((DataError, ConfigError), match=message):
        Series(**{"column": "load", "length": 6, **options}).load(path)


@pytest.mark.parametrize(
    "options",
    [
        {"horizon": 0}, {"gaps": "guess"}, {"calendar": ("moon",)}, {"season": 24, "length": 12},
        {"known": ("a",), "horizon": 9, "length": 5},
    ],
)  # fmt: skip
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Series(**options)


def test_dates_of_another_step_are_refused(table: Path, tmp_path: Path) -> None:
    data = Series(column="load", date="month", length=6).load(table)
    lines = [f"{1950 + row},{LOAD[row]},1,1" for row in range(40)]
    other = written(tmp_path / "o.csv", lines)
    with pytest.raises(DataError, match="its dates are 1 year apart, expected 1 month as in training"):
        bm.datasets.load("series", other, like=data)


def test_the_kit_accepts_series_with_all_options(table: Path) -> None:
    dataset = Series(
        columns=("load", "warmth"), known=("holiday",), date="month", length=6, horizon=2, season=6
    )
    assert run_checks(checks_for(dataset, data_dir=table)).count("failed") == 0
