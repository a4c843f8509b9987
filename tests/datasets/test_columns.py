"""Columns of several kinds: what is found in them, what becomes of them, and what is refused."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from datetime import datetime

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.data.cells import instant, kind_of
from bigmodel_core.data.columns import Column, Columns
from bigmodel_core.errors import BigmodelError, ConfigError, DataError

JOBS = ("clerk", "nurse", "cook")


def table(tmp_path, rows=60, **columns):
    """A table with a column of each kind."""
    generator = np.random.default_rng(0)
    known = {
        "row": [f"r{number}" for number in range(rows)],
        "age": ["" if number % 7 == 0 else str(20 + number) for number in range(rows)],
        "job": [JOBS[number % 3] for number in range(rows)],
        "member": ["yes" if number % 4 else "no" for number in range(rows)],
        "day": [f"2024-{1 + number % 12:02}-{1 + number % 28:02}" for number in range(rows)],
        "note": [" ".join(generator.choice(["Good,", "bad", "box", "of", "tea"], 4)) for _ in range(rows)],
        "same": ["x"] * rows,
        "kind": ["ab"[number % 2] for number in range(rows)],
    } | columns
    path = tmp_path / "table.csv"
    lines = [
        ",".join(known),
        *(",".join(f'"{cell}"' for cell in row) for row in zip(*known.values(), strict=True)),
    ]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def rows_of(path):
    """The rows of a table that training and testing see, as the data set divides them."""
    data = bm.datasets.load("csv", path)
    return data, *bm.split_indices(60, 0.2, 0, classes=np.array([number % 2 for number in range(60)]))


KINDS = {
    "number": ["1", "-2.5e3", "nan", ""],
    "bool": ["yes", "No", "?"],
    "category": ["red", "blue", "red", "NA", "red", "blue"],
    "date": ["2024-01-31", "2023-12-01 10:30", "null"],
    "text": [f"a word and number {number}" for number in range(9)],
    "id": [f"r{number}" for number in range(30)],
}


@pytest.mark.parametrize(("kind", "cells"), KINDS.items(), ids=KINDS)
def test_a_kind_is_found(kind, cells):
    assert kind_of("it", cells) == kind


@pytest.mark.parametrize("cells", [["", "NA", "?"], ["x", "x", "x"]], ids=["gaps", "one word"])
def test_a_column_that_tells_nothing_has_no_kind(cells):
    assert kind_of("it", cells) is None


def test_whole_numbers_are_an_id_by_name_alone():
    cells = [str(number) for number in range(10)]
    assert (kind_of("id", cells), kind_of("width", cells)) == ("id", "number")


def test_gaps_are_filled_with_the_median_of_training_rows_and_told(tmp_path):
    data, kept, held = rows_of(table(tmp_path))
    age = np.array([np.nan if number % 7 == 0 else 20 + number for number in range(60)])
    filled = np.where(np.isnan(age), np.nanmedian(age[kept]), age)
    wanted = (filled - filled[kept].mean()) / filled[kept].std()
    x, names = data.test.x, data.features
    np.testing.assert_allclose(x[:, names.index("age")], wanted[held], atol=1e-6)
    assert (x[:, names.index("age is missing")] == np.isnan(age)[held]).all()


def test_dates_become_days_and_cyclic_parts(tmp_path):
    data, kept, held = rows_of(table(tmp_path))
    days = np.array(
        [f"2024-{1 + number % 12:02}-{1 + number % 28:02}" for number in range(60)], "datetime64[D]"
    )
    count = days.astype(int)
    x, names = data.test.x, data.features
    np.testing.assert_allclose(
        x[:, names.index("day")], ((count - count[kept].mean()) / count[kept].std())[held], atol=1e-5
    )
    month = days.astype("datetime64[M]").astype(int) % 12
    np.testing.assert_allclose(
        x[:, names.index("day month sine")], np.sin(2 * np.pi * month / 12)[held], atol=1e-6
    )
    weekday = np.array([day.astype(object).weekday() for day in days])
    np.testing.assert_allclose(
        x[:, names.index("day weekday cosine")], np.cos(2 * np.pi * weekday / 7)[held], atol=1e-6
    )
    assert not any("hour" in name for name in names)


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("1969-12-31", -86400.0),
        ("2000-03-01 00:00:30", 951868830.0),
        ("2024-02-30", None),
        ("24-01-01", None),
    ],
)
def test_instants_are_those_of_the_calendar(cell, seconds):
    assert instant(cell) == seconds


def test_words_are_features_in_whatever_way_they_are_written():
    column = Column.fitted(
        "note", "text", ["Good tea", "good, box", "GOOD box", "tea", "tea", "box"], "one-hot"
    )
    assert column.values == ("box", "good", "tea")
    assert column.numbers(["good, TEA", "unknown"]).tolist() == [[0, 1, 0], [0, 0, 0]]


def test_codes_and_one_hot_say_the_same(tmp_path):
    path = table(tmp_path)
    numbers, codes = (bm.datasets.load("csv", path, categories=form) for form in ("one-hot", "embed"))
    jobs = [numbers.features.index(f"job={job}") for job in sorted(JOBS)]
    assert (codes.train.x["categories"][:, 0] == 1 + numbers.train.x[:, jobs].argmax(1)).all()
    assert codes.categories == (4,) and numbers.categories is None


def test_a_category_that_training_did_not_see_is_unknown(tmp_path):
    codes = bm.datasets.load("csv", table(tmp_path), categories="embed")
    cells = ["pilot", *[JOBS[number % 3] for number in range(59)]]
    other = bm.datasets.load("csv", table(tmp_path, job=cells), like=codes)
    assert 0 in np.concatenate([other.train.x["categories"], other.test.x["categories"]])


def test_other_rows_are_brought_to_the_columns_of_training(tmp_path):
    data = bm.datasets.load("csv", table(tmp_path))
    other = bm.datasets.load("csv", table(tmp_path, age=[str(number) for number in range(60)]), like=data)
    assert other.features == data.features and other.columns == data.columns


def test_columns_survive_json(tmp_path):
    columns = bm.datasets.load("csv", table(tmp_path), categories="embed").columns
    assert Columns.from_dict(json.loads(json.dumps(columns.to_dict()))) == columns


def test_notes_say_what_was_decided(tmp_path):
    notes = "\n".join(bm.datasets.load("csv", table(tmp_path)).notes)
    for part in ("1 category: job (3 values)", "gaps filled with", "name rows: row", "tell nothing: same"):
        assert part in notes


def test_options_choose_columns_and_kinds(tmp_path):
    data = bm.datasets.load("csv", table(tmp_path), columns=("age", "job"), kinds=("age:category",))
    assert data.columns.names == ("age", "job") and {column.kind for column in data.columns.columns} == {
        "category"
    }


def test_a_column_of_weights_counts_samples_and_is_no_feature(tmp_path):
    data = bm.datasets.load(
        "csv", table(tmp_path, age=[str(1 + number) for number in range(60)]), weight="age"
    )
    every = np.concatenate([data.train.weight, data.test.weight])
    assert sorted(every) == list(range(1, 61)) and "age" not in data.columns.names


LATER = {
    "a number": ("age", "old", r"line 5, column age: 'old' is not a finite number"),
    "a date": ("day", "soon", r"line 5, column day: 'soon' is no date"),
    "a truth value": ("member", "maybe", r"line 5, column member: 'maybe' is neither true nor false"),
}


@pytest.mark.parametrize(("name", "cell", "message"), LATER.values(), ids=LATER)
def test_a_cell_of_another_kind_in_a_later_file_is_refused(tmp_path, name, cell, message):
    data = bm.datasets.load("csv", table(tmp_path))
    lines = table(tmp_path).read_text("utf-8").splitlines()
    place = lines[0].split(",").index(name)
    cells = lines[4].split(",")
    cells[place] = cell
    path = tmp_path / "table.csv"
    path.write_text(
        "\n".join([*lines[:4], ",".join(cells), *lines[5:]]).replace('"Good,', '"Good;') + "\n", "utf-8"
    )
    with pytest.raises(DataError, match=message):
        bm.datasets.load("csv", path, like=data)


def test_a_missing_column_is_named(tmp_path):
    data = bm.datasets.load("csv", table(tmp_path))
    path = tmp_path / "table.csv"
    path.write_text("age,kind\n1,a\n2,b\n", "utf-8")
    with pytest.raises(DataError, match="there is no column job, member, day, note"):
        bm.datasets.load("csv", path, like=data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": ("age:price",)}, "kinds has 'age:price', expected a column and one of number"),
        ({"kinds": ("size:number",)}, "kinds names size; the features are row, age"),
        ({"categories": "dummy"}, "expected 'one-hot' or 'embed'"),
        ({"columns": ("kind",)}, "no column is left"),
        ({"weight": "size"}, "no column is called 'size'"),
    ],
)
def test_options_without_sense_are_refused(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        bm.datasets.load("csv", table(tmp_path), **options)


def test_balanced_classes_count_alike(tmp_path):
    compute = pytest.importorskip("sklearn.utils.class_weight", reason="scikit-learn is not installed")
    kinds = ["a" if number % 4 else "b" for number in range(60)]
    data = bm.datasets.load("csv", table(tmp_path, kind=kinds), class_weights="balanced")
    wanted = compute.compute_sample_weight("balanced", data.train.y)
    np.testing.assert_allclose(data.train.weight, wanted, rtol=1e-6)


def test_numbers_have_no_classes_to_balance(tmp_path):
    with pytest.raises(ConfigError, match="class_weights is set, and the target holds numbers"):
        bm.datasets.load(
            "csv",
            table(tmp_path, age=[f"{number}.5" for number in range(60)]),
            target="age",
            class_weights="balanced",
        )


def test_a_negative_weight_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"line 2, column 2 \(age\): the weight is -1"):
        bm.datasets.load("csv", table(tmp_path, age=["-1"] * 60), weight="age")


def records(path):
    """The rows of a table as objects; what is no text is a number or nothing."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{**row, "age": int(row["age"]) if row["age"] else None} for row in rows]


