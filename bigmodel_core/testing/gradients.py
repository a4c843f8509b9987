"""Gradients against finite differences, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bigmodel_core.testing.evaluate import Evaluation, Function

STEP = 1e-5
"""How far numbers are moved, relative to their size: errors of rounding and of truncation are then alike."""


def check_gradients(
    function: Function,
    arrays: Sequence[Any],
    *,
    wrt: Sequence[int] | None = None,
    rtol: float = 1e-6,
    atol: float = 1e-7,
    limit: int = 60,
) -> None:
    """Compare the gradients of a function of Values with central differences; floats are taken as float64.

    Args:
        function: takes a Value for each array, returns one or several.
        arrays: where to differentiate; away from kinks such as 0 for relu.
        wrt: the positions of the arrays to differentiate for; all floats by default.
        rtol, atol: how far the two may differ.
        limit: how many numbers of each array are moved; drawn at random if there are more.

    Raises:
        AssertionError: a gradient is wrong; the message names the array and the element.

    >>> import numpy as np
    >>> from bigmodel_core import ops
    >>> check_gradients(ops.tanh, [np.linspace(-2, 2, 5)])
    """
    given = [np.asarray(array) for array in arrays]
    given = [np.array(array, np.float64 if array.dtype.kind == "f" else array.dtype) for array in given]
    evaluation = Evaluation(function, given, wrt=wrt)
    _, (_, *found) = evaluation.run(given)

    def total() -> float:
        return float(evaluation.run(given)[1][0])

    for position, gradient in zip(evaluation.wrt, found, strict=True):
        compare(total, given[position], gradient, f"input {position}", rtol, atol, limit)


def compare(
    total: Callable[[], float],
    array: np.ndarray,
    gradient: np.ndarray,
    name: str,
    rtol: float = 1e-6,
    atol: float = 1e-7,
    limit: int = 60,
) -> None:
    """Compare a gradient with central differences of a scalar, moving numbers of an array in place."""
    if gradient.shape != array.shape:
        raise AssertionError(f"the gradient of {name} has shape {gradient.shape}, expected {array.shape}")
    places = np.arange(array.size)
    if array.size > limit:
        places = np.sort(np.random.default_rng(0).choice(array.size, limit, replace=False))
    flat = array.reshape(-1)
    scale = max(abs(total()), 1.0)
    for at in places:
        before = flat[at]
        distance = STEP * max(1.0, abs(before))
        flat[at] = before + distance
        above = total()
        flat[at] = before - distance
        below = total()
        flat[at] = before
        expected = (above - below) / (2 * distance)
        got = float(gradient.reshape(-1)[at])
        if not abs(got - expected) <= atol * scale + rtol * abs(expected):
            element = tuple(int(i) for i in np.unravel_index(at, array.shape)) if array.shape else ()
            raise AssertionError(
                f"the gradient of {name} at {element} is {got:.10g}, finite differences give {expected:.10g}"
            )
