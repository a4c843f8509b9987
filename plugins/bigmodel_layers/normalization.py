"""Normalisation of the last axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ConfigError, ShapeError


def check_epsilon(layer: Any) -> None:
    """Raise ConfigError unless what is added to a variance is a small number, and no width."""
    bm.check_number(layer, "epsilon", above=0)
    if layer.epsilon >= 1:
        raise ConfigError(
            f"epsilon is {layer.epsilon}, expected a small number such as 1e-5.",
            where=type(layer).__name__,
            fix="leave it out; how many features there are is inferred from the input.",
        )


@dataclass(frozen=True)
class LayerNorm(bm.Layer):
    """The last axis normalised to mean 0 and variance 1, times `scale` plus `shift` (Ba et al., 2016).

    Parameters: `scale` (K,), which starts at one, and `shift` (K,), which starts at zero, for inputs (...,
    K).

    Args:
        epsilon: added to the variance, so that equal numbers do not divide by zero.

    Raises:
        ConfigError: epsilon is not between 0 and 1.
        ShapeError: the input has no axis, or its last one is free.
    """

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        check_epsilon(self)

    def __call__(self, x: Any) -> Any:
        if x.ndim < 1:
            raise ShapeError("the input is a single number.", fix="pass samples with at least one feature.")
        width = x.shape[-1:]
        scale, shift = self.parameter("scale", width, 1.0), self.parameter("shift", width, 0.0)
        return ops.layer_norm(x, scale, shift, self.epsilon)


@dataclass(frozen=True)
class RmsNorm(bm.Layer):
    """The last axis divided by the root of its mean square, times `scale` (Zhang and Sennrich, 2019).

    Parameters: `scale` (K,), which starts at one, for inputs (..., K).

    Args:
        epsilon: added to the mean square, so that zeros do not divide by zero.

    Raises:
        ConfigError: epsilon is not between 0 and 1.
        ShapeError: the input has no axis, or its last one is free.
    """

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        check_epsilon(self)

    def __call__(self, x: Any) -> Any:
        if x.ndim < 1:
            raise ShapeError("the input is a single number.", fix="pass samples with at least one feature.")
        return ops.rms_norm(x, self.parameter("scale", x.shape[-1:], 1.0), epsilon=self.epsilon)
