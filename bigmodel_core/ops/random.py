"""Random numbers inside the graph: counter-based, so that a run is repeated exactly from (seed, step,
path)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import fabs
from typing import Any

import numpy as np

from bigmodel_core.errors import ConfigError, DtypeError, ShapeError
from bigmodel_core.graph import Graph, Number, Value, graph_of
from bigmodel_core.graph.dtypes import COMPUTED_FLOATS
from bigmodel_core.graph.operands import constant_array
from bigmodel_core.graph.spec import Dim, Shape, Spec, broadcast, dim_value, format_shape
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.kernels.random_words import random_bits, random_words
from bigmodel_core.ops.axes import several
from bigmodel_core.ops.comparison import cast, equal, where
from bigmodel_core.ops.elementwise import ElementwiseOp
from bigmodel_core.ops.functions import cos, log, sqrt

SEED, STEP = "~seed", "~step"
"""The names of the graph inputs (int64 scalars) that random ops read; a plan fills them in at each run."""


def _bits_of(seed, step, index, key):
    return random_bits(index, seed, step, key)


def _words_of(seed, step, index, key):
    return random_words(index, seed, step, key)


@dataclass(frozen=True)
class RandomBits(ElementwiseOp):
    """32 random bits at each place of a shape, as int64 from 0 to 2**32 - 1."""

    key: int
    shape: tuple[Any, ...]
    cpu, cuda = elementwise(_bits_of)

    def bind(self, sizes: Mapping[str, int]) -> RandomBits:
        return replace(self, shape=tuple(dim_value(dim, sizes) for dim in self.shape))

    def infer(self, seed: Spec, step: Spec) -> Spec:
        return Spec(self.shape, "int64")

    def grad(self, dy: Value, y: Value, *inputs: Value) -> tuple[None, ...]:
        return (None,) * len(inputs)


class RandomWords(RandomBits):
    """64 random bits at each place of a shape, as any int64."""

    cpu, cuda = elementwise(_words_of)


@dataclass(frozen=True)
class BitField(ElementwiseOp):
    """Some of the bits of int64 numbers, as numbers: those of a mask, after a shift to the right."""

    shift: int
    mask: int
    cpu, cuda = elementwise(lambda bits, shift, mask: (bits >> shift) & mask)

    def grad(self, dy: Value, y: Value, bits: Value) -> tuple[None]:
        return (None,)


def _cosine_of_turns(turns):
    """cos(2 pi turns), for up to one turn: by how far it is from the next quarter where the cosine is 0."""
    away = 0.25 - fabs(turns - 0.5)
    s = away * away
    p = 39.71090717217784 * s - 76.57499077264355
    p = p * s + 81.6022311855523
    p = p * s - 41.34167747763546
    p = p * s + 6.283185273789165
    return -away * p


class CosineOfTurns(ElementwiseOp):
    """The cosine of random turns in float32, from 0 to 1."""

    cpu, cuda = elementwise(_cosine_of_turns)

    def grad(self, dy: Value, y: Value, turns: Value) -> tuple[None]:
        return (None,)


def path_key(path: str) -> int:
    """A 63-bit hash of a path: the key of its random stream."""
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "little") >> 1


def drawn(kind: type[RandomBits], graph: Graph, shape: Shape) -> Value:
    """The next stream of the layer whose call runs: its key is the layer's path and how often it drew."""
    seed, step = graph.input(SEED, Spec((), "int64")), graph.input(STEP, Spec((), "int64"))
    return kind(next_stream(graph), shape)(seed, step)


def next_stream(graph: Graph) -> int:
    """The key of that stream."""
    here = (node.op for node in graph.nodes if node.path == graph.path)
    draws = sum(
        isinstance(op, RandomBits) or (getattr(op, "draws", False) and op.exported) for op in here
    )  # the gradient of what has drawn is no further draw
    return path_key(f"{graph.path}#{draws}")


def uniform(
    shape: Dim | Sequence[Dim],
    low: Value | Number = 0.0,
    high: Value | Number = 1.0,
    dtype: str | None = None,
) -> Value:
    """Random numbers from `low` up to, but not including, `high`, in training and in inference.

    They are a function of the seed, the step and the path of the layer that draws: a run is repeated, and
    resumed, exactly. Each call of a built model draws anew, the n-th the same numbers in every process; an
    evaluation draws the same numbers each time. Gradients flow to `low` and `high`.

    Args:
        shape: of the result; dimensions may be free, as in `x.shape`.
        low, high: numbers, or Values that broadcast to the shape.
        dtype: "float32" or "float64"; that of `low` or `high` if one is a Value, else "float32".

    Raises:
        ShapeError: a limit does not broadcast to the shape.
        ConfigError: `low` is above `high`, or the distance is no finite number.
        DtypeError: the type is no float, or that of a limit is another one.

    >>> import bigmodel_core as bm
    >>> noisy = bm.function(lambda x: x + bm.ops.uniform(x.shape, -0.5, 0.5))
    >>> noisy([1.0, 2.0]).round(4), noisy([1.0, 2.0]).round(4)
    (array([1.4085, 1.7849], dtype=float32), array([0.9252, 1.7881], dtype=float32))
    """
    graph, wanted, kind, (start, end) = _asked("uniform", shape, dtype, low=low, high=high)
    least, most = _known(low, kind), _known(high, kind)
    if least is not None and most is not None:
        with np.errstate(all="ignore"):
            span = most - least
        if not (span >= 0).all():
            raise ConfigError(f"uniform from {low} to {high} is empty.", fix="pass low <= high.")
        if np.isinf(span).any():
            raise ConfigError(f"uniform from {low} to {high} is wider than {kind} numbers are.")
    if kind == "float32":
        unit = _share(drawn(RandomBits, graph, wanted), 8, 24, kind)
    else:
        unit = _share(drawn(RandomWords, graph, wanted), 11, 53, kind)
    if np.array_equal(least, 0) and np.array_equal(most, 1):
        return unit
    found = start + unit * (end - start)
    return where(equal(found, end), start, found)  # what is next below the end may be rounded to it


