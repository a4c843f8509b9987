"""The data set keeps every promise of the conformance kit; its numbers are those of pyarrow and NumPy, which
read files whole."""

import decimal
import threading
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_core.testing import parametrize_checks
from bigmodel_parquet import Parquet, row_groups


@parametrize_checks(Parquet())
def test_conformance(check):
    check()


def columns_of(count, seed=0):
    """Columns of every kind that can be read, with their numbers as NumPy has them."""
    random = np.random.default_rng(seed)
    whole = random.integers(0, 100, count)
    real = random.normal(5, 3, count)
    vectors = random.normal(size=(count, 3))
    return {
        "int8": (pa.array(whole, pa.int8()), whole),
        "uint64": (pa.array(whole, pa.uint64()), whole),
        "half": (pa.array(real.astype("float16")), real.astype("float16")),
        "double": (pa.array(real), real),
        "stamp": (pa.array(1.7e9 + real), 1.7e9 + real),
        "constant": (pa.array(np.full(count, 0.1)), np.full(count, 0.1)),
        "flag": (pa.array(whole > 50), whole > 50),
        "decimal": (pa.array([decimal.Decimal(int(n)) / 4 for n in whole], pa.decimal128(9, 2)), whole / 4),
        "category": (pa.array(whole).dictionary_encode(), whole),
        "list": (pa.array(list(vectors)), vectors),
        "fixed": (pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 3), vectors),
    }


def written(folder, count=200, files=2, target=None, size=16, seed=0, **options):
    """Write files, and give their rows as one array and the targets."""
    folder.mkdir(exist_ok=True)
    columns = columns_of(count, seed)
    target = np.random.default_rng(seed + 1).normal(size=count) if target is None else np.asarray(target)
    table = pa.table({**{name: array for name, (array, _) in columns.items()}, "y": target})
    for part, rows in enumerate(np.array_split(np.arange(count), files)):
        piece = table.slice(rows[0], len(rows))
        pq.write_table(piece, folder / f"part-{part}.parquet", row_group_size=size, **options)
    return np.column_stack([numbers.astype("float64") for _, numbers in columns.values()]), target


def parts(count, classes=None, fraction=0.2):
    return bm.split_indices(count, fraction, 0, classes=classes)


# What is read ---------------------------------------------------------------------------------------------


