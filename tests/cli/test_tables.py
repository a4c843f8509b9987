"""Tables from the shell: what is printed of columns, and rows predicted as they are."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from .conftest import Command, run_all

TRAIN = ("train", "logistic-regression", "--data", "csv", "--data-dir", "rows.csv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, a run on it, and its model as a file that takes rows as they are."""
    folder = tmp_path_factory.mktemp("rows")
    random = np.random.default_rng(0)
    rows = ["size,job,kind\n"]
    for number in range(120):
        job = ("clerk", "cook", "nurse")[number % 3]
        size = "" if number % 11 == 0 else f"{random.normal():.3f}"
        rows.append(f"{size},{job},{'high' if job == 'cook' else 'low'}\n")
    (folder / "rows.csv").write_text("".join(rows))
    run_all(
        folder,
        (
            "train",
            "logistic-regression",
            "--data",
            "csv",
            "--data-dir",
            "rows.csv",
            "--epochs",
            "30",
            "--out",
            "run",
        ),
        ("export", "raw.onnx", "--run", "run", "--with-preprocessing"),
        ("export", "plain.onnx", "--run", "run"),
    )
    return folder


@pytest.fixture
def typed(bigmodel: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Commands in the folder of the run."""
    monkeypatch.chdir(folder)
    return bigmodel


@pytest.mark.parametrize("model", ["run", "raw.onnx", "plain.onnx"])
def test_rows_with_gaps_and_words_are_predicted(typed: Command, model: str) -> None:
    Path("new.csv").write_text("job,other,size\ncook,1,\npilot,2,0.5\nclerk,3,NA\n")
    found = typed("predict", model, "new.csv", "--json").json
    assert [item["input"] for item in found] == ["new.csv:2", "new.csv:3", "new.csv:4"]
    assert [found[place]["label"] for place in (0, 2)] == ["high", "low"]
    same = typed("predict", "run", "new.csv", "--json").json
    assert [item["probability"] for item in found] == pytest.approx(
        [item["probability"] for item in same], abs=1e-5
    )


def test_what_was_found_in_the_columns_is_printed(typed: Command) -> None:
    done = typed(
        "train",
        "logistic-regression",
        "--data",
        "csv",
        "--data-dir",
        "rows.csv",
        "--epochs",
        "1",
        "--out",
        "again",
    )
    assert "1 number: size (gaps filled with" in done.out and "1 category: job (3 values)" in done.out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size\n1\n", "the first row lacks job"),
        ("size,job,job\n1,cook,cook\n", "the first row has twice job"),
        ("size,job\n1,cook\n2\n", "line 3: 1 cells, expected 2"),
        ("size,job\nbig,cook\n", "line 2, column size: 'big' is not a finite number"),
        ("size,job\n", "the table has no rows"),
    ],
)
def test_rows_that_do_not_fit_are_refused(typed: Command, text: str, message: str) -> None:
    Path("odd.csv").write_text(text)
    done = typed("predict", "raw.onnx", "odd.csv")
    assert done.code == 1 and message in done.err


def test_a_file_of_rows_takes_no_data_set(typed: Command) -> None:
    done = typed("predict", "raw.onnx", "--data", "csv", "--data-dir", "rows.csv")
    assert done.code == 2 and "pass the table itself" in done.err


def test_codes_are_explained_by_the_names_of_their_columns(typed: Command) -> None:
    data = ("--data", "csv", "--data-dir", "rows.csv", "--epochs", "8")
    small = ("--set", "widths=8", "--set", "dropout=0", "--set", "waves=0")
    assert typed("train", "tabular-mlp", *small, *data, "--out", "coded").code == 0
    done = typed("explain", "coded", "--method", "integrated-gradients", "--json")
    assert done.code == 0, done.err
    text = typed("explain", "coded", "--method", "integrated-gradients").out
    assert re.search(r"^job +-?[0-9.]+", text, re.MULTILINE) and "size is missing" in text


def test_a_model_of_tables_learns_numbers_without_another_option(typed: Command) -> None:
    Path("sizes.csv").write_text(
        "job,size\n" + "".join(f"{'ab'[n % 2]},{n % 2 + n / 999}\n" for n in range(100))
    )
    data = ("--data", "csv:target=size", "--data-dir", "sizes.csv", "--epochs", "2")
    done = typed("train", "tabular-mlp", *data, "--out", "sizes", "--json")
    assert done.code == 0, done.err
    assert "r2" in done.json["test"]


def test_few_rows_are_seen_more_often_unless_epochs_are_given(typed: Command) -> None:
    Path("few.csv").write_text(
        "job,size\n" + "".join(f"{'ab'[n % 2]},{n % 2 + n / 999}\n" for n in range(100))
    )
    small = ("tabular-mlp", "--set", "widths=8", "--data", "csv:target=size", "--data-dir", "few.csv")
    assert len(typed("train", *small, "--out", "many", "--json").json["epochs"]) == 100
    assert len(typed("train", *small, "--epochs", "2", "--out", "two", "--json").json["epochs"]) == 2


def test_no_batch_of_one_sample_is_left(typed: Command) -> None:
    """BatchNorm has no variance of one sample, and the model of tables normalises batches."""
    Path("left.csv").write_text(
        "job,size\n" + "".join(f"{'ab'[n % 2]},{n % 2 + n / 999}\n" for n in range(90))
    )
    data = ("--data", "csv:target=size", "--data-dir", "left.csv", "--epochs", "1", "--batch-size", "64")
    done = typed("train", "tabular-mlp", *data, "--out", "left")
    assert done.code == 0, done.err
    assert "Batches have 65 samples: with 64 the last would have one." in done.out
