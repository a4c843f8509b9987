"""The order of a program's steps: what is whose epilogue, and when variables are overwritten."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from bigmodel_core.errors import GraphError
from bigmodel_core.graph import Value
from bigmodel_core.plan.guard import waiting_for
from bigmodel_core.plan.steps import Step, copy_step, grouped

if TYPE_CHECKING:
    from bigmodel_core.plan.program import Program


def ordered(program: Program) -> list[Step]:
    """Group, then schedule: variables are overwritten only after all their readers and the gate are done."""
    steps, producer = grouped(program)
    before: dict[int, set[int]] = {number: set() for number in range(len(steps))}
    readers: dict[int, list[int]] = {}
    for number, step in enumerate(steps):
        for value in step.inputs:
            root = program.root(value)
            if id(root) in producer:
                before[number].add(producer[id(root)])
            readers.setdefault(id(root), []).append(number)
        before[number].discard(number)
    gates = _close(program, steps, producer, before)
    for variable, value in program.updates.items():
        writer = _write_in_place(program, steps, producer, before, readers, gates, variable, value)
        if writer is None:
            steps.append(copy_step(program, variable, value))
            writer = len(steps) - 1
            before[writer] = (
                {producer[id(program.root(value))]} if id(program.root(value)) in producer else set()
            )
        before[writer] |= {reader for reader in readers.get(id(variable), []) if reader != writer} | set(
            gates
        )
        if gates and not program.is_exact:
            _check_what_is_written(steps[writer], variable)
    found = _scheduled(program, steps, before)
    for arrange in program.device.passes.steps:
        found = arrange(found, program)
    return found


def _close(
    program: Program, steps: list[Step], producer: dict[int, int], before: dict[int, set[int]]
) -> list[int]:
    """The gate, for which products wait that it checks by their operands; none where nothing is guarded."""
    if not program.guards:
        return []
    gate = len(steps) - 1
    for node in waiting_for(program, steps[gate].node):
        before[producer[id(node.outputs[0])]].add(gate)
    return [gate]


def _check_what_is_written(step: Step, variable: Value) -> None:
    """Let the chain that overwrites a variable look at what it writes."""
    position = next(number for number, item in step.writes.items() if item is variable)
    if variable.spec.is_float and step.fused is not None:
        step.fused = step.fused.looking_at(position)


def _write_in_place(
    program: Program,
    steps: list[Step],
    producer: dict[int, int],
    before: dict[int, set[int]],
    readers: dict[int, list[int]],
    gates: list[int],
    variable: Value,
    value: Value,
) -> int | None:
    """Let the chain that computes a new value overwrite the variable that it reads; None where that cannot
    be."""
    number = producer.get(id(value))
    if number is None or steps[number].fused is None:
        return None
    step = steps[number]
    position = next(i for i, item in enumerate(step.outputs) if item is value)
    if position in step.writes:  # the new value of another variable too
        return None
    if (
        not any(item is variable for item in step.inputs)
        or readers.get(id(value))
        or value in program.outputs
    ):
        return None
    if sum(program.root(item) is variable for item in step.inputs) > 1:
        return None
    waits = {reader for reader in readers.get(id(variable), []) if reader != number} | set(gates)
    if any(_depends(before, earlier, number) for earlier in waits):
        return None
    operand = next(i for i, item in enumerate(step.inputs) if item is variable)
    assert step.fused is not None
    step.fused = step.fused.overwriting(position, operand)
    step.writes[position] = variable
    return number


def _depends(before: dict[int, set[int]], step: int, target: int) -> bool:
    """Whether a step has to wait for a target, directly or not."""
    seen, stack = set(), [step]
    while stack:
        at = stack.pop()
        if at == target:
            return True
        if at not in seen:
            seen.add(at)
            stack.extend(before.get(at, ()))
    return False


def _scheduled(program: Program, steps: list[Step], before: dict[int, set[int]]) -> list[Step]:
    waiting = {number: set(needs) for number, needs in before.items()}
    after: dict[int, list[int]] = {}
    for number, needs in before.items():
        for earlier in needs:
            after.setdefault(earlier, []).append(number)
    ready = [(_priority(steps[number]), number) for number, needs in waiting.items() if not needs]
    heapq.heapify(ready)
    order: list[int] = []
    done: set[int] = set()

    def finish(number: int) -> None:
        done.add(number)
        for later in after.get(number, ()):
            waiting[later].discard(number)
            if not waiting[later] and later not in done:
                heapq.heappush(ready, (_priority(steps[later]), later))

    def next_of(chain: list[int]) -> int | None:
        """What can be the next epilogue of a chain: chains of elementwise ops before other ops."""
        found = {
            later
            for number in chain
            for later in after.get(number, ())
            if later not in done and not waiting[later]
        }
        members = [steps[number] for number in chain]
        return next(
            (
                number
                for number in sorted(found, key=lambda n: (steps[n].fused is None, n))
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
    return [steps[number] for number in order]


def updates_together(steps: list[Step], program: Program) -> list[Step]:
    """Neighbours that overwrite variables, and need nothing of each other, run as one."""
    found: list[Step] = []
    read: set[int] = set()
    written: set[int] = set()
    for step in steps:
        alone = step.epilogue is not None or not step.writes
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