def test_rows_are_those_of_the_whole_table_standardised(tmp_path):
    x, y = written(tmp_path)
    data = bm.datasets.load("parquet", tmp_path)
    kept, held_out = parts(200)
    mean, std = x[kept].mean(0), x[kept].std(0)
    std[std < 1e-12] = 1
    np.testing.assert_allclose(np.asarray(data.train.x), (x[kept] - mean) / std, atol=1e-5)
    np.testing.assert_allclose(np.asarray(data.test.x), (x[held_out] - mean) / std, atol=1e-5)
    np.testing.assert_allclose(data.preprocessing.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(data.preprocessing.std, std, rtol=1e-9)
    assert data.preprocessing.raw_dtype == "float64"  # float32 cannot tell the seconds of the stamps
    assert data.train.y.std() == pytest.approx(1) and data.train.truth[:, 0] == pytest.approx(y[kept])
    assert data.features[8:12] == ("category", "list[0]", "list[1]", "list[2]") and data.target == "y"


def test_a_table_is_read_as_the_same_table_in_a_csv_file(tmp_path):
    random = np.random.default_rng(0)
    table = {
        "a": random.normal(size=90),
        "b": random.integers(0, 9, 90),
        "kind": random.choice(list("cab"), 90),
    }
    pq.write_table(pa.table(table), tmp_path / "t.parquet", row_group_size=7)
    rows = zip(*table.values(), strict=True)
    text = "\n".join([",".join(table), *(f"{float(a)!r},{b},{kind}" for a, b, kind in rows)])
    (tmp_path / "t.csv").write_text(text)
    found, wanted = (bm.datasets.load(name, tmp_path / f"t.{name}") for name in ("parquet", "csv"))
    assert (found.labels, found.task, found.features) == (wanted.labels, wanted.task, wanted.features)
    for part in ("train", "test"):
        a, b = found.splits()[part], wanted.splits()[part]
        np.testing.assert_allclose(np.asarray(a.x), b.x, atol=1e-6)
        assert np.array_equal(a.y, b.y)
    # A model that was trained on the one can be evaluated on the other.
    again = bm.datasets.load("parquet", tmp_path / "t.parquet", like=wanted)
    assert again.preprocessing == wanted.preprocessing and again.encoding.numbers == wanted.encoding.numbers


@pytest.mark.parametrize("nested", ["lists", "tensor"])
def test_arrays_are_read_alone_with_one_mean(tmp_path, nested):
    images = np.random.default_rng(0).integers(0, 255, (50, 2, 3, 4)).astype("uint8")
    if nested == "tensor":
        column = pa.FixedShapeTensorArray.from_numpy_ndarray(images)
    else:
        column = pa.array(images.tolist())
    pq.write_table(
        pa.table({"image": column, "y": np.arange(50) % 3}), tmp_path / "t.parquet", row_group_size=7
    )
    data = bm.datasets.load("parquet", tmp_path)
    kept, _ = parts(50, np.arange(50) % 3)
    wanted = (images[kept] - images[kept].mean()) / images[kept].std()
    np.testing.assert_allclose(np.asarray(data.train.x), wanted, atol=1e-5)
    assert data.input_shape == (2, 3, 4) and data.features is None


def test_columns_may_be_chosen_and_left_as_they_are(tmp_path):
    written(tmp_path, target=np.arange(200) % 2)
    tokens = bm.datasets.load("parquet", tmp_path, columns=("int8", "flag"), standardise=False)
    kept, _ = parts(200, np.arange(200) % 2)
    whole = columns_of(200)["int8"][1]
    assert tokens.train.x.dtype == np.int64 and tokens.preprocessing is None
    assert np.array_equal(np.asarray(tokens.train.x), np.stack([whole, whole > 50], 1)[kept])
    assert (
        bm.datasets.load("parquet", tmp_path, columns=("half",), standardise=False).train.x.dtype
        == np.float32
    )


@pytest.mark.parametrize(
    ("target", "options", "task", "labels"),
    [
        (np.array(["b", "a", "10", "9"]), {}, "classification", ("10", "9", "a", "b")),
        (np.array([True, False, True, False]), {}, "classification", ("false", "true")),
        (np.array([10, 9, -1, 9]), {}, "classification", ("-1", "9", "10")),
        (np.array([10, 9, 10, 9]), {"task": "binary"}, "binary", ("9", "10")),
        (np.array([10, 9, -1, 9]), {"task": "regression"}, "regression", None),
        (np.arange(4) % 2 / 2, {}, "regression", None),
        (np.array([1.0, 2.0, 1.0, 2.0]), {"task": "classification"}, "classification", ("1", "2")),
        (np.arange(400), {}, "regression", None),
        (np.arange(400), {"task": "classification"}, "classification", tuple(map(str, range(400)))),
    ],
)
def test_what_a_target_is_read_as(tmp_path, target, options, task, labels):
    target = np.resize(target, 400)
    written(tmp_path, 400, target=target)
    data = bm.datasets.load("parquet", tmp_path, **options)
    assert (data.task, data.labels) == (task, labels)
    kept, _ = parts(400, None if labels is None else data.labels and _numbers(target, labels))
    if labels is None:
        np.testing.assert_allclose(data.train.truth[:, 0], target[kept], atol=1e-4)
    else:
        assert [labels[number] for number in data.train.y] == [_text(value) for value in target[kept]]
    assert data.notes[0].startswith("target y read as ")


def _text(value):
    if isinstance(value, np.bool_):
        return str(value).lower()
    return str(int(value)) if isinstance(value, (np.integer, np.floating)) else str(value)


def _numbers(target, labels):
    return np.array([labels.index(_text(value)) for value in target])


def test_files_are_taken_by_path_from_folders_too(tmp_path):
    for number, place in enumerate(
        ("b/2.parquet", "a/1.PQ", ".old/3.parquet", "_tmp/4.parquet", "a/_5.parquet")
    ):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        rows = {"x": np.full(4, float(number)), "y": np.arange(4)}
        pq.write_table(pa.table(rows), tmp_path / place, row_group_size=3)
    pq.write_table(pa.table({"x": np.zeros(0), "y": np.zeros(0, int)}), tmp_path / "empty.parquet")
    (tmp_path / "_SUCCESS").write_text("")
    data = bm.datasets.load("parquet", tmp_path, standardise=False)
    found = np.concatenate([np.asarray(data.train.x), np.asarray(data.test.x)])
    assert sorted(found[:, 0].tolist()) == [0.0] * 4 + [1.0] * 4
    assert "3 Parquet files, 8 rows" in data.source


# A trained model ------------------------------------------------------------------------------------------


def test_other_files_are_read_as_in_training_by_name(tmp_path):
    random = np.random.default_rng(0)
    kinds = np.array(["a", "b", "c"])[np.arange(60) % 3]
    vectors = list(random.normal(size=(60, 2)))
    old = {"u": random.normal(size=60), "v": vectors, "kind": kinds}
    pq.write_table(pa.table(old), tmp_path / "old.parquet")
    trainer = bm.Trainer(bm.layers.Dense(3), "cross_entropy", metrics=["accuracy"], out=tmp_path / "run")
    data = bm.datasets.load("parquet", tmp_path / "old.parquet")
    trainer.fit(data, epochs=2, verbose=False)
    new = {"kind": np.array(["c", "b"])[np.arange(20) % 2], "v": vectors[:20], "u": old["u"][:20] * 2 + 5}
    pq.write_table(pa.table(new), tmp_path / "new.parquet", row_group_size=3)
    found = bm.datasets.load("parquet", tmp_path / "new.parquet", like=tmp_path / "run")
    kept, _ = parts(20, np.where(new["kind"] == "c", 2, 1))
    wanted = data.preprocessing.apply(np.column_stack([new["u"], np.stack(new["v"])]))[kept]
    assert np.array_equal(np.asarray(found.train.x), wanted)
    assert set(found.train.y.tolist()) == {1, 2} and found.labels == ("a", "b", "c")
    assert 0 <= trainer.evaluate(found.test)["accuracy"] <= 1
    del new["kind"]
    pq.write_table(pa.table(new), tmp_path / "unknown.parquet")
    unknown = bm.datasets.load("parquet", tmp_path / "unknown.parquet", like=tmp_path / "run")
    assert unknown.test.y is None and trainer.predict(unknown.test).shape == (4, 3)
    for columns, match in (
        ({**new, "more": new["u"]}, "also has more"),
        ({"u": new["u"]}, r"lacks v\[0\], v\[1\]"),
        ({**new, "v": [[1.0, 2.0, 3.0]] * 20}, r"also has v\[2\]"),
        ({**new, "kind": ["d"] * 20}, "'d' is not among those"),
    ):
        pq.write_table(pa.table(columns), tmp_path / "odd.parquet")
        with pytest.raises(DataError, match=match) as error:
            bm.datasets.load("parquet", tmp_path / "odd.parquet", like=data)
        assert "odd.parquet" in str(error.value)


# On demand ------------------------------------------------------------------------------------------------


def wide(folder, rows=32768, size=1024, columns=16):
    """Rows of floats: 2 MiB in 32 row groups, of which a cache of 1 MiB holds some."""
    numbers = np.random.default_rng(0).standard_normal((rows, columns), dtype="float32")
    named = {f"c{column}": numbers[:, column] for column in range(columns)}
    pq.write_table(
        pa.table({**named, "y": np.arange(rows) % 2}), folder / "wide.parquet", row_group_size=size
    )
    return numbers


def counted(monkeypatch):
    """The numbers of the blocks that are decoded, as they are."""
    decoded, plain = [], row_groups.RowGroups._decoded

    def decode(self, number):
        decoded.append(number)
        return plain(self, number)

    monkeypatch.setattr(row_groups.RowGroups, "_decoded", decode)
    return decoded


@pytest.mark.parametrize("workers", [0, 2])
def test_a_shuffled_epoch_decodes_each_row_group_once(tmp_path, monkeypatch, workers):
    numbers = wide(tmp_path)
    data = bm.datasets.load("parquet", tmp_path, standardise=False, cache=1)
    source = data.train.x.source
    decoded = counted(monkeypatch)
    seen = [x for x, _ in bm.Loader(data.train, 64, shuffle_seed=1, workers=workers)]
    # Threads that run ahead may ask for the next block while the last is still in use.
    assert set(decoded) == set(range(32)) and len(decoded) <= 32 + 2 * workers
    kept, _ = parts(32768, np.arange(32768) % 2)
    assert np.array_equal(np.sort(np.concatenate(seen), 0), np.sort(numbers[kept], 0))
    assert source.held == 15 and "within 15 of 32 blocks" in data.notes[1]
    del decoded[:]
    monkeypatch.setattr(row_groups.RowGroups, "blocks", lambda self: None)
    few = data.train.take(np.arange(0, len(data.train), 100))
    assert sum(1 for _ in bm.Loader(few, 1, shuffle_seed=1)) == len(few)
    assert len(decoded) > 100  # without blocks, about one for each sample of another row group


def test_memory_is_that_of_the_cache(tmp_path, monkeypatch):
    wide(tmp_path, rows=16384, size=256, columns=128)  # 8 MiB, 16 MiB while they are float64
    monkeypatch.setattr(row_groups, "PIECE", 1 << 18)
    tracemalloc.start()
    try:
        data = bm.datasets.load("parquet", tmp_path, cache=1)
        index = 16384 * 60  # bytes that target and splits take, however wide the rows are
        assert tracemalloc.get_traced_memory()[1] < index + (3 << 20)
        source, arrow, random = data.train.x.source, pa.total_allocated_bytes(), np.random.default_rng(1)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(15):
            source[random.integers(0, len(source), 8)]
            held = sum(slot.samples.nbytes for slot in source._slots.values())
            assert 0 < held <= 1 << 20 and held == sum(slot.size for slot in source._slots.values())
            assert pa.total_allocated_bytes() - arrow < 1 << 20
        assert held > 1 << 19  # it is made use of
        assert tracemalloc.get_traced_memory()[1] - before < 2 << 20
    finally:
        tracemalloc.stop()


def test_a_row_group_larger_than_the_cache_is_held_alone_and_told(tmp_path, monkeypatch):
    wide(tmp_path, rows=49152, size=24576)  # 1.5 MiB each
    data = bm.datasets.load("parquet", tmp_path, cache=1)
    assert "within 1 of 2 blocks" in data.notes[1] and "takes up to 2 MiB" in data.notes[1]
    decoded = counted(monkeypatch)
    assert sum(len(x) for x, _ in bm.Loader(data.train, 512, shuffle_seed=0, workers=0)) == len(data.train)
    assert len(decoded) <= 3  # the batch between the two needs both
    assert len(data.train.x.source._slots) == 1


def test_small_row_groups_and_files_make_one_block(tmp_path):
    x, _ = written(tmp_path, 200, files=3, size=5)
    data = bm.datasets.load("parquet", tmp_path, cache=1, standardise=False)
    assert len(data.train.x.source.parts) == 1 and len(data.notes) == 1  # all are at hand: nothing to tell
    kept, _ = parts(200)
    np.testing.assert_allclose(np.asarray(data.train.x), x[kept].astype("float32"))


def test_threads_read_what_one_reads(tmp_path):
    numbers = wide(tmp_path)
    source = bm.datasets.load("parquet", tmp_path, standardise=False, cache=1).train.x.source
    wrong, begin = [], threading.Barrier(8)

    def read(seed):
        random = np.random.default_rng(seed)
        begin.wait()
        for _ in range(30):
            indices = random.integers(0, len(numbers), 20)
            if not np.array_equal(source[indices], numbers[indices]):
                wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_file_that_changes_while_it_is_read_is_named(tmp_path):
    wide(tmp_path)
    data = bm.datasets.load("parquet", tmp_path, cache=1)
    whole = (tmp_path / "wide.parquet").read_bytes()
    (tmp_path / "wide.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"wide.parquet: cannot read it"):
        np.asarray(data.train.x)


# What is wrong --------------------------------------------------------------------------------------------

GOOD = {"a": [1.0, 2.0, 3.0, 4.0], "b": [1, 2, 3, 4], "y": [0.5, 1.5, 2.5, 3.5]}
WRONG = {
    "a null": (
        {"a": [1.0, None, None, 4.0]},
        {},
        r"2 of 4 rows of column 'a' do not hold.*row 1 .from 0.: null",
    ),
    "NaN": (
        {"a": [1.0, 2.0, np.nan, 4.0]},
        {},
        r"1 of 4 rows of column 'a' does not hold a finite.*row 2.*nan",
    ),
    "beyond float32": ({"a": [1e39, 1.0, 1.0, 1.0]}, {}, r"'a' does not hold a finite.*row 0.*1e\+39"),
    "lists of several lengths": ({"a": [[1.0], [1.0, 2.0], [1.0], [1.0]]}, {}, "row 1 .from 0.: a list of 2"),
    "a null in a list": ({"a": [[1.0], [None], [1.0], [1.0]]}, {}, r"column 'a' does not hold a list of 1"),
    "empty lists": ({"a": pa.array([[]] * 4, pa.list_(pa.int8()))}, {"columns": ("a",)}, "lists are empty"),
    "arrays beside a column": ({"a": [[[1.0]]] * 4}, {}, "'a' holds arrays.*columns=a"),
    "texts": ({"a": ["x"] * 4}, {}, "'a' is string, expected numbers.*columns=b"),
    "dates": ({"a": pa.array([0] * 4, pa.timestamp("us"))}, {}, r"'a' is timestamp\[us\], expected numbers"),
    "structs": ({"a": [{"z": 1}] * 4}, {}, "'a' is struct"),
    "an unknown column": ({}, {"columns": ("q",)}, "no column is called 'q'; there are a, b, y"),
    "an unknown target": ({}, {"target": "q"}, "no column is called 'q'; there are a, b, y"),
    "a target too far": ({}, {"target": 3}, "target is column 3, expected -3 to 2"),
    "the target among the features": ({}, {"columns": ("a", "y")}, "target y is among the features"),
    "a null target": ({"y": [1.0, None, 2.0, 3.0]}, {}, "1 of 4 rows of column 'y'"),
    "an infinite target": ({"y": [1.0, np.inf, 2.0, 3.0]}, {}, "1 of 4 rows of column 'y'.*inf"),
    "a target of lists": ({"y": [[1.0]] * 4}, {}, "target column 'y' is list"),
    "texts as numbers": ({"y": ["u", "v"] * 2}, {"task": "regression"}, "'y' holds texts, expected numbers"),
    "one class": ({"y": ["u"] * 4}, {}, "'y' has 1 different value, expected at least two"),
    "three classes of two": (
        {"y": [1, 2, 3, 1]},
        {"task": "binary"},
        "'y' has 3 different values, expected two",
    ),
    "parts of classes": ({}, {"task": "classification"}, "'y' has 0.5, which names no class"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_used_is_named(tmp_path, name):
    columns, options, match = WRONG[name]
    pq.write_table(pa.table({**GOOD, **columns}), tmp_path / "odd.parquet", row_group_size=2)
    with pytest.raises((DataError, ConfigError), match=f"(?s)odd.parquet.*{match}") as error:
        bm.datasets.load("parquet", tmp_path, **options)
    assert error.value.fix


def test_a_null_that_is_met_on_demand_is_named(tmp_path):
    pq.write_table(pa.table({**GOOD, "a": [1.0, None, 3.0, 4.0]}), tmp_path / "odd.parquet")
    data = bm.datasets.load("parquet", tmp_path, standardise=False)
    with pytest.raises(DataError, match=r"odd.parquet: 1 of 4 rows of column 'a'.*null"):
        list(bm.Loader(data.train, 2))


OTHERS = {
    "lacks": ({"a": GOOD["a"], "y": GOOD["y"]}, r"there is no column 'b', which 1.parquet has"),
    "more": ({**GOOD, "c": GOOD["a"]}, r"there is a column 'c', which 1.parquet lacks.*columns=a"),
    "type": ({**GOOD, "b": GOOD["a"]}, r"column 'b' is double, but int64 in 1.parquet"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_files_that_differ_are_named_with_the_column(tmp_path, name):
    other, match = OTHERS[name]
    pq.write_table(pa.table(GOOD), tmp_path / "1.parquet")
    pq.write_table(pa.table(other), tmp_path / "2.parquet")
    with pytest.raises(DataError, match=f"(?s)2.parquet: {match}"):
        bm.datasets.load("parquet", tmp_path)
    assert bm.datasets.load("parquet", tmp_path, columns=("a",)).features == ("a",)


def test_places_without_files_are_named(tmp_path):
    for place, match in ((tmp_path / "none", "no such file"), (tmp_path, "no Parquet file in it")):
        with pytest.raises(DataError, match=match):
            bm.datasets.load("parquet", place)
    (tmp_path / "year=2024").mkdir()
    pq.write_table(pa.table(GOOD), tmp_path / "year=2024" / "t.parquet")
    with pytest.raises(DataError, match="year=2024 holds the values of a column"):
        bm.datasets.load("parquet", tmp_path)
    assert len(bm.datasets.load("parquet", tmp_path / "year=2024").train) == 3


@pytest.mark.parametrize("content", [b"", b"a,y\n1,2\n", b"PAR1 and then nothing PAR1"])
def test_what_is_no_parquet_file_is_named(tmp_path, content):
    (tmp_path / "odd.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"odd.parquet: cannot read it as a Parquet file"):
        bm.datasets.load("parquet", tmp_path)


def test_too_few_rows_and_doubled_names_are_refused(tmp_path):
    pq.write_table(pa.table({name: column[:1] for name, column in GOOD.items()}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="there is 1 row of data"):
        bm.datasets.load("parquet", tmp_path)
    table = pa.Table.from_arrays([pa.array([1.0, 2.0])] * 2, names=["a", "a"])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(DataError, match="two columns are called 'a'"):
        bm.datasets.load("parquet", tmp_path)


@pytest.mark.parametrize(
    "options",
    [{"task": "guess"}, {"cache": 0}, {"test_fraction": 1.0}, {"columns": ()}, {"columns": ("a", "a")}],
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        Parquet(**options)
