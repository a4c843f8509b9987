"""A layer of Kolmogorov and Arnold: a learned function on each connection, composed of ops that exist."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import bigmodel_core as bm
from bigmodel_core import ops


def splines(x: bm.Value, grid: int, degree: int, low: float, high: float) -> bm.Value:
    """The B-splines of a uniform grid at each number, (..., grid + degree), by de Boor's recursion.

    Between `low` and `high` they add up to 1; far outside all are 0.
    """
    width = (high - low) / grid
    places = low + width * np.arange(-degree, grid + degree + 1)
    knots = ops.constant(places, x.dtype)
    apart = ops.expand_dims(x, -1)
    found = ((apart >= knots[:-1]) & (apart < knots[1:])).astype(x.dtype)
    for order in range(1, degree + 1):
        rising = (apart - knots[: -order - 1]) * found[..., :-1]
        falling = (knots[order + 1 :] - apart) * found[..., 1:]
        found = (rising + falling) * (1 / (order * width))
    return found


@dataclass(frozen=True)
class KAN(bm.Layer):
    """Sums of learned functions of each feature, (..., K) to (..., units) (Liu et al., 2024).

    Each function is a weight times silu(x), plus B-splines times their weights, all of one grid.

    Parameters: `base` (K, units) and `weight` (K * (grid + degree), units).

    Args:
        units: the width of the output.
        grid: intervals between `low` and `high`.
        degree: of the polynomials between grid points.
        low: where the grid begins; inputs should be scaled to lie on it mostly.
        high: where the grid ends.
    """

    units: int
    grid: int = 5
    degree: int = 3
    low: float = -2.0
    high: float = 2.0

    def __post_init__(self) -> None:
        for name, least in (("units", 1), ("grid", 1), ("degree", 0)):
            bm.check_number(self, name, whole=True, at_least=least)
        bm.check_number(self, "high", above=self.low)

    def __call__(self, x: bm.Value) -> bm.Value:
        if x.ndim < 2 or not x.spec.is_float or not isinstance(x.shape[-1], int):
            raise bm.errors.ShapeError(
                f"KAN got {x.spec}, expected floats (N, ..., K) with a fixed number K of features.",
                fix="flatten each sample, and convert integers: x.astype('float32').",
            )
        features, count = x.shape[-1], self.grid + self.degree
        base = self.parameter("base", (features, self.units), "glorot_uniform")
        weight = self.parameter("weight", (features * count, self.units), "glorot_uniform")
        curves = splines(x, self.grid, self.degree, self.low, self.high)
        flat = curves.reshape(*x.shape[:-1], features * count)
        return ops.silu(x) @ base + flat @ weight


@bm.hookimpl
def bigmodel_layers() -> list[type[bm.Layer]]:
    """The layers of this plugin."""
    return [KAN]
