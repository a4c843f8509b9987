"""A recurrent layer in both directions as one operator.

The graph has an op for each direction; ONNX's operators compute both, and give their outputs side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bigmodel_core.graph import Node, Value, needed
from bigmodel_core.graph.spec import Shape
from bigmodel_core.ops.concatenation import Concatenate
from bigmodel_core.ops.recurrent import Recurrent
from bigmodel_core.ops.recurrent_onnx import native
from bigmodel_core.ops.shape import Reshape, Transpose
from bigmodel_core.ops.slicing import Slice
from bigmodel_onnx.emit import Emitter
from bigmodel_onnx.matching import Match, Uses


@dataclass(eq=False)
class Pair:
    """Two recurrent ops over the same input, one in each direction.

    Args:
        forward: the op that runs from the first step to the last.
        backward: the other one.
        written: once it is written, the names of y (T, 2, N, H) and of the last states (2, N, H).
    """

    forward: Node
    backward: Node
    written: list[str] = field(default_factory=list)

    def match(self) -> Match:
        """One operator for both."""
        ops: list[Any] = [self.forward.op, self.backward.op]
        inputs = [node.inputs[1:] for node in (self.forward, self.backward)]
        count = len(inputs[0]) - ops[0].has_initial * ops[0].states
        starts = [_Stack.of(pair) for pair in zip(*(values[count:] for values in inputs), strict=True)]
        stacks = [start for start in starts if start is not None]
        known = bool(starts) and len(stacks) == len(starts)
        if known:
            inputs = [values[:count] for values in inputs]
        width = len(inputs[0])
        sources = (self.forward.inputs[0], *inputs[0], *inputs[1], *(s.source for s in stacks if known))

        def lower(emit: Emitter, x: str, *names: str) -> tuple[str | None, ...]:
            more = names[2 * width :]
            initial = [s.write(emit, name) for s, name in zip(stacks, more, strict=True)] if known else None
            self.written = native(ops, emit, x, [names[:width], names[width : 2 * width]], initial)
            y, *states = self.written
            found: list[str | None] = []
            for direction, node in enumerate((self.forward, self.backward)):
                place = emit.const(direction, "int64")
                found.append(emit.Gather(y, place, axis=1))
                found += [emit.Gather(state, place, axis=0) for state in states]
                found += [None] * (len(node.outputs) - 1 - len(states))
            return tuple(found)

        return Match(self.forward, sources, lower, (self.backward,))


Pairs = Mapping[Node, Pair]
"""The pair of each op that belongs to one."""


def pairs(nodes: Sequence[Node]) -> dict[Node, Pair]:
    """The recurrent ops that can be written two by two."""
    waiting: dict[Any, list[Node]] = {}
    found: dict[Node, Pair] = {}
    for node in nodes:
        op = node.op
        if not isinstance(op, Recurrent):
            continue
        lengths = node.inputs[5] if op.has_lengths else None
        shared = (node.inputs[0], op.cell, lengths, op.has_initial, node.outputs[0].spec, node.path)
        others = waiting.setdefault((*shared, not op.reverse), [])
        if others and others[0] not in needed(node.inputs):
            first = others.pop(0)
            pair = Pair(node, first) if op.reverse is False else Pair(first, node)
            found[first] = found[node] = pair
        else:
            waiting.setdefault((*shared, op.reverse), []).append(node)
    return found


@dataclass
class _Stack:
    """The initial states of both directions as neighbours in one array."""

    source: Value
    axis: int
    start: int

    @classmethod
    def of(cls, states: tuple[Value, Value]) -> _Stack | None:
        """Where two states are neighbours; None if they are not."""
        found = []
        for state in states:
            part = state.node.inputs[0] if isinstance(state.node.op, Reshape) else state
            op = part.node.op
            if not isinstance(op, Slice) or op.length != 1 or not isinstance(op.start, int) or op.start < 0:
                return None
            source = part.node.inputs[0]
            if source.ndim != 3 or (*source.shape[: op.axis], *source.shape[op.axis + 1 :]) != state.shape:
                return None
            found.append(cls(source, op.axis, op.start))
        first, second = found
        if first.source is not second.source:
            return None
        if (first.axis, first.start + 1) != (second.axis, second.start):
            return None
        return first if first.axis < 2 else None

    def write(self, emit: Emitter, name: str) -> str:
        """The two as (2, N, H)."""
        if self.source.shape[self.axis] != 2:
            name = emit.slice(name, self.axis, self.start, 2)
        return str(emit.Transpose(name, perm=[1, 0, 2])) if self.axis else name


# What follows --------------------------------------------------------------------------------------------


def joined(node: Node, uses: Uses, together: Pairs) -> Match | None:
    """The outputs of both directions put together, which the operator gives almost as they are wanted."""
    whole = (
        node.inputs[0] if isinstance(node.op, Transpose) and uses.once(node.inputs[0]) else node.outputs[0]
    )
    op = whole.node.op
    if not together or not isinstance(op, Concatenate):
        return None
    turned = node.op.permutation == (1, 0, 2) if isinstance(node.op, Transpose) else None
    values = whole.node.inputs
    wanted = node.outputs[0].shape
    joint = [_joint(pair, together) for pair in zip(values[::2], values[1::2], strict=False)]
    found = [item for item in joint if item is not None]
    if len(values) % 2 or len(found) < len(joint):
        return _stacked(node, together) if turned is None else None
    if len(values) != 2:
        return None
    pair, number = found[0]
    if number == 0 and op.axis == 2 and turned is not False:
        return _turned(node, values, pair, 0, (2, 0, 1, 3) if turned else (0, 2, 1, 3), wanted)
    if number and op.axis == 1 and turned is None:
        return _turned(node, values, pair, number, (1, 0, 2), wanted)
    return None


def _joint(values: Sequence[Value], together: Pairs) -> tuple[Pair, int] | None:
    """The pair whose two directions give two values, and which output they are."""
    pair = together.get(values[0].node)
    if pair is None or [value.node for value in values] != [pair.forward, pair.backward]:
        return None
    number = values[0].number
    return (pair, number) if number == values[1].number and number <= pair.forward.op.states else None  # type: ignore[attr-defined]  # pairs are of recurrent ops


def _turned(
    node: Node, sources: tuple[Value, ...], pair: Pair, number: int, order: tuple[int, ...], wanted: Shape
) -> Match:
    def lower(emit: Emitter, *_: str) -> str:
        name = str(emit.Transpose(pair.written[number], perm=list(order)))
        steps, *state = pair.forward.outputs[0].shape
        shape = (2, *state) if number else (steps, 2, *state)
        emit.specs[name] = node.outputs[0].spec.with_shape(shape[axis] for axis in order)
        return emit.reshape(name, wanted)

    return Match(node, sources, lower)


def _stacked(node: Node, together: Pairs) -> Match | None:
    """Outputs side by side along their own axis: (T, 2, N, H), or the states of several layers."""
    assert isinstance(node.op, Concatenate)
    values: list[Value] = []
    axis = node.op.axis
    for value in node.inputs:
        source = value.node.inputs[0] if isinstance(value.node.op, Reshape) else value
        if value.shape != (*source.shape[:axis], 1, *source.shape[axis:]):
            return None
        values.append(source)
    found = [_joint(pair, together) for pair in zip(values[::2], values[1::2], strict=False)]
    parts = [item for item in found if item is not None]
    if len(values) % 2 or len(parts) < len(found):
        return None
    if len(parts) == 1 and parts[0][1] == 0 and axis == 1:
        return Match(node, tuple(values), lambda emit, *_: parts[0][0].written[0])
    if axis > 1 or any(number == 0 for _, number in parts):
        return None

    def lower(emit: Emitter, *_: str) -> str:
        names = [pair.written[number] for pair, number in parts]
        whole = names[0] if len(names) == 1 else str(emit.Concat(*names, axis=0))
        return str(emit.Transpose(whole, perm=[1, 0, 2])) if axis else whole

    return Match(node, tuple(values), lower)
