"""Boxes of detectors: how much they overlap, and how one becomes another."""

from __future__ import annotations

from typing import Any

import numpy as np

from bigmodel_core import ops

_SPREAD = np.array([0.1, 0.1, 0.2, 0.2])
"""What offsets of middles and logarithms of sizes are divided by, to be about 1 (Liu et al., 2016)."""


def overlaps(first: Any, second: Any) -> Any:
    """Intersection over union of each box of one set (N, A, 4) with each of another, (N, M, 4): (N, A, M).

    Boxes are Values: left, top, right, bottom.
    """
    a, b = ops.expand_dims(first, 2), ops.expand_dims(second, 1)
    low, high = ops.maximum(a[..., :2], b[..., :2]), ops.minimum(a[..., 2:], b[..., 2:])
    both = ops.maximum(high - low, 0.0)
    common = both[..., 0] * both[..., 1]
    areas = [(box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1]) for box in (a, b)]
    return common / ops.maximum(areas[0] + areas[1] - common, 1e-6)


def encoded(anchors: Any, boxes: Any) -> Any:
    """How laid-out boxes have to be moved and scaled to become others, (N, A, 4)."""
    middle, size = _middles(anchors)
    other, other_size = _middles(boxes)
    logs = ops.log(ops.maximum(other_size, 1e-3) / size)
    return ops.concatenate([(other - middle) / size, logs], -1) / ops.constant(_SPREAD, anchors.dtype)


def decoded(anchors: Any, offsets: Any) -> Any:
    """The boxes that offsets mean; reverses `encoded`."""
    middle, size = _middles(anchors)
    offsets = offsets * ops.constant(_SPREAD, anchors.dtype)
    other = middle + offsets[..., :2] * size
    half = ops.exp(ops.minimum(offsets[..., 2:], 4.0)) * size / 2
    return ops.concatenate([other - half, other + half], -1)


def _middles(boxes: Any) -> tuple[Any, Any]:
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
