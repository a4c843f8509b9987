"""Programs: the steps that compute some values of a graph, fused and in order, whatever the sizes and the
device."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bigmodel_core.errors import BigmodelError, DataError, GraphError, KernelError, NumericsError, ShapeError
from bigmodel_core.graph import LEAVES, Constant, Graph, Input, Node, Value, Variable, needed
from bigmodel_core.kernels import status as codes
from bigmodel_core.plan.device import Device, Plan, Variables, device_named
from bigmodel_core.plan.fusion import Fused, fuse, fused_program
from bigmodel_core.plan.listing import PlannedStep
from bigmodel_core.spec import match


@dataclass(eq=False)
class Step:
    """One thing a plan does: a kernel of one op, or a fused chain of elementwise ops.

    Args:
        nodes: the node, or those of the chain.
        inputs: what it reads.
        outputs: what it writes.
        fused: the chain's program, None for a single kernel.
        writes: for outputs that become the new value of a variable in place, the variable, by the output's
            position.
        follower: a chain that is run on each tile of this step's output right after it is written.
    """

    nodes: list[Node]
    inputs: list[Value]
    outputs: list[Value]
    fused: Fused | None = None
    writes: dict[int, Value] = field(default_factory=dict)
    follower: Step | None = None

    @property
    def node(self) -> Node:
        """The node that gives the step its place in error messages."""
        return self.nodes[-1]

    def __repr__(self) -> str:
        names = "+".join(type(node.op).__name__ for node in self.nodes)
        return names + (f" -> {self.follower}" if self.follower else "")


class Program:
    """The steps that compute outputs of a graph and new values of variables.

    Args:
        graph: the graph.
        outputs: values to read out.
        updates: new values of variables, by path; all are written after every read of the old values.
        guards: floats that have to be finite, or the run stops before any variable changes.
        device: where it runs, "cpu" or "cuda".
    """

    def __init__(
        self,
        graph: Graph,
        outputs: Sequence[Value],
        updates: Mapping[str, Value] | None = None,
        guards: Sequence[Value] = (),
        device: str | Device = "cpu",
    ) -> None:
        self.device = device_named(device)
        updates = dict(updates or {})
        if self.device.name == "cpu":
            from bigmodel_core.plan.layout import channels_last

            graph, outputs, updates, guards = channels_last(graph, outputs, updates, guards)
        self.graph, self.guards = graph, list(guards)
        changing = {graph.variable(path, value.spec): value for path, value in updates.items()}
        self.updates = {
            variable: _kept(graph, value, variable, changing) for variable, value in changing.items()
        }
        self.outputs = [_kept(graph, value, None, changing) for value in outputs]
        roots = [*self.outputs, *self.updates.values(), *self.updates, *self.guards]
        self.nodes = needed(roots)
        self.inputs = {node.op.name: node.outputs[0] for node in self.nodes if isinstance(node.op, Input)}
        self.variables = [node.outputs[0] for node in self.nodes if isinstance(node.op, Variable)]
        self.constants = [node.outputs[0] for node in self.nodes if isinstance(node.op, Constant)]
        self.roots = {id(value): _root(value) for node in self.nodes for value in node.outputs}
        self.steps = _ordered(self)
        self._plans: dict[tuple[int, ...], Plan] = {}
        self._lock = threading.Lock()
        # What only gives a size, such as the input of zeros_like, is read for it where it is passed.
        self._sized = {node.op.name: node.outputs[0] for node in graph.nodes if isinstance(node.op, Input)}
        self._composed = [
            name
            for name, value in self._sized.items()
            if any(isinstance(dim, str) and not dim.isidentifier() for dim in value.shape)
        ]
        self._names = sorted({name for value in self._sized.values() for name in value.spec.names()})

    def root(self, value: Value) -> Value:
        """The value whose memory a value is: itself, or what it is a reshape of."""
        return self.roots[id(value)]

    def sizes(self, inputs: Mapping[str, np.ndarray]) -> dict[str, int]:
        """The sizes of named dimensions, from arrays.

        Raises:
            ShapeError: an input is missing or does not fit.
        """
        known: dict[str, int] = {}
        for name, value in self._sized.items():
            if name not in inputs and (name.startswith("~") or name not in self.inputs):
                continue
            if name not in inputs:
                raise ShapeError(f"the input '{name}' is missing.", fix=f"pass an array for '{name}'.")
            problem = match(value.shape, np.shape(inputs[name]), known)
            if problem:
                raise ShapeError(f"input '{name}': {problem}.")
        for name in self._composed:  # their names may have been bound by later inputs
            if name in inputs and (problem := match(self._sized[name].shape, np.shape(inputs[name]), known)):
                raise ShapeError(f"input '{name}': {problem}.")
        return known

    def plan(self, variables: Variables, sizes: Mapping[str, int]) -> Plan:
        """The plan for some sizes, made once."""
        key = (id(variables), *(sizes.get(name, -1) for name in self._names))
        found = self._plans.get(key)
        if found is None:
            self._check(variables)
            with self._lock:
                found = self._plans.get(key) or self.device.plan(self, sizes, variables)
                self._plans[key] = found
        return found

    def listing(self, batch_size: int, sizes: Mapping[str, int]) -> list[PlannedStep]:
        """The steps of a plan, their kernels and what was chosen; nothing is compiled and nothing runs.

        Args:
            batch_size: of every named dimension that `sizes` leaves out.
            sizes: of named dimensions.

        Raises:
            ShapeError: a size is not positive, or there is no such dimension.
        """
        for name, size in {"N": batch_size, **sizes}.items():
            if size < 1:
                raise ShapeError(f"the size of {name} is {size}.", fix="sizes are 1 or more.")
            if name not in self._names and name in sizes:
                names = ", ".join(self._names) or "none"
                raise ShapeError(f"there is no dimension {name}.", fix=f"the free dimensions are: {names}.")
        return self.device.listing(self, {**dict.fromkeys(self._names, batch_size), **sizes})

    def _check(self, variables: Variables) -> None:
        for value in self.variables:
            path = value.node.op.path  # type: ignore[attr-defined]
            if variables.spec(path) != value.spec:
                raise GraphError(
                    f"the graph takes the variable for {value.spec}, but it is {variables.spec(path)}.",
                    where=path,
                )

    def run(self, variables: Variables, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Compute the outputs (copies) and update the variables.

        Inputs whose names start with "~" (the seed, the step, the learning rate) are 0 unless given.

        Raises:
            NumericsError: a guard is not finite; no variable was changed.
            DataError: a label or index is out of range; no variable was changed.
        """
        return self.plan(variables, self.sizes(inputs)).run(inputs)

    def failure(self, step: Step | None, status: Sequence[int] | np.ndarray) -> BigmodelError:
        """The error that a status stands for."""
        where = step.node.place if step else None
        code, found, limit, position = (int(number) for number in status[:4])
        if code == codes.LABEL_OUT_OF_RANGE:
            return DataError(
                f"the label {found} (sample {position} of the batch) is out of range for {limit} classes.",
                fix=f"labels run from 0 to {limit - 1}; set the model's number of classes, or mend the data.",
                where=where,
            )
        if code == codes.INDEX_OUT_OF_RANGE:
            return DataError(
                f"the index {found} (position {position}) is out of range for a table of {limit} rows.",
                fix=f"indices run from 0 to {limit - 1}.",
                where=where,
            )
        if code == codes.NOT_FINITE:
            return NumericsError("the loss is NaN or infinite.", where=where)
        if code == codes.LENGTH_OUT_OF_RANGE:
            return DataError(
                f"the length {found} (sample {position} of the batch) is out of range for sequences of"
                f" {limit} steps.",
                fix=f"lengths run from 0 to {limit}.",
                where=where,
            )
        if code == codes.KERNEL_RAISED:
            name = type(step.node.op).__name__ if step else "an op"
            return KernelError(f"the kernel of {name} raised an exception.", where=where)
        return KernelError(f"a kernel reported status {code}.", where=where)


