"""A layer whose values are computed again for gradients, rather than kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, short


@dataclass(frozen=True)
class Recompute(bm.Layer):
    """A layer whose values training computes again for gradients, rather than keeping them (Chen et al.,
    2016).

    A training step needs less memory and more time, about a third where all of a model is computed again.
    Losses and gradients stay the same, but for rounding; dropout draws the same. For several
    layers one after the other, wrap each: what is between them is kept.

    Args:
        inner: the layer.

    Raises:
        ConfigError: it is none.

    >>> import bigmodel_core as bm
    >>> block = Recompute(bm.layers.TransformerBlock(4))
    >>> block(bm.Spec(("N", "T", 32)))
    Spec((N, T, 32), float32)
    """

    inner: bm.Layer

    def __post_init__(self) -> None:
        if not isinstance(self.inner, bm.Layer):
            raise ConfigError(
                f"inner is {short(self.inner)}, expected a layer.",
                where="Recompute",
                fix="pass an instance, such as bm.layers.TransformerBlock(4).",
            )

    def __call__(self, *inputs: Any) -> Any:
        with bm.recomputing():
            return self.inner(*inputs)
