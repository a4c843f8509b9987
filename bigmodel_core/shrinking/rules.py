"""What each kind of op says of the units along the axes of what it takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.graph import Node, Op, Value, Variable
from bigmodel_core.ops.attention import Attention
from bigmodel_core.ops.batch_normalization import BatchNorm, FixedNorm
from bigmodel_core.ops.concatenation import Concatenate
from bigmodel_core.ops.elementwise import ElementwiseOp
from bigmodel_core.ops.filters import ConvolutionForward, ConvolutionTranspose
from bigmodel_core.ops.indexing import Gather
from bigmodel_core.ops.linear import Affine, MatMul
from bigmodel_core.ops.normalization import LayerNorm, RmsNorm
from bigmodel_core.ops.padding import Pad
from bigmodel_core.ops.pooling import AveragePool, MaxPool
from bigmodel_core.ops.positions import Positions
from bigmodel_core.ops.reduce import Reduction
from bigmodel_core.ops.rotary import Rotary
from bigmodel_core.ops.shape import Reshape, Transpose
from bigmodel_core.ops.sizes import SizeOf
from bigmodel_core.ops.slicing import Slice
from bigmodel_core.ops.softmax import LogSoftmax, Softmax
from bigmodel_core.shrinking.reshaping import reshaped
from bigmodel_core.shrinking.units import FIXED, Axes, Axis

if TYPE_CHECKING:
    from bigmodel_core.shrinking.following import Followed

Rule = Callable[["Followed", Node, list[Axes]], list[Axes]]


def nothing(value: Value) -> Axes:
    """Axes along which nothing can be taken out."""
    return [None] * value.ndim


def _unknown(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    for axes in given:
        to.fix(axes)
    return []


def _is_elementwise(node: Node) -> bool:
    """Whether an op of a plugin computes each number from those at the same place alone."""
    kernels = [kernel for kernel in (type(node.op).cpu, type(node.op).cuda) if kernel is not None]
    return len(node.outputs) == 1 and any(
        kernel.is_elementwise and not kernel.uses_index for kernel in kernels
    )


def _elementwise(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    """Axes of the same size belong together; what is broadcast along others has units of its own."""
    (out,) = node.outputs
    found = nothing(out)
    for place in range(1, out.ndim + 1):
        dim = out.shape[-place]
        own = [
            axes[-place]
            for axes, value in zip(given, node.inputs, strict=True)
            if value.ndim >= place and value.shape[-place] == dim
        ]
        for axis in own[1:]:
            to.units.join(own[0], axis)
        found[-place] = own[0] if own else to.fresh(dim)
    return [found]


def _convolution(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    op: Any = node.op
    (x, weight, *bias), groups = given, op.groups
    to.made(node.inputs[1], 0)
    if groups == 1:
        to.units.join(x[1], weight[1])
    else:
        to.fix([weight[1]])
        _by_groups(to, x[1], weight[0], groups)
    for vector in bias:
        to.units.join(vector[0], weight[0])
    to.fix(x[2:] + weight[2:])
    return [[x[0], weight[0], *[None] * (len(x) - 2)]]


def _by_groups(to: Followed, channels: Axis, filters: Axis, groups: int) -> None:
    """A group of a convolution is a unit: its channels, and its filters."""
    if channels is None or filters is None:
        to.fix([channels, filters])
        return
    to.units.join(
        to.units.join_rows(channels.reshape(groups, -1)), to.units.join_rows(filters.reshape(groups, -1))
    )


def _transposed_convolution(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    op: Any = node.op
    x, weight, *bias = given
    if op.groups > 1:
        return _unknown(to, node, given)
    to.made(node.inputs[1], 1)
    to.units.join(x[1], weight[0])
    for vector in bias:
        to.units.join(vector[0], weight[1])
    to.fix(x[2:] + weight[2:])
    return [[x[0], weight[1], *[None] * (len(x) - 2)]]


def _affine(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    x, weight, bias = given
    to.made(node.inputs[1], 1)
    to.units.join(x[-1], weight[0])
    to.units.join(weight[1], bias[0])
    return [[*x[:-1], weight[1]]]


def _product(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    op: Any = node.op
    a, b = given
    m, k = (-1, -2) if op.transpose_a else (-2, -1)
    k2, n = (-1, -2) if op.transpose_b else (-2, -1)
    if node.inputs[1].ndim == 2:
        to.made(node.inputs[1], n % 2)
    to.units.join(a[k], b[k2])
    out = nothing(node.outputs[0])
    for place in range(3, len(out) + 1):
        own = [axes[-place] for axes in (a, b) if len(axes) >= place]
        if len(own) == 2:
            to.fix(own)
        else:
            out[-place] = own[0]
    out[-2:] = a[m], b[n]
    return [out]


def _normalised(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    x, *vectors = given
    for vector in vectors:
        to.units.join(x[1], vector[0])
    scale = node.inputs[1].node.op
    if isinstance(scale, Variable):
        to.scales.add(scale.path)
    return [x, *([x[1]] for _ in node.outputs[1:])]


def _along_last(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    """Each number depends on all along the last axis."""
    x, *others = given
    to.fix([x[-1], *(axis for axes in others for axis in axes)])
    return [[*x[:-1], None]]


def _along_axis(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    op: Any = node.op
    (x,), axis = given, op.axis
    to.fix([x[axis]])
    found = list(x)
    found[axis] = None
    return [found]


def _pooled(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    (x,) = given
    to.fix(x[2:])
    return [[*x[:2], *[None] * (len(x) - 2)] for _ in node.outputs]


def _reduced(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    op: Any = node.op
    (x,) = given
    axes = {axis % len(x) for axis in op.axes}
    to.fix(x[axis] for axis in axes)
    if op.keepdims:
        return [[None if axis in axes else x[axis] for axis in range(len(x))]]
    return [[x[axis] for axis in range(len(x)) if axis not in axes]]


def _counted(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    op: Any = node.op
    to.fix(given[0][axis] for axis in op.axes)
    return []


def _joined(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    op: Any = node.op
    along = op.axis
    found = list(given[0])
    for axes in given[1:]:
        for axis, (first, other) in enumerate(zip(found, axes, strict=True)):
            if axis != along:
                to.units.join(first, other)
    sizes = [value.shape[along] for value in node.inputs]
    found[along] = None
    if all(isinstance(size, int) for size in sizes):
        parts = [axes[along] for axes in given]
        found[along] = np.concatenate(
            [
                np.full(int(size), FIXED) if part is None else part
                for part, size in zip(parts, sizes, strict=True)
            ]
        )
    else:
        to.fix(axes[along] for axes in given)
    return [found]


def _sliced(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    op: Any = node.op
    (x,) = given
    found, axis = list(x), x[op.axis]
    found[op.axis] = None
    if axis is not None and isinstance(op.length, int) and isinstance(op.start, int) and op.step == 1:
        start = op.bound_start(node.inputs[0].spec)
        found[op.axis] = axis[start : start + op.length] if op.length > 1 else None
    if found[op.axis] is None:
        to.fix([axis])
    return [found]


def _turned(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    op: Any = node.op
    return [[given[0][axis] for axis in op.permutation]]


def _padded(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    op: Any = node.op
    (x,), widths = given, op.widths
    grows = [both != (0, 0) for both in widths]
    to.fix(axis for axis, more in zip(x, grows, strict=True) if more)
    return [[None if more else axis for axis, more in zip(x, grows, strict=True)]]


def _looked_up(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    op: Any = node.op
    (table, places), axis = given, op.axis
    to.fix([table[axis], *places])
    return [[*table[:axis], *[None] * len(places), *table[axis + 1 :]]]


def _attended(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    """A head of keys, and those of queries that it serves, are a unit."""
    op: Any = node.op
    at = [2 if first else 1 for first in op.steps_first]
    q, k, v = (axes[place] for axes, place in zip(given, at, strict=False))
    for axes, heads in zip(given, at, strict=False):
        to.fix(axis for place, axis in enumerate(axes) if place != heads)
    for axes, value in zip(given[3:], node.inputs[3:], strict=True):
        if value.ndim == 4 and value.shape[1] == node.inputs[0].shape[at[0]]:
            to.units.join(q, axes[1])
            axes = [*axes[:1], *axes[2:]]
        to.fix(axes)
    to.units.join(k, v)
    if q is None or k is None:
        to.fix([q, k])
    else:
        to.units.join(to.units.join_rows(q.reshape(len(k), -1)), k)
    found = nothing(node.outputs[0])
    found[at[0]] = q
    return [found]


def _shaped(to: Followed, node: Node, given: list[Axes]) -> list[Axes]:
    return [reshaped(to.units, given[0], node.inputs[0].shape, node.outputs[0].shape)]


RULES: list[tuple[type[Op] | tuple[type[Op], ...], Rule]] = [
    (Positions, _unknown),
    (ElementwiseOp, _elementwise),
    (ConvolutionForward, _convolution),
    (ConvolutionTranspose, _transposed_convolution),
    (Affine, _affine),
    (MatMul, _product),
    ((BatchNorm, FixedNorm), _normalised),
    ((LayerNorm, RmsNorm, Rotary), _along_last),
    ((Softmax, LogSoftmax), _along_axis),
    ((MaxPool, AveragePool), _pooled),
    (Reduction, _reduced),
    (SizeOf, _counted),
    (Concatenate, _joined),
    (Slice, _sliced),
    (Transpose, _turned),
    (Pad, _padded),
    (Gather, _looked_up),
    (Attention, _attended),
    (Reshape, _shaped),
]
"""What each kind of op says; the first that fits counts."""


def rule_of(node: Node) -> Rule:
    """The rule for an op; that of a plugin may be elementwise, else nothing is known of it."""
    found = next((rule for kind, rule in RULES if isinstance(node.op, kind)), None)
    return found or (_elementwise if _is_elementwise(node) else _unknown)
