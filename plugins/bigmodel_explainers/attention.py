"""The weights of attention: what each step takes of each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import UsageError


@dataclass(frozen=True)
class Attention(bm.Explainer):
    """The weights of attention, (N, heads, T, S) for each layer in `maps`; the value of a token or a patch is
    what it gets of them, the mean over layers and heads.

    Of a model that answers at each step it is the attention of the step that is explained; of images, that of
    the step that stands for the whole image; else the mean of all steps. Weights say where a model looks, not
    what follows from it (Jain and Wallace, 2019).

    Args:
        layer: the path of a layer, of which the values are; all if None.
    """

    is_signed: ClassVar[bool] = False
    layer: str | None = None

    def explain(self, question: bm.Question) -> bm.Attribution:
        maps = question.attention()
        used = maps
        if self.layer is not None:
            used = {path: array for path, array in maps.items() if path == self.layer}
        if not used:
            raise UsageError(
                f"there is no attention at '{self.layer}'.",
                where="attention",
                fix=f"use one of {', '.join(maps)}.",
            )
        values = [
            self._of_point(question, number, list(used.values())) for number in range(len(question.points))
        ]
        if all(array is None for array in values):
            keys = sorted({array.shape[-1] for array in used.values()})
            raise UsageError(
                f"the model attends to {', '.join(map(str, keys))} steps, which are no tokens or patches of"
                " its inputs.",
                where="attention",
                fix="use another method, such as integrated-gradients.",
            )
        zeros = [np.zeros(array.shape[:1] + (1,) * (array.ndim - 1)) for array in question.points]
        return question.answer(
            self, [zero if own is None else own for own, zero in zip(values, zeros, strict=True)], maps=maps
        )

    def _of_point(self, question: bm.Question, number: int, maps: list[np.ndarray]) -> np.ndarray | None:
        """What the places of an input get; None if no attention is to them."""
        point = question.points[number]
        if question.is_embedded[number]:
            fitting = [array for array in maps if array.shape[-1] == point.shape[1]]
            if point.ndim != 3 or not fitting:
                return None
            return np.mean([self._received(question, point, array) for array in fitting], axis=0)
        if point.ndim != 4:
            return None
        height, width = point.shape[2:]
        for rest in (1, 0):
            grid = [_grid(array.shape[-1] - rest, height, width) for array in maps]
            if all(item is not None for item in grid) and len(set(grid)) == 1 and grid[0] is not None:
                rows, columns = grid[0]
                mean = np.mean([array.mean(1) for array in maps], axis=0)
                seen = (mean[:, 0, rest:] if rest else mean.mean(1)).reshape(-1, 1, rows, columns)
                return seen.repeat(height // rows, 2).repeat(width // columns, 3)
        return None

    @staticmethod
    def _received(question: bm.Question, point: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(N, S) what each key gets, the mean over heads."""
        mean = weights.mean(1, dtype=np.float64)
        if question.steps is not None and mean.shape[1] > int(question.steps.max()):
            received: np.ndarray = mean[np.arange(len(mean)), question.steps]
            return received
        if mean.shape[1] == point.shape[1]:
            is_token = (point != 0).any(-1)  # places without a token have zeros
            counts = np.maximum(is_token.sum(1, keepdims=True), 1)
            return (mean * is_token[:, :, None]).sum(1) / counts
        return mean.mean(1)


def _grid(count: int, height: int, width: int) -> tuple[int, int] | None:
    """The rows and columns of so many patches of an image, which are squares; None if there are none."""
    side = math.sqrt(height * width / count) if count > 0 else 0.0
    if side < 1 or side != int(side) or height % int(side) or width % int(side):
        return None
    return height // int(side), width // int(side)