def _kept(graph: Graph, value: Value, new_of: Value | None, changing: Mapping[Value, Value]) -> Value:
    """A value as it was before the updates: a copy, where it is the memory of a variable that changes."""
    from bigmodel_core.plan.guard import Copy

    root = _root(value)
    if root is new_of or all(root is not variable for variable in changing):
        return value
    with graph.scope(value.node.path, value.node.layer):
        return graph.apply(Copy(), (value,)).outputs[0]


def _root(value: Value) -> Value:
    while getattr(value.node.op, "alias", False):
        value = value.node.inputs[0]
    return value


def _ordered(program: Program) -> list[Step]:
    """Group, then schedule: variables are overwritten only after all their readers and all guards are
    done."""
    steps, producer = _grouped(program)
    before: dict[int, set[int]] = {number: set() for number in range(len(steps))}
    readers: dict[int, list[int]] = {}
    for number, step in enumerate(steps):
        for value in step.inputs:
            root = program.root(value)
            if id(root) in producer:
                before[number].add(producer[id(root)])
            readers.setdefault(id(root), []).append(number)
        before[number].discard(number)
    guards = [number for number, step in enumerate(steps) if getattr(step.node.op, "is_guard", False)]
    for variable, value in program.updates.items():
        writer = _write_in_place(program, steps, producer, before, readers, guards, variable, value)
        if writer is None:
            steps.append(_copy_step(program, variable, value))
            writer = len(steps) - 1
            before[writer] = (
                {producer[id(program.root(value))]} if id(program.root(value)) in producer else set()
            )
        before[writer] |= {reader for reader in readers.get(id(variable), []) if reader != writer} | set(
            guards
        )
    return _scheduled(program, steps, before)


