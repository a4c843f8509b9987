"""Texts as characters, series as windows: what samples and targets are, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_core.testing import checks_for
from bigmodel_core.testing.checks import run_checks
from bigmodel_datasets import Series, Text

RIME = (
    "Water, water, every where,\nAnd all the boards did shrink;\nWater, water, every where,\nNor any drop.\n"
)


def spelled(data: bm.Data, numbers: np.ndarray) -> str:
    assert data.labels is not None
    return "".join(data.labels[number] for number in numbers.ravel())


# Text -------------------------------------------------------------------------------------------------------


@pytest.fixture
def rime(tmp_path: Path) -> Path:
    path = tmp_path / "rime.txt"
    path.write_text(RIME, "utf-8")
    return path


def test_samples_are_runs_of_characters_and_targets_those_that_follow(rime: Path) -> None:
    data = Text(length=8, test_fraction=0.25).load(rime)
    assert data.train.x.dtype == data.train.y.dtype == np.int64
    assert data.labels == tuple(sorted(set(RIME))) and data.classes == len(set(RIME))
    cut = round(len(RIME) * 0.75)
    whole = RIME[: (cut - 1) // 8 * 8]
    assert spelled(data, data.train.x) == whole
    assert spelled(data, data.train.y) == RIME[1 : len(whole) + 1]
    assert spelled(data, data.test.x[0]) == RIME[cut : cut + 8]


def test_samples_may_overlap(rime: Path) -> None:
    data = Text(length=8, step=3).load(rime)
    assert [spelled(data, x) for x in data.train.x[:3]] == [RIME[:8], RIME[3:11], RIME[6:14]]


def test_letters_beyond_ascii_and_other_line_ends_are_characters(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + "Æsop\r\nnaïve 🦊\r\n".encode() * 9)
    data = Text(length=4).load(tmp_path)  # the folder, with one text in it
    assert set(data.labels or ()) == set("Æsop\nnaïve 🦊\n")
    assert spelled(data, data.train.x)[:12] == "Æsop\nnaïve 🦊"


def test_the_novel_is_whole() -> None:
    data = Text().load()
    assert spelled(data, data.train.x)[:10] == "Persuasion"
    assert (len(data.train), len(data.test), data.classes) == (6565, 729, 75)
    words = spelled(data, data.train.x)
    assert words.count("Anne") > 400 and "public domain" in data.source
    assert run_checks(checks_for(Text())).count("failed") == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"too short", "too few"), (b"\xff\xfe" + b"a" * 999, "byte 0 is not UTF-8"), (None, "no such file")],
)
def test_texts_that_cannot_be_used_are_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        Text().load(tmp_path / "t.txt")


@pytest.mark.parametrize("options", [{"length": 0}, {"step": 0}, {"test_fraction": 0.0}])
def test_options_of_texts_are_checked(options: dict) -> None:
    with pytest.raises(ConfigError):
        Text(**options)


def test_a_language_model_learns_more_than_how_frequent_characters_are() -> None:
    data = Text(length=32).load()
    train, test = data.train.take(np.arange(1500)), data.test.take(np.arange(200))
    counts = np.bincount(train.y.ravel(), minlength=data.classes) + 1.0
    unigram = -np.log(counts / counts.sum())[test.y].mean()
    model = bm.models.build("char-rnn", units=48).fitted(data)
    assert model.classes == 75
    trainer = bm.Trainer(model, optimizer=bm.optimizers.Adam(0.02), metrics=["accuracy"])
    trainer.fit(train, 3, 32, verbose=False)
    found = trainer.evaluate(test)
    assert found["loss"] < unigram - 0.4
    predicted = np.concatenate([model(test.x[start : start + 50]) for start in range(0, 200, 50)])
    assert found["accuracy"] == pytest.approx(np.mean(predicted.argmax(-1) == test.y))


# Series -----------------------------------------------------------------------------------------------------


VALUES = np.random.default_rng(0).normal(5, 3, 60).round(3)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "weather.csv"
    lines = [f"{day},{value},{-value}" for day, value in enumerate(VALUES)]
    path.write_text("\n".join(["day,warmth,cold", *lines]) + "\n")
    return path


def test_windows_targets_and_scaling_are_those_of_the_column(table: Path) -> None:
    data = Series(column="warmth", length=6, test_fraction=0.25).load(table)
    test = round(54 * 0.25)
    seen = VALUES[: 60 - test]
    scaled = (VALUES - seen.mean()) / seen.std()
    assert (len(data.train), len(data.test), data.task) == (54 - test, test, "regression")
    assert np.allclose(data.train.x[3, :, 0], scaled[3:9], atol=1e-5)
    assert np.allclose(data.train.y[:, 0], scaled[6 : 60 - test], atol=1e-5)
    assert np.allclose(data.test.y[:, 0], scaled[60 - test :], atol=1e-5)
    assert data.preprocessing is not None and data.preprocessing.mean == pytest.approx((seen.mean(),))
    raw = VALUES[np.newaxis, :6, np.newaxis].astype("float32")
    assert np.allclose(data.preprocessing.apply(raw), data.train.x[:1], atol=1e-6)


@pytest.mark.parametrize("column", ["cold", 2, -1, "2"])
def test_columns_have_names_and_numbers(table: Path, column: int | str) -> None:
    data = Series(column=column).load(table)
    assert "cold" in data.input_meaning and len(data.train) + len(data.test) == 40


def test_one_column_without_a_name_will_do(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("\n".join(map(str, VALUES)))
    data = Series(length=10).load(tmp_path)
    assert len(data.train) + len(data.test) == 50
    (tmp_path / "s.csv").write_text("\n".join(["level", *map(str, VALUES)]))
    assert len(Series(length=10).load(tmp_path).train) == len(data.train)


def test_a_constant_series_is_not_divided_by_zero(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("0.1\n" * 50)
    data = Series().load(tmp_path / "s.csv")
    assert np.allclose(data.train.x, 0, atol=1e-6) and data.preprocessing.std == (1.0,)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a\n1\n2\n\nx\n", {}, r"line 5, column 1 \(a\): 'x' is not a finite number"),
        ("1\n2\n3\n", {}, "3 values give 0 windows of 20"),
        ("a,b\n1,2\n", {"column": "c"}, "no column is called 'c'"),
        ("a,b\n1,2\n", {"column": 2}, "column is column 2, expected -2 to 1"),
        ("a,b\n1\n", {}, "1 cells, expected 2"),
        ("", {}, "no row"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(
    tmp_path: Path, text: str, options: dict, message: str
) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises((DataError, ConfigError), match=message):
        Series(**options).load(tmp_path / "s.csv")


def test_a_forecaster_trains_on_a_series_of_ones_own(tmp_path: Path) -> None:
    waves = np.sin(np.arange(300) / 5) * 40 + 100
    (tmp_path / "s.csv").write_text("\n".join(map(str, waves)))
    data = Series(length=12).load(tmp_path / "s.csv")
    trainer = bm.Trainer(bm.models.build("time-series-forecaster", units=8), seed=1)
    trainer.fit(data, 15, 16, verbose=False)
    last_value = np.mean((data.test.x[:, -1] - data.test.y) ** 2)
    assert trainer.evaluate(data.test)["loss"] < last_value / 4
