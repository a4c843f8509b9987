"""The dense layer: an affine map of the last axis, with an activation if one is requested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ConfigError, DtypeError, ShapeError, short


@dataclass(frozen=True)
class Dense(bm.Layer):
    """x @ weight + bias over the last axis: (..., K) becomes (..., units); K is inferred from the input.

    Parameters: `weight` (K, units) and `bias` (units,), which starts at zero.

    Args:
        units: the width of the output.
        activation: a layer, or a layer's name, applied to the result; it runs in the matrix product's kernel.
        use_bias: whether a bias is added.
        initial: how the weight's first values are drawn, a name of `bigmodel_core.nn.initializers`.

    Raises:
        ConfigError: `units` is below 1, `activation` is no layer, or `initial` or `activation` is unknown.
        ShapeError: the input has no axis, or its last one is free.
        DtypeError: the input is not of the model's float type.

    >>> import bigmodel_core as bm
    >>> Dense(3, activation="relu")(bm.Spec(("N", 5, 4)))
    Spec((N, 5, 3), float32)
    """

    units: int
    activation: str | bm.Layer | None = None
    use_bias: bool = True
    initial: str = "glorot_uniform"

    def __post_init__(self) -> None:
        bm.check_number(self, "units", whole=True, at_least=1)
        if not isinstance(self.activation, (bm.Layer, type, str, Mapping, NoneType)):
            raise ConfigError(
                f"activation is {short(self.activation)}, expected a layer or the name of one.",
                where="Dense",
                fix='pass activation="relu"; a width of the input is not passed, as it is inferred.',
            )
        if isinstance(self.initial, str) and self.initial not in bm.initializers.NAMED:
            raise ConfigError(
                f"initial is {self.initial!r}, which is not an initializer.",
                where="Dense",
                fix=f"use one of {', '.join(bm.initializers.NAMED)}.",
            )

    def __call__(self, x: Any) -> Any:
        if x.ndim < 1:
            raise ShapeError("the input is a single number.", fix="pass samples with at least one feature.")
        if x.ndim == 1 and not isinstance(x.shape[0], int):
            raise ShapeError(
                f"the input is {bm.format_shape(x.shape)}: samples without features.",
                fix="pass (N, K): x[:, None] if each number is a sample, x[None] if all are one.",
            )
        if not x.spec.is_float:
            raise DtypeError(
                f"the input is {x.dtype}, expected float32 or float64.",
                fix="convert it: x.astype('float32').",
            )
        weight = self.parameter("weight", (x.shape[-1], self.units), self.initial)
        bias = self.parameter("bias", (self.units,), 0.0) if self.use_bias else None
        y = ops.affine(x, weight, bias)
        return y if self.activation is None else bm.registry.make("layer", self.activation)(y)