def as_json_lines(path):
    found = path.with_name("rows.jsonl")
    found.write_text("\n".join(json.dumps(row) for row in records(path)), "utf-8")
    return found


def as_gzipped(path):
    found = path.with_name("table.csv.gz")
    found.write_bytes(gzip.compress(path.read_bytes()))
    return found


def as_tsv(path):
    rows = records(path)
    found = path.with_name("rows.tsv")
    with found.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    return found


def as_parquet(path):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    found = path.with_name("rows.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(records(path)), found)
    return found


@pytest.mark.parametrize("convert", [as_json_lines, as_gzipped, as_tsv, as_parquet])
def test_other_files_hold_the_same_table(tmp_path, convert):
    path = table(tmp_path)
    data, other = bm.datasets.load("csv", path), bm.datasets.load("csv", convert(path))
    assert other.columns == data.columns
    assert (other.train.x == data.train.x).all() and (other.test.y == data.test.y).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": "x"}\n{"a": 2\n', "line 2: it is no JSON"),
        ('{"a": 1, "b": "x"}\n[1]\n', "line 2: it is a list, expected an object"),
        ('{"a": [1], "b": "x"}\n', "line 1: 'a' is a list, expected a number"),
        ("\n", "the file has no rows"),
    ],
)
def test_objects_that_are_no_rows_are_refused(tmp_path, text, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(text, "utf-8")
    with pytest.raises(DataError, match=message):
        bm.datasets.load("csv", path)


def test_parquet_without_its_package_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(BigmodelError, match=r"(?s)Parquet files need the package pyarrow.*bigmodel\[table\]"):
        bm.datasets.load("csv", path)


def frame_of(package, path):
    """The rows of a table as a DataFrame, with types of its own."""
    rows = records(path)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns["day"] = [datetime.fromisoformat(day) for day in columns["day"]]
    columns["member"] = [cell == "yes" for cell in columns["member"]]
    return package.DataFrame(columns)


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_data_frame_is_a_table(tmp_path, package):
    frames = pytest.importorskip(package, reason=f"{package} is not installed")
    path = table(tmp_path)
    data = bm.datasets.load("csv", path, target="kind")
    other = bm.datasets.load("csv", frame_of(frames, path), target="kind")
    assert other.columns == data.columns and other.data_dir is None
    np.testing.assert_array_equal(other.train.x, data.train.x)
    again = bm.datasets.load("csv", frame_of(frames, path).head(30), like=data)
    assert again.columns == data.columns


def test_a_data_set_of_files_takes_no_frame(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    with pytest.raises(BigmodelError, match="series was given a DataFrame, expected the path of a file"):
        bm.datasets.load("series", pandas.DataFrame({"value": [1, 2]}))


def test_a_frame_with_nameless_columns_is_refused():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    with pytest.raises(DataError, match="its columns are 0, 1, expected a text for each"):
        bm.datasets.load("csv", pandas.DataFrame([[1, 2], [3, 4]]))
