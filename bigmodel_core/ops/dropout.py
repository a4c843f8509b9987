"""Dropout: numbers zeroed at random."""

from __future__ import annotations

from dataclasses import dataclass

from bigmodel_core.errors import ConfigError
from bigmodel_core.graph import Value, graph_of
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.elementwise import ElementwiseOp, check_floats
from bigmodel_core.ops.random import RandomBits, drawn


@dataclass(frozen=True)
class _Kept(ElementwiseOp):
    """Whether random bits reach a threshold."""

    threshold: int
    result = "bool"
    cpu, cuda = elementwise(lambda bits, threshold: bits >= threshold)

    def grad(self, dy: Value, y: Value, bits: Value) -> tuple[None]:
        return (None,)


@dataclass(frozen=True)
class _Drop(ElementwiseOp):
    """x * scale where it is kept, else 0."""

    scale: float
    cpu, cuda = elementwise(lambda x, kept, scale: x * scale if kept else 0)

    def infer(self, x: Spec, kept: Spec) -> Spec:
        return x

    def grad(self, dy: Value, y: Value, x: Value, kept: Value) -> tuple[Value, None]:
        return _Drop(self.scale)(dy, kept), None


def dropout(x: Value, rate: float) -> Value:
    """Zero each number with probability `rate` and scale the others by 1 / (1 - rate) (Srivastava et al.,
    2014), in training and in inference; the layer `Dropout` draws in training alone.

    Random numbers are drawn as those of `uniform` are.

    Raises:
        ConfigError: the rate is no number from 0 up to, but not including, 1.
    """
    if not 0 <= rate < 1:
        raise ConfigError(f"the dropout rate is {rate!r}.", fix="use a rate of at least 0 and below 1.")
    check_floats("dropout", x.spec)
    if rate == 0:
        return x
    return dropped(x, drawn(RandomBits, graph_of((x,)), x.shape), rate)


def dropped(x: Value, bits: Value, rate: float) -> Value:
    """x with numbers zeroed where random bits say so."""
    return _Drop(1.0 / (1.0 - rate))(x, _Kept(threshold(rate))(bits))


def threshold(rate: float) -> int:
    """From which of 32 random bits on, as a number, a number is kept."""
    return int(rate * 2**32)


__all__ = ["dropout"]
