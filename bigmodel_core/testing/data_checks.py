"""The checks of data sets."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np

from bigmodel_core.data import files as dataset_files
from bigmodel_core.data.dataset import Data, Dataset
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.sampling import batches
from bigmodel_core.data.split import Split
from bigmodel_core.errors import DataError
from bigmodel_core.testing.checks import CheckSkipped, Found, Inputs, expect
from bigmodel_core.testing.registry_checks import registry_checks


def dataset_checks(dataset: Dataset, inputs: Inputs | None = None, reference: Any = None) -> Found:
    """The checks of a data set; nothing is downloaded: if the files are not at hand, they are skipped."""

    @functools.cache
    def data() -> Data:
        return _loaded(dataset)

    return {
        "lengths": lambda: check_lengths(data()),
        "numbers": lambda: check_numbers(data()),
        "splits are disjoint": lambda: check_disjoint(data()),
        "deterministic": lambda: check_deterministic(data(), lambda: _loaded(dataset)),
        "batches": lambda: check_batches(data()),
        "summary": lambda: check_summary(data()),
        **registry_checks(dataset),
    }


def _loaded(dataset: Dataset) -> Data:
    def refuse(url: str) -> Any:
        raise OSError("checks download nothing")

    try:
        with mock.patch.object(dataset_files, "_open_https", refuse):
            return dataset.load()
    except DataError as error:
        raise CheckSkipped(f"its files are not here: {error.message.splitlines()[0]}") from error


def check_lengths(data: Data) -> None:
    """Every split has as many targets as samples, and at least one."""
    for name, split in data.splits().items():
        expect(len(split) == len(split.x) > 0, f"{name} reports {len(split)} samples but has {len(split.x)}")
        if split.y is not None:
            expect(len(split.y) == len(split), f"{name} has {len(split)} samples and {len(split.y)} targets")


def check_numbers(data: Data) -> None:
    """Samples are contiguous and finite, labels within the classes."""
    for name, split in data.splits().items():
        x = np.asarray(split.x)
        expect(x.flags.c_contiguous, f"{name}: samples are not C-contiguous")
        expect(x.dtype == (np.float32 if x.dtype.kind == "f" else np.int64), f"{name}: samples are {x.dtype}")
        expect(x.shape == split.x.shape, f"{name}: samples are {x.shape}, said to be {split.x.shape}")
        expect(np.isfinite(x).all(), f"{name}: a sample is not finite")
        some = np.arange(len(x) - 1, -1, -2)
        expect(
            np.array_equal(split.take(some).x, x[some]), f"{name}: samples depend on which others are read"
        )
        if split.y is not None and data.classes:
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
    targets = split.y if split.y is not None else np.zeros(len(split))
    return {x.tobytes() + y.tobytes() for x, y in zip(np.asarray(split.x), targets, strict=True)}


def check_deterministic(data: Data, again: Callable[[], Data]) -> None:
    """Loading twice gives the same splits."""
    other = again().splits()
    for name, split in data.splits().items():
        expect(np.array_equal(split.x, other[name].x), f"{name}: samples differ when loaded again")
        first, second = split.y, other[name].y
        same = first is second if first is None or second is None else np.array_equal(first, second)
        expect(same, f"{name}: targets differ when loaded again")


def check_batches(data: Data) -> None:
    """An epoch holds each sample once; the order is that of seed and epoch."""
    split = data.test
    orders = [np.concatenate(list(batches(split, 7, shuffle_seed=1, epoch=epoch))) for epoch in (0, 0, 1)]
    expect(np.array_equal(np.sort(orders[0]), np.arange(len(split))), "an epoch misses or repeats samples")
    expect(np.array_equal(orders[0], orders[1]), "one seed and epoch gave two orders")
    expect(len(split) < 5 or not np.array_equal(orders[0], orders[2]), "two epochs have the same order")


def check_summary(data: Data) -> None:
    """What is known of the data survives JSON, and says where it came from."""
    summary = json.loads(json.dumps(data.summary()))
    expect(summary["samples"]["train"] == len(data.train), "the summary reports another number of samples")
    again = Encoding.from_dict(json.loads(json.dumps(data.encoding.to_dict())))
    expect(again == data.encoding, "the encoding does not survive JSON")
    expect(data.source and data.input_meaning, "source or input_meaning is empty")
