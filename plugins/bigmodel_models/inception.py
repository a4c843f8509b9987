"""GoogLeNet: filters of several sizes side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm

STAGES = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
"""Of each module: 1x1; 3x3 and what reduces it; 5x5 and what reduces it; what follows the pool."""


def _convolution(x: Any, filters: int, size: int, stride: int = 1) -> Any:
    layer = bm.layers.Conv2d(filters, size, stride, size // 2, use_bias=False, initial="he_normal")
    return bm.layers.Relu()(bm.layers.BatchNorm()(layer(x)))


@dataclass(frozen=True)
class Inception(bm.Model):
    """GoogLeNet (Szegedy et al., 2014) with batch normalisation, without its auxiliary classifiers.

    Takes images (N, C, H, W) of any size, 224 x 224 by design.

    Args:
        classes: how many classes there are.
        width: the filters of the first convolution; all others follow in proportion to 64.
        dropout: in training, the probability of zeroing each number before the scores.
    """

    classes: int = 1000
    width: int = 64
    dropout: float = 0.4

    def __post_init__(self) -> None:
        for name in ("classes", "width"):
            bm.check_number(self, name, whole=True, at_least=1)
        bm.check_number(self, "dropout", at_least=0, below=1)

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 3, 224, 224))

    def __call__(self, x: Any) -> Any:
        layers = bm.layers
        x = layers.MaxPool2d(3, 2, 1)(_convolution(x, self.width, 7, 2))
        x = _convolution(_convolution(x, self.width, 1), 3 * self.width, 3)
        for stage in STAGES:
            x = layers.MaxPool2d(3, 2, 1)(x)
            for filters in stage:
                x = self._module(x, [max(1, count * self.width // 64) for count in filters])
        x = layers.GlobalAveragePool()(x)
        x = layers.Dropout(self.dropout)(x) if self.dropout else x
        return layers.Dense(self.classes)(x)

    def _module(self, x: Any, filters: list[int]) -> Any:
        one, before_three, three, before_five, five, after_pool = filters
        return bm.ops.concatenate(
            [
                _convolution(x, one, 1),
                _convolution(_convolution(x, before_three, 1), three, 3),
                _convolution(_convolution(x, before_five, 1), five, 5),
                _convolution(bm.layers.MaxPool2d(3, 1, 1)(x), after_pool, 1),
            ],
            axis=1,
        )
