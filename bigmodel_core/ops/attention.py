"""Scaled dot-product attention: softmax(q @ k.T) @ v with masks, grouped heads and dropout, as one op."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from bigmodel_core.errors import ConfigError, ShapeError
from bigmodel_core.graph import Op, Value, graph_of
from bigmodel_core.graph.autodiff import pulled_back
from bigmodel_core.graph.spec import (
    Shape,
    Spec,
)
from bigmodel_core.kernels.attention_sizes import sizes_of
from bigmodel_core.kernels.cpu import attention as cpu_kernels
from bigmodel_core.kernels.cuda import attention as cuda_kernels
from bigmodel_core.ops.attention_onnx import written
from bigmodel_core.ops.attention_operands import check_mask, check_operands, checked_lengths, of_four
from bigmodel_core.ops.attention_parts import Parts, composed, weights_of
from bigmodel_core.ops.dropout import threshold
from bigmodel_core.ops.random import SEED, STEP, next_stream
from bigmodel_core.ops.shape import Transpose, is_zero, reshape, transpose, zeros_like

STEPS_FIRST = (0, 2, 1, 3)
"""From (N, heads, T, width) to (N, T, heads, width) and back."""


@dataclass(frozen=True)
class _Attention(Op):
    """What attention and its gradient share: the fields, and the inputs by name.

    Args:
        causal: whether step t of T sees the keys 0 to t + L - T only, L being the number of keys.
        scale: what products are multiplied by; 1 / sqrt(width) if None.
        dropout: the share of weights that is zeroed.
        stream: the key of the random numbers.
        has_mask, has_bias, has_lengths: which inputs are given.
        steps_first: whether q (and the output), k and v are (N, T, heads, width).
    """

    causal: bool = False
    scale: float | None = None
    dropout: float = 0.0
    stream: int = 0
    has_mask: bool = False
    has_bias: bool = False
    has_lengths: bool = False
    steps_first: tuple[bool, bool, bool] = (False, False, False)

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers."""
        return self.dropout > 0

    @property
    def threshold(self) -> int:
        """From which of 32 random bits on, as a number, a weight is kept."""
        return threshold(self.dropout)

    def composed(self, inputs: Sequence[Value]) -> tuple[Value, Value]:
        """The outputs of `Attention`, of products and a softmax."""
        y, log_sum = composed(self, self._parts(inputs))
        return transpose(y, STEPS_FIRST) if self.steps_first[0] else y, log_sum

    def weights(self, inputs: Sequence[Value]) -> Value:
        """What each step takes of each key, (N, heads, T, S), which the kernels never keep."""
        return weights_of(self, self._parts(inputs))

    def _parts(self, inputs: Sequence[Value]) -> Parts:
        q, k, v = (
            transpose(x, STEPS_FIRST) if first else x
            for x, first in zip(inputs[:3], self.steps_first, strict=True)
        )
        rest = iter(inputs[3:])
        mask, bias, lengths = (
            next(rest) if given else None for given in (self.has_mask, self.has_bias, self.has_lengths)
        )
        return Parts(q, k, v, mask, bias, lengths, tuple(rest))


