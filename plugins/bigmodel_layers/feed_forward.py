"""What Transformers do to each step by itself: two or three dense layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core.errors import ShapeError


def _width(x: Any) -> int:
    width = x.shape[-1] if x.ndim else None
    if not isinstance(width, int):
        raise ShapeError(
            f"the input is {bm.format_shape(x.shape)}, expected (..., K) with a fixed K.",
            fix="fix the number of features.",
        )
    return width


@dataclass(frozen=True)
class FeedForward(bm.Layer):
    """Two dense layers with an activation between them (Vaswani et al., 2017): (..., K) becomes (..., K).

    Parts: `up` and `down`, dense layers.

    Args:
        hidden: the width between them.
        activation: a layer or its name.
        use_bias: whether the dense layers have biases.
        initial: how the first weights are drawn, a name of `bigmodel_core.nn.initializers`.

    >>> import bigmodel_core as bm
    >>> FeedForward(64)(bm.Spec(("N", "T", 16)))
    Spec((N, T, 16), float32)
    """

    hidden: int
    activation: str | bm.Layer = "gelu"
    use_bias: bool = True
    initial: str = "glorot_uniform"

    def __post_init__(self) -> None:
        bm.check_number(self, "hidden", whole=True, at_least=1)

    def __call__(self, x: Any) -> Any:
        more = {"use_bias": self.use_bias, "initial": self.initial}
        up = bm.layers.Dense(self.hidden, activation=self.activation, **more).named("up")
        return bm.layers.Dense(_width(x), **more).named("down")(up(x))


@dataclass(frozen=True)
class SwiGlu(bm.Layer):
    """down(silu(gate(x)) * up(x)), three dense layers (Shazeer, 2020): (..., K) becomes (..., K).

    Parts: `gate`, `up` and `down`, dense layers.

    Args:
        hidden: the width between them.
        use_bias: whether the dense layers have biases.
        initial: how the first weights are drawn, a name of `bigmodel_core.nn.initializers`.

    >>> import bigmodel_core as bm
    >>> SwiGlu(64)(bm.Spec(("N", "T", 16)))
    Spec((N, T, 16), float32)
    """

    hidden: int
    use_bias: bool = False
    initial: str = "glorot_uniform"

    def __post_init__(self) -> None:
        bm.check_number(self, "hidden", whole=True, at_least=1)

    def __call__(self, x: Any) -> Any:
        more = {"use_bias": self.use_bias, "initial": self.initial}
        gate = bm.layers.Dense(self.hidden, activation="silu", **more).named("gate")
        up = bm.layers.Dense(self.hidden, **more).named("up")
        return bm.layers.Dense(_width(x), **more).named("down")(gate(x) * up(x))
