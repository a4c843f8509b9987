"""Residual networks: blocks that add to what they are given (He et al., 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm


def convolution(x: Any, filters: int, size: int, stride: int = 1) -> Any:
    """A convolution and its normalisation."""
    layer = bm.layers.Conv2d(filters, size, stride, size // 2, use_bias=False, initial="he_normal")
    return bm.layers.BatchNorm()(layer(x))


def shortcut(x: Any, filters: int, stride: int) -> Any:
    """The input of a block in the shape of its output."""
    return x if x.shape[1] == filters and stride == 1 else convolution(x, filters, 1, stride)


def basic_block(x: Any, width: int, stride: int) -> Any:
    """Two 3x3 convolutions beside the shortcut."""
    y = bm.layers.Relu()(convolution(x, width, 3, stride))
    return bm.layers.Relu()(convolution(y, width, 3) + shortcut(x, width, stride))


def bottleneck_block(x: Any, width: int, stride: int) -> Any:
    """1x1, 3x3 and 1x1 convolutions, the last four times as wide, beside the shortcut."""
    y = bm.layers.Relu()(convolution(x, width, 1))
    y = bm.layers.Relu()(convolution(y, width, 3, stride))
    return bm.layers.Relu()(convolution(y, 4 * width, 1) + shortcut(x, 4 * width, stride))


@dataclass(frozen=True)
class _Resnet(bm.Model):
    block: ClassVar[Any] = staticmethod(basic_block)
    depths: ClassVar[tuple[int, ...]] = ()
    """Blocks in each stage; a stage halves the image and is twice as wide as the one before."""

    def __post_init__(self) -> None:
        for name in ("classes", "width"):
            bm.check_number(self, name, whole=True, at_least=1)

    def stages(self, x: Any, width: int, classes: int) -> Any:
        """All stages and the scores, from what the first convolution gave."""
        for stage, depth in enumerate(self.depths):
            for number in range(depth):
                x = type(self).block(x, width * 2**stage, 2 if stage and not number else 1)
        return bm.layers.Dense(classes)(bm.layers.GlobalAveragePool()(x))


@dataclass(frozen=True)
class Resnet20(_Resnet):
    """The residual network of 20 layers for small images (He et al., 2015, section 4.2).

    Takes images (N, C, H, W) of any size, 32 x 32 by design.

    Args:
        classes: how many classes there are.
        width: the filters of the first stage; the two others have 2 and 4 times as many.
    """

    classes: int = 10
    width: int = 16
    depths: ClassVar[tuple[int, ...]] = (3, 3, 3)

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 3, 32, 32))

    def __call__(self, x: Any) -> Any:
        x = bm.layers.Relu()(convolution(x, self.width, 3))
        return self.stages(x, self.width, self.classes)


@dataclass(frozen=True)
class _LargeResnet(_Resnet):
    classes: int = 1000
    width: int = 64

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 3, 224, 224))

    def __call__(self, x: Any) -> Any:
        x = bm.layers.Relu()(convolution(x, self.width, 7, 2))
        return self.stages(bm.layers.MaxPool2d(3, 2, 1)(x), self.width, self.classes)


@dataclass(frozen=True)
class Resnet18(_LargeResnet):
    """The residual network of 18 layers (He et al., 2015, table 1): basic blocks in four stages.

    Takes images (N, C, H, W) of any size, 224 x 224 by design.

    Args:
        classes: how many classes there are.
        width: the filters of the first stage; the others have 2, 4 and 8 times as many.
    """

    depths: ClassVar[tuple[int, ...]] = (2, 2, 2, 2)


@dataclass(frozen=True)
class Resnet50(_LargeResnet):
    """The residual network of 50 layers (He et al., 2015, table 1): bottleneck blocks in four stages.

    The stride of a block is that of its 3x3 convolution. Takes images (N, C, H, W) of any size, 224 x 224 by
    design.

    Args:
        classes: how many classes there are.
        width: the inner filters of the first stage; the others have 2, 4 and 8 times as many.
    """

    block: ClassVar[Any] = staticmethod(bottleneck_block)
    depths: ClassVar[tuple[int, ...]] = (3, 4, 6, 3)
