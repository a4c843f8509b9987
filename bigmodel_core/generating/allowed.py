"""Which tokens may follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from bigmodel_core.errors import DataError, NumericsError, ShapeError
from bigmodel_core.generating.prompts import check_tokens
from bigmodel_core.graph.spec import format_shape
from bigmodel_core.nn.strategy import Search

Allowed: TypeAlias = Callable[[list[int]], Any]
"""From the tokens that were chosen to those that may follow: their numbers, or a truth value for each."""


class Choice:
    """Which tokens may follow.

    Args:
        allowed: as `generate` takes it.
        size: how many tokens the model scores.
        known: how many of them, the first ones, the tokenizer knows.

    Raises:
        ShapeError, DataError: it is not what `generate` takes.
    """

    def __init__(self, allowed: Allowed | Any, size: int, known: int) -> None:
        self._size, self._follows = size, allowed if callable(allowed) else None
        self._mask = np.ones(size, bool) if allowed is None or callable(allowed) else mask_of(allowed, size)
        self._mask[known:] = False
        self._allows_all = bool(self._mask.all())

    def restricted(self, scores: np.ndarray, search: Search) -> np.ndarray:
        """The scores, with -inf for what is not allowed, where a text goes on.

        Raises:
            NumericsError: a score is NaN.
            DataError: nothing is allowed, or `allowed` gave what it should not.
        """
        if not self._allows_all:
            scores = np.where(self._mask, scores, -np.inf)
        rows = [row for row in range(len(scores)) if search.is_open(row)]
        if self._follows is not None:
            scores = scores.copy()
            for row in rows:
                mask = mask_of(self._follows(list(search.so_far(row))), self._size)
                scores[row, ~mask] = -np.inf
        best = scores[rows].max(-1)
        if not np.isfinite(best).all():
            if np.isneginf(best).any():
                raise DataError("no token is allowed to follow.", fix="let `allowed` leave one at least.")
            raise NumericsError("the model's scores are not finite.", fix="look at its parameters.")
        return scores


def mask_of(allowed: Any, size: int) -> np.ndarray:
    """A truth value for each token, of tokens that are allowed.

    Args:
        allowed: their numbers, or the truth values.
        size: how many tokens there are.
    """
    found = np.asarray(allowed)
    if found.dtype == bool:
        if found.shape != (size,):
            raise ShapeError(
                f"allowed is {format_shape(found.shape)}, expected a truth value for each token, ({size},)."
            )
        return found.copy()
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise DataError(
            f"allowed is {found.dtype} {format_shape(found.shape)}.",
            fix="give the numbers of tokens, or a truth value for each.",
        )
    check_tokens(found.astype(np.int64), size, "allowed")
    mask = np.zeros(size, bool)
    mask[found.astype(np.int64)] = True
    return mask
