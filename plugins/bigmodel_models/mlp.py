"""The multi-layer perceptron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError


@dataclass(frozen=True)
class Mlp(bm.Model):
    """A multi-layer perceptron (Rumelhart, Hinton and Williams, 1986): dense layers and activations.

    Takes (N, ...), each sample being flattened, and gives scores (N, classes); 784-64-64-10 by default, as
    for images of 28 x 28 pixels.

    Args:
        widths: the width of each hidden layer.
        classes: how many classes there are.
        activation: the name of the layer that follows each hidden one.
        dropout: in training, the probability of zeroing each hidden number; 0 for none.

    >>> import bigmodel_core as bm
    >>> Mlp(widths=(8,), classes=3)(bm.Spec(("N", 1, 4, 4)))
    Spec((N, 3), float32)
    """

    learning_rate: ClassVar[float] = 2e-3

    widths: tuple[int, ...] = (64, 64)
    classes: int = 10
    activation: str = "relu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        given: Any = self.widths
        widths = (given,) if isinstance(given, int) else tuple(given)
        if any(not isinstance(width, int) or isinstance(width, bool) or width < 1 for width in widths):
            raise ConfigError(
                f"widths is {self.widths!r}, expected integers of at least 1.",
                where="Mlp",
                fix="pass widths=(64, 64).",
                shell="set widths=64,64.",
            )
        object.__setattr__(self, "widths", widths)
        bm.check_number(self, "classes", whole=True, at_least=1)
        bm.check_number(self, "dropout", at_least=0, below=1)

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 784))

    def __call__(self, x: Any) -> Any:
        x = bm.ops.flatten(x)
        for width in self.widths:
            x = bm.registry.make("layer", self.activation)(bm.layers.Dense(width)(x))
            if self.dropout:
                x = bm.layers.Dropout(self.dropout)(x)
        return bm.layers.Dense(self.classes)(x)
