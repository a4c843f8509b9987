"""The order of a program's steps: what is whose epilogue, and when variables are overwritten."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from bigmodel_core.errors import GraphError
from bigmodel_core.graph import Value
from bigmodel_core.plan.dependencies import Dependencies
from bigmodel_core.plan.guard import waiting_for
from bigmodel_core.plan.in_place import changed_in_place, take_over
from bigmodel_core.plan.steps import Step, copy_step, grouped

if TYPE_CHECKING:
    from bigmodel_core.plan.program import Program


def ordered(program: Program) -> list[Step]:
    """Group, then schedule: variables are overwritten only after all their readers and the gate are done."""
    found = Dependencies(grouped(program), program.roots)
    gates = _close(program, found)
    take_over(program, found)
    for variable, value in program.updates.items():
        readers = set(found.readers(variable))
        writer = _write_in_place(program, found, {*readers, *gates}, variable, value)
        if writer is None:
            writer = found.add(copy_step(program, variable, value))
        found.wait(writer, {*readers, *gates})
        if gates and not program.is_exact:
            _check_what_is_written(found.steps[writer], variable)
    steps = _scheduled(program, found)
    for arrange in program.device.passes.steps:
        steps = arrange(steps, program)
    return steps


def _close(program: Program, found: Dependencies) -> list[int]:
    """The gate, for which products wait that it checks by their operands; none if nothing is guarded."""
    if not program.guards:
        return []
    gate = len(found.steps) - 1
    for node in waiting_for(program, found.steps[gate].node):
        product = found.producer(node.outputs[0])
        assert product is not None
        found.wait(product, [gate])
    return [gate]


def _check_what_is_written(step: Step, variable: Value) -> None:
    """Let the chain that overwrites a variable look at what it writes."""
    position = next(number for number, item in step.writes.items() if item is variable)
    if variable.spec.is_float and step.fused is not None:
        step.fused = step.fused.looking_at(position)


def _write_in_place(
    program: Program, found: Dependencies, earlier: set[int], variable: Value, value: Value
) -> int | None:
    """Let the step that computes a new value overwrite the variable that it reads, after all earlier steps;
    None if that cannot be."""
    number = found.producer(value)
    if number is None:
        return None
    if found.steps[number].fused is None:
        return changed_in_place(program, found, earlier, variable, number)
    step = found.steps[number]
    position = next(i for i, item in enumerate(step.outputs) if item is value)
    if position in step.writes:  # the new value of another variable too
        return None
    if not any(item is variable for item in step.inputs) or found.readers(value):
        return None
    if any(item is value for item in program.outputs):
        return None
    if sum(program.root(item) is variable for item in step.inputs) > 1:
        return None
    if found.delays(number, earlier - {number}):
        return None
    operand = next(i for i, item in enumerate(step.inputs) if item is variable)
    assert step.fused is not None
    step.fused = step.fused.overwriting(position, operand)
    step.writes[position] = variable
    return number


def _scheduled(program: Program, found: Dependencies) -> list[Step]:
    steps, after = found.steps, found.after
    waiting = [set(needs) for needs in found.before]
    ready = [(_priority(steps[number]), number) for number, needs in enumerate(waiting) if not needs]
    heapq.heapify(ready)
    order: list[int] = []
    done: set[int] = set()

    def finish(number: int) -> None:
        done.add(number)
        for later in after[number]:
            waiting[later].discard(number)
            if not waiting[later] and later not in done:
                heapq.heappush(ready, (_priority(steps[later]), later))

    def next_of(chain: list[int]) -> int | None:
        """What can be the next epilogue of a chain: chains of elementwise ops before other ops."""
        free = {
            later for number in chain for later in after[number] if later not in done and not waiting[later]
        }
        members = [steps[number] for number in chain]
        return next(
            (
                number
                for number in sorted(free, key=lambda n: (steps[n].fused is None, n))
                if _can_be_epilogue(program, members, steps[number])
            ),
            None,
        )

    while ready:
        _, number = heapq.heappop(ready)
        if number in done:
            continue
        order.append(number)
        finish(number)
        chain = [number]
        while (later := next_of(chain)) is not None:
            steps[chain[-1]].epilogue = steps[later]
            chain.append(later)
            finish(later)
    if len(done) != len(steps):
        raise GraphError("the graph has a cycle.")
    return sorted((steps[number] for number in order), key=lambda step: not step.is_unchanging)


def updates_together(steps: list[Step], program: Program) -> list[Step]:
    """Neighbours that overwrite variables, and need nothing of each other, run as one."""
    found: list[Step] = []
    read: set[int] = set()
    written: set[int] = set()
    for step in steps:
        alone = step.epilogue is not None or not step.writes or step.fused is None
        reads = {id(program.root(value)) for value in step.inputs}
        writes = {id(value) for value in (*step.outputs, *step.writes.values())}
        if read and not alone and written.isdisjoint(reads | writes) and read.isdisjoint(writes):
            found[-1].beside.append(step)
        else:
            found.append(step)
            read, written = set(), set()
        if not alone:
            read, written = read | reads, written | writes
    return found


def _priority(step: Step) -> tuple[int, int]:
    """Scalars first (a learning rate, the check of the loss), and what says that it comes early, so that
    chains which need them can be epilogues of what they are for."""
    early = all(value.shape == () for value in step.outputs) or step.node.op.comes_early
    return (0 if early else 2 if step.writes else 1, step.nodes[0].index)


def _can_be_epilogue(program: Program, chain: list[Step], later: Step) -> bool:
    """Whether a step can be run on the tiles that the last of a chain write."""
    begin = next(n for n in reversed(range(len(chain))) if chain[n].fused is None or n == 0)
    writer = chain[begin]
    if later.is_unchanging != writer.is_unchanging:
        return False
    if writer.fused is not None or not program.device.kernel_of(writer.node).writes_tiles:
        return False
    matrix = writer.outputs[0]
    tiled = {id(matrix), *(id(value) for step in chain[begin + 1 :] for value in step.outputs)}
    if later.fused is None:
        kernel = program.device.kernel_of(later.node)
        followed = kernel.follows
        return followed is not None and [
            position for position, value in enumerate(later.node.inputs) if id(program.root(value)) in tiled
        ] == [followed]
    overwritten = {id(variable) for variable in later.writes.values()}
    if any(id(program.root(value)) in overwritten for step in chain for value in step.inputs):
        return False
    if not any(id(program.root(value)) in tiled for value in later.inputs):
        return False
    return later.fused.on_tiles(matrix.shape) is not None
