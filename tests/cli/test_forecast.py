"""`bigmodel forecast`: the table, the files, the chart, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from .conftest import run_all, run_here

ROWS = [f"{1990 + row // 12}-{row % 12 + 1:02},{100 + 30 * np.sin(row / 4):.3f}" for row in range(100)]
DATA = "series:target=level,date=month,length=12,horizon=4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of a series."""
    folder = tmp_path_factory.mktemp("forecast")
    (folder / "level.csv").write_text("\n".join(["month,level", *ROWS]) + "\n")
    train = ("train", "rnn-regressor", "--set", "units=4", "--data", DATA, "--data-dir", "level.csv")
    run_all(folder, (*train, "--epochs", 1, "--validation", 0))
    return folder


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_the_table_has_the_horizon_with_dates() -> None:
    result = run_here("forecast")
    assert result.code == 0, result.err
    assert [line.split()[0] for line in result.out.splitlines()] == [
        "Date", "1998-05", "1998-06", "1998-07", "1998-08",
    ]  # fmt: skip


def test_json_has_the_numbers_of_the_table() -> None:
    rows = run_here("forecast", "--steps", 6, "--json").json["rows"]
    lines = run_here("forecast", "--steps", 6).out.splitlines()[-6:]
    assert [[row["date"], f"{row['level']:.6g}"] for row in rows] == [line.split() for line in lines]


def test_files_hold_table_and_chart() -> None:
    result = run_here("forecast", "--steps", 2, "--out", "f.csv", "--plot", "f.svg")
    assert "2 rows written to f.csv" in result.out and "Drawn in f.svg" in result.out
    with open("f.csv", newline="") as file:
        assert [row["date"] for row in csv.DictReader(file)] == ["1998-05", "1998-06"]
    assert "steps after 1998-04" in Path("f.svg").read_text()


def test_another_file_goes_on_from_its_own_end() -> None:
    Path("other.csv").write_text("\n".join(["month,level", *ROWS[:40]]) + "\n")
    assert run_here("forecast", "--data-dir", "other.csv", "--json").json["rows"][0]["date"] == "1993-05"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--steps", 0), 2, "--steps"),
        (("--plot", "f.png"), 2, "cannot be written as '.png'"),
        (("--out", "f.txt"), 2, "cannot be written as '.txt'"),
        (("--out", "there/f.csv"), 2, "no folder there"),
        (("--data-dir", "short.csv"), 1, "there are 9 values, and the model looks at 12"),
        (("--data-dir", "missing.csv"), 1, "missing.csv"),
    ],
)
def test_wrong_usage_and_bad_files_are_refused(
    arguments: tuple[object, ...], code: int, message: str
) -> None:
    Path("short.csv").write_text("\n".join(["month,level", *ROWS[:9]]) + "\n")
    result = run_here("forecast", *arguments)
    assert (result.code, message in result.err) == (code, True), result.err


def test_a_file_for_onnx_runtime_is_measured_and_makes_no_forecast() -> None:
    assert run_here("export", "level.onnx", "--quiet").code == 0
    result = run_here("forecast", "level.onnx")
    assert run_here("evaluate", "level.onnx", "--data-dir", "level.csv", "--json").json["compared"][0][
        "mae"
    ] == pytest.approx(run_here("evaluate", "--json").json["compared"][0]["mae"])
    assert result.code == 2 and "does not go on from its own forecasts" in result.err


def test_a_model_is_measured_beside_simple_forecasts() -> None:
    facts = run_here("evaluate", "--json").json
    assert [row["name"] for row in facts["compared"]] == ["the model", "naive", "linear autoregression"]
    assert facts["compared"][0]["mae"] == pytest.approx(facts["metrics"]["mean_absolute_error"])
    assert "linear autoregression" in run_here("evaluate").out


def test_a_run_keeps_what_it_was_compared_with(folder: Path) -> None:
    (manifest,) = folder.glob("runs/*/run.json")
    assert [row["name"] for row in json.loads(manifest.read_text())["results"]["compared"]][1] == "naive"


def test_a_backtest_has_each_origin_and_each_step() -> None:
    found = run_here("evaluate", "--backtest", 3, "--json").json
    assert np.shape(found["backtest"]["errors"]) == (3, 4)
    assert found["backtest"]["origins"][-1] == "1998-01"  # the last four months of the file
    table = run_here("evaluate", "--backtest", 3).out
    assert "1998-01" in table and "\n+4 " in table
    result = run_here("evaluate", "--backtest", 99)
    assert result.code == 2 and "99 origins were asked for" in result.err


def test_quantiles_are_shown_in_forecast_prediction_and_report(folder: Path) -> None:
    model = ("n-beats", "--set", "width=8", "--set", "blocks=1", "--set", "layers=1", "--loss", "quantile")
    run_all(folder, ("train", *model, "--data", DATA, "--data-dir", "level.csv", "--epochs", 1, "--out", "q"))
    assert run_here("forecast", "q").out.splitlines()[0].split("  ")[-1].strip() == "level 90 %"
    mae = run_here("evaluate", "q", "--json").json["metrics"]["mean_absolute_error"]
    said = run_here("predict", "q", "--data", DATA, "--data-dir", "level.csv", "--json").json
    assert said["mean_absolute_error"] == pytest.approx(mae)
    assert run_here("report", "q").code == 0
