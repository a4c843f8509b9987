"""A trained model is used with what it was trained with: labels, columns, preprocessing, its data's place."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import Command, run_all, run_here

KINDS = ("ash", "elm", "oak")


def leaves(rows: int = 300, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of a table whose kinds are told apart by two columns of different size."""
    generator = np.random.default_rng(seed)
    return [
        {
            "a": float(10 * (row % 3) + generator.normal()),
            "b": float(0.01 * (row % 2) + 0.001 * generator.normal()),
            "kind": KINDS[row % 3],
        }
        for row in range(rows)
    ]


def write(path: Path, rows: list[dict[str, Any]], columns: tuple[str, ...] = ("a", "b", "kind")) -> Path:
    lines = [",".join(columns), *(",".join(str(row[name]) for name in columns) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def leaf_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, a run on it, and the run exported with and without preprocessing."""
    folder = tmp_path_factory.mktemp("leaves")
    write(folder / "leaves.csv", leaves())
    table = ("--data", "csv", "--data-dir", "leaves.csv")
    run_all(
        folder,
        ("train", "logistic-regression", *table, "--epochs", 20, "--learning-rate", 0.1),
        ("export", "plain.onnx"),
        ("export", "raw.onnx", "--with-preprocessing"),
    )
    return folder


@pytest.fixture
def in_leaves(leaf_run: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(leaf_run)
    return run_here


MODELS = ("logistic-regression-001", "plain.onnx", "raw.onnx")


def accuracy(command: Command, model: str, *more: object) -> float:
    result = command("evaluate", model, "--json", *more)
    assert result.code == 0, result.err
    return float(result.json["metrics"]["accuracy"])


# evaluate -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_fitted_to_the_file_that_is_measured(
    model: str, in_leaves: Command, tmp_path: Path
) -> None:
    shifted = write(tmp_path / "shifted.csv", [{**row, "a": row["a"] + 100} for row in leaves()])
    assert accuracy(in_leaves, model, "--data-dir", "leaves.csv") > 0.95
    found = accuracy(in_leaves, model, "--data-dir", shifted)
    assert found == pytest.approx(1 / 3, abs=0.01)  # all leaves look like the largest kind
    predicted = in_leaves("predict", model, "--data", "csv", "--data-dir", shifted, "--json").json
    assert predicted["accuracy"] == pytest.approx(found)


@pytest.mark.parametrize("model", MODELS)
def test_columns_go_by_name_and_classes_keep_their_numbers(
    model: str, in_leaves: Command, tmp_path: Path
) -> None:
    turned = write(tmp_path / "turned.csv", leaves(), ("kind", "b", "a"))
    assert accuracy(in_leaves, model, "--data-dir", turned) == accuracy(
        in_leaves, model, "--data-dir", "leaves.csv"
    )
    without = write(tmp_path / "without.csv", [row for row in leaves() if row["kind"] != "ash"])
    assert accuracy(in_leaves, model, "--data-dir", without) > 0.95
    single = write(tmp_path / "single.csv", [row for row in leaves() if row["kind"] == "oak"])
    assert accuracy(in_leaves, model, "--data-dir", single) > 0.95
    bare = tmp_path / "bare.csv"
    bare.write_text("\n".join(f"{row['a']},{row['b']},{row['kind']}" for row in leaves()))
    assert accuracy(in_leaves, model, "--data-dir", bare) > 0.95


BROKEN = {
    "a renamed class": (
        [{**row, "kind": row["kind"].replace("oak", "oke")} for row in leaves(30)],
        None,
        "'oke'",
    ),
    "a missing column": (leaves(30), ("a", "kind"), "lacks b"),
    "a column too many": ([{**row, "c": 1} for row in leaves(30)], ("a", "c", "b", "kind"), "also has c"),
    "no target": (leaves(30), ("a", "b"), "no column 'kind' of targets"),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("rows", "columns", "message"), BROKEN.values(), ids=BROKEN)
def test_what_the_model_does_not_know_is_named(
    rows: list[dict[str, Any]], columns: Any, message: str, model: str, in_leaves: Command, tmp_path: Path
) -> None:
    other = write(tmp_path / "other.csv", rows, columns or ("a", "b", "kind"))
    result = in_leaves("evaluate", model, "--data-dir", other)
    assert result.code == 1 and message in result.err and "Traceback" not in result.err


# predict --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_tables_are_predicted_by_the_names_of_their_columns(
    model: str, in_leaves: Command, tmp_path: Path
) -> None:
    rows = leaves(12, seed=5)
    tables = {
        "plain": ("a", "b"),
        "turned": ("b", "a"),
        "labelled": ("kind", "b", "a"),
    }
    found = [
        in_leaves("predict", model, write(tmp_path / f"{name}.csv", rows, columns), "--json").json
        for name, columns in tables.items()
    ]
    (tmp_path / "bare.csv").write_text("\n".join(f"{row['a']},{row['b']}" for row in rows))
    found.append(in_leaves("predict", model, tmp_path / "bare.csv", "--json").json)
    assert [item["label"] for item in found[0]] == [row["kind"] for row in rows]
    chances = [[item["probability"] for item in each] for each in found]
    np.testing.assert_allclose(chances, [chances[0]] * 4, rtol=1e-6)
    result = in_leaves(
        "predict", model, write(tmp_path / "less.csv", [{**row, "d": 0} for row in rows], ("a", "d"))
    )
    assert result.code == 1 and "lacks b, and also has d" in result.err
    (tmp_path / "bare.csv").write_text("1,2,3\n")
    result = in_leaves("predict", model, tmp_path / "bare.csv")
    assert result.code == 1 and "3 cells, expected 2" in result.err


# Hints ----------------------------------------------------------------------------------------------------


def picture_folder(folder: Path) -> Path:
    from PIL import Image

    generator = np.random.default_rng(0)
    for kind, level in (("dark", 40), ("light", 200)):
        (folder / kind).mkdir(parents=True)
        for number in range(12):
            pixels = np.clip(generator.normal(level, 20, (6, 6)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")
    return folder


def idx_folder(folder: Path) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for part, count in (("train", 60), ("t10k", 20)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = generator.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        for kind, values in (("labels-idx1", labels), ("images-idx3", images)):
            head = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
            (folder / f"{part}-{kind}-ubyte").write_bytes(head + values.tobytes())
    return folder


def place_of(data: str, folder: Path) -> Path | None:
    """The files of a data set, in a folder with a blank in its name."""
    folder.mkdir()
    if data == "csv":
        return write(folder / "t.csv", leaves(90))
    if data.startswith("series"):
        values = np.sin(np.arange(120) / 5) * 40 + 100
        (folder / "s.csv").write_text("temp,day\n" + "".join(f"{v},{d}\n" for d, v in enumerate(values)))
        return folder / "s.csv"
    if data.startswith("text"):
        (folder / "t.txt").write_text("Water, water, every where, nor any drop to drink.\n" * 12)
        return folder / "t.txt"
    if data == "image-folder":
        return picture_folder(folder / "pictures")
    return idx_folder(folder / "idx") if data == "mnist" else None


@pytest.mark.parametrize(
    ("data", "model"),
    [
        ("csv", "logistic-regression"),
        ("series:column=temp,length=8", "linear-regression"),
        ("text:length=16", "char-rnn:units=4"),
        ("image-folder", "logistic-regression"),
        ("mnist", "logistic-regression"),
        ("digits", "logistic-regression"),
        ("sunspots", "linear-regression"),
        ("sine:samples=60,length=9", "linear-regression"),
    ],
)
def test_hints_work_as_printed(data: str, model: str, bigmodel: Command, tmp_path: Path) -> None:
    place = place_of(data, tmp_path / "my data")
    where = [] if place is None else ["--data-dir", os.path.relpath(place)]
    trained = bigmodel("train", model, "--data", data, *where, "--epochs", 1)
    assert trained.code == 0, trained.err
    said, typed = trained.out, []
    while hints := re.findall(r"^  (bigmodel .*)$", said, re.MULTILINE):
        said = ""
        for hint in hints:
            result = bigmodel(*shlex.split(hint)[1:])
            assert result.code == 0, (hint, result.err)
            typed.append(shlex.split(hint)[1])
            said += result.out if typed[-1] == "export" else ""
    writes = ["generate"] if data.startswith("text") else []
    writes += ["forecast"] if data.startswith(("series", "sunspots")) else []
    assert typed == [*writes, "export", "evaluate", "report", "info", "predict", "info"]
    (run,) = Path("runs").iterdir()
    recorded = json.loads((run / "run.json").read_text())["data_dir"]
    assert recorded is None if place is None else (run / recorded).resolve() == place.resolve()
    assert str(tmp_path).encode() not in Path("model.onnx").read_bytes()
    assert str(tmp_path).encode() not in (run / "best.safetensors").read_bytes()
    assert "/" not in (recorded or "").removeprefix("../../my data/")


def test_a_run_finds_its_data_from_any_folder(bigmodel: Command, tmp_path: Path, monkeypatch: Any) -> None:
    write(tmp_path / "t.csv", leaves(90))
    model = ("train", "logistic-regression", "--data", "csv", "--data-dir", "t.csv")
    assert bigmodel(*model, "--epochs", 1, "--schedule", "constant", "-q").code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run = "../runs/logistic-regression-001"
    assert bigmodel("evaluate", run, "--json").json["samples"] == 18
    assert bigmodel("predict", run, "--data", "csv", "--json").json["samples"] == 18
    gone_on = bigmodel("train", "--resume", run, "--epochs", 2)
    assert gone_on.code == 0, gone_on.err
    assert "bigmodel evaluate ../runs/logistic-regression-001" in gone_on.out
    (tmp_path / "t.csv").rename(tmp_path / "moved.csv")
    result = bigmodel("evaluate", run)
    assert result.code == 1 and "../t.csv: there is no such file" in result.err
    assert bigmodel("evaluate", run, "--data-dir", "../moved.csv").code == 0


def test_training_tells_what_the_target_was_read_as(bigmodel: Command, tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(40, 200)
    (tmp_path / "t.csv").write_text("a,n\n" + "".join(f"{count / 7},{count}\n" for count in counts))
    result = bigmodel("train", "linear-regression", "--data", "csv", "--data-dir", "t.csv", "--epochs", 1)
    assert result.code == 0 and "target n read as numbers: " in result.out
    assert "task=classification" in result.out


# Series -----------------------------------------------------------------------------------------------------


def test_a_model_of_a_series_takes_its_column_and_answers_in_its_units(
    bigmodel: Command, tmp_path: Path
) -> None:
    days = np.arange(300)
    temp = 1000 + 50 * np.sin(days / 6)
    lines = [f"{value},{day}" for day, value in zip(days, temp, strict=True)]
    (tmp_path / "ts.csv").write_text("temp,day\n" + "\n".join(lines) + "\n")
    data = ("--data", "series:column=temp,length=12", "--data-dir", "ts.csv")
    assert bigmodel("train", "linear-regression", *data, "--epochs", 40, "-q").code == 0
    for name, more in (("plain.onnx", ()), ("raw.onnx", ("--with-preprocessing",))):
        assert bigmodel("export", name, "-q", *more).code == 0
    for model in ("linear-regression-001", "plain.onnx", "raw.onnx"):
        measured = bigmodel("evaluate", model, "--data", "series", "--data-dir", "ts.csv", "--json").json
        assert measured["metrics"]["r2"] > 0.99 and 0 < measured["metrics"]["mean_absolute_error"] < 5
        found = bigmodel("predict", model, "--data", "series", "--data-dir", "ts.csv", "--json").json
        truth = np.array([item["truth"] for item in found["predictions"]])[:, 0]
        np.testing.assert_allclose(truth, temp[-58:-48], rtol=1e-6)
        values = np.array([item["values"] for item in found["predictions"]])[:, 0]
        np.testing.assert_allclose(values, truth, atol=8)
        (tmp_path / "window.csv").write_text(",".join(map(str, temp[-12:])) + "\n")
        (single,) = bigmodel("predict", model, "window.csv", "--json").json
        assert single["values"][0] == pytest.approx(1000 + 50 * np.sin(300 / 6), abs=8)
    lines = [f"{day},{value}" for day, value in zip(days, temp, strict=True)]
    (tmp_path / "turned.csv").write_text("day,temp\n" + "\n".join(lines) + "\n")
    turned = bigmodel("evaluate", "raw.onnx", "--data-dir", "turned.csv", "--json").json
    assert turned["metrics"] == measured["metrics"]


def test_least_squares_is_found_from_the_shell_with_defaults(bigmodel: Command, tmp_path: Path) -> None:
    a, b = np.random.default_rng(0).normal([[5], [-2]], [[3], [7]], (2, 200))
    rows = zip(a, b, 3 * a - 2 * b + 1000, strict=True)
    (tmp_path / "t.csv").write_text("a,b,y\n" + "".join(f"{p},{q},{y}\n" for p, q, y in rows))
    data = ("--data", "csv", "--data-dir", "t.csv")
    trained = bigmodel("train", "linear-regression", *data, "--epochs", 30, "--json").json
    assert trained["test"]["r2"] > 0.99
    assert bigmodel("export", "raw.onnx", "--with-preprocessing", "-q").code == 0
    (tmp_path / "p.csv").write_text("b,a\n-2,5\n0,0\n")
    for model in ("linear-regression-001", "raw.onnx"):
        found = [item["values"][0] for item in bigmodel("predict", model, "p.csv", "--json").json]
        np.testing.assert_allclose(found, [1019, 1000], atol=2)


# Images and texts -------------------------------------------------------------------------------------------


def test_a_folder_of_images_is_met_with_the_classes_and_the_size_of_the_training(
    bigmodel: Command, tmp_path: Path
) -> None:
    from PIL import Image

    pictures = picture_folder(tmp_path / "pictures")
    data = ("--data", "image-folder", "--data-dir", pictures)
    more = ("--epochs", 30, "--learning-rate", 0.1, "-q")
    assert bigmodel("train", "logistic-regression", *data, *more).code == 0
    assert bigmodel("export", "plain.onnx", "-q").code == 0
    (tmp_path / "other" / "light").mkdir(parents=True)
    for path in (pictures / "light").iterdir():
        with Image.open(path) as image:
            image.convert("RGB").resize((13, 9)).save(tmp_path / "other" / "light" / path.name)
    for model in ("logistic-regression-001", "plain.onnx"):
        assert accuracy(bigmodel, model, "--data-dir", tmp_path / "other") == 1.0
    (tmp_path / "other" / "light").rename(tmp_path / "other" / "pale")
    for model in ("logistic-regression-001", "plain.onnx"):
        result = bigmodel("evaluate", model, "--data-dir", tmp_path / "other")
        assert result.code == 1 and "'pale' is not among those" in result.err and "dark, light" in result.err


def test_another_text_is_met_with_the_characters_of_the_training(bigmodel: Command, tmp_path: Path) -> None:
    rime = "Water, water, every where, nor any drop to drink.\n" * 12
    for name, text in (
        ("a", rime),
        ("b", rime.replace("k", "e")),  # lacks a character
        ("c", "Zounds! " + rime),
    ):
        (tmp_path / f"{name}.txt").write_text(text)
    data = ("--data", "text:length=16", "--data-dir", "a.txt")
    assert bigmodel("train", "char-rnn:units=8", *data, "--epochs", 15, "-q").code == 0
    measured = accuracy(bigmodel, "char-rnn-001")
    assert accuracy(bigmodel, "char-rnn-001", "--data-dir", "b.txt") == pytest.approx(measured, abs=0.1)
    refused = bigmodel("evaluate", "char-rnn-001", "--data-dir", "c.txt")
    assert refused.code == 1 and "c.txt, line 1: the character 'Z' (and 3 more" in refused.err
    assert "unknown=?" in refused.err
    chosen = ("--data", "text:unknown= ", "--data-dir", "c.txt")
    assert accuracy(bigmodel, "char-rnn-001", *chosen) == pytest.approx(measured, abs=0.1)
    data = ("--data", "text:length=16,unknown=?", "--data-dir", "a.txt")
    assert bigmodel("train", "char-rnn:units=8", *data, "--epochs", 1, "-q").code == 0
    assert bigmodel("evaluate", "char-rnn-002", "--data-dir", "c.txt").code == 0


def test_files_of_before_answer_in_the_units_they_always_did(bigmodel: Command, tmp_path: Path) -> None:
    import onnx

    values = 100 + 40 * np.sin(np.arange(200) / 5)
    (tmp_path / "s.csv").write_text("\n".join(map(str, values)))
    data = ("--data", "series:length=9", "--data-dir", "s.csv")
    assert bigmodel("train", "linear-regression", *data, "--epochs", 30, "-q").code == 0
    assert bigmodel("export", "m.onnx", "-q").code == 0
    deviation = bigmodel("info", "m.onnx", "--json").json["metadata"]["preprocessing"]["std"][0]
    now = bigmodel("evaluate", "m.onnx", *data, "--json").json["metrics"]
    model = onnx.load("m.onnx")
    kept = [item for item in model.metadata_props if item.key != "encoding"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, "old.onnx")
    before = bigmodel("evaluate", "old.onnx", *data, "--json").json["metrics"]
    assert before["r2"] == pytest.approx(now["r2"], rel=1e-5)
    assert before["mean_absolute_error"] * deviation == pytest.approx(now["mean_absolute_error"], rel=1e-4)
    found = bigmodel("predict", "old.onnx", *data, "--json").json
    assert found["mean_absolute_error"] == pytest.approx(before["mean_absolute_error"], rel=1e-4)
