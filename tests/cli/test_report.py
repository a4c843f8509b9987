"""`bigmodel report`: what its page says, that it is whole, sound and safe, and what Chromium makes of it."""

from __future__ import annotations

import contextlib
import html
import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.reporting.classes import roc_curve
from bigmodel_core.reporting.layers import layers
from bigmodel_core.reporting.page import MOST, Gallery, Page, Picture, Section, Text

from .conftest import Command, run_all, run_here

VILE = "<script>alert('x')</script> & co"
KINDS = ("images", "table", "numbers", "forecast", "language")
VOID = {"br", "img", "link", "meta"}


def table(folder: Path) -> None:
    """Two tables of four columns: one with classes, one of them named like a script, and one with numbers."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(90, 4))
    names = [VILE if row[0] > 0 else "plain" if row[1] > 0 else "other" for row in x]
    rows = [",".join(f"{value:.4f}" for value in row) for row in x]
    for file, target in (("classes.csv", names), ("numbers.csv", (x @ [1.0, 2.0, 0.0, -1.0]).tolist())):
        lines = [f'{row},"{value}"' for row, value in zip(rows, target, strict=True)]
        (folder / file).write_text("\n".join(["a,b,c <d>,d,target", *lines]))


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each kind, and their reports."""
    folder = tmp_path_factory.mktemp("reported")
    table(folder)
    (folder / "text.txt").write_text("a dog and a cat sat on a mat. " * 60)
    csv, text = "csv:target=target", ("--data", "text:length=16", "--data-dir", "text.txt")
    small = ("--epochs", 3, "--set", "widths=8")
    nano = ("--set", "layers=1", "--set", "heads=2", "--set", "width=32")
    one = ("--set", "classes=1", "--loss", "mean_squared_error", "--metrics", "mean_absolute_error")
    run_all(
        folder,
        ("train", "mlp", "--out", "images", "--data", "digits", *small),
        ("train", "mlp", "--out", "table", "--data", csv, "--data-dir", "classes.csv", *small),
        ("train", "mlp", "--out", "numbers", "--data", csv, "--data-dir", "numbers.csv", *small, *one),
        ("train", "mlp", "--out", "forecast", "--data", "sunspots:length=8", *small, *one),
        ("train", "gpt", "--out", "language", *text, *nano, "--epochs", 1),
    )
    with contextlib.chdir(folder):
        for kind in KINDS:
            result = run_here("report", kind)
            assert result.code == 0, result.err
    return folder


