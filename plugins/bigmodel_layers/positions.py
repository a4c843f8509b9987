"""Layers that tell steps of a sequence where they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ConfigError, ShapeError


def _width(x: Any) -> int:
    """The width of steps (..., T, K)."""
    width = x.shape[-1] if x.ndim >= 2 else None
    if not isinstance(width, int):
        raise ShapeError(
            f"the input is {bm.format_shape(x.shape)}, expected (..., T, K) with a fixed K.",
            fix="give sequences a time axis, and tokens an Embedding.",
        )
    return width


def step_positions(layer: bm.Layer, x: Any, causal: bool) -> Any:
    """The positions of the steps of x (N, T, ...) as a layer counts them: 0, 1, 2, ..., and on from call to
    call of a session if it is causal, (T,) or (N, T)."""
    found = ops.positions(x, -2)
    if not causal or layer.training:
        return found
    count = layer.carried("count", x.shape[:1], "int64", 0)
    layer.assign("count", count + bm.ops.sizes.size_of(x, (x.ndim - 2,), "int64"))
    return ops.expand_dims(count, 1) + found


@dataclass(frozen=True)
class TokenSteps(bm.Layer):
    """Where the tokens (N, T) of a causal model are: their positions, and which of all steps hold a token.

    Gives positions, (T,) or (N, T), and what `MultiHeadAttention` takes as a mask, (N, 1, 1, steps). In a
    session positions go on from call to call, and prompts of unequal length may have -1, no token, in front:
    positions count tokens, and no step sees what is none.
    """

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[bm.Spec]]]:
        """What the conformance kit runs."""
        return [({}, [bm.Spec(("N", 3), "int64")])]

    def __call__(self, tokens: Any) -> Any:
        if tokens.ndim != 2 or tokens.dtype not in bm.dtypes.INDICES:
            raise ShapeError(
                f"the tokens are {tokens.dtype} {bm.format_shape(tokens.shape)}, expected integers (N, T).",
                fix="pass token numbers, a row for each text.",
            )
        n, steps = tokens.shape
        there = ops.reshape(tokens >= 0, (n, 1, 1, steps))
        if self.training:
            return ops.positions(tokens, 1), there
        numbers = (tokens >= 0).astype("int64")
        count = self.carried("count", tokens.shape[:1], "int64", 0)
        self.assign("count", count + ops.sum(numbers, 1))
        positions = ops.maximum(ops.expand_dims(count, 1) + ops.cumsum(numbers, 1) - 1, 0)
        return positions, self.remembered("tokens", there, 3)


@dataclass(frozen=True)
class PositionalEmbedding(bm.Layer):
    """Adds a learned vector for each position (Gehring et al., 2017): (N, T, K) becomes (N, T, K).

    Parameters: `weight` (first + context, K), which starts normal with a deviation of 0.02.

    Args:
        context: how many positions there are.
        causal: whether positions that are not given go on from call to call of a session.
        first: the row of the first position; those before it are not used, as RoBERTa has two of them.

    Raises:
        ShapeError: there are more steps than positions.
        DataError: at run time, a position is out of range.

    >>> import bigmodel_core as bm
    >>> PositionalEmbedding(64)(bm.Spec(("N", "T", 32)))
    Spec((N, T, 32), float32)
    """

    context: int
    causal: bool = False
    first: int = 0

    def __post_init__(self) -> None:
        bm.check_number(self, "context", whole=True, at_least=1)
        bm.check_number(self, "first", whole=True, at_least=0)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[tuple[int, ...]]]]:
        """What the conformance kit runs."""
        return [({"context": 5, "first": 1}, [(2, 3, 4)])]

    def __call__(self, x: Any, positions: Any = None) -> Any:
        """x with the vectors of its positions.

        Args:
            x: (N, T, K).
            positions: of its steps, (T,) or (N, T) integers; 0, 1, 2, ... if None.
        """
        table = self.parameter("weight", (self.first + self.context, _width(x)), "normal")
        steps = x.shape[-2]
        if isinstance(steps, int) and steps > self.context:
            raise ShapeError(
                f"there are {steps} steps, and positions for {self.context}.",
                fix=f"pass at most {self.context} steps, or build with a larger context.",
            )
        where = step_positions(self, x, self.causal) if positions is None else positions
        return x + ops.gather(table, where + self.first if self.first else where)


@dataclass(frozen=True)
class SinusoidalPositions(bm.Layer):
    """Adds sines and cosines of each position (Vaswani et al., 2017): (N, T, K) becomes (N, T, K).

    Numbers 2i and 2i + 1 of position p get sin and cos of p / base ** (2i / K).

    Args:
        base: the larger, the slower the last numbers turn.
        causal: whether positions that are not given go on from call to call of a session.
    """

    base: float = 10000.0
    causal: bool = False

    def __post_init__(self) -> None:
        bm.check_number(self, "base", above=0)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[tuple[int, ...]]]]:
        """What the conformance kit runs."""
        return [({}, [(2, 3, 4)]), ({}, [(2, 3, 5)])]

    def __call__(self, x: Any, positions: Any = None) -> Any:
        """x with the sines and cosines of its positions.

        Args:
            x: (N, T, K).
            positions: of its steps, (T,) or (N, T) integers; 0, 1, 2, ... if None.
        """
        width = _width(x)
        frequencies = self.base ** (-np.arange(0, width, 2) / width)
        where = step_positions(self, x, self.causal) if positions is None else positions
        where = where.astype(x.dtype)
        angles = ops.expand_dims(where, -1) * frequencies
        both = ops.stack([ops.sin(angles), ops.cos(angles)], -1)
        found = ops.reshape(both, (*where.shape, 2 * len(frequencies)))
        return x + (found if width % 2 == 0 else found[..., :width])


@dataclass(frozen=True)
class RotaryEmbedding(bm.Layer):
    """Pairs of numbers turned by angles that grow with their position (Su et al., 2021).

    For queries and keys, (..., T, K) as before; `MultiHeadAttention(rotary=True)` does it to its own.

    Args:
        base: the larger, the slower the last pairs turn.
        width: how many of the K numbers are turned, the first ones; all if None.
        interleaved: whether a pair is two neighbours; else number i and the one width / 2 further.
    """

    base: float = 10000.0
    width: int | None = None
    interleaved: bool = False

    def __post_init__(self) -> None:
        bm.check_number(self, "base", above=0)
        if self.width is not None and (self.width % 2 or self.width < 2):
            raise ConfigError(f"width is {self.width}, expected pairs.", where="RotaryEmbedding")

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[tuple[int, ...]]]]:
        """What the conformance kit runs."""
        return [({}, [(2, 3, 4)]), ({"width": 2, "interleaved": True}, [(2, 2, 3, 4)])]

    def __call__(self, x: Any, positions: Any = None) -> Any:
        """x turned; positions of its steps are (T,) or (N, T) integers, 0, 1, 2, ... if None."""
        _width(x)
        where = ops.positions(x, -2) if positions is None else positions
        return ops.rotary(x, where, self.base, self.width, self.interleaved)
