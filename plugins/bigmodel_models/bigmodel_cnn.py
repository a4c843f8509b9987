"""A small convolutional network for small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm


@dataclass(frozen=True)
class BigmodelCnn(bm.Model):
    """Two 3x3 convolutions with rectifiers and max-pooling, then two dense layers: 64-128-1000-classes.

    A plain network after LeCun et al. (1998) for images (N, C, H, W) of at least 4 x 4 pixels, for instance
    the 28 x 28 ones of MNIST and Fashion-MNIST.

    Args:
        classes: how many classes there are.
        filters: the filters of the two convolutions.
        units: the width of the hidden dense layer.
        dropout: in training, the probability of zeroing each number of that layer.
    """

    name: ClassVar[str] = "bigmodel-cnn"

    classes: int = 10
    filters: tuple[int, int] = (64, 128)
    units: int = 1000
    dropout: float = 0.0

    def __post_init__(self) -> None:
        bm.check_number(self, "classes", whole=True, at_least=1)
        bm.check_number(self, "units", whole=True, at_least=1)
        bm.check_number(self, "dropout", at_least=0, below=1)
        object.__setattr__(self, "filters", tuple(self.filters))

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 1, 28, 28))

    def __call__(self, x: Any) -> Any:
        for filters in self.filters:
            x = bm.layers.Relu()(bm.layers.Conv2d(filters, 3, padding=1)(x))
            x = bm.layers.MaxPool2d(2)(x)
        x = bm.layers.Relu()(bm.layers.Dense(self.units)(bm.ops.flatten(x)))
        if self.dropout:
            x = bm.layers.Dropout(self.dropout)(x)
        return bm.layers.Dense(self.classes)(x)
