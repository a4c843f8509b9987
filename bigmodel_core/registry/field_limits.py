"""Limits of hyper-parameters: the checks of a `__post_init__`, with one way of saying what is wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bigmodel_core.errors import ConfigError, short


def check_number(
    owner: object,
    field: str,
    *,
    whole: bool = False,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> None:
    """Check that a field of a dataclass is a finite number within limits.

    Args:
        owner: the instance.
        field: the name of the field.
        whole: whether only integers will do.
        at_least, above, at_most, below: the limits.

    Raises:
        ConfigError: the message names class, field, value and limits.

    >>> from types import SimpleNamespace
    >>> check_number(SimpleNamespace(rate=0.5), "rate", at_least=0, below=1)
    """
    value: Any = getattr(owner, field)
    limits = [
        f"{word} {limit:g}"
        for word, limit in (("at least", at_least), ("above", above), ("at most", at_most), ("below", below))
        if limit is not None
    ]
    wanted = " ".join(["an integer" if whole else "a number", " and ".join(limits)]).strip()
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    fits = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
    if fits:
        fits = not (
            (at_least is not None and value < at_least)
            or (above is not None and value <= above)
            or (at_most is not None and value > at_most)
            or (below is not None and value >= below)
        )
    if not fits:
        raise ConfigError(
            f"{field} is {short(value)}, expected {wanted}.",
            where=type(owner).__name__,
            fix=f"pass {field}={_example(whole, at_least, above, at_most, below)}, for instance.",
        )


def _example(
    whole: bool, at_least: float | None, above: float | None, at_most: float | None, below: float | None
) -> str:
    """A number within the limits, away from them if there is room."""
    low = at_least if at_least is not None else above
    high = at_most if at_most is not None else below
    if low is not None and high is not None:
        middle = (low + high) / 2
        return f"{math.ceil(middle) if whole else middle:g}"
    if low is not None:
        return f"{math.floor(low) + 1:g}" if above is not None or whole else f"{low + 0.1:g}"
    return f"{high - 1:g}" if high is not None else "1"
