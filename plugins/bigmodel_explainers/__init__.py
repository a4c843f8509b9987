"""Explainers: what of its inputs a model's answer came from."""

from __future__ import annotations

import bigmodel_core as bm
from bigmodel_explainers.attention import Attention
from bigmodel_explainers.grad_cam import GradCam
from bigmodel_explainers.gradients import IntegratedGradients, Saliency, SmoothGrad
from bigmodel_explainers.occlusion import Occlusion
from bigmodel_explainers.shapley import Shapley
from bigmodel_explainers.tables import Permutation, Weights

__all__ = [
    "Attention",
    "GradCam",
    "IntegratedGradients",
    "Occlusion",
    "Permutation",
    "Saliency",
    "Shapley",
    "SmoothGrad",
    "Weights",
]


@bm.hookimpl
def bigmodel_explainers() -> list[type[bm.Explainer]]:
    """The explainers of this package."""
    return [
        Attention,
        GradCam,
        IntegratedGradients,
        Occlusion,
        Permutation,
        Saliency,
        Shapley,
        SmoothGrad,
        Weights,
    ]
