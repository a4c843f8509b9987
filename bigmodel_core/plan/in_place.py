"""Kernels that change an array in its own memory, where nothing needs the array afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bigmodel_core.graph import Value
from bigmodel_core.plan.dependencies import Dependencies
from bigmodel_core.plan.steps import Step

if TYPE_CHECKING:
    from bigmodel_core.plan.program import Program


def take_over(program: Program, found: Dependencies) -> None:
    """Let steps whose kernels can (`Kernel.in_place`) write into the memory of what they change: of what a
    step before has computed, no other step reads later, and is no result of the program."""
    results = (*program.outputs, *program.updates.values(), *program.guards)
    kept = {id(program.root(value)) for value in results}
    for number, step in enumerate(found.steps):
        if step.fused is not None:
            _take_operands(program, found, kept, number)
        source = _changed(program, step)
        if source is None or id(source) in kept or found.producer(source) is None:
            continue
        readers = set(found.readers(source))
        if id(source) in program.unchanging and not all(found.steps[n].is_unchanging for n in readers):
            continue  # it is kept for the next run
        others = readers - {number}
        if not found.delays(number, others):
            found.wait(number, others)
            step.takes[0] = source


def changed_in_place(
    program: Program, found: Dependencies, earlier: set[int], variable: Value, number: int
) -> int | None:
    """Let a step, and those before it whose memory it takes over, change a variable in its own memory.

    Args:
        program: what is scheduled.
        found: its steps.
        earlier: those that have to run before the variable changes.
        variable: it becomes what the step computes.
        number: of the step.

    Returns:
        The number; None if the variable must be copied.
    """
    first = number
    while (taken := found.steps[first].takes.get(0)) is not None:
        producer = found.producer(taken)
        assert producer is not None
        first = producer
    step = found.steps[first]
    if program.guards or step.writes or _changed(program, step) is not variable:
        return None  # a gate lets a run stop with all variables as they were
    if found.delays(first, earlier - {first}):
        return None
    found.wait(first, earlier)
    step.writes[0] = variable
    return number


def _take_operands(program: Program, found: Dependencies, kept: set[int], number: int) -> None:
    """Let a chain write results into the memory of operands of the same size, of which it is the last reader.

    Others that read them are chains that it waits for already: those that run on tiles with it have read
    theirs before it, and its place in the order stays as it is. Of a kernel whose tiles it runs on that is
    not so.
    """
    step = found.steps[number]
    assert step.fused is not None
    roots = [program.root(value) for value in step.inputs]
    for position, value in enumerate(step.outputs):
        if id(value) in kept or id(value) in program.unchanging:
            continue
        for operand, source in enumerate(roots):
            if (
                source.dtype != value.dtype
                or step.fused.operands[operand] != step.fused.shape
                or sum(root is source for root in roots) > 1
                or any(source is taken for taken in step.takes.values())
                or id(source) in kept
                or id(source) in program.unchanging
                or found.producer(source) is None
            ):
                continue
            others = set(found.readers(source)) - {number}
            if all(found.steps[n].fused and found.delays(n, {number}) for n in others):
                step.fused = step.fused.overwriting(position, operand)
                step.takes[position] = source
                break


def _changed(program: Program, step: Step) -> Value | None:
    """The value that the kernel of a step may change in place."""
    if step.fused is not None:
        return None
    position = program.device.kernel_of(step.node).in_place
    if position is None:
        return None
    roots = [program.root(value) for value in step.node.inputs]
    return roots[position] if sum(root is roots[position] for root in roots) == 1 else None
