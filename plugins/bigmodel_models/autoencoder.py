"""The autoencoder for tables: what it cannot give back is odd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm
from bigmodel_core.errors import ShapeError
from bigmodel_models.table_columns import whole_numbers


@dataclass(frozen=True)
class Autoencoder(bm.Model):
    """A network that gives its input back through a layer narrower than it (Hinton and Salakhutdinov, 2006).

    Takes numbers (N, k), and gives (N, k); its target is its input, as the data set `rows` has it. Rows that
    are not like those of training come back changed: `bm.anomalies` tells them by that.

    Args:
        widths: the width of each hidden layer up to the code, which is the last; the way back has the same
            in reverse.
        activation: the name of the layer that follows each hidden one.
        noise: in training, the deviation of what is added to the input, which is to be given back without it
            (Vincent et al., 2008); 0 for none.

    >>> import bigmodel_core as bm
    >>> Autoencoder(widths=(8, 2))(bm.Spec(("N", 5)))
    Spec((N, 5), float32)
    """

    name: ClassVar[str] = "autoencoder"
    loss: ClassVar[str] = "mean_squared_error"
    metrics: ClassVar[tuple[str, ...]] = ()
    learning_rate: ClassVar[float | None] = 2e-3
    widths: tuple[int, ...] = (64, 32, 8)
    activation: str = "relu"
    noise: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", whole_numbers(self, "widths"))
        bm.check_number(self, "noise", at_least=0)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[Any]]]:
        """What the conformance kit runs."""
        return [({"widths": (3,), "activation": "tanh"}, [(2, 4)])]

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 8))

    def __call__(self, numbers: Any) -> Any:
        if numbers.ndim != 2:
            raise ShapeError(
                f"the input is {bm.format_shape(numbers.shape)}, expected rows of numbers (N, columns).",
                fix="flatten samples before: x.reshape(len(x), -1).",
            )
        x = numbers
        width = x.shape[1]
        if self.noise and self.training:
            x = x + bm.ops.normal(x.shape, 0.0, self.noise)
        for units in (*self.widths, *reversed(self.widths[:-1])):
            x = bm.registry.make("layer", self.activation)(bm.layers.Dense(units)(x))
        return bm.layers.Dense(width)(x)