class Attention(_Attention):
    """softmax(q @ k.T * scale + bias) @ v of each sample and head, where a mask and lengths show keys.

    Inputs: q (N, heads, T, width), k (N, key heads, S, width), v (N, key heads, S, any), then those that the
    fields name: a mask of truth values and a bias that broadcast to (N, heads, T, S), the numbers of keys
    (N,) int64, and the seed and step of random numbers. Outputs: (N, heads, T, any), zeros where a step sees
    no key, and the logarithm of the sum that the softmax divides by, (N, heads, T).
    """

    onnx_opset: ClassVar[int] = 23
    cpu = cpu_kernels.attention
    cuda = cuda_kernels.attention

    def infer(self, q: Spec, k: Spec, v: Spec, *others: Spec) -> tuple[Spec, Spec]:
        wanted = self.has_mask + self.has_bias + self.has_lengths + 2 * self.draws
        if len(others) != wanted:
            raise ShapeError(f"Attention takes {3 + wanted} inputs, got {3 + len(others)}.")
        n, heads, steps, _ = (q.shape[axis] for axis in STEPS_FIRST) if self.steps_first[0] else q.shape
        shape: Shape = (n, steps, heads) if self.steps_first[0] else (n, heads, steps)
        return q.with_shape((*shape, v.shape[-1])), q.with_shape((n, heads, steps))

    def multiply_adds(self, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> int:
        return _products(self, inputs, 1, 1)

    def decomposed(self, *inputs: Value) -> tuple[Value, Value]:
        return self.composed(inputs)

    def grad(self, dy: Any, y: Any, *inputs: Value) -> list[Value | None]:
        if not is_zero(dy[1]):
            return list(pulled_back(self.composed(inputs), dy, inputs))
        found: list[Value | None] = [None] * len(inputs)
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        found[:3] = AttentionGrad(**given)(dy[0], *y, *inputs)
        if self.has_bias:
            place = 3 + self.has_mask
            found[place] = pulled_back(self.composed(inputs)[:1], dy[:1], inputs)[place]
        return found

    def is_spelled_out(self, q: Spec, k: Spec, v: Spec, *others: Spec) -> bool:
        """Bias, lengths and dropout are: they count elsewhere than in the operator."""
        return self.has_bias or self.has_lengths or self.draws or q.dtype != "float32"

    def onnx(self, emit: Any, q: Any, k: Any, v: Any, mask: Any = None) -> tuple[Any, None]:
        return written(emit, self, (q, k, v), mask), None


class AttentionGrad(_Attention):
    """The gradients of q, k and v: inputs are that of the output, the outputs of `Attention`, its inputs."""

    exported: ClassVar[bool] = False
    cpu = cpu_kernels.attention_gradient
    cuda = cuda_kernels.attention_gradient

    def infer(self, dy: Spec, y: Spec, log_sum: Spec, *inputs: Spec) -> tuple[Spec, ...]:
        return inputs[:3]

    def multiply_adds(self, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> int:
        return _products(self, inputs[3:], 3, 2)

    def decomposed(self, *inputs: Value) -> tuple[Value, ...]:
        dy, _, _, *given = inputs
        found = pulled_back(self.composed(given)[:1], [dy], given[:3])
        return tuple(zeros_like(x) if dx is None else dx for dx, x in zip(found, given, strict=False))


def _products(op: _Attention, inputs: Sequence[Spec], of_width: int, of_out: int) -> int:
    """Multiplications with an addition of so many products over each width; half of them if causal."""
    sizes = sizes_of(op, inputs)
    scores = sizes.samples * sizes.heads * sizes.steps * sizes.keys
    return scores * (of_width * sizes.width + of_out * sizes.out_width) // (2 if op.causal else 1)


def attention(
    query: Value,
    key: Value,
    value: Value,
    mask: Value | None = None,
    causal: bool = False,
    scale: float | None = None,
    dropout: float = 0.0,
    bias: Value | None = None,
    lengths: Value | None = None,
) -> Value:
    """softmax(query @ key.T * scale + bias) @ value, for each sample and head (Vaswani et al., 2017).

    The scores are never kept as a whole: memory grows with T and S, not with their product (Dao, 2023).

    Args:
        query: (..., heads, T, width).
        key: (..., heads, S, width); fewer heads serve as many neighbouring heads of the query each, as in
            grouped queries.
        value: (..., heads, S, width of the output), with as many heads as the key.
        mask: broadcasts to (..., heads, T, S): truth values, true where a key is seen, or numbers that are
            added to the scaled products, -inf where a key is not seen.
        causal: whether a step sees no key after its own: the last step sees all keys, the one before all but
            the last, and so on. Where S equals T, step t sees the keys 0 to t.
        scale: 1 / sqrt(width) if None.
        dropout: the share of weights that is zeroed at random, the others growing by as much, as in
            `dropout`.
        bias: broadcasts to (..., heads, T, S): numbers that are added to the scaled products.
        lengths: (N,) integers: how many keys of each sample count, from 0 to S. Those behind are not read;
            `causal` counts from the last that does.

    Returns:
        (..., heads, T, width of the output); zeros where a step sees no key.

    Raises:
        ShapeError: the shapes do not go together.
        DtypeError: they are not of one float type.
        ConfigError: the dropout rate is no number from 0 up to, but not including, 1.
    """
    check_operands(query, key, value)
    if not 0 <= dropout < 1:
        raise ConfigError(f"the dropout rate is {dropout!r}.", fix="use a rate of at least 0 and below 1.")
    shape = (*query.shape[:-1], key.shape[-2])
    seen, added = None, None
    for name, item in (("mask", mask), ("bias", bias)):
        if item is None:
            continue
        check_mask(name, item, shape, query.dtype)
        folded = of_four(item, shape[:-3])
        if item.dtype == "bool":
            seen = folded
        else:
            added = folded if added is None else added + folded
    given = [x for x in (seen, added) if x is not None]
    if lengths is not None:
        given.append(checked_lengths(lengths, query))
    graph, stream = graph_of((query, key, value)), 0
    if dropout:
        stream = next_stream(graph)
        given += [graph.input(SEED, Spec((), "int64")), graph.input(STEP, Spec((), "int64"))]
    operands = [of_four(x, query.shape[:-3]) for x in (query, key, value)]
    first = [isinstance(x.node.op, Transpose) and x.node.op.permutation == STEPS_FIRST for x in operands]
    operands = [x.node.inputs[0] if turned else x for x, turned in zip(operands, first, strict=True)]
    op = Attention(
        bool(causal),
        None if scale is None else float(scale),
        float(dropout),
        stream,
        seen is not None,
        added is not None,
        lengths is not None,
        (first[0], first[1], first[2]),
    )
    y = op(*operands, *given)[0]
    y = transpose(y, STEPS_FIRST) if first[0] else y
    return reshape(y, (*query.shape[:-1], value.shape[-1]))


__all__ = ["attention"]
