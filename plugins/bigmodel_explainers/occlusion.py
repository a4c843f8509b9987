"""Occlusion: what the score loses where a part of the sample is covered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

import bigmodel_core as bm

TOGETHER = 128
"""Covered samples that are computed at once."""


@dataclass(frozen=True)
class Occlusion(bm.Explainer):
    """What the score loses where a window of the sample is covered by the baseline, the mean over all
    windows that cover a place (Zeiler and Fergus, 2014).

    Windows move over the height and width of images, over steps and tokens, and over the features of a table.

    Args:
        size: of the window along each axis; an eighth of the image, or one step or feature, if None.
        stride: by how much it moves; half of its size, and at least 1, if None.
    """

    size: int | None = None
    stride: int | None = None

    def __post_init__(self) -> None:
        for name in ("size", "stride"):
            if getattr(self, name) is not None:
                bm.check_number(self, name, whole=True, at_least=1)

    def explain(self, question: bm.Question) -> bm.Attribution:
        values = []
        for number, point in enumerate(question.points):
            axes = _moving(point, question.is_embedded[number])
            values.append(self._covered(question, number, axes))
        windows = sum(
            len(list(self._windows([array.shape[axis] for axis in _moving(array, embedded)])))
            for array, embedded in zip(question.points, question.is_embedded, strict=True)
        )
        return question.answer(self, values, windows=windows)

    def _covered(self, question: bm.Question, number: int, axes: Sequence[int]) -> np.ndarray:
        """What the score loses, shaped as the point, with 1 for axes that windows do not move over."""
        point, base = question.points[number], question.baselines[number]
        shape = [point.shape[axis] if axis in (0, *axes) else 1 for axis in range(point.ndim)]
        lost, counts = np.zeros(shape), np.zeros(shape)
        windows = list(self._windows([point.shape[axis] for axis in axes]))
        samples, size = np.arange(len(question)), max(1, TOGETHER // len(question))
        for start in range(0, len(windows), size):
            some = [_places(window, axes, point.ndim) for window in windows[start : start + size]]
            rows = np.tile(samples, len(some))
            covered = [np.concatenate([array] * len(some)) for array in question.points]
            for turn, places in enumerate(some):
                own = covered[number][turn * len(samples) : (turn + 1) * len(samples)]
                own[places] = base[places]
            scores = question.scores(covered, rows).reshape(len(some), len(samples))
            for places, score in zip(some, scores, strict=True):
                lost[places] += (question.outputs - score).reshape((-1,) + (1,) * (point.ndim - 1))
                counts[places] += 1
        # Strides beyond the size leave places that no window covers: nothing is said of them.
        return np.divide(lost, counts, out=np.zeros_like(lost), where=counts > 0)

    def _windows(self, sizes: Sequence[int]) -> Iterator[tuple[slice, ...]]:
        """All windows, cut off at the far edges; the last one reaches them."""
        found = []
        for whole in sizes:
            size = min(self.size or (max(1, whole // 8) if len(sizes) > 1 else 1), whole)
            stride = self.stride or max(1, size // 2)
            count = -(-(whole - size) // stride) + 1
            found.append([slice(turn * stride, min(turn * stride + size, whole)) for turn in range(count)])
        return product(*found)


def _moving(point: np.ndarray, is_embedded: bool) -> list[int]:
    """The axes that windows move over: space of images and volumes, else the first behind the samples."""
    if is_embedded:
        return list(range(1, point.ndim - 1))
    return list(range(2, point.ndim)) if point.ndim > 3 else [1]


def _places(window: Sequence[slice], axes: Sequence[int], count: int) -> tuple[slice, ...]:
    found = [slice(None)] * count
    for axis, part in zip(axes, window, strict=True):
        found[axis] = part
    return tuple(found)