def _grouped(program: Program) -> tuple[list[Step], dict[int, int]]:
    steps: list[Step] = []
    producer: dict[int, int] = {}
    outside = {
        id(program.root(value)) for value in (*program.outputs, *program.updates.values(), *program.guards)
    }
    plain = [
        node
        for node in program.nodes
        if not isinstance(node.op, LEAVES) and not getattr(node.op, "alias", False)
    ]
    users: dict[int, list[Node]] = {}
    for node in plain:
        for value in node.inputs:
            users.setdefault(id(program.root(value)), []).append(node)
    for group in fuse(plain, program.root, program.device.name):
        members = {node.index for node in group}
        outputs = [
            value
            for node in group
            for value in node.outputs
            if id(value) in outside or any(user.index not in members for user in users.get(id(value), []))
        ]
        if not outputs:
            outputs = list(group[-1].outputs)
        inputs: list[Value] = []
        for node in group:
            for value in node.inputs:
                if value.node.index not in members and all(value is not known for known in inputs):
                    inputs.append(value)
        elementwise = fused_program(group, inputs, outputs, program.device.name)
        step = Step(group, inputs, list(group[0].outputs) if elementwise is None else outputs, elementwise)
        for value in step.outputs:
            producer[id(value)] = len(steps)
        steps.append(step)
    for value in program.guards:
        step = _guard_step(program, value)
        steps.append(step)
    return steps, producer


def _guard_step(program: Program, value: Value) -> Step:
    from bigmodel_core.plan.guard import Guard

    with program.graph.scope(value.node.path, value.node.layer):
        node = program.graph.apply(Guard(), (value,))
    for output in node.outputs:
        program.roots[id(output)] = output
    return Step([node], [value], list(node.outputs))


def _copy_step(program: Program, variable: Value, value: Value) -> Step:
    from bigmodel_core.plan.guard import Copy

    node = program.graph.apply(Copy(), (value,))
    for output in node.outputs:
        program.roots[id(output)] = output
    fused = fused_program([node], [value], list(node.outputs), program.device.name)
    return Step([node], [value], list(node.outputs), fused, {0: variable})


def _write_in_place(
    program: Program,
    steps: list[Step],
    producer: dict[int, int],
    before: dict[int, set[int]],
    readers: dict[int, list[int]],
    guards: list[int],
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
    waits = {reader for reader in readers.get(id(variable), []) if reader != number} | set(guards)
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
    order: list[Step] = []
    done: set[int] = set()

    def finish(number: int) -> None:
        done.add(number)
        for later in after.get(number, ()):
            waiting[later].discard(number)
            if not waiting[later] and later not in done:
                heapq.heappush(ready, (_priority(steps[later]), later))

    while ready:
        _, number = heapq.heappop(ready)
        if number in done:
            continue
        step = steps[number]
        order.append(step)
        finish(number)
        for later in after.get(number, ()):
            if later not in done and not waiting[later] and _can_follow(program, step, steps[later]):
                step.follower = steps[later]
                finish(later)
                break
    if len(done) != len(steps):
        raise GraphError("the steps of the graph wait for each other.")
    return order


def _priority(step: Step) -> tuple[int, int]:
    """Scalars first (a learning rate, the check of the loss), and what says that it comes early, so that
    chains which need them can follow the tiles of what they are for."""
    early = all(value.shape == () for value in step.outputs) or getattr(step.node.op, "comes_early", False)
    return (0 if early else 2 if step.writes else 1, step.nodes[0].index)


def _can_follow(program: Program, first: Step, later: Step) -> bool:
    """Whether a chain can be run on the tiles of a matrix kernel's output."""
    if first.fused is not None or later.fused is None or not getattr(first.node.op, "writes_tiles", False):
        return False
    output = first.outputs[0]
    if not any(program.root(value) is output for value in later.inputs):
        return False
    if any(program.root(value) is variable for value in first.inputs for variable in later.writes.values()):
        return False
    return later.fused.on_tiles(output.shape) is not None
