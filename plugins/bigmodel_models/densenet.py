"""Densely connected networks: every layer reads everything that came before it in its block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm


def _convolution(x: Any, filters: int, size: int) -> Any:
    """Normalisation, rectifier, convolution."""
    x = bm.layers.Relu()(bm.layers.BatchNorm()(x))
    return bm.layers.Conv2d(filters, size, padding=size // 2, use_bias=False, initial="he_normal")(x)


@dataclass(frozen=True)
class Densenet121(bm.Model):
    """DenseNet-121 (Huang et al., 2016): blocks of 6, 12, 24 and 16 layers that add channels.

    Takes images (N, C, H, W) of at least 29 x 29 pixels, 224 x 224 by design.

    Args:
        classes: how many classes there are.
        growth: the channels that each layer adds.
        depths: the layers in each block.
    """

    classes: int = 1000
    growth: int = 32
    depths: tuple[int, ...] = (6, 12, 24, 16)

    def __post_init__(self) -> None:
        for name in ("classes", "growth"):
            bm.check_number(self, name, whole=True, at_least=1)
        object.__setattr__(self, "depths", tuple(self.depths))

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 3, 224, 224))

    def __call__(self, x: Any) -> Any:
        layers, growth = bm.layers, self.growth
        x = layers.Conv2d(2 * growth, 7, 2, 3, use_bias=False, initial="he_normal")(x)
        x = layers.MaxPool2d(3, 2, 1)(layers.Relu()(layers.BatchNorm()(x)))
        for number, depth in enumerate(self.depths):
            if number:
                x = layers.AveragePool2d(2)(_convolution(x, x.shape[1] // 2, 1))
            for _ in range(depth):
                x = bm.ops.concatenate([x, _convolution(_convolution(x, 4 * growth, 1), growth, 3)], axis=1)
        x = layers.GlobalAveragePool()(layers.Relu()(layers.BatchNorm()(x)))
        return layers.Dense(self.classes)(x)
