"""The checks of data sets."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from bigmodel_core.data import files as dataset_files
from bigmodel_core.data.data import Data
from bigmodel_core.data.dataset import Dataset
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.sampling import batches
from bigmodel_core.data.split import Split
from bigmodel_core.data.tree import leaves
from bigmodel_core.errors import DataError
from bigmodel_core.registry.discovery import display_name
from bigmodel_core.testing.checks import CheckSkipped, Found, Inputs, expect
from bigmodel_core.testing.child import isolated
from bigmodel_core.testing.registry_checks import expect_readable, registry_checks


def dataset_checks(
    dataset: Dataset, inputs: Inputs | None = None, reference: Any = None, data_dir: Path | None = None
) -> Found:
    """The checks of a data set; nothing is downloaded.

    Its files are those in `data_dir`, else those in its folder in `BIGMODEL_DATA_DIR`, else what its
    `example(folder)` writes, else those that it finds itself.
    """
    subject = DatasetSubject(dataset, data_dir)

    def on_data(check: Callable[[Data], None]) -> Callable[[], None]:
        return lambda: check(subject.loaded())

    found: Found = {
        "loads": subject.check_loads,
        "lengths": on_data(check_lengths),
        "numbers": on_data(check_numbers),
        "splits are disjoint": on_data(check_disjoint),
        "deterministic": on_data(lambda data: check_same(data, subject.load(), "when loaded again")),
        "like": on_data(lambda data: check_same(data, subject.load(like=data), "with like= of themselves")),
        "batches": on_data(check_batches),
        "summary": on_data(check_summary),
        "wrong folder": lambda: check_wrong_folder(dataset),
    }
    if subject.writes_example:
        found["BIGMODEL_DATA_DIR"] = on_data(lambda data: check_environment(data, dataset))
    return {**found, **registry_checks(dataset)}


class DatasetSubject:
    """A data set and where its files are.

    Args:
        dataset: the data set.
        data_dir: the folder or file that was named; None if none was.
    """

    def __init__(self, dataset: Dataset, data_dir: Path | None = None) -> None:
        self.dataset, self._place = dataset, data_dir
        self._folders = dataset_files.environment_folders(display_name(type(dataset)))
        example = type(dataset).example
        has_example = getattr(example, "__func__", example) is not vars(Dataset)["example"].__func__
        self.writes_example = has_example and data_dir is None and not self._folders
        self._data: Data | None = None

    def place(self) -> Path | None:
        """Where its files are, if it was said; an example is written there first."""
        if self.writes_example and self._place is None:
            self._place = Path(tempfile.mkdtemp(prefix="bigmodel-example-"))
            weakref.finalize(self, shutil.rmtree, self._place, ignore_errors=True)
            write_example(self.dataset, self._place)
        return self._place

    def load(self, like: Any = None) -> Data:
        """Load it anew.

        Raises:
            AssertionError: it gives no `Data`.
        """
        load: Callable[..., Any] = self.dataset.load  # of which each subclass's takes like=, too
        with no_downloads():
            data = load(self.place(), like=like)
        if not isinstance(data, Data):
            raise AssertionError(f"load returned {type(data).__name__}, expected bm.Data")
        return data

    def check_loads(self) -> None:
        """It can be loaded, first in a copy of the process, which a library that reads files may end; files
        that nobody has are a failure, for then nothing is known of it."""
        try:
            self.place()
            isolated(self.load)
            self._data = self.load()
        except DataError as error:
            if self._place is not None or self._folders:
                raise
            raise AssertionError(
                f"{error} There is nothing to check it on: name its files with --data-dir (data_dir=),"
                f" put them into BIGMODEL_DATA_DIR/{display_name(type(self.dataset))}, or give"
                f" {type(self.dataset).__name__} a classmethod example(folder) that writes some."
            ) from error

    def loaded(self) -> Data:
        """The data, loaded once.

        Raises:
            CheckSkipped: they cannot be.
        """
        if self._data is None:
            try:
                self.check_loads()
            except Exception as error:
                raise CheckSkipped("the check 'loads' fails") from error
        assert self._data is not None
        return self._data


def write_example(dataset: Dataset, folder: Path) -> None:
    """Have a data set write its example files into an empty folder.

    Raises:
        AssertionError: it writes none.
    """
    type(dataset).example(folder)
    expect(any(folder.iterdir()), f"{type(dataset).__name__}.example({str(folder)!r}) wrote nothing there")


@contextmanager
def no_downloads() -> Iterator[None]:
    """Inside, the host downloads nothing."""

    def refuse(url: str) -> Any:
        raise OSError("checks download nothing")

    with mock.patch.object(dataset_files, "_open_https", refuse):
        yield


def check_lengths(data: Data) -> None:
    """Every split has as many targets as samples, at least one, and its last one can be read."""
    for name, split in data.splits().items():
        for x in split.inputs:
            expect(len(split) == len(x) > 0, f"{name} reports {len(split)} samples but has {len(x)}")
        for y in leaves(split.y).values():
            expect(len(y) == len(split), f"{name} has {len(split)} samples and {len(y)} targets")
        try:
            for x in split.take(np.array([len(split) - 1])).inputs:
                np.asarray(x)
        except Exception as error:  # whatever a stranger's code raises
            raise AssertionError(
                f"{name} reports {len(split)} samples, but the last cannot be read:"
                f" {type(error).__name__}: {error}"
            ) from error


def check_numbers(data: Data) -> None:
    """Samples are contiguous and finite, labels within the classes."""
    for name, split in data.splits().items():
        for told in split.inputs:
            x = np.asarray(told)
            expect(x.flags.c_contiguous, f"{name}: samples are not C-contiguous")
            expect(
                x.dtype == (np.float32 if x.dtype.kind == "f" else np.int64), f"{name}: samples are {x.dtype}"
            )
            expect(x.shape == told.shape, f"{name}: samples are {x.shape}, said to be {told.shape}")
            expect(np.isfinite(x).all(), f"{name}: a sample is not finite")
        if isinstance(split.y, np.ndarray) and data.classes:
            inside = (split.y >= 0) & (split.y < data.classes)
            expect(inside.all(), f"{name}: labels run from {split.y.min()} to {split.y.max()}")


def check_disjoint(data: Data) -> None:
    """Hardly any sample of one split is found, to the bit, in another."""
    parts = {name: _fingerprints(split) for name, split in data.splits().items()}
    for name, found in parts.items():
        for other, rest in parts.items():
            if name < other:
                shared, smaller = len(found & rest), min(len(found), len(rest))
                expect(
                    shared <= 0.01 * smaller,
                    f"{name} and {other} share {shared} of {smaller} different samples",
                )


def _fingerprints(split: Split) -> set[bytes]:
    arrays = [np.asarray(array) for array in (*split.inputs, *leaves(split.y).values())]
    return {b"".join(part.tobytes() for part in sample) for sample in zip(*arrays, strict=True)}


def check_same(data: Data, again: Data, when: str) -> None:
    """The same splits came again."""
    other = again.splits()
    expect(list(other) == list(data.splits()), f"the splits are {', '.join(other)} {when}")
    for name, split in data.splits().items():
        expect(_same(split.x, other[name].x), f"{name}: samples differ {when}")
        expect(_same(split.y, other[name].y), f"{name}: targets differ {when}")


def _same(tree: Any, other: Any) -> bool:
    first, second = leaves(tree), leaves(other)
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


def check_wrong_folder(dataset: Dataset) -> None:
    """An empty folder and a place that does not exist are errors that say so, where files are read at all."""
    with tempfile.TemporaryDirectory() as folder, no_downloads():
        for place, what in ((Path(folder), "an empty folder"), (Path(folder) / "none", "a missing folder")):
            expect_readable(lambda place=place: dataset.load(place), what, may_work=True)  # type: ignore[misc]  # mypy infers no lambda with defaults


def check_environment(data: Data, dataset: Dataset) -> None:
    """Its folder in `BIGMODEL_DATA_DIR` is read where no other is named."""
    name = display_name(type(dataset))
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / name
        folder.mkdir()
        write_example(dataset, folder)
        with mock.patch.dict("os.environ", BIGMODEL_DATA_DIR=root), no_downloads():
            try:
                again = dataset.load()
            except DataError as error:
                raise AssertionError(
                    f"BIGMODEL_DATA_DIR/{name} has the files, but load() does not read them"
                    f" ({error.message}); where data_dir is None, read the first of"
                    " bm.files.environment_folders(self.name)"
                ) from error
            check_same(data, again, f"when BIGMODEL_DATA_DIR/{name} is read")


def check_batches(data: Data) -> None:
    """An epoch holds each sample once, and as it is, whichever others are read with it; the order is that of
    seed and epoch."""
    split = data.test
    orders = []
    for epoch in (0, 0, 1):
        found = list(batches(split, 7, shuffle_seed=1, epoch=epoch))
        orders.append(np.concatenate(found))
    expect(np.array_equal(np.sort(orders[0]), np.arange(len(split))), "an epoch misses or repeats samples")
    expect(np.array_equal(orders[0], orders[1]), "one seed and epoch gave two orders")
    expect(len(split) < 5 or not np.array_equal(orders[0], orders[2]), "two epochs have the same order")
    whole = [np.asarray(x) for x in split.inputs]
    for batch in found:
        same = all(map(np.array_equal, split.take(batch).inputs, [x[batch] for x in whole]))
        expect(same, "samples depend on which others are read")


def check_summary(data: Data) -> None:
    """What is known of the data survives JSON, and says where it came from."""
    summary = json.loads(json.dumps(data.summary()))
    expect(summary["samples"]["train"] == len(data.train), "the summary reports another number of samples")
    again = Encoding.from_dict(json.loads(json.dumps(data.encoding.to_dict())))
    expect(again == data.encoding, "the encoding does not survive JSON")
    expect(data.source and data.input_meaning, "source or input_meaning is empty")
