"""What kernels of all devices know of a loop: which array is where in each of its steps.

Inputs are what is carried, as it begins, then arrays of which each step gets its own, then what all steps
share. Outputs are what is carried, as it ends, then arrays to which each step adds its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from bigmodel_core.kernels.call import Call, FunctionKernel, Operand


class Loop(Protocol):
    """Gives the buffers of a body, which are elsewhere at each step."""

    def step_of(self, array: Operand) -> Any:
        """The step of an array that is there at each turn."""

    def carried(self, initial: Operand, last: Operand, other: Any) -> tuple[Any, Any]:
        """What is carried, before and after each step: in two buffers by turns, at the end in the last."""


def body_of(call: Call, loop: Loop) -> Sequence[Any]:
    """The launches of the body of a loop.

    Args:
        call: the loop, whose op has a `length` of 1 or more, and counts its `carries` and `xs`.
        loop: where buffers are.
    """
    op = call.op
    inputs = [call.input(number) for number in range(len(call.inputs))]
    outputs = [call.output(number) for number in range(len(call.outputs))]
    first = op.carries + op.xs
    pairs = []
    for initial, last in zip(inputs[: op.carries], outputs[: op.carries], strict=True):
        other = call.scratch(last.spec.nbytes) if op.length > 1 else last.buffer
        pairs.append(loop.carried(initial, last, other))
    xs = [loop.step_of(x) for x in inputs[op.carries : first]]
    ys = [loop.step_of(y) for y in outputs[op.carries :]]
    shared = [x.buffer for x in inputs[first:]]
    assert call.inner is not None
    return call.inner([*(before for before, _ in pairs), *xs, *shared], [*(after for _, after in pairs), *ys])


def unchanged(call: Call, copy: FunctionKernel) -> list[Any]:
    """The launches of a loop without steps: what is carried ends as it begins."""
    found = []
    for number in range(call.op.carries):
        count = call.outputs[number].size
        if isinstance(count, int) and count:
            found += call.launch(
                copy, [call.output(number).reshape(count)], [call.input(number).reshape(count)]
            )
    return found
