"""The gradient of a loop: a loop the other way, over the gradient of its body."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from bigmodel_core.graph import Body, Node, Op, Value, between
from bigmodel_core.graph.autodiff import pulled_back
from bigmodel_core.graph.spec import dim_product
from bigmodel_core.ops.arithmetic import Add
from bigmodel_core.ops.linear import MatMul
from bigmodel_core.ops.shape import is_zero, reshape, zeros_like

_lock = threading.RLock()
"""Bodies of loaded models are those of all graphs that the model is in, whichever thread makes them."""


def gradient(op: Any, upstream: Sequence[Value], inputs: Sequence[Value]) -> tuple[Value | None, ...]:
    """The gradients of the inputs of a `Scan`.

    The gradient of the body is made in the graph of the body itself. What it needs of a step besides what
    that step was given is kept by a loop forward with more results, which computes the outputs of the first
    one, too; programs unite the two. These are what was carried into the step, and what is expensive to
    compute again. The gradient of what is shared is added up from step to step, or, where it is a product of
    matrices, by a single product of those of all steps after the loop.

    Args:
        op: the loop.
        upstream: the gradients of its outputs.
        inputs: of the loop.
    """
    with _lock:
        return _Back(op, upstream).applied(upstream, inputs)


class _Back:
    """The body of the loop back, as values of the graph of the loop's body.

    Args:
        op: the loop.
        upstream: the gradients of its outputs.
    """

    def __init__(self, op: Any, upstream: Sequence[Value]) -> None:
        self.op, body = op, op.body
        carries, first = op.carries, op.carries + op.xs
        given = {
            number: body.graph.input(f"gradient {number}", value.spec)
            for number, value in enumerate(body.outputs)
            if value.spec.is_float and (number < carries or not is_zero(upstream[number]))
        }
        self.carried = [number for number in given if number < carries]
        self.results = [number for number in given if number >= carries]
        wanted = [number for number, value in enumerate(body.inputs) if value.spec.is_float]
        with body.graph.active():
            slopes = pulled_back(
                body.outputs,
                [given.get(number) for number in range(len(body.outputs))],
                [body.inputs[number] for number in wanted],
            )
            found = {number: slope for number, slope in zip(wanted, slopes, strict=True) if slope is not None}
            d_carries = [
                found[number] if number in found else zeros_like(body.inputs[number])
                for number in self.carried
            ]
            self.products = {
                number: pairs
                for number, slope in found.items()
                if number >= first and (pairs := _products(slope, frozenset(body.inputs[first:]))) is not None
            }
            self.shared = [number for number in found if number >= first and number not in self.products]
            sums = [body.graph.input(f"sum {number}", body.inputs[number].spec) for number in self.shared]
            totals = [total + found[number] for total, number in zip(sums, self.shared, strict=True)]
        self.taken = [number for number in found if carries <= number < first]
        outputs = [*d_carries, *totals, *(found[number] for number in self.taken)]
        factors = list(dict.fromkeys(x for pairs in self.products.values() for pair in pairs for x in pair))
        changing = [*given.values(), *sums]
        kept = _expensive(changing, [*outputs, *factors])
        there = {*body.inputs[:first], *kept}
        self.made = [value for value in factors if value not in there]
        self.outputs = [*outputs, *self.made]
        nodes = between([*changing, *kept], self.outputs)
        used = {value for node in nodes for value in node.inputs} | {*self.outputs, *factors}
        self.kept = [*kept, *(value for value in body.inputs[:carries] if value in used)]
        self.xs = [number for number in range(carries, first) if body.inputs[number] in used]
        self.constants = [number for number in range(first, len(body.inputs)) if body.inputs[number] in used]
        self.inputs = [
            *(given[number] for number in self.carried),
            *sums,
            *self.kept,
            *(body.inputs[number] for number in self.xs),
            *(given[number] for number in self.results),
            *(body.inputs[number] for number in self.constants),
        ]

    def applied(self, upstream: Sequence[Value], inputs: Sequence[Value]) -> tuple[Value | None, ...]:
        """The gradients of the inputs of the loop."""
        op, body = self.op, self.op.body
        if not self.outputs:
            return (None,) * len(inputs)
        graph = inputs[0].node.graph
        stacks: dict[Value, Value] = {body.inputs[number]: inputs[number] for number in self.xs}
        if self.kept:
            whole = replace(op, body=Body(body.graph, body.inputs, (*body.outputs, *self.kept)))
            more = graph.apply(whole, inputs).outputs[len(body.outputs) :]
            stacks |= zip(self.kept, more, strict=True)
        loop = replace(
            op,
            body=Body.of(self.inputs, self.outputs),
            carries=len(self.carried) + len(self.shared),
            xs=len(self.kept) + len(self.xs) + len(self.results),
            reverse=not op.reverse,
        )
        given = [
            *(upstream[number] for number in self.carried),
            *(zeros_like(inputs[number]) for number in self.shared),
            *(stacks[value] for value in self.kept),
            *(inputs[number] for number in self.xs),
            *(upstream[number] for number in self.results),
            *(inputs[number] for number in self.constants),
        ]
        results = graph.apply(loop, given).outputs
        direct = [*self.carried, *self.shared, *self.taken]
        found = dict(zip(direct, results, strict=False))
        stacks |= zip(self.made, results[len(direct) :], strict=True)
        for number, pairs in self.products.items():
            parts = [MatMul(True, False)(*(_rows(stacks[value]) for value in pair)) for pair in pairs]
            total = parts[0]
            for part in parts[1:]:
                total = total + part
            found[number] = total
        return tuple(found.get(number) for number in range(len(inputs)))


def _products(slope: Value, shared: Collection[Value]) -> list[tuple[Value, Value]] | None:
    """The pairs of matrices whose products, the first one transposed, add up to a gradient; None if it is
    not made so, or of what all steps share."""
    op, operands = slope.node.op, slope.node.inputs
    if isinstance(op, Add) and all(value.shape == slope.shape for value in operands):
        parts = [_products(value, shared) for value in operands]
        return None if None in parts else [pair for part in parts for pair in part or ()]
    if not isinstance(op, MatMul) or not op.transpose_a or op.transpose_b or slope.ndim != 2:
        return None
    return None if any(value in shared for value in operands) else [(operands[0], operands[1])]


def _rows(steps: Value) -> Value:
    """The matrices of all steps below each other."""
    return reshape(steps, (dim_product(steps.shape[:2]), steps.shape[2]))


def _expensive(changing: Sequence[Value], outputs: Sequence[Value]) -> list[Value]:
    """What is kept rather than computed again: products and convolutions that the gradient needs, and that do
    not depend on it.

    Args:
        changing: the gradients that a step back is given.
        outputs: what it computes.
    """
    nodes = between((), outputs)
    depends = {value.node.index for value in changing}
    for node in nodes:
        if any(value.node.index in depends for value in node.inputs):
            depends.add(node.index)
    found: dict[Value, None] = {}
    seen: set[int] = set()
    stack = list(outputs)
    while stack:
        value = stack.pop()
        node = value.node
        if node.index not in depends and _is_expensive(node):
            found[value] = None
        elif node.index not in seen:
            seen.add(node.index)
            stack.extend(node.inputs)
    return list(found)


def _is_expensive(node: Node) -> bool:
    return type(node.op).multiply_adds is not Op.multiply_adds
