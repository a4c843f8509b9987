"""Samples of unequal length, such as texts: padded to the longest of a batch, and batched by length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from bigmodel_core.data.source import Source, gathered
from bigmodel_core.errors import DataError

NO_TOKEN = -1
"""What stands where a text has ended, and for a label that counts nothing."""


class Ragged(Source):
    """Sequences of unequal length as samples: rows that are padded at their ends.

    A batch is as long as its longest sample, rounded up a little, and training makes batches of samples of
    about one length. A model is built for any length: the axis is a free dimension of its input.

    Args:
        values: the numbers of all sequences, one after the other; (k,), or (k, features). It may be a memory
            map: what a batch needs is read when it is made.
        starts: (n + 1,) where each sequence begins, and where the last one ends.
        axis: the name of the dimension. Samples, targets and weights with the same name are cut alike.
        padding: what stands behind the end of a sequence; -1 for integers and 0 for floats if None.

    Raises:
        DataError: the starts are not ascending positions in the values.

    >>> texts = Ragged.of([[5, 6, 7], [8], [9, 4]])
    >>> texts.shape, texts[[0, 1]].tolist(), texts.lengths().tolist()
    ((3, 3), [[5, 6, 7], [8, -1, -1]], [3, 1, 2])
    """

    def __init__(
        self, values: np.ndarray, starts: np.ndarray, axis: str = "T", padding: float | None = None
    ) -> None:
        starts = np.asarray(starts, np.int64)
        is_ascending = len(starts) > 0 and bool((np.diff(starts) >= 0).all())
        if not is_ascending or starts[0] < 0 or starts[-1] > len(values):
            raise DataError(
                f"the starts of the sequences are not ascending positions among the {len(values)} values.",
                where="Ragged",
                fix="give where each sequence begins, and where the last one ends.",
            )
        self.values, self.starts, self.axis = values, starts, axis
        kind = values.dtype.kind
        self.dtype = np.dtype(np.float32 if kind == "f" else np.int64)
        self.padding = (0 if kind == "f" else NO_TOKEN) if padding is None else padding
        self._lengths = np.diff(starts)
        self.shape = (len(self._lengths), int(self._lengths.max(initial=0)), *values.shape[1:])

    @classmethod
    def of(
        cls,
        sequences: Iterable[Sequence[Any] | np.ndarray],
        axis: str = "T",
        padding: float | None = None,
        dtype: Any = np.int64,
    ) -> Ragged:
        """Those of a list of sequences.

        Args:
            sequences: lists or arrays of numbers.
            axis, padding: as above.
            dtype: the number type in which they are kept in memory.
        """
        parts = [np.asarray(sequence, dtype) for sequence in sequences]
        starts = np.concatenate([[0], np.cumsum([len(part) for part in parts], dtype=np.int64)])
        values = np.concatenate(parts) if parts else np.zeros(0, dtype)
        return cls(values, starts.astype(np.int64), axis, padding)

    def lengths(self) -> np.ndarray:
        """How long each sequence is, (n,)."""
        return self._lengths

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Read sequences; `out` is as wide as the longest of them, or wider."""
        lengths = self._lengths[indices]
        places = np.arange(out.shape[1])
        is_there = places < lengths[:, None]
        out[...] = self.padding
        out[is_there] = self.values[(self.starts[indices][:, None] + places)[is_there]]


def rounded(length: int) -> int:
    """The length that a batch is given: one of a few, so that few plans are made.

    >>> [rounded(length) for length in (1, 9, 63, 65, 130, 1000)]
    [4, 12, 64, 80, 160, 1024]
    """
    step = max(4, 1 << max((length - 1).bit_length() - 3, 0))
    return max(-(-length // step) * step, step)


class Widths:
    """How wide the batches of some samples are, along the axes on which those differ in length.

    Args:
        samples: arrays or sources of as many samples.
    """

    def __init__(self, samples: Iterable[np.ndarray | Source]) -> None:
        self._samples = list(samples)
        self.by_axis: dict[str, np.ndarray] = {}
        self._most: dict[str, int] = {}
        for item in self._samples:
            axis, lengths = free_axis(item), lengths_of(item)
            if axis is None or lengths is None:
                continue
            known = self.by_axis.get(axis)
            self.by_axis[axis] = lengths if known is None else np.maximum(known, lengths)
            self._most[axis] = max(self._most.get(axis, 0), item.shape[1])

    def shapes(self, indices: np.ndarray) -> list[tuple[int, ...]]:
        """The shape of the batch of some samples, for each of the arrays or sources."""
        widths = {
            axis: min(rounded(int(lengths[indices].max(initial=0))), self._most[axis])
            for axis, lengths in self.by_axis.items()
        }
        return [(len(indices), *_cut(item, widths)) for item in self._samples]

    def by_length(self, order: np.ndarray) -> np.ndarray:
        """The same samples, the short ones first; those of one length stay as they were."""
        if not self.by_axis:
            return order
        keys = [lengths[order] for lengths in self.by_axis.values()]
        table = np.array([rounded(length) for length in range(int(max(k.max(initial=0) for k in keys)) + 1)])
        return order[np.lexsort([table[key] for key in reversed(keys)])]


def _cut(item: np.ndarray | Source, widths: dict[str, int]) -> tuple[int, ...]:
    axis = free_axis(item)
    return item.shape[1:] if axis is None else (widths[axis], *item.shape[2:])


def free_axis(item: Any) -> str | None:
    """The name of the axis on which samples differ in length; None if they do not."""
    return item.axis if isinstance(item, Source) and item.lengths() is not None else None


def lengths_of(item: Any) -> np.ndarray | None:
    """How long samples are, if they differ."""
    return item.lengths() if isinstance(item, Source) else None


def gathered_together(
    samples: Sequence[np.ndarray | Source], widths: Widths, indices: np.ndarray
) -> list[np.ndarray]:
    """The batch of some samples: an array of each, cut to the longest of them."""
    return [
        gathered(item, indices, np.empty(shape, item.dtype))
        for item, shape in zip(samples, widths.shapes(indices), strict=True)
    ]