class Reader(HTMLParser):
    """The elements of a page, which have to be closed in the order in which they were opened."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, *tags: str) -> Iterator[tuple[str, dict[str, str | None]]]:
        return ((tag, attributes) for tag, attributes in self.elements if tag in tags)


def page_of(folder: Path, kind: str) -> str:
    return (folder / kind / "report.html").read_text("utf-8")


def rows_of(text: str, caption: str) -> list[list[str]]:
    """The cells of the table with a caption, its header first."""
    found = re.search(rf"<table>\s*<caption>{re.escape(caption)}.*?</table>", text, re.DOTALL)
    assert found, caption
    rows = re.findall(r"<tr>(.*?)</tr>", found[0], re.DOTALL)
    return [
        [html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_sound_html_below_two_megabytes(kind: str, reported: Path) -> None:
    text = page_of(reported, kind)
    reader = Reader(text)
    assert len(text.encode()) < MOST
    keys = [str(attributes["id"]) for _, attributes in reader.elements if "id" in attributes]
    assert sorted(keys) == sorted(set(keys))
    links = [str(attributes["href"]) for _, attributes in reader.all("a")]
    assert {link.removeprefix("#") for link in links} <= set(keys)


@pytest.mark.parametrize("kind", KINDS)
def test_it_loads_nothing_and_runs_no_script(kind: str, reported: Path) -> None:
    text = page_of(reported, kind)
    for tag, attributes in Reader(text).elements:
        assert tag not in ("script", "iframe", "object", "embed", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "data", "action", "srcset"):
                assert str(value).startswith(
                    ("data:image/png;base64,", "data:image/jpeg;base64,", "data:,", "#")
                )
    style = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    assert "url(" not in style and "@import" not in style
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text


@pytest.mark.parametrize("kind", KINDS)
def test_screen_readers_find_their_way(kind: str, reported: Path) -> None:
    reader = Reader(page_of(reported, kind))
    levels = [int(tag[1]) for tag, _ in reader.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(attributes.get("alt") for _, attributes in reader.all("img"))
    assert all(attributes.get("scope") in ("col", "row") for _, attributes in reader.all("th"))
    assert all(attributes.get("aria-labelledby") for _, attributes in reader.all("svg"))
    assert ("html", {"lang": "en"}) in reader.elements
    first = next(attributes for tag, attributes in reader.elements if tag == "a")
    assert first == {"class": "skip", "href": "#content"}


@pytest.mark.parametrize("kind", KINDS)
def test_charts_are_well_formed(kind: str, reported: Path) -> None:
    charts = re.findall(r"<svg.*?</svg>", page_of(reported, kind), re.DOTALL)
    assert len(charts) >= 5
    for chart in charts:
        ElementTree.fromstring(chart)


@pytest.mark.parametrize("kind", KINDS)
def test_every_logged_number_is_there(kind: str, reported: Path) -> None:
    header, *rows = rows_of(page_of(reported, kind), "What each epoch logged")
    logged = [json.loads(line) for line in (reported / kind / "metrics.jsonl").read_text().splitlines()]
    assert set(header) == {name for logs in logged for name in logs}
    for logs, row in zip(logged, rows, strict=True):
        found = {name: float(cell.replace(",", "")) for name, cell in zip(header, row, strict=True)}
        assert found == pytest.approx(logs, rel=1e-5)


def test_text_is_text(reported: Path) -> None:
    text = page_of(reported, "table")
    assert "<script" not in text and html.escape(VILE) in text.replace("&#34;", "&quot;")
    assert [name for name in rows_of(text, "Scores of each class")[1:] if name[0] == VILE]


def outcome(folder: Path, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the test samples in float64, and their labels."""
    with contextlib.chdir(folder):
        split = {
            "images": lambda: bm.datasets.load("digits"),
            "table": lambda: bm.datasets.load("csv", "classes.csv", like=kind),
        }[kind]().test
        scores = np.asarray(bm.load(kind)(split.x), np.float64)
    chances = np.exp(scores - scores.max(-1, keepdims=True))
    return chances / chances.sum(-1, keepdims=True), split.y


