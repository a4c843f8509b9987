"""The gradient of a loop: a loop the other way, over the gradient of its body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bigmodel_core.graph import Body, Node, Op, Value, between
from bigmodel_core.graph.autodiff import pulled_back
from bigmodel_core.ops.shape import is_zero, zeros_like


def gradient(op: Any, upstream: Sequence[Value], inputs: Sequence[Value]) -> tuple[Value | None, ...]:
    """The gradients of the inputs of a `Scan`.

    The gradient of the body is made in the graph of the body itself. What it needs of a step besides what
    that step was given is kept by a loop forward with more results, which computes the outputs of the first
    one, too; programs unite the two. These are what was carried into the step, and what is expensive to
    compute again.

    Args:
        op: the loop.
        upstream: the gradients of its outputs.
        inputs: of the loop.
    """
    body, carries, first = op.body, op.carries, op.carries + op.xs
    graph = body.graph
    wanted = [value for value in body.inputs if value.spec.is_float]
    d_outputs = [
        graph.input(f"gradient {number}", value.spec)
        if value.spec.is_float and (number < carries or not is_zero(upstream[number]))
        else None
        for number, value in enumerate(body.outputs)
    ]
    with graph.active():
        pulled = pulled_back(body.outputs, d_outputs, wanted)
        found = dict(zip(wanted, pulled, strict=True))
        carried = [number for number in range(carries) if body.inputs[number] in found]
        d_carries = []
        for number in carried:
            value = found[body.inputs[number]]
            d_carries.append(zeros_like(body.inputs[number]) if value is None else value)
        reached = {
            number: value for number, old in enumerate(body.inputs) if (value := found.get(old)) is not None
        }
        shared = [number for number in reached if number >= first]
        sums = [graph.input(f"sum {number}", body.inputs[number].spec) for number in shared]
        totals = [total + reached[number] for total, number in zip(sums, shared, strict=True)]
    taken = [number for number in reached if carries <= number < first]
    outputs = [*d_carries, *totals, *(reached[number] for number in taken)]
    if not outputs:
        return (None,) * len(inputs)
    d_carried = [_known(d_outputs[number]) for number in carried]
    d_results = [number for number in range(carries, len(d_outputs)) if d_outputs[number] is not None]
    changing = [*d_carried, *sums, *(_known(d_outputs[number]) for number in d_results)]
    kept = _expensive(changing, outputs)
    used = {value for node in between([*changing, *kept], outputs) for value in node.inputs} | set(outputs)
    kept += [value for value in body.inputs[:carries] if value in used]
    stacks: Sequence[Value] = ()
    if kept:
        whole = replace(op, body=Body(graph, body.inputs, (*body.outputs, *kept)))
        stacks = inputs[0].node.graph.apply(whole, inputs).outputs[len(body.outputs) :]
    xs = [number for number in range(carries, first) if body.inputs[number] in used]
    constants = [number for number in range(first, len(inputs)) if body.inputs[number] in used]
    back = Body.of(
        [
            *d_carried,
            *sums,
            *kept,
            *(body.inputs[number] for number in xs),
            *(_known(d_outputs[number]) for number in d_results),
            *(body.inputs[number] for number in constants),
        ],
        outputs,
    )
    count = len(d_carried) + len(sums)
    loop = replace(
        op,
        body=back,
        carries=count,
        xs=len(kept) + len(xs) + len(d_results),
        reverse=not op.reverse,
    )
    results = (
        inputs[0]
        .node.graph.apply(
            loop,
            [
                *(upstream[number] for number in carried),
                *(zeros_like(inputs[number]) for number in shared),
                *stacks,
                *(inputs[number] for number in xs),
                *(upstream[number] for number in d_results),
                *(inputs[number] for number in constants),
            ],
        )
        .outputs
    )
    by_input = dict(zip([*carried, *shared, *taken], results, strict=True))
    return tuple(by_input.get(number) for number in range(len(inputs)))


def _known(value: Value | None) -> Value:
    assert value is not None
    return value


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
