"""VGG networks: nothing but 3x3 convolutions, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm


@dataclass(frozen=True)
class _Vgg(bm.Model):
    classes: int = 1000
    width: int = 64
    units: int = 4096
    dropout: float = 0.5
    batch_norm: bool = True
    learning_rate: ClassVar[float | None] = 1e-4
    """Adam's usual rate is too much for dense layers this wide."""
    depths: ClassVar[tuple[int, ...]] = ()
    """Convolutions in each of the five blocks."""

    def __post_init__(self) -> None:
        for name in ("classes", "width", "units"):
            bm.check_number(self, name, whole=True, at_least=1)
        bm.check_number(self, "dropout", at_least=0, below=1)

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 3, 224, 224))

    def __call__(self, x: Any) -> Any:
        layers = bm.layers
        for block, depth in enumerate(self.depths):
            filters = self.width * min(2**block, 8)
            for _ in range(depth):
                x = layers.Conv2d(filters, 3, padding=1, use_bias=not self.batch_norm, initial="he_normal")(x)
                x = layers.BatchNorm()(x) if self.batch_norm else x
                x = layers.Relu()(x)
            x = layers.MaxPool2d(2)(x)
        x = bm.ops.flatten(x)
        for _ in range(2):
            x = layers.Relu()(layers.Dense(self.units)(x))
            x = layers.Dropout(self.dropout)(x) if self.dropout else x
        return layers.Dense(self.classes)(x)


@dataclass(frozen=True)
class Vgg11(_Vgg):
    """VGG-11, configuration A of Simonyan and Zisserman (2014): 8 convolutions of 3x3, 3 dense layers.

    Takes images (N, C, H, W) of at least 32 x 32 pixels, 224 x 224 by design.

    Args:
        classes: how many classes there are.
        width: the filters of the first block; the others have 2, 4, 8 and 8 times as many.
        units: the width of the two hidden dense layers.
        dropout: in training, the probability of zeroing each number of those.
        batch_norm: whether each convolution is normalised (Ioffe and Szegedy, 2015) instead of having a bias.
    """

    depths: ClassVar[tuple[int, ...]] = (1, 1, 2, 2, 2)


@dataclass(frozen=True)
class Vgg16(_Vgg):
    """VGG-16, configuration D of Simonyan and Zisserman (2014): 13 convolutions of 3x3, 3 dense layers.

    Takes images (N, C, H, W) of at least 32 x 32 pixels, 224 x 224 by design.

    Args:
        classes: how many classes there are.
        width: the filters of the first block; the others have 2, 4, 8 and 8 times as many.
        units: the width of the two hidden dense layers.
        dropout: in training, the probability of zeroing each number of those.
        batch_norm: whether each convolution is normalised (Ioffe and Szegedy, 2015) instead of having a bias.
    """

    depths: ClassVar[tuple[int, ...]] = (2, 2, 3, 3, 3)