@pytest.mark.parametrize("kind", ["images", "table"])
def test_scores_of_classes_are_those_of_scikit_learn(kind: str, reported: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    chances, true = outcome(reported, kind)
    labels = range(chances.shape[1])
    expected = metrics.precision_recall_fscore_support(
        true, chances.argmax(-1), labels=labels, zero_division=0
    )
    rows = rows_of(page_of(reported, kind), "Scores of each class")[1:]
    np.testing.assert_allclose(
        [[float(cell) for cell in row[1:]] for row in rows], np.transpose(expected), atol=6e-5
    )


@pytest.mark.parametrize("kind", ["images", "table"])
def test_areas_under_roc_curves_are_those_of_scikit_learn(kind: str, reported: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    chances, true = outcome(reported, kind)
    rows = {name: float(area) for name, area in rows_of(page_of(reported, kind), "Areas")[1:]}
    expected = [metrics.roc_auc_score(true == at, chances[:, at]) for at in range(chances.shape[1])]
    assert sorted(rows.values()) == pytest.approx(sorted(expected), abs=6e-5)


def test_the_confusion_matrix_counts_samples(reported: Path) -> None:
    chances, true = outcome(reported, "images")
    expected = np.zeros((10, 10), int)
    np.add.at(expected, (true, chances.argmax(-1)), 1)
    cells = re.findall(r"<title>(\d), (\d): (\d+)</title>", page_of(reported, "images"))
    found = np.zeros((10, 10), int)
    for row, column, number in cells:
        found[int(row), int(column)] = int(number)
    np.testing.assert_array_equal(found, expected)


def test_the_calibration_error_is_that_of_its_definition(reported: Path) -> None:
    chances, true = outcome(reported, "images")
    sure, right = chances.max(-1), chances.argmax(-1) == true
    expected = 0.0
    for low in np.arange(10) / 10:
        inside = (sure >= low) & ((sure < low + 0.1) | (low == 0.9))
        if inside.any():
            expected += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    found = re.search(r"calibration error is ([\d.]+):", page_of(reported, "images"))
    assert found and float(found[1]) == pytest.approx(expected, abs=1e-4)


def test_roc_curve_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    scores, true = generator.integers(0, 20, 60) / 20, generator.random(60) > 0.6
    xs, ys, _ = metrics.roc_curve(true, scores, drop_intermediate=False)
    np.testing.assert_allclose(roc_curve(scores, true), (xs, ys))


def test_mistakes_come_the_most_confident_first(reported: Path) -> None:
    chances, true = outcome(reported, "images")
    wrong = np.flatnonzero(chances.argmax(-1) != true)
    first = wrong[np.argsort(-chances.max(-1)[wrong])][:12]
    shown = re.findall(r'alt="sample (\d+): \d, true \d, [\d.]+% sure"', page_of(reported, "images"))
    assert [int(number) for number in shown[:12]] == first.tolist()


def test_images_have_saliency_maps(reported: Path) -> None:
    assert page_of(reported, "images").count("depends on") == 6


def test_tables_have_the_importance_of_columns(reported: Path) -> None:
    chart = page_of(reported, "table").partition(">Importance of columns</title>")[2].partition("</svg>")[0]
    found = dict(re.findall(r"<title>(.+?): (-?[\d.]+)</title>", html.unescape(chart)))
    with contextlib.chdir(reported):
        split = bm.datasets.load("csv", "classes.csv", like="table").test
        expected = np.ravel(bm.explain("table", split.x, "permutation", y=split.y).values)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        dict(zip(("a", "b", "c <d>", "d"), expected, strict=True)), rel=1e-3
    )


def test_attention_is_shown_token_by_token(reported: Path) -> None:
    text = page_of(reported, "language")
    chart = text.partition("mean of 2 heads</title>")[2].partition("</svg>")[0]
    cells = re.findall(r'fill-opacity="([\d.]+)"><title>', chart)
    assert len(cells) == 16 * 16
    assert all(float(cell) == 0 for at, cell in enumerate(cells) if at % 16 > at // 16)  # none looks ahead


def test_errors_of_numbers_are_in_the_units_of_the_column(reported: Path) -> None:
    with contextlib.chdir(reported):
        data = bm.datasets.load("csv", "numbers.csv", like="numbers")
        split, scale = data.test, data.target_preprocessing
        found = np.asarray(bm.load("numbers")(split.x), np.float64)
    assert scale is not None
    errors = np.abs(scale.invert(found) - split.truth)
    row = rows_of(page_of(reported, "numbers"), "Errors, in the units of the data")[1]
    assert float(row[1]) == pytest.approx(errors.mean(), rel=1e-3)
    worst = rows_of(page_of(reported, "numbers"), "The 10 most wrong")[1:]
    assert [row[0] for row in worst] == [f"test {at}" for at in np.argsort(-errors[:, 0], kind="stable")[:10]]


def test_forecasts_stand_beside_one_that_nothing_changes(reported: Path) -> None:
    test = bm.datasets.load("sunspots", length=8).test
    naive = np.abs(100 * (test.x[:, -1, 0].astype(np.float64) - test.y[:, 0])).mean()
    found = re.search(r"forecasting that nothing changes has ([\d.]+)\.", page_of(reported, "forecast"))
    assert found and float(found[1]) == pytest.approx(naive, rel=1e-3)


def test_perplexity_is_that_of_its_definition(reported: Path) -> None:
    with contextlib.chdir(reported):
        split = bm.datasets.load("text", "text.txt", like="language").test
        scores = np.asarray(bm.load("language")(split.x), np.float64)
    logs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
    expected = math.exp(-np.take_along_axis(logs, split.y[..., None], -1).mean())
    found = re.search(r"<dt>Perplexity</dt><dd>([\d.,]+)</dd>", page_of(reported, "language"))
    assert found and float(found[1]) == pytest.approx(expected, rel=1e-3)


def test_a_language_model_writes_on(reported: Path) -> None:
    text = page_of(reported, "language")
    prompt = re.search(r"<dt>Prompt, from the samples</dt><dd>(.*?)</dd>", text, re.DOTALL)
    assert prompt and html.unescape(prompt[1]) in "a dog and a cat sat on a mat. " * 60
    assert "temperature 0.8" in text


def test_json_says_what_was_written(reported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(reported)
    result = run_here("report", "table", "--out", "here.html", "--json")
    assert result.json["bytes"] == Path("here.html").stat().st_size
    assert result.json["sections"][:3] == ["how-it-ended", "learning-curves", "test-samples"]
    assert result.json["metrics"].keys() == {"loss", "accuracy"} and result.json["left_out"] is None


@dataclass(frozen=True)
class Residual(bm.Layer):
    """A layer with a way around what it consists of."""

    def __call__(self, x: bm.Value) -> bm.Value:
        return x + bm.layers.Dense(8)(x)


# What may be missing --------------------------------------------------------------------------------------


@pytest.fixture
def copied(reported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a run, in a folder without its data."""
    shutil.copytree(reported / "table", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def test_without_data_the_rest_is_made_and_says_why(copied: Path) -> None:
    result = run_here("report", "run", "--json")
    assert result.code == 0 and "classes.csv" in result.json["left_out"]
    text = (copied / "report.html").read_text()
    assert "The model was not tried on samples: " in text and "classes.csv" in text
    assert "Scores of each class" not in text and 'id="model"' in text


def test_data_that_are_named_and_missing_are_an_error(copied: Path) -> None:
    result = run_here("report", "run", "--data-dir", "nowhere.csv")
    assert result.code == 1 and "nowhere.csv" in result.err
    assert not (copied / "report.html").exists() or "nowhere" not in (copied / "report.html").read_text()


def test_other_data_are_named(copied: Path, reported: Path) -> None:
    result = run_here("report", "run", "--data-dir", reported / "classes.csv", "--json")
    assert result.json["left_out"] is None


def test_a_damaged_checkpoint_leaves_the_learning_curves(copied: Path) -> None:
    for name in ("best", "last"):
        (copied / f"{name}.safetensors").write_bytes(b"torn")
    result = run_here("report", "run", "--json")
    assert result.code == 0 and "damaged" in result.json["left_out"]
    assert "What each epoch logged" in (copied / "report.html").read_text()


def test_a_torn_last_line_of_the_log_is_left_out(copied: Path) -> None:
    with open(copied / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 4, "lo')
    assert run_here("report", "run").code == 0
    assert len(rows_of((copied / "report.html").read_text(), "What each epoch logged")) == 1 + 3


def test_a_damaged_configuration_is_an_error(copied: Path) -> None:
    (copied / "report.html").unlink()
    (copied / "run.json").write_text("{")
    result = run_here("report", "run")
    assert result.code == 1 and "configuration is damaged" in result.err
    assert not (copied / "report.html").exists()


def test_a_run_that_failed_at_once_has_a_page(bigmodel: Command, tmp_path: Path) -> None:
    rate = ("--optimizer", "sgd:learning_rate=1e30")
    failed = bigmodel("train", "mlp", "--data", "digits", "--set", "widths=8", *rate, "--out", "run")
    assert failed.code == 1
    assert bigmodel("report", "run").code == 0
    text = (tmp_path / "run" / "report.html").read_text()
    assert "It failed." in text and "No epoch was finished" in text and "diverged" in text


def test_a_profile_is_told(copied: Path) -> None:
    parts = {"data": 0.001, "kernels": 0.003}
    kernel = {"path": "dense_1", "layer": "Dense", "op": "Affine", "kernel": "product", "multiply_adds": 0}
    kernels = [{**kernel, "is_backward": is_backward, "seconds": 0.0015} for is_backward in (False, True)]
    found = {"steps": 8, "timed": 2, "batch_size": 64, "parts": parts, "kernels": kernels}
    (copied / "profile.json").write_text(json.dumps(found))
    run_here("report", "run")
    text = (copied / "report.html").read_text()
    assert rows_of(text, "A step of 64 samples")[1:3] == [
        ["waiting for the batch", "1.0000", "25.0%"],
        ["kernels", "3.0000", "75.0%"],
    ]
    assert rows_of(text, "Kernels by layer")[1] == ["dense_1", "1.5000", "1.5000", "75.0%"]


@pytest.mark.parametrize(
    ("how", "said"),
    [("estimate", "an estimate from CPU time, not a measurement"), ("codecarbon", "measured by codecarbon")],
)
def test_energy_is_told_with_how_it_was_counted(how: str, said: str, copied: Path) -> None:
    manifest = json.loads((copied / "run.json").read_text())
    manifest["energy"] = {"kwh": 0.25, "co2_kg": 0.1, "cost": None, "how": how}
    (copied / "run.json").write_text(json.dumps(manifest))
    run_here("report", "run")
    text = (copied / "report.html").read_text()
    assert "<dd>250 Wh</dd>" in text and "<dd>100 g</dd>" in text and said in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nothing",), 1, "no such run"),
        (("run", "--out", "run"), 2, "this is a folder"),
        (("file.onnx",), 2, "this is no run"),
    ],
)
def test_wrong_usage_is_named(arguments: tuple[str, ...], code: int, message: str, copied: Path) -> None:
    Path("file.onnx").write_bytes(b"")
    result = run_here("report", *arguments)
    assert result.code == code and message in result.err


def test_long_runs_keep_every_number_below_two_megabytes(copied: Path) -> None:
    generator = np.random.default_rng(0)
    logs = [
        {"epoch": at, "loss": generator.random(), "val_loss": generator.random()} for at in range(1, 6001)
    ]
    (copied / "metrics.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in logs))
    run_here("report", "run")
    text = (copied / "report.html").read_text()
    lines = html.unescape(re.findall(r"<pre[^>]*>(.*?)</pre>", text, re.DOTALL)[0]).splitlines()
    assert len(text) < MOST and lines[0] == "epoch,loss,val_loss"
    found = np.array([[float(cell) for cell in line.split(",")] for line in lines[1:]])
    np.testing.assert_allclose(found, [list(item.values()) for item in logs], rtol=1e-5)


def test_a_page_that_would_be_too_large_says_what_is_left_out() -> None:
    pictures = Gallery([Picture("data:image/png;base64," + "A" * 100_000, "nothing") for _ in range(30)])
    page = Page("t", sections=[Section("s", [Text("kept"), pictures], [Section("p", [pictures])])])
    text = page.html()
    assert len(text) < MOST and "kept" in text
    assert text.count("Left out: the page would be larger than 2 MB.") == 2


def test_the_picture_of_layers_shows_what_passes_them_by() -> None:
    model = bm.Sequential(bm.layers.Dense(8), bm.layers.Relu(), Residual(), bm.layers.Dense(2))
    chart = layers(model.build(bm.Spec(("N", 4))))
    inner = "residual_1/dense_1, residual_1"
    past = "past others: dense_1 to residual_1"
    assert chart.description == f"5 boxes: x, dense_1, {inner}, dense_2; {past}."


def test_letters_that_cannot_be_shown_are_written_out() -> None:
    assert "a\\x00\\x1bb" in Page("t", sections=[Section("s", [Text("a\0\x1bb")])]).html()


# From Python ----------------------------------------------------------------------------------------------


@pytest.fixture
def by_hand(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A run on arrays, of which no data set is known, and the arrays."""
    x = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
    y = (x[:, 0] > 0).astype("int64")
    trainer = bm.Trainer(
        bm.Sequential(bm.layers.Dense(2)), "cross_entropy", metrics=["accuracy"], out=tmp_path / "run"
    )
    trainer.fit((x, y), epochs=2, verbose=False)
    return tmp_path / "run", x, y


def test_arrays_are_tried_as_they_are(by_hand: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, x, y = by_hand
    text = bm.report(folder, data=(x, y)).read_text()
    right = float((bm.load(folder)(x).argmax(-1) == y).mean())
    assert f"<dt>accuracy</dt><dd>{right:.4f}</dd>" in text
    assert [row[4] for row in rows_of(text, "Scores of each class")[1:]] == [
        str((y == at).sum()) for at in (0, 1)
    ]


def test_without_data_a_warning_says_what_is_missing(by_hand: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, _, _ = by_hand
    with pytest.warns(bm.errors.BigmodelWarning, match="does not say what it was trained on"):
        page = bm.report(bm.runs(folder.parent)[0])
    assert "What each epoch logged" in page.read_text()


def test_what_is_no_data_is_refused(by_hand: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(bm.errors.UsageError, match="the data are a list"):
        bm.report(by_hand[0], tmp_path / "page.html", data=[1, 2])
    assert not (tmp_path / "page.html").exists()


def test_tables_that_were_logged_are_there(by_hand: tuple[Path, np.ndarray, np.ndarray]) -> None:
    folder, x, y = by_hand
    metrics = ["accuracy", "confusion_matrix", "recall:average=none"]
    trainer = bm.Trainer(bm.layers.Dense(2), "cross_entropy", metrics=metrics, out=folder.parent / "other")
    history = trainer.fit((x, y), epochs=2, validation=(x, y), verbose=False)
    text = bm.report(folder.parent / "other", data=(x, y)).read_text()
    header, *rows = rows_of(text, "What each epoch logged")
    for name in ("val_confusion_matrix", "val_recall"):
        assert [json.loads(row[header.index(name)]) for row in rows] == history[name]


@dataclass(frozen=True)
class Both(bm.Layer):
    """A class and two numbers."""

    def __call__(self, x: bm.Value) -> dict[str, bm.Value]:
        return {"kind": bm.layers.Dense(2)(x), "box": bm.layers.Dense(2)(x)}


def test_each_of_several_outputs_is_told(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
    y = {"kind": (x[:, 0] > 0).astype("int64"), "box": x[:, :2]}
    loss = {"kind": "cross_entropy", "box": "mean_squared_error"}
    bm.Trainer(Both(), loss, out=tmp_path / "run").fit((x, y), epochs=1, verbose=False)
    text = bm.report(tmp_path / "run", data=(x, y)).read_text()
    found = bm.load(tmp_path / "run")(x)
    errors = np.abs(np.asarray(found["box"], np.float64) - y["box"]).mean(0)
    rows = rows_of(text, "Errors, in the units of the data")[1:]
    assert [float(row[1]) for row in rows] == pytest.approx(errors.tolist(), rel=1e-3)
    predicted = found["kind"].argmax(-1)
    recall = [(predicted[y["kind"] == at] == at).mean() for at in (0, 1)]
    assert [float(row[2]) for row in rows_of(text, "Scores of each class")[1:]] == pytest.approx(
        recall, abs=1e-4
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model", 5),
        ("data", "<b>"),
        ("results", [1, {"a": 2}]),
        ("versions", None),
        ("started", {}),
        ("energy", {"kwh": "x", "how": []}),
        ("epochs", -1.5),
    ],
)
def test_a_configuration_with_odd_values_has_a_page(key: str, value: object, copied: Path) -> None:
    manifest = json.loads((copied / "run.json").read_text())
    (copied / "run.json").write_text(json.dumps({**manifest, key: value}))
    assert run_here("report", "run").code == 0
    Reader((copied / "report.html").read_text())


@pytest.mark.parametrize("value", ["<b>", [[1], [2, 3]], {"a": 1}, True, 10**400, 1e308, [None, 1.5], None])
def test_a_log_with_odd_values_has_a_page(value: object, copied: Path) -> None:
    logs = [{"epoch": 1, "loss": value, "seconds": value}, {"epoch": value, "loss": 0.5}]
    (copied / "metrics.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in logs))
    assert run_here("report", "run").code == 0
    Reader((copied / "report.html").read_text())


# In a browser ---------------------------------------------------------------------------------------------

FRAME = '<iframe style="width:{wide}px;height:800px;border:0" srcdoc="{page}"></iframe>'
MEASURING = """<script>
window.onload = () => {
  document.title = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument
    page.querySelectorAll("details").forEach(item => item.open = true)
    const asked = frame.contentWindow.performance.getEntriesByType("resource").length
    return [page.documentElement.scrollWidth, page.querySelectorAll("svg").length, asked]
  })
}
</script>"""


def test_chromium_shows_it_without_an_error_a_request_or_a_scroll_bar(reported: Path, tmp_path: Path) -> None:
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    pages = [page_of(reported, kind) for kind in KINDS]
    frames = [FRAME.format(wide=wide, page=html.escape(page)) for page in pages for wide in (360, 1200)]
    (tmp_path / "frames.html").write_text("<!DOCTYPE html>" + "".join(frames) + MEASURING)
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr")
    done = subprocess.run(
        [chromium, *options, f"--user-data-dir={tmp_path / 'user'}", "--dump-dom", tmp_path / "frames.html"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    title = re.search(r"<title>([\d,]+)</title>", done.stdout)
    assert title, done.stderr
    found = np.array(title[1].split(","), int).reshape(-1, 3).tolist()
    assert found == [[wide, page.count("<svg"), 0] for page in pages for wide in (360, 1200)]
    assert "CONSOLE" not in done.stderr
