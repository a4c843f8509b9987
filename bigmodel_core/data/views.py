"""Samples that are looked at several times, as they are and augmented, for test-time augmentation."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.data.augmentation import Augmentation, augmented, mixes
from bigmodel_core.data.source import Source
from bigmodel_core.errors import UsageError
from bigmodel_core.registry.config import make_list


@dataclass(frozen=True)
class Views:
    """How often, and how changed, a model looks at a sample: once as it is, the other times augmented.

    Chance is keyed by the seed and by what the sample holds: it is seen alike whatever stands beside it.

    Args:
        augment: what changes the samples, in this order.
        times: how often.
        seed: key of the random numbers.

    Raises:
        UsageError: `times` is no count, there is no augmentation, or one mixes samples.
    """

    augment: tuple[Augmentation, ...]
    times: int
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.times, bool) or not isinstance(self.times, int) or self.times < 1:
            raise UsageError(
                f"times is {self.times!r}, expected a whole number from 1 on.",
                where="times",
                fix="pass how often a sample is looked at, such as 8.",
            )
        if not self.augment:
            raise UsageError(
                "samples are to be augmented, and there is no augmentation.",
                where="augment",
                fix='pass some that leave the answer as it is, such as augment=["horizontal-flip"].',
                shell="name one that leaves the answer as it is, as in --augment horizontal-flip.",
            )
        if mixes(self.augment):
            raise UsageError(
                "an augmentation mixes samples with others, which changes the answer.",
                where="augment",
                fix="leave mixup and cutmix out.",
            )

    @classmethod
    def of(cls, augment: Any, times: int, seed: int = 0) -> Views:
        """Views from augmentations, or their names, one or a list."""
        listed = [augment] if isinstance(augment, (str, Augmentation)) else list(augment)
        return cls(tuple(make_list("augmentation", listed)), times, seed)

    @property
    def are_in_place(self) -> bool:
        """Whether no pixel is moved, so that what is said of places holds."""
        return all(change.moves is False for change in self.augment)

    def each(self, x: np.ndarray | Source) -> Iterator[np.ndarray | Source]:
        """The samples as they are, then changed in several ways; those of a source are read when needed."""
        yield x
        for number in range(1, self.times):
            yield _View(x, self, number) if isinstance(x, Source) else self.changed(x, number)

    def changed(self, x: np.ndarray, number: int) -> np.ndarray:
        """The samples as they are seen the time of a number, from 1 on."""
        x = np.ascontiguousarray(x)
        keys = np.array([zlib.crc32(sample.tobytes()) for sample in x], np.uint64)
        return augmented(x, self.augment, self.seed, number, keys)


class _View(Source):
    """Another source's samples, augmented when they are read."""

    def __init__(self, source: Source, views: Views, number: int) -> None:
        self.source, self.views, self.number = source, views, number
        self.shape, self.dtype = source.shape, source.dtype

    def blocks(self) -> tuple[np.ndarray, int] | None:
        """Those of the other source; see `Source.blocks`."""
        return self.source.blocks()

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Read the samples at some positions; see `Source.read`."""
        out[...] = self.views.changed(self.source[indices], self.number)
