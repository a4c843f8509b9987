"""A loop with carried state in NumPy, step by step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np


def scanned(
    body: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    xs: Any,
    axis: int = 0,
    reverse: bool = False,
    take: Callable[..., Any] = np.take,
    stack: Callable[..., Any] = np.stack,
) -> tuple[Any, Any]:
    """What is carried at the end, and the results along the axis; all of them arrays, or tuples of some.

    Args:
        take, stack: how arrays are taken apart and put together.
    """
    steps = range(np.shape(xs[0] if isinstance(xs, tuple) else xs)[axis])
    found = []
    for step in reversed(steps) if reverse else steps:
        carry, y = body(carry, _each(xs, lambda x, step=step: take(x, step, axis)))
        found.append(y)
    ordered = found[::-1] if reverse else found
    if isinstance(ordered[0], tuple):
        return carry, tuple(stack(column, axis) for column in zip(*ordered, strict=True))
    return carry, stack(ordered, axis)


def torch_scanned(torch: Any) -> Callable[..., Any]:
    """The same of PyTorch's tensors."""
    return functools.partial(
        scanned,
        take=lambda x, step, axis: x.select(axis, step),
        stack=lambda items, axis: torch.stack(tuple(items), axis),
    )


def _each(items: Any, function: Callable[..., Any]) -> Any:
    return tuple(map(function, items)) if isinstance(items, tuple) else function(items)


def loops(tanh: Callable[..., Any], scan: Callable[..., Any], x: Any, i: Any, w: Any, axis: int) -> list[Any]:
    """Two loops over values or arrays: one backwards, with integers, and with what leaves a step as it came;
    and one inside of another.

    Args:
        tanh, scan: those functions.
        x: (T, N, F), or (N, T, F) with axis 1.
        i: integers, (T, N) or (N, T).
        w: (F, F).
    """

    def cell(carry: Any, parts: Any) -> Any:
        (state, count), (row, number) = carry, parts
        state = tanh(state @ w + row)
        return (state, count + number), (state.sum(-1, keepdims=True), number, row, count)

    def outer(total: Any, rows: Any) -> Any:
        return scan(lambda c, row: (tanh(c + row * total.sum()), c), total[0], rows)[0] + total, rows

    first = (x[0] if axis == 0 else x[:, 0], i[0] if axis == 0 else i[:, 0])
    (state, count), (sums, *others) = scan(cell, (first[0] * 0.5, first[1]), (x, i), axis, True)
    return [state, count, sums, *others, scan(outer, first[0], x, axis)[0]]
