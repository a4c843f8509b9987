"""Layer normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ShapeError


@dataclass(frozen=True)
class LayerNorm(bm.Layer):
    """The last axis normalised to mean 0 and variance 1, times `scale` plus `shift` (Ba et al., 2016).

    Parameters: `scale` (K,), which starts at one, and `shift` (K,), which starts at zero, for inputs (...,
    K).

    Args:
        epsilon: added to the variance, so that equal numbers do not divide by zero.

    Raises:
        ShapeError: the input has no axis, or its last one is free.
    """

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        bm.check_number(self, "epsilon", above=0)

    def __call__(self, x: Any) -> Any:
        if x.ndim < 1:
            raise ShapeError("the input is a single number.", fix="pass samples with at least one feature.")
        width = x.shape[-1:]
        scale, shift = self.parameter("scale", width, 1.0), self.parameter("shift", width, 0.0)
        return ops.layer_norm(x, scale, shift, self.epsilon)
