"""Grad-CAM: where a layer of feature maps sees what speaks for the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import UsageError
from bigmodel_explainers.resizing import stretched


@dataclass(frozen=True)
class GradCam(bm.Explainer):
    """The feature maps of a layer, each weighted by the mean of its gradient and added up; what speaks for
    the answer, stretched to the size of the image (Selvaraju et al., 2017).

    The map as it is before it is stretched, (N, 1, ...), is in `maps`.

    Args:
        layer: the path of a layer that returns feature maps; the last convolution if None.
    """

    is_signed: ClassVar[bool] = False
    layer: str | None = None

    def explain(self, question: bm.Question) -> bm.Attribution:
        if len(question.points) != 1 or question.points[0].ndim < 4 or question.is_embedded[0]:
            raise UsageError(
                "the model takes no image.",
                where="grad-cam",
                fix="use another method, such as integrated-gradients.",
            )
        (image,) = question.points
        path, maps, slopes = question.layer(self.layer)
        if maps.ndim != image.ndim:
            raise UsageError(
                f"it returns {maps.shape[1:]}, which are no feature maps.",
                where=path,
                fix="name a layer that returns (channels, height, width), such as a convolution.",
            )
        weights = slopes.mean(axis=tuple(range(2, slopes.ndim)), keepdims=True, dtype=np.float64)
        found = np.maximum((weights * maps).sum(1, keepdims=True), 0)
        values = stretched(found, image.shape[2:])
        return question.answer(self, [values], maps={path: found}, layer=path)
