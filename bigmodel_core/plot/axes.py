"""The axes that a plot is drawn on."""

from __future__ import annotations

from typing import Any

from bigmodel_core.extras import optional


def axes(given: Any = None, **options: Any) -> Any:
    """The given axes, or those of a new figure.

    Args:
        given: axes, or None.
        options: of `matplotlib.pyplot.subplots`.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    pyplot = optional("matplotlib.pyplot", "plot", "plots")
    return given if given is not None else pyplot.subplots(layout="constrained", **options)[1]
