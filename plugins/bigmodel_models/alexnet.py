"""AlexNet, which won ImageNet's challenge of 2012."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm


@dataclass(frozen=True)
class Alexnet(bm.Model):
    """AlexNet (Krizhevsky et al., 2012): five convolutions and three dense layers.

    In one piece, as in Krizhevsky (2014). Takes images (N, C, H, W) of at least 63 x 63 pixels, 224 x 224 by
    design.

    Args:
        classes: how many classes there are.
        width: the filters of the first convolution; the others follow in proportion, the dense layers have 64
            times as many units.
        dropout: in training, the probability of zeroing each number before a dense layer.
    """

    learning_rate: ClassVar[float | None] = 1e-4
    """Adam's usual rate is too much for dense layers this wide."""

    classes: int = 1000
    width: int = 64
    dropout: float = 0.5

    def __post_init__(self) -> None:
        bm.check_number(self, "classes", whole=True, at_least=1)
        bm.check_number(self, "width", whole=True, at_least=1)
        bm.check_number(self, "dropout", at_least=0, below=1)

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 3, 224, 224))

    def __call__(self, x: Any) -> Any:
        layers, width = bm.layers, self.width
        x = layers.MaxPool2d(3, 2)(layers.Relu()(layers.Conv2d(width, 11, 4, 2, initial="he_normal")(x)))
        x = layers.MaxPool2d(3, 2)(_convolution(x, 3 * width, 5))
        for filters in (6 * width, 4 * width, 4 * width):
            x = _convolution(x, filters, 3)
        x = bm.ops.flatten(layers.MaxPool2d(3, 2)(x))
        for _ in range(2):
            x = layers.Dropout(self.dropout)(x) if self.dropout else x
            x = layers.Relu()(layers.Dense(64 * width)(x))
        return layers.Dense(self.classes)(x)


def _convolution(x: Any, filters: int, size: int) -> Any:
    return bm.layers.Relu()(bm.layers.Conv2d(filters, size, padding="same", initial="he_normal")(x))
