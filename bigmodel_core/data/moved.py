"""Targets that say where something is in images, masks and boxes: they move as the pixels do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def is_masks(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether targets are masks: x is images (n, C, H, W), and y whole numbers (n, H, W)."""
    return x.ndim == 4 and y.ndim == 3 and y.dtype.kind in "iu" and x.shape[2:] == y.shape[1:]


def is_boxes(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether targets are boxes: x is images (n, C, H, W), and y floats (n, M, 5): class, where -1 is
    none, left, top, right, bottom, in pixels."""
    return x.ndim == 4 and y.ndim == 3 and y.dtype.kind == "f" and y.shape[-1] == 5


def moved_masks(y: np.ndarray, move: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Masks after a change that takes whole numbers (n, 1, H, W)."""
    return move(y[:, np.newaxis])[:, 0]


def moved_boxes(y: np.ndarray, size: tuple[int, int], move: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Boxes around what is left of their pixels after a change; those of which nothing is left are none.

    Args:
        y: boxes (n, M, 5).
        size: height and width of the images.
        move: takes whole numbers (n, M, H, W).
    """

    def covered(low: np.ndarray, high: np.ndarray, count: int) -> np.ndarray:
        places = np.arange(count) + 0.5
        return np.asarray((places > low[..., np.newaxis]) & (places < high[..., np.newaxis]))

    label, left, top, right, bottom = np.moveaxis(y, -1, 0)
    rows, columns = covered(top, bottom, size[0]), covered(left, right, size[1])
    inside = rows[..., np.newaxis] & columns[..., np.newaxis, :] & (label >= 0)[..., np.newaxis, np.newaxis]
    moved = move(inside.astype(np.int64)) > 0
    rows, columns = np.asarray(moved.any(3)), np.asarray(moved.any(2))
    sides = [columns.argmax(-1), rows.argmax(-1)]
    sides += [side.shape[-1] - side[..., ::-1].argmax(-1) for side in (columns, rows)]
    found = np.stack([label, *sides], -1)
    return np.where(np.any(rows, -1, keepdims=True), found, np.array([-1, 0, 0, 0, 0])).astype(y.dtype)
