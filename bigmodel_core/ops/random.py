"""Random numbers inside the graph: counter-based, so that a run is repeated exactly from (seed, step,
path)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bigmodel_core.errors import ConfigError
from bigmodel_core.graph import Value, current_graph
from bigmodel_core.graph.spec import Spec, dim_value
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.elementwise import ElementwiseOp, check_floats

SEED, STEP = "~seed", "~step"
"""The names of the graph inputs (int64 scalars) that random ops read; a plan fills them in at each run."""

_MASK = 0xFFFFFFFF


def random_bits(index, seed, step, key):
    """32 random bits: Philox 4x32 with ten rounds (Salmon et al., 2011), counter (index, step), key (seed,
    path)."""
    c0 = index & 0xFFFFFFFF
    c1 = (index >> 32) & 0xFFFFFFFF
    c2 = step & 0xFFFFFFFF
    c3 = (step >> 32) & 0xFFFFFFFF
    k0 = (seed ^ key) & 0xFFFFFFFF
    k1 = ((seed >> 32) ^ (key >> 32)) & 0xFFFFFFFF
    for _ in range(10):
        p0 = c0 * 0xD2511F53
        p1 = c2 * 0xCD9E8D57
        c0 = ((p1 >> 32) & 0xFFFFFFFF) ^ c1 ^ k0
        c1 = p1 & 0xFFFFFFFF
        c2 = ((p0 >> 32) & 0xFFFFFFFF) ^ c3 ^ k1
        c3 = p0 & 0xFFFFFFFF
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0


def _bits_of(seed, step, index, key):
    return random_bits(index, seed, step, key)


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


def path_key(path: str) -> int:
    """A 63-bit hash of a path: the key of its random stream."""
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "little") >> 1


def dropout(x: Value, rate: float) -> Value:
    """Zero each number with probability `rate` and scale the others by 1 / (1 - rate) (Srivastava et al.,
    2014).

    Raises:
        ConfigError: the rate is not in [0, 1).
    """
    if not 0 <= rate < 1:
        raise ConfigError(f"the dropout rate is {rate}.", fix="use a rate of at least 0 and below 1.")
    check_floats("dropout", x.spec)
    if rate == 0:
        return x
    graph = current_graph() if x.node.graph is None else x.node.graph
    draws = sum(isinstance(node.op, RandomBits) and node.path == graph.path for node in graph.nodes)
    seed, step = graph.input(SEED, Spec((), "int64")), graph.input(STEP, Spec((), "int64"))
    bits = RandomBits(path_key(f"{graph.path}#{draws}"), x.shape)(seed, step)
    return _Drop(1.0 / (1.0 - rate))(x, _Kept(int(rate * 2**32))(bits))


__all__ = ["dropout"]
