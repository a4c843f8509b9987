"""Non-maximum suppression in plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np


def boxes_and_scores(images: int, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of which many overlap, corners in any order, and scores of which some are equal."""
    random = np.random.default_rng([seed, images, count])
    middle, size = random.uniform(0, 8, (images, count, 2)), random.uniform(0.5, 3, (images, count, 2))
    boxes = np.concatenate([middle - size, middle + size], 2)
    turned = boxes[..., [2, 1, 0, 3]]
    return np.where(random.random((images, count, 1)) < 0.3, turned, boxes), np.round(
        random.normal(size=(images, count)), 1
    )


def share(a: Any, b: Any) -> float:
    """The intersection of two boxes as a share of their union."""
    sides = []
    for axis in (0, 1):
        low = max(min(a[axis], a[axis + 2]), min(b[axis], b[axis + 2]))
        sides.append(max(min(max(a[axis], a[axis + 2]), max(b[axis], b[axis + 2])) - low, 0.0))
    areas = [abs(box[2] - box[0]) * abs(box[3] - box[1]) for box in (a, b)]
    common = sides[0] * sides[1]
    return float(common / (sum(areas) - common)) if common else 0.0


def kept_boxes(
    boxes: np.ndarray,
    scores: np.ndarray,
    max_outputs: int,
    iou_threshold: float = 0.5,
    score_threshold: float | None = None,
) -> np.ndarray:
    """The boxes of each image that are kept, then -1."""
    found = np.full((len(boxes), max_outputs), -1)
    for image, (corners, marks) in enumerate(zip(boxes, scores, strict=True)):
        kept: list[int] = []
        for box in sorted(range(len(marks)), key=lambda box, marks=marks: (-marks[box], box)):
            is_low = score_threshold is not None and marks[box] <= score_threshold
            if is_low or len(kept) == max_outputs or np.isnan(marks[box]):
                continue
            if all(share(corners[box], corners[other]) <= iou_threshold for other in kept):
                kept.append(box)
        found[image, : len(kept)] = kept
    return found
