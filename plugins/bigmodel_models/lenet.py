"""LeNet-5, the first convolutional network that read digits in earnest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm


@dataclass(frozen=True)
class Lenet(bm.Model):
    """LeNet-5 (LeCun et al., 1998) with max-pooling: 6 and 16 5x5 filters, 120-84-classes.

    Takes images (N, C, H, W) of at least 16 x 16 pixels; those of 28 x 28, as MNIST's, are padded to 32 x 32
    as in the paper.

    Args:
        classes: how many classes there are.
        activation: a layer, or a layer's name; the paper's is "tanh", which also suits training with privacy.
    """

    classes: int = 10
    activation: str | bm.Layer = "relu"

    def __post_init__(self) -> None:
        bm.check_number(self, "classes", whole=True, at_least=1)

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 1, 28, 28))

    def __call__(self, x: Any) -> Any:
        activate = bm.registry.make("layer", self.activation)
        x = bm.layers.Conv2d(6, 5, padding=2 if x.shape[2:] == (28, 28) else 0)(x)
        x = bm.layers.MaxPool2d(2)(activate(x))
        x = bm.layers.MaxPool2d(2)(activate(bm.layers.Conv2d(16, 5)(x)))
        x = bm.ops.flatten(x)
        for width in (120, 84):
            x = activate(bm.layers.Dense(width)(x))
        return bm.layers.Dense(self.classes)(x)
