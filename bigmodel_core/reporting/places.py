"""What images show where, on a page: masks and boxes beside the true ones, the worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigmodel_core.charts.colours import class_colours, image, photo
from bigmodel_core.nn.predictions import DETECTIONS, in_shares, of_detections
from bigmodel_core.reporting.page import Block, Gallery, Picture, Section, Text
from bigmodel_core.reporting.tested import Tested

IMAGES, CLASSES = 12, 24
"""Images that are shown, and classes whose colours are."""
SIDE, GAP = 192, 4
"""Pixels of the shorter side of an enlarged image, and between images."""
EDGES = np.array(
    [(230, 159, 0), (86, 180, 233), (0, 200, 140), (240, 228, 66), (255, 110, 40), (230, 140, 190)], np.uint8
)
"""Colours of boxes, one class after the other: bright ones that all eyes tell apart, after Okabe and Ito."""
IGNORED = 128
"""The grey of pixels that count nothing."""


def of_masks(tested: Tested, chances: np.ndarray, true: np.ndarray, counts: np.ndarray) -> list[Block]:
    """Images, their true masks and those that are predicted.

    Args:
        tested: the model and its samples.
        chances: (n, H, W, C).
        true: (n, H, W) classes.
        counts: which pixels count.
    """
    found = chances.argmax(-1)
    right = ((found == true) & counts).sum((1, 2)) / np.maximum(counts.sum((1, 2)), 1)
    order = np.argsort(right, kind="stable")[:IMAGES]
    (x,) = tested.inputs(order)
    colours, pictures = class_colours(), []
    for at, pixels in zip(order.tolist(), x, strict=True):
        panels = [_coloured(tested.image(pixels))]
        for mask in (true[at], found[at]):
            panel = colours[np.where(counts[at], mask, 0)]
            panels.append(np.where(counts[at][..., None], panel, IGNORED).astype(np.uint8))
        names = tested.names
        lines = [
            f"{tested.part} {at}: {right[at]:.1%} of pixels right",
            f"true: {in_shares(true[at][counts[at]], names)}",
            f"predicted: {in_shares(found[at][counts[at]], names)}",
        ]
        pictures.append(_beside([_enlarged(panel) for panel in panels], lines))
    text = "Each image, its true mask and the predicted one; those with the most wrong pixels first."
    used = np.union1d(np.unique(true[counts]), np.unique(found))[:CLASSES]
    swatches = [
        Picture(photo(np.broadcast_to(colours[k], (8, 16, 3)), 64), f"colour of {name}", [name])
        for k, name in ((int(k), tested.name(int(k))) for k in used)
    ]
    return [Text(text), Gallery(swatches), Gallery(pictures, is_wide=True)]


def gives_boxes(tested: Tested) -> bool:
    """Whether the model finds boxes in images."""
    return DETECTIONS in tested.trainer.network.output_names and tested.kind == "image"


def of_boxes(tested: Tested) -> list[Section]:
    """Images with their true boxes and those that are found, the ones with the most in doubt first."""
    rows = np.asarray(tested.trainer.predict(tested.split)[DETECTIONS])
    true = np.asarray(tested.split.y[np.arange(len(tested.split))])
    told = [of_detections(some, tested.data.labels) for some in rows]
    wanted = [
        of_detections(np.insert(boxes, 1, 1.0, axis=1), tested.data.labels)
        for boxes in true.astype(np.float64)
    ]
    missed = np.array([one.label != other.label for one, other in zip(told, wanted, strict=True)])
    order = np.argsort(~missed, kind="stable")[:IMAGES]
    names = sorted({box["label"] for answer in (*told, *wanted) for box in answer.boxes or ()})
    (x,) = tested.inputs(order)
    pictures = []
    for at, pixels in zip(order.tolist(), x, strict=True):
        shown = _enlarged(_coloured(tested.image(pixels)))
        scale = shown.shape[0] // pixels.shape[1]
        panels = [drawn(shown, answer.boxes or (), scale, names) for answer in (wanted[at], told[at])]
        lines = [f"{tested.part} {at}", f"true: {wanted[at].label}", f"found: {told[at].label}"]
        pictures.append(_beside(panels, lines))
    text = (
        f"Each image with its true boxes, and with those that are found: {int((~missed).sum()):,} of"
        f" {len(missed):,} images have boxes of the right classes. Those with others come first."
    )
    return [Section("Boxes", [Text(text), Gallery(pictures, is_wide=True)])]


def drawn(
    pixels: np.ndarray, boxes: Sequence[Mapping[str, Any]], scale: int, names: Sequence[str]
) -> np.ndarray:
    """An enlarged image with the edges of boxes, two pixels wide, a colour for each class.

    Args:
        pixels: (H, W, 3) of the enlarged image.
        boxes: as in `Prediction`, in pixels of the image before.
        scale: how often its pixels are repeated.
        names: of all classes, in the order of their colours.
    """
    found = pixels.copy()
    height, width = found.shape[:2]
    for box in boxes:
        colour = EDGES[names.index(box["label"]) % len(EDGES)]
        left, top, right, bottom = (round(edge * scale) for edge in box["box"])
        left, right = (min(max(edge, 0), width - 2) for edge in (left, right))
        top, bottom = (min(max(edge, 0), height - 2) for edge in (top, bottom))
        for rows, columns in (
            (slice(top, top + 2), slice(left, right + 2)),
            (slice(bottom, bottom + 2), slice(left, right + 2)),
            (slice(top, bottom + 2), slice(left, left + 2)),
            (slice(top, bottom + 2), slice(right, right + 2)),
        ):
            found[rows, columns] = colour
    return found


def _coloured(pixels: np.ndarray) -> np.ndarray:
    """An image as (H, W, 3) uint8."""
    found = image(pixels)
    return found if found.ndim == 3 else np.repeat(found[..., None], 3, -1)


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    """An image whose pixels are repeated until it is large enough to be seen."""
    scale = max(1, SIDE // min(pixels.shape[:2]))
    return pixels.repeat(scale, 0).repeat(scale, 1)


def _beside(panels: Sequence[np.ndarray], lines: Sequence[str]) -> Picture:
    """Images of one size side by side."""
    gap = np.full((panels[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for panel in panels for part in (gap, panel)][1:]
    whole = np.concatenate(parts, 1)
    return Picture(photo(whole, min(whole.shape[1], 3 * SIDE)), ", ".join(lines), lines)
