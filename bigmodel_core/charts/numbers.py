"""What is given as numbers: arrays, lists with gaps, mappings of names to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigmodel_core.charts.texts import number
from bigmodel_core.errors import UsageError, short

Numbers = Sequence[float | None] | np.ndarray
"""Numbers in a row; None and NaN are gaps."""


def floats(values: Any, where: str, ndim: int = 1) -> np.ndarray:
    """Values as float64, gaps as NaN.

    Raises:
        UsageError: they are no numbers, or have another number of axes.
    """
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"expected numbers, got {short(values)}.", where=where, fix="pass lists or arrays of numbers."
        ) from error
    if found.ndim != ndim:
        what = "a row" if ndim == 1 else "a table"
        raise UsageError(
            f"expected {what} of numbers, got shape {found.shape}.", where=where, fix="reshape them."
        )
    return found


def pairs(
    series: Mapping[str, Any], x: Any, where: str, default: int = 0
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The points of each series.

    Args:
        series: the numbers of each by its name.
        x: their places: the same for all, or by the same names; None counts.
        where: for messages.
        default: what counting begins with.

    Raises:
        UsageError: a series has as many places as it has no numbers.
    """
    found = {}
    for name, values in series.items():
        ys = floats(values, f"{where} '{name}'")
        given = x.get(name) if isinstance(x, Mapping) else x
        xs = (
            np.arange(default, default + len(ys), dtype=float)
            if given is None
            else floats(given, f"{where} x")
        )
        if len(xs) != len(ys):
            raise UsageError(
                f"{len(xs)} places for {len(ys)} numbers.",
                where=f"{where} '{name}'",
                fix="pass as many of both.",
            )
        found[str(name)] = (xs, ys)
    return found


def summary(values: np.ndarray) -> str:
    """What numbers in a row are, in words."""
    known = values[np.isfinite(values)]
    if not len(known):
        return "no values"
    points = f"{len(known):,} point{'s' * (len(known) != 1)}"
    missing = f", {len(values) - len(known):,} missing" if len(known) < len(values) else ""
    return (
        f"{points}, from {number(known[0])} to {number(known[-1])}, "
        f"least {number(known.min())}, most {number(known.max())}{missing}"
    )
