"""Tables: columns, headers, tasks, standardised features, and errors that name the cell."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelError, ConfigError, DataError
from bigmodel_datasets import Csv

FLOWERS = """length,width,kind
5.1,3.5,setosa
4.9,3.0,setosa
7.0,3.2,versicolor
6.4,3.2,versicolor
6.3,3.3,virginica
5.8,2.7,virginica
"""


def load(tmp_path, text: str, **fields):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return Csv(**fields).load(path)


def all_targets(data) -> list:
    return sorted(np.concatenate([data.train.truth.ravel(), data.test.truth.ravel()]).tolist())


def test_words_are_classes_in_alphabetic_order(tmp_path):
    data = load(tmp_path, FLOWERS)
    assert (data.task, data.labels) == ("classification", ("setosa", "versicolor", "virginica"))
    assert all_targets(data) == [0, 0, 1, 1, 2, 2]
    assert data.train.x.shape[1:] == (2,)
    assert data.input_meaning == "features: length, width"


def test_whole_numbers_are_classes_in_numeric_order(tmp_path):
    data = load(tmp_path, "1.5,10\n2.5,9\n3.5,10\n4.5,9\n")
    assert (data.task, data.labels) == ("classification", ("9", "10"))


def test_other_numbers_are_regression(tmp_path):
    data = load(tmp_path, "1,0.5\n2,1\n3,1.5\n")
    assert (data.task, data.labels, data.test.y.shape[1:]) == ("regression", None, (1,))
    assert all_targets(data) == pytest.approx([0.5, 1.0, 1.5])


def test_the_task_can_be_set(tmp_path):
    text = "1.5,0\n2.5,1\n3.5,0\n4.5,1\n"
    assert load(tmp_path, text, task="regression").train.y.dtype == np.float32
    assert load(tmp_path, text, task="binary").task == "binary"
    assert load(tmp_path, "1,0.5\n2,1.5\n3,0.5\n", task="classification").labels == ("0.5", "1.5")


@given(
    hnp.arrays(
        np.float64, st.tuples(st.integers(2, 30), st.integers(1, 5)), elements=st.floats(-1e3, 1e3, width=16)
    ),
    st.integers(0, 3),
)
def test_features_are_standardised_by_the_training_rows(tmp_path_factory, features, seed):
    stream = io.StringIO()
    csv.writer(stream).writerows([*row, number / 7 + 0.01] for number, row in enumerate(features.tolist()))
    data = load(tmp_path_factory.mktemp("csv"), stream.getvalue(), seed=seed)
    rows = np.rint((data.train.truth[:, 0] - 0.01) * 7).astype(int)
    train = features[rows]
    deviation = train.std(0)
    deviation[np.ptp(train, axis=0) == 0] = 1
    expected = (train - train.mean(0)) / deviation
    # A deviation far below the mean leaves float32 few digits.
    slack = 1e-5 + 3e-7 * np.abs(train).max(0) / deviation
    assert (np.abs(data.train.x - expected) <= slack * np.maximum(1, np.abs(expected))).all()


def test_a_constant_feature_becomes_zero(tmp_path):
    data = load(tmp_path, "0.1,0.5\n0.1,1.5\n0.1,2.5\n0.1,3.5\n")
    assert np.abs(data.train.x).max() < 1e-6
    assert data.preprocessing.std == (1.0,)


def test_the_split_is_disjoint_stratified_and_keyed(tmp_path):
    text = "".join(f"{number}.5,{number % 2}\n" for number in range(40))
    first, same, other = (load(tmp_path, text, test_fraction=0.25, seed=seed) for seed in (1, 1, 2))
    assert np.bincount(first.test.y).tolist() == [5, 5]
    assert np.array_equal(first.test.x, same.test.x)
    assert not np.array_equal(first.test.x, other.test.x)
    raw = (
        np.concatenate([first.train.x, first.test.x])[:, 0] * first.preprocessing.std[0]
        + first.preprocessing.mean[0]
    )
    np.testing.assert_allclose(np.sort(raw), np.arange(40) + 0.5, rtol=1e-5)


@pytest.mark.parametrize("target", ["kind", 2, -1, "2", "-1"])
def test_the_target_by_name_or_number(tmp_path, target):
    assert load(tmp_path, FLOWERS, target=target).labels[0] == "setosa"


def test_the_number_of_the_target_is_not_taken_for_a_name(tmp_path):
    data = load(tmp_path, "0.5,1.5,2\n1.5,2.5,3\n2.5,3.5,2\n", target="2")
    assert len(all_targets(data)) == 3


def test_the_target_may_stand_in_front(tmp_path):
    data = load(tmp_path, "kind,a\nx,1\ny,2\nx,3\n", target="kind")
    assert data.labels == ("x", "y")
    assert data.input_meaning == "features: a"


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n1,0.5\n2,1.5\n", 2),
        ("1,0.5\n2,1.5\n", 2),
        ("1,yes\n2,no\n", 2),
        ("1,kind\n1,yes\n2,no\n", 3),
    ],
)
def test_a_header_is_found(tmp_path, text, rows):
    data = load(tmp_path, text)
    assert len(data.train) + len(data.test) == rows


def test_a_header_can_be_stated(tmp_path):
    assert len(all_targets(load(tmp_path, "1,2\n1,0.5\n2,1.5\n", header=True))) == 2
    with pytest.raises(DataError, match=r"line 1, column 1 \(column 1\): 'a' is not a finite number"):
        load(tmp_path, "a,1.5\n1,0.5\n2,1.5\n", header=False)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (FLOWERS.replace(",", ";"), {"delimiter": ";"}),
        (FLOWERS.replace(",", "\t"), {"delimiter": "\t"}),
        (FLOWERS.replace("\n", "\r\n"), {}),
        ("\ufeff" + FLOWERS, {"target": "kind"}),
        (FLOWERS.replace("\n", "\n\n"), {}),
        (FLOWERS.replace("setosa", '"setosa"').replace(",", " , "), {}),
        (FLOWERS.rstrip("\n"), {}),
    ],
)
def test_other_ways_to_write_the_same_table(tmp_path, text, fields):
    if '"' in text:
        text = text.replace(' "', '"')
    expected, data = load(tmp_path, FLOWERS), load(tmp_path, text, **fields)
    assert data.labels == expected.labels
    assert np.array_equal(data.train.x, expected.train.x)


BROKEN = {
    "empty file": ("", "the file has no row"),
    "blank lines": ("\n\n \n", "the file has no row"),
    "only a header": ("a,b\n", "0 row"),
    "one row": ("1,0.5\n", "1 row"),
    "one column": ("1\n2\n", "expected features and a target"),
    "other delimiter": ("1;2\n3;4\n", "set delimiter"),
    "row too short": ("a,b\n1,0.5\n2\n", "line 3: 1 cells, expected 2"),
    "row too long": ("a,b\n1,0.5\n2,3,4\n", "line 3: 3 cells, expected 2"),
    "empty target": ("a,b\n1,x\n2, \n", r"line 3, column 2 \(b\): the cell is empty"),
    "word for a number": ("a,b\n1,x\n\n2o,y\n", r"line 4, column 1 \(a\): '2o' is not a finite number"),
    "infinity": ("a,b\n1,x\ninf,y\n", r"line 3, column 1 \(a\): 'inf'"),
    "beyond float32": ("a,b\n1,x\n1e39,y\n", r"line 3, column 1 \(a\): '1e39'"),
    "underscore": ("a,b\n1,x\n1_000,y\n", r"line 3, column 1 \(a\): '1_000'"),
    "open quote": ('a,b\n1,x\n"2,y\n', "line 3: cannot read the row"),
    "text after a quote": ('a,b\n1,x\n"2"3,y\n', "line 3: cannot read the row"),
    "not text": (b"a,b\n1,\xff\xfe\n", "byte 6 is not UTF-8"),
    "zero byte": ("a,b\n1,x\n\0,y\n", "line 3"),
    "one class": ("a,b\n1,x\n2,x\n", "1 different class"),
    "header or data": ("a,1,x\n1,2,y\n", "line 1: it may be a header or data: 'a' is mixed with numbers"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_tables_are_refused_with_the_place(tmp_path, text, message):
    with pytest.raises(DataError, match=f"(?s)table.csv.*{message}") as caught:
        load(tmp_path, text)
    assert isinstance(caught.value, BigmodelError)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": "colour"}, "no column is called 'colour'; there are length, width, kind"),
        ({"target": 3}, "expected -3 to 2"),
        ({"target": "-4"}, "expected -3 to 2"),
        ({"target": "kind", "header": False}, "columns have no names"),
        ({"task": "guess"}, "classification, binary, regression"),
        ({"delimiter": ",,"}, "one character"),
        ({"delimiter": ""}, "one character"),
        ({"test_fraction": 0}, "test_fraction"),
        ({"test_fraction": 1.5}, "test_fraction"),
    ],
)
def test_options_without_sense_are_refused(tmp_path, fields, message):
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, FLOWERS, **fields)


def test_two_columns_of_one_name_cannot_be_the_target(tmp_path):
    with pytest.raises(ConfigError, match="two columns are called 'a'"):
        load(tmp_path, "a,a\n1,x\n2,y\n", target="a")


def test_three_classes_are_not_binary(tmp_path):
    with pytest.raises(DataError, match="3 different classes, expected two"):
        load(tmp_path, FLOWERS, task="binary")


@pytest.mark.parametrize(("rate", "task"), [(2, "classification"), (30, "regression"), (1000, "regression")])
def test_counts_are_numbers_where_there_are_many_different_ones_and_the_reading_is_told(tmp_path, rate, task):
    counts = np.random.default_rng(0).poisson(rate, 300)
    text = "a,count\n" + "".join(f"{number}.5,{count}\n" for number, count in enumerate(counts))
    data = load(tmp_path, text)
    assert data.task == task and (len(set(counts)) > 20) == (task == "regression")
    (note,) = data.notes
    assert note.startswith(
        "target count read as " + ("numbers" if task == "regression" else f"{len(set(counts))} classes")
    )
    other = "classification" if task == "regression" else "regression"
    assert f"task={other}" in note and note.partition(":")[0].removesuffix(")")[:25] in data.source
    assert load(tmp_path, text, task=other).task == other


def test_labels_keep_their_text(tmp_path):
    data = load(tmp_path, "".join(f"{row}.5,{('01', '1', '007')[row % 3]}\n" for row in range(30)))
    assert data.labels == ("01", "1", "007") and np.bincount(data.train.y).tolist() == [8, 8, 8]
    data = load(tmp_path, "".join(f"{row}.5,{('True', 'False')[row % 2]}\n" for row in range(30)))
    assert data.labels == ("False", "True")


@pytest.mark.parametrize("cell", ["1,000,029", "1.000.029", "1 000", "1'000", "3,14", "1_000"])
@pytest.mark.parametrize("column", [0, 1])
def test_separated_thousands_and_decimal_commas_are_refused_with_the_fix(tmp_path, cell, column):
    rows = [["1.5", "2.5"] for _ in range(12)]
    rows[7][column] = cell
    stream = io.StringIO()
    csv.writer(stream, delimiter=";").writerows([["a", "b"], *rows])
    with pytest.raises(DataError, match=r"(?s)line 9, column .* is not a finite number.*no thousands sep"):
        load(tmp_path, stream.getvalue(), delimiter=";")


def test_a_word_among_numbers_is_no_class(tmp_path):
    text = "".join(f"{row}.5,{row}.25\n" for row in range(9)) + "9.5,n/a\n"
    with pytest.raises(DataError, match="(?s)line 10, .*'n/a' is not a finite number.*task=classification"):
        load(tmp_path, text)
    assert len(load(tmp_path, text, task="classification").labels) == 10


def test_large_columns_are_standardised_before_they_lose_digits(tmp_path):
    order = np.random.default_rng(0).permutation(200)
    lines = [f"{1_700_000_000 + i},{2**24 + i},{1_000_000_000 + i}" for i in order]
    data = load(tmp_path, "t,n,y\n" + "\n".join(lines) + "\n", task="regression")
    x = np.concatenate([data.train.x, data.test.x])
    assert [len(np.unique(column)) for column in x.T] == [200, 200]
    rows = np.rint(np.concatenate([data.train.truth, data.test.truth])[:, 0] - 1e9).astype(int)
    assert sorted(rows) == list(range(200))
    train = rows[: len(data.train)]
    expected = (rows - train.mean()) / train.std()
    np.testing.assert_allclose(x, np.stack([expected, expected], 1), rtol=1e-6, atol=1e-6)
    assert data.preprocessing.raw_dtype == data.target_preprocessing.raw_dtype == "float64"
    np.testing.assert_allclose(data.preprocessing.invert(x)[:, 0] - 1.7e9, rows, atol=1e-4)


def test_a_folder_with_one_table_will_do(tmp_path):
    (tmp_path / "one.csv").write_text(FLOWERS)
    (tmp_path / "notes.txt").write_text("not a table")
    assert Csv().load(tmp_path).source.startswith("one.csv, 6 rows")


def test_the_files_of_a_folder_are_one_table(tmp_path):
    header, *rows = FLOWERS.strip().splitlines()
    backwards = [",".join(reversed(line.split(","))) for line in (header, *rows[3:])]
    (tmp_path / "one.csv").write_text("\n".join([header, *rows[:3]]))
    (tmp_path / "two.csv").write_text("\n".join(backwards))
    target = header.split(",")[-1]
    data = Csv(target=target).load(tmp_path)
    assert "rows: 3 of one.csv, 3 of two.csv" in data.notes
    (whole := tmp_path / "whole").mkdir()
    (whole / "one.csv").write_text(FLOWERS)
    other = Csv(target=target).load(whole)
    assert (data.train.x == other.train.x).all() and (data.test.y == other.test.y).all()


def test_files_called_train_and_test_are_the_splits(tmp_path):
    header, *rows = FLOWERS.strip().splitlines()
    parts = {"train": rows[::2], "test": rows[1::2][:2], "validation": rows[1::2][2:]}
    for part, some in parts.items():
        (tmp_path / f"{part}.csv").write_text("\n".join([header, *some]))
    data = Csv().load(tmp_path)
    assert [len(split) for split in (data.train, data.test, data.validation)] == [3, 2, 1]
    first = [float(row.split(",")[0]) for row in rows]
    assert data.preprocessing.mean[0] == pytest.approx(np.mean(first[::2]))
    np.testing.assert_allclose(data.preprocessing.invert(data.test.x)[:, 0], first[1::2][:2], rtol=1e-6)


def test_files_with_other_columns_are_refused(tmp_path):
    (tmp_path / "one.csv").write_text(FLOWERS)
    (tmp_path / "two.csv").write_text("a,b\n1,x\n")
    with pytest.raises(DataError, match=r"two\.csv: its columns are not those of the first file: a"):
        Csv().load(tmp_path)


def test_a_cell_of_one_of_several_files_is_found(tmp_path):
    (tmp_path / "one.csv").write_text("a,b\n1,x\n2,y\n3,x\n")
    (tmp_path / "two.csv").write_text("a,b\n1,x\nmany,y\n")
    with pytest.raises(DataError, match=r"line 3 of two\.csv, column 1 \(a\): 'many' is not a finite number"):
        Csv().load(tmp_path)


def test_the_environment_may_name_the_folder(tmp_path, monkeypatch):
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "one.csv").write_text(FLOWERS)
    monkeypatch.setenv("BIGMODEL_DATA_DIR", str(tmp_path))
    assert len(Csv().load().labels) == 3


def test_without_a_file_the_message_says_how_to_name_one(tmp_path, monkeypatch):
    monkeypatch.delenv("BIGMODEL_DATA_DIR", raising=False)
    with pytest.raises(DataError, match="--data-dir FILE.csv"):
        Csv().load()
    with pytest.raises(DataError, match=r"nowhere\.csv: there is no such file"):
        Csv().load(tmp_path / "nowhere.csv")


def test_nothing_that_is_kept_names_a_folder(tmp_path):
    assert str(tmp_path) not in str(load(tmp_path, FLOWERS).summary())


def of_people(path, rows=300, people=40):
    """A table of rows that belong to people."""
    draw = np.random.default_rng(0)
    lines = [f"p{draw.integers(people)},{np.exp(2 * draw.normal()):.4f},{'ab'[n % 2]}" for n in range(rows)]
    path.write_text("\n".join(["who,size,kind", *lines]))
    return path


def test_rows_of_a_group_are_in_one_split(tmp_path):
    data = bm.datasets.load("csv", of_people(tmp_path / "table.csv"), groups="who")
    people = [set(split.columns["who"]) for split in (data.train, data.validation, data.test)]
    everybody = {line.split(",")[0] for line in (tmp_path / "table.csv").read_text().splitlines()[1:]}
    assert set().union(*people) == everybody
    assert sum(map(len, people)) == len(everybody)
    assert len(data.test) == pytest.approx(0.2 * 300, abs=10)
    assert len(data.validation) == pytest.approx(0.08 * 300, abs=10)
    assert data.features == ("size",), "the group is no feature"
    assert [note for note in data.notes if note.startswith("kept together by who: ")]


def test_groups_that_files_tear_apart_are_refused(tmp_path):
    for name in ("train", "test"):
        of_people(tmp_path / f"{name}.csv")
    with pytest.raises(DataError, match=r"rows of who 'p0' are in the files of training and of test"):
        bm.datasets.load("csv", tmp_path, groups="who")


def test_too_few_groups_are_refused(tmp_path):
    with pytest.raises(DataError, match="the column who has 2 groups, too few for all splits"):
        bm.datasets.load("csv", of_people(tmp_path / "table.csv", people=2), groups="who")


def test_quantile_scaling_gives_each_training_row_its_place(tmp_path):
    data = bm.datasets.load("csv", of_people(tmp_path / "table.csv"), drop=("who",), scaling="quantile")
    column = data.columns.columns[0]
    again = np.array([float(column.cell(row)) for row in data.train.x])
    ranks = 2 * again.argsort().argsort() / (len(again) - 1) - 1
    np.testing.assert_allclose(data.train.x[:, 0], ranks, atol=1 / 32)
    beyond = data.columns.apply({"size": ["-5", "1e30"]})
    np.testing.assert_array_equal(beyond, [[-1], [1]])
    assert bm.Columns.from_dict(json.loads(json.dumps(data.columns.to_dict()))) == data.columns


def test_an_unknown_scaling_is_refused():
    with pytest.raises(ConfigError, match="scaling is 'log', expected standard or quantile"):
        Csv(scaling="log")
