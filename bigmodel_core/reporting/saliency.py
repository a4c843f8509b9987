"""Which pixels a prediction depends on: the size of the gradient of its score (Simonyan et al., 2014)."""

from __future__ import annotations

import numpy as np

from bigmodel_core.charts.colours import image, photo, picture
from bigmodel_core.errors import BigmodelError
from bigmodel_core.nn.gradients import gradients
from bigmodel_core.reporting.page import Gallery, Picture, Section, Text
from bigmodel_core.reporting.tested import Tested

IMAGES = 6


def saliency(tested: Tested) -> Section | None:
    """Some images, each beside the map of its pixels; None where samples are no images."""
    if tested.kind != "image":
        return None
    places = np.unique(np.linspace(0, len(tested.split) - 1, IMAGES).astype(int)).tolist()
    (x,) = tested.inputs(places)
    network = tested.trainer.network
    try:
        scores = np.asarray(network(x))
        is_class = tested.data.task != "regression" and scores.ndim == 2 and scores.shape[1] > 1
        found = scores.argmax(-1) if is_class else None
        weights = None if found is None else np.eye(scores.shape[1], dtype=scores.dtype)[found]
        maps = np.abs(np.asarray(gradients(network, x, weights=weights))).max(1)
    except BigmodelError as error:
        return Section("Saliency", [Text(f"There are no maps: {error.message}", "faint")])
    shown = []
    for number, (at, item) in enumerate(zip(places, x, strict=True)):
        what = "prediction" if found is None else f"score of {_name(tested, int(found[number]))}"
        both = np.concatenate([_coloured(tested.image(item)), picture(maps[number])], 1)
        about = f"sample {at}, and what the {what} depends on"
        shown.append(Picture(photo(both, 256), about, [f"sample {at}, {what}"], max(item.shape[1:]) <= 64))
    about = "The lighter a pixel, the more the score changes with it: the size of its gradient."
    return Section("Saliency", [Text(about), Gallery(shown, is_wide=True)])


def _coloured(pixels: np.ndarray) -> np.ndarray:
    """An image as (H, W, 3) uint8."""
    found = image(pixels)
    return found if found.ndim == 3 else np.repeat(found[..., None], 3, -1)


def _name(tested: Tested, number: int) -> str:
    return tested.names[number] if number < len(tested.names) else str(number)
