"""Samples that are read when they are needed: a data set larger than memory looks like an array."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np

from bigmodel_core.data.arrays import cast
from bigmodel_core.errors import DataError, ShapeError


class Source(ABC):
    """Samples that are read on demand, such as images in files; wherever `x` is an array of
    samples, it may be a source.

    A subclass sets `shape` and `dtype` and defines `read`. Indexing along the first axis reads and gives
    arrays: `source[3]`, `source[10:20]`, `source[[4, 2]]`; `np.asarray(source)` reads everything.

    Attributes:
        shape: (n, ...), the samples on the first axis.
        dtype: float32, or int64 for tokens.

    >>> class Squares(Source):
    ...     shape, dtype = (1000, 1), np.dtype("float32")
    ...
    ...     def read(self, indices, out):
    ...         out[:, 0] = indices**2
    >>> Squares()[5:7].tolist(), len(Squares().take(np.array([9, 3])))
    ([[25.0], [36.0]], 2)
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    axis: str = "T"
    """The name of the first axis of a sample, where samples differ in length."""

    @abstractmethod
    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Write the samples at some positions to `out`. Several threads may call it at once.

        Args:
            indices: (k,) int64, each from 0 to n - 1, in any order.
            out: (k, ...) of this source's dtype, C-contiguous; where samples differ in length, as wide as the
                longest of these, or wider.

        Raises:
            DataError: a sample cannot be read; names the file.
        """

    def blocks(self) -> tuple[np.ndarray, int] | None:
        """For samples that are cheap to read together, such as those of a row group of a file: the number of
        each sample's block, (n,) integers from 0, and how many blocks are at hand at once, at least 1.

        Shuffling then mixes the samples of so many blocks at a time, and no block is needed again once its
        samples were drawn. None, as here, if any order is as good as another.
        """
        return None

    def lengths(self) -> np.ndarray | None:
        """For samples of unequal length, such as texts, how long each is, (n,); None if all are as long.

        `shape` then has the greatest length; a batch is as long as its longest sample, and training makes
        batches of samples of about one length.
        """
        return None

    def in_epoch(self, seed: int, epoch: int) -> Source:
        """The samples as training meets them in an epoch, for those that are drawn anew, such as which
        words of a text are to be guessed. What differs may depend on seed, epoch and sample alone.
        """
        return self

    @property
    def ndim(self) -> int:
        """How many axes there are, that of the samples included."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        if isinstance(key, slice):
            indices = np.arange(*key.indices(len(self)))
        else:
            indices = np.asarray(key)
            if indices.dtype == bool and indices.shape == (len(self),):
                indices = np.flatnonzero(indices)
            elif indices.size == 0:
                indices = indices.astype(np.int64)
        if indices.ndim > 1 or indices.dtype.kind not in "iu":
            raise ShapeError(
                "samples are indexed by a number, a slice or a list of numbers.",
                where=type(self).__name__,
                fix="index only the first axis, then the array this returns.",
            )
        flat = indices.reshape(-1).astype(np.int64)
        flat = np.where(flat < 0, flat + len(self), flat)
        if flat.size and (flat.min() < 0 or flat.max() >= len(self)):
            raise IndexError(f"sample {key!r} of {len(self)}")
        found = np.empty((len(flat), *self.shape[1:]), self.dtype)
        self.read(flat, found)
        return found if isinstance(key, slice) or indices.ndim else found[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def take(self, indices: np.ndarray) -> Source:
        """The samples at some positions as a source; nothing is read."""
        return _View(self, np.arange(len(self))[indices], self.dtype)

    def astype(self, dtype: Any) -> Source:
        """The same samples in another number type; nothing is read."""
        return _View(self, np.arange(len(self)), np.dtype(dtype))


class _View(Source):
    """Some samples of another source, converted if the number types differ."""

    def __init__(self, source: Source, indices: np.ndarray, dtype: np.dtype[Any]) -> None:
        self.source, self.indices, self.dtype = source, indices, dtype
        if isinstance(source, _View) and source.dtype == dtype:
            self.source, self.indices = source.source, source.indices[indices]
        self.shape, self.axis = (len(indices), *source.shape[1:]), source.axis

    def in_epoch(self, seed: int, epoch: int) -> Source:
        return _View(self.source.in_epoch(seed, epoch), self.indices, self.dtype)

    def lengths(self) -> np.ndarray | None:
        found = self.source.lengths()
        return None if found is None else found[self.indices]

    def blocks(self) -> tuple[np.ndarray, int] | None:
        found = self.source.blocks()
        return None if found is None else (found[0][self.indices], found[1])

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        chosen = self.indices[indices]
        if self.source.dtype == self.dtype:
            self.source.read(chosen, out)
        else:
            found = np.empty(out.shape, self.source.dtype)
            self.source.read(chosen, found)
            out[...] = cast(found, self.dtype, "sample")


def rows(x: np.ndarray | Source, start: int, stop: int) -> np.ndarray | Source:
    """The samples from `start` to before `stop`, neither copied nor read."""
    if isinstance(x, Source):
        return x.take(np.arange(start, min(operator.index(stop), len(x))))
    return x[start:stop]


def all_in_epoch(samples: Iterable[np.ndarray | Source], seed: int, epoch: int) -> list[np.ndarray | Source]:
    """Arrays and sources as they are in an epoch; see `Source.in_epoch`."""
    return [item.in_epoch(seed, epoch) if isinstance(item, Source) else item for item in samples]


def blocks_of(samples: Iterable[np.ndarray | Source]) -> tuple[np.ndarray, int] | None:
    """The blocks of the first of some samples that has some; see `Source.blocks`.

    Raises:
        DataError: they are not one number for each sample, or none is at hand.
    """
    for source in samples:
        found = source.blocks() if isinstance(source, Source) else None
        if found is None:
            continue
        numbers, held = np.asarray(found[0]), found[1]
        is_whole = numbers.shape == (len(source),) and numbers.dtype.kind in "iu"
        if not is_whole or held < 1 or numbers.min(initial=0) < 0:
            raise DataError(
                f"blocks() gives {numbers.dtype} numbers of shape {numbers.shape} and {held} at hand,"
                f" expected integers from 0 of shape ({len(source)},) and at least 1.",
                where=type(source).__name__,
                fix="return the number of each sample's block, and how many blocks are held at once.",
            )
        return numbers, held
    return None


def gathered(x: np.ndarray | Source, indices: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The samples at some positions, written to `out`.

    Args:
        x: what to take from.
        indices: (k,) int64, each in range.
        out: (k, ...), of the number type of x.
    """
    if isinstance(x, Source):
        x.read(indices, out)
        return out
    # Every index is in range; "clip" lets NumPy write to `out` without its own buffer.
    return np.take(x, indices, axis=0, out=out, mode="clip")
