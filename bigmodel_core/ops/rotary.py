"""Rotary position embedding: pairs of numbers turned by angles that grow with their position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.errors import ConfigError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Shape, Spec, dim_multiply, format_shape
from bigmodel_core.kernels.cpu import rotary as cpu_kernels
from bigmodel_core.kernels.cuda import rotary as cuda_kernels
from bigmodel_core.ops.comparison import cast
from bigmodel_core.ops.elementwise import check_floats
from bigmodel_core.ops.functions import cos, sin
from bigmodel_core.ops.indexing import check_indices
from bigmodel_core.ops.reduce import reduce_to
from bigmodel_core.ops.shape import Transpose, reshape, transpose
from bigmodel_core.ops.slicing import index

HEADS_FIRST = (0, 2, 1, 3)
"""From (N, T, heads, width) to (N, heads, T, width)."""


@dataclass(frozen=True)
class Rotary(Op):
    """Pairs (a, b) of the last axis become (a cos - b sin, a sin + b cos); what is behind the pairs stays.

    Inputs: x (..., T, width), or (N, T, heads, width); the cosines and sines, (T, pairs), or (N, T, pairs)
    for each sample.

    Args:
        interleaved: whether a pair is two neighbours; else number i and the one `pairs` further.
        steps_first: whether steps stand before heads.
    """

    interleaved: bool
    steps_first: bool = False
    cpu = cpu_kernels.rotary
    cuda = cuda_kernels.rotary

    def infer(self, x: Spec, cosine: Spec, sine: Spec) -> Spec:
        return x

    def grad(self, dy: Value, y: Value, x: Value, cosine: Value, sine: Value) -> tuple[Value, Value, Value]:
        pairs = cosine.shape[-1]
        assert isinstance(pairs, int)
        a, b = _halves(x, pairs, self.interleaved)
        da, db = _halves(dy, pairs, self.interleaved)
        return (
            self(dy, cosine, -sine),
            self._summed(da * a + db * b, cosine.shape),
            self._summed(db * a - da * b, sine.shape),
        )

    def _along(self, shape: Shape, rank: int) -> Shape:
        """The shape of a table, as it broadcasts to x of a rank."""
        if self.steps_first:
            return (*shape[:-1], 1, shape[-1])
        return shape if len(shape) == 2 else (shape[0], *(1,) * (rank - 3), *shape[1:])

    def _summed(self, x: Value, shape: Shape) -> Value:
        """The sums over what has the same angles."""
        return reshape(reduce_to(x, self._along(shape, x.ndim)), shape)

    def onnx(self, emit: Any, x: Any, cosine: Any, sine: Any) -> Any:
        spec, turned = emit.inputs[0], emit.inputs[1]
        pairs = turned.shape[-1]
        rest = spec.shape[-1] - 2 * pairs
        if emit.opset >= 23 and spec.ndim == 4 and spec.dtype != "float64":  # which the operator lacks
            if turned.ndim == 2:
                cosine, sine = (emit.expand(part, (spec.shape[0], *turned.shape)) for part in (cosine, sine))
            width = {"rotary_embedding_dim": 2 * pairs} if rest else {}
            options = {"interleaved": int(self.interleaved), **width}
            if self.steps_first:  # as parts of one axis
                n, steps, heads, last = spec.shape
                x = emit.reshape(x, (n, steps, dim_multiply(heads, last)))
                y = emit.RotaryEmbedding(x, cosine, sine, num_heads=heads, **options)
                return emit.reshape(y, spec.shape)
            return emit.RotaryEmbedding(x, cosine, sine, **options)
        if (along := self._along(turned.shape, spec.ndim)) != turned.shape:
            cosine, sine = emit.reshape(cosine, along), emit.reshape(sine, along)
        axis = spec.ndim - 1
        step = 2 if self.interleaved else 1
        a = emit.slice(x, axis, 0, pairs, step)
        b = emit.slice(x, axis, 1 if self.interleaved else pairs, pairs, step)
        first = emit.Sub(emit.Mul(a, cosine), emit.Mul(b, sine))
        second = emit.Add(emit.Mul(a, sine), emit.Mul(b, cosine))
        if self.interleaved:
            last = emit.ints((-1,))
            both = emit.Concat(emit.Unsqueeze(first, last), emit.Unsqueeze(second, last), axis=axis + 1)
            parts = [emit.reshape(both, (*spec.shape[:-1], 2 * pairs))]
        else:
            parts = [first, second]
        if rest:
            parts.append(emit.slice(x, axis, 2 * pairs, rest))
        return emit.Concat(*parts, axis=axis) if len(parts) > 1 else parts[0]


def _halves(x: Value, pairs: int, interleaved: bool) -> tuple[Value, Value]:
    """The first and the second numbers of all pairs."""
    if interleaved:
        return index(x, (..., slice(0, 2 * pairs, 2))), index(x, (..., slice(1, 2 * pairs, 2)))
    return index(x, (..., slice(0, pairs))), index(x, (..., slice(pairs, 2 * pairs)))


def rotary(
    x: Value,
    positions: Value,
    base: float = 10000.0,
    width: int | None = None,
    interleaved: bool = False,
    frequencies: Sequence[float] | None = None,
) -> Value:
    """Pairs of the last axis turned by their position times a frequency (Su et al., 2021).

    With it, the product of a query and a key depends on how far they are apart. Pair i has the frequency
    base ** (-2 i / width).

    Args:
        x: (..., T, d), such as queries or keys (N, heads, T, d).
        positions: integers (T,), or (N, T) for each sample; `bm.ops.positions(x, -2)` counts from 0.
        base: the larger, the slower the last pairs turn.
        width: how many numbers of the last axis are turned, the first ones; all if None.
        interleaved: whether a pair is two neighbours, as in the paper; else number i and the one width / 2
            further, as in Llama.
        frequencies: of each pair, in radians a position, in place of those of `base`.

    Raises:
        ShapeError: positions are not one for each step.
        ConfigError: the width is odd or larger than the last axis, or frequencies are not half as many.
        DtypeError: x is no float, or positions are no integers.
    """
    check_floats("rotary", x.spec)
    check_indices("rotary", positions.spec)
    last = x.shape[-1] if x.ndim > 1 else None
    if not isinstance(last, int):
        raise ShapeError(
            f"rotary needs (..., T, d), d known, got {format_shape(x.shape)}.",
            fix="give heads a fixed width.",
        )
    turned = last if width is None else width
    if turned % 2 or not 2 <= turned <= last:
        raise ConfigError(
            f"rotary cannot turn {turned} of {last} numbers.",
            fix=f"an even width from 2 to {last} has pairs.",
        )
    steps, is_each = x.shape[-2], positions.ndim == 2
    if positions.shape != ((x.shape[0], steps) if is_each and x.ndim > 2 else (steps,)):
        raise ShapeError(
            f"rotary got positions {format_shape(positions.shape)} for {format_shape(x.shape)}.",
            fix="give a position for each step, (T,), or for each step of each sample, (N, T).",
        )
    if frequencies is None:
        speeds = np.asarray(base, "float64") ** (-np.arange(0, turned, 2) / turned)
    else:
        speeds = np.asarray(frequencies, "float64")
        if speeds.shape != (turned // 2,):
            raise ConfigError(
                f"rotary got {speeds.size} frequencies for {turned // 2} pairs.",
                fix="give one for each pair.",
            )
    speed = x.node.graph.constant(speeds, x.dtype)
    angles = reshape(cast(positions, x.dtype), (*positions.shape, 1)) * speed
    if isinstance(x.node.op, Transpose) and x.node.op.permutation == HEADS_FIRST:  # read as it lies
        (source,) = x.node.inputs
        return transpose(Rotary(bool(interleaved), True)(source, cos(angles), sin(angles)), HEADS_FIRST)
    return Rotary(bool(interleaved))(x, cos(angles), sin(angles))


__all__ = ["rotary"]