def normal(
    shape: Dim | Sequence[Dim],
    mean: Value | Number = 0.0,
    std: Value | Number = 1.0,
    dtype: str | None = None,
) -> Value:
    """Random numbers of a normal distribution, in training and in inference; see `uniform`.

    They are made of uniform ones by the formula of Box and Muller (1958). Gradients flow to `mean` and `std`:
    `normal(mean.shape, mean, std)` is the reparameterisation of a variational autoencoder.

    Args:
        shape: of the result; dimensions may be free, as in `x.shape`.
        mean, std: mean and standard deviation: numbers, or Values that broadcast to the shape.
        dtype: "float32" or "float64"; that of `mean` or `std` if one is a Value, else "float32".

    Raises:
        ShapeError: the mean or the standard deviation does not broadcast to the shape.
        ConfigError: the standard deviation is below 0.
        DtypeError: the type is no float, or that of an operand is another one.

    >>> import bigmodel_core as bm
    >>> noisy = bm.function(lambda x: x + bm.ops.normal(x.shape, std=0.1))
    >>> noisy([1.0, 2.0]).round(3), noisy([1.0, 2.0]).round(3)
    (array([0.965, 1.86 ], dtype=float32), array([1.096, 2.07 ], dtype=float32))
    """
    graph, wanted, kind, (center, spread) = _asked("normal", shape, dtype, mean=mean, std=std)
    middle, width = _known(mean, kind), _known(std, kind)
    if width is not None and not (width >= 0).all():
        raise ConfigError(f"the standard deviation is {std}.", fix="pass one of 0 or more.")
    if kind == "float32":  # a word for the distance from 0, one for the angle
        words = drawn(RandomWords, graph, wanted)
        share, cosine = _share(words, 0, 32, kind, 1), CosineOfTurns()(_share(words, 40, 24, kind))
    else:
        apart = [drawn(RandomWords, graph, wanted) for _ in range(2)]
        share = _share(apart[0], 11, 53, kind, 1)
        cosine = cos(_share(apart[1], 11, 53, kind) * (2 * math.pi))
    found = sqrt(-2.0 * log(share)) * cosine
    is_standard = np.array_equal(middle, 0) and np.array_equal(width, 1)
    return found if is_standard else center + found * spread


def _share(bits: Value, shift: int, digits: int, dtype: str, plus: int = 0) -> Value:
    """Some of the bits as a share of all that they can be: from 0 up to 1; with `plus` 1, above 0 up to and
    including 1."""
    whole = cast(BitField(shift, 2**digits - 1)(bits), dtype)
    return (whole + float(plus) if plus else whole) * 2.0**-digits


def _known(operand: Any, dtype: str) -> Any:
    """An operand as an array, if its numbers are known now."""
    return None if isinstance(operand, Value) else constant_array(operand, dtype)


def _asked(
    name: str, shape: Any, dtype: str | None, **operands: Any
) -> tuple[Graph, Shape, str, list[Value]]:
    """Where to draw, how many, of which type, and the operands as Values.

    Raises:
        ShapeError, DtypeError: as `uniform` and `normal` say.
    """
    values = [item for item in operands.values() if isinstance(item, Value)]
    graph = graph_of(values)
    kind = dtype or (values[0].dtype if values else "float32")
    if kind not in COMPUTED_FLOATS:
        raise DtypeError(
            f"{name} makes {' or '.join(COMPUTED_FLOATS)}, not {kind}.",
            fix="convert what it makes: ops.floor(ops.uniform(shape, 0, 10)).astype('int64').",
        )
    wanted = Spec(several(shape), kind).shape
    found = []
    for key, item in operands.items():
        value = item if isinstance(item, Value) else graph.constant(constant_array(item, kind))
        if value.dtype != kind:
            raise DtypeError(
                f"{name} makes {kind}, but {key} is {value.dtype}.",
                fix=f"convert it: {key}.astype('{kind}'), or pass dtype='{value.dtype}'.",
            )
        try:
            fits = broadcast(value.shape, wanted) == wanted
        except ShapeError:
            fits = False
        if not fits:
            raise ShapeError(
                f"{name} of {format_shape(wanted)} has {key} of {format_shape(value.shape)}, which does not"
                " broadcast to it.",
                fix=f"pass the larger shape, such as {key}.shape.",
            )
        found.append(value)
    return graph, wanted, kind, found


__all__ = ["normal", "uniform"]
