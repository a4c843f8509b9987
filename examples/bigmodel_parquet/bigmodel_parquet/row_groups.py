"""Samples in row groups of Parquet files, decoded when they are needed and held while there is room."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np

import bigmodel_core as bm

from .columns import Layout, Misfit
from .files import PIECE, File

Part = tuple[File, tuple[int, ...]]
"""Row groups of a file."""


@dataclass(frozen=True)
class Reader:
    """From rows of files to samples.

    Args:
        layout: how columns make a sample.
        order: where each number of a sample is found in the layout; None if they are in this order.
        dtype: of raw samples: float64, float32 or int64.
        advice: what else would do where rows cannot be used.
    """

    layout: Layout
    order: tuple[int, ...] | None = None
    dtype: type = np.float64
    advice: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self.layout.shape if self.order is None else (len(self.order),)

    @property
    def features(self) -> tuple[str, ...] | None:
        """A name for each number of a sample; None of arrays."""
        names = self.layout.features
        if names is None or self.order is None:
            return names
        return tuple(names[place] for place in self.order)

    def pieces(self, file: File, groups: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """The raw samples of row groups, some rows at a time.

        Raises:
            DataError: a column has rows that cannot be used, or the file is damaged.
        """
        rows = max(PIECE // (8 * max(math.prod(self.layout.shape), 1)), 64)
        for batch in file.batches(self.layout.columns, groups, rows):
            try:
                values = self.layout.values(batch, self.dtype, file.path)
            except Misfit as misfit:
                raise file.refusal(misfit, self.advice) from None
            yield values if self.order is None else values[:, self.order]


@dataclass(eq=False)
class _Slot:
    """The samples of a block, or the place that they will have."""

    size: int
    lock: Lock = field(default_factory=Lock)
    samples: np.ndarray | None = None


class RowGroups(bm.Source):
    """Rows of Parquet files as samples.

    Small row groups that follow each other make one block. A block is decoded by the thread that needs it
    first, while others wait for it; those that were not used for longest make room. Samples of `cache` bytes
    are held, or one block if that is larger.

    Args:
        files: the files, whose rows follow each other.
        reader: makes raw samples of rows.
        steps: from raw samples to those of a model; None if they are the same.
        cache: bytes of decoded samples that are held.
    """

    def __init__(
        self, files: Sequence[File], reader: Reader, steps: bm.Preprocessing | None, cache: int
    ) -> None:
        self.reader, self.steps, self.cache = reader, steps, cache
        self.dtype = np.dtype(np.int64 if reader.dtype is np.int64 and steps is None else np.float32)
        self._sample_bytes = math.prod(reader.shape) * self.dtype.itemsize
        self.parts: list[list[Part]] = []
        rows: list[int] = []
        for file in files:
            for group, count in enumerate(file.groups):
                is_small = rows and (rows[-1] + count) * self._sample_bytes <= cache // 32
                if is_small and self.parts[-1][-1][0] is file:
                    self.parts[-1][-1] = (file, (*self.parts[-1][-1][1], group))
                elif is_small:
                    self.parts[-1].append((file, (group,)))
                else:
                    self.parts.append([(file, (group,))])
                    rows.append(0)
                rows[-1] += count
        self.starts = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
        self.shape = (int(self.starts[-1]), *reader.shape)
        self._slots: OrderedDict[int, _Slot] = OrderedDict()
        self._lock = Lock()

    @property
    def block_bytes(self) -> int:
        """How large the largest block is, decoded."""
        return int(np.diff(self.starts).max()) * self._sample_bytes

    @property
    def held(self) -> int:
        """How many blocks are at hand, with room for one that comes before another is done with."""
        return max(self.cache // max(self.block_bytes, 1) - 1, 1)

    def blocks(self) -> tuple[np.ndarray, int]:
        """The block of each sample; see `Source.blocks`."""
        return np.repeat(np.arange(len(self.parts)), np.diff(self.starts)), self.held

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Read the samples at some positions, block by block; see `Source.read`."""
        if not len(indices):
            return
        order = np.argsort(indices)
        indices = indices[order]
        numbers = np.searchsorted(self.starts, indices, side="right") - 1
        rows = indices - self.starts[numbers]
        cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(indices)]
        found = np.empty_like(out)
        for number, (first, last) in zip(numbers[cuts[:-1]].tolist(), itertools.pairwise(cuts), strict=True):
            # Every row is in range; "clip" lets NumPy write to `out` without its own buffer.
            self._block(number).take(rows[first:last], axis=0, out=found[first:last], mode="clip")
        out[order] = found

    def _block(self, number: int) -> np.ndarray:
        """The samples of a block."""
        with self._lock:
            slot = self._slots.get(number)
            if slot is None:
                slot = self._slots[number] = _Slot(self._size(number))
                surplus = sum(each.size for each in self._slots.values()) - self.cache
                while surplus > 0 and len(self._slots) > 1:
                    surplus -= self._slots.popitem(last=False)[1].size
            self._slots.move_to_end(number)  # the last is the one used last
        if slot.samples is None:
            with slot.lock:
                if slot.samples is None:  # no other thread was faster
                    slot.samples = self._decoded(number)
        return slot.samples

    def _size(self, number: int) -> int:
        return int(self.starts[number + 1] - self.starts[number]) * self._sample_bytes

    def _decoded(self, number: int) -> np.ndarray:
        count = int(self.starts[number + 1] - self.starts[number])
        samples, start = np.empty((count, *self.shape[1:]), self.dtype), 0
        for file, groups in self.parts[number]:
            for raw in self.reader.pieces(file, groups):
                if start + len(raw) > count:
                    break
                try:
                    samples[start : start + len(raw)] = raw if self.steps is None else self.steps.apply(raw)
                except bm.errors.BigmodelError as error:
                    raise bm.errors.DataError(error.message, where=str(file.path), fix=error.fix) from error
                start += len(raw)
        if start != count:
            raise bm.errors.DataError(
                f"it has {start} rows, {count} when it was opened.",
                where=str(self.parts[number][0][0].path),
                fix="load the data again; do not write files while they are read.",
            )
        return samples
