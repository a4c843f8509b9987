"""A program's launches on the CPU at some sizes, before memory is found and anything is compiled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from bigmodel_core.graph import Value
from bigmodel_core.kernels.array import Call
from bigmodel_core.kernels.cpu import elementwise
from bigmodel_core.kernels.cpu.launch import PADDING, Buffer, Launch
from bigmodel_core.kernels.cpu.memory import SIZES
from bigmodel_core.plan.listing import PlannedStep, listed
from bigmodel_core.plan.memory import Lifetime, place
from bigmodel_core.plan.program import Program, Step
from bigmodel_core.spec import Spec, dim_value


class Binding:
    """A program's launches at some sizes, and the buffers they refer to; none has an address yet but the
    leaves.

    Args:
        program: what to compute.
        sizes: the sizes of named dimensions.
        leaf: gives the buffer of an input, variable or constant.
        status: where kernels report a failure.

    Attributes:
        rows: the launches in order, each with the number of its step.
        scratch: temporary memory of kernels, each with the number of its step.
    """

    def __init__(
        self,
        program: Program,
        sizes: Mapping[str, int],
        leaf: Callable[[Value, Spec], Buffer],
        status: Buffer,
    ) -> None:
        self.program, self.sizes, self.status = program, sizes, status
        self.scratch: list[tuple[Buffer, int]] = []
        self._specs: dict[int, Spec] = {}
        self._buffers: dict[int, Buffer] = {}
        leaves = (*program.inputs.values(), *program.variables, *program.constants)
        for value in leaves:
            self._buffers[id(value)] = leaf(value, self.spec(value))
        self._leaves = {id(value) for value in leaves}
        self.rows = self._bound()

    def spec(self, value: Value) -> Spec:
        """A value's spec with all sizes known."""
        found = self._specs.get(id(value))
        if found is None:
            found = self._specs[id(value)] = value.spec.bind(self.sizes)
        return found

    def buffer(self, value: Value) -> Buffer:
        """The memory of a value."""
        root = self.program.root(value)
        found = self._buffers.get(id(root))
        if found is None:
            found = self._buffers[id(root)] = Buffer(nbytes(self.spec(root)))
        return found

    def _bound(self) -> list[tuple[int, Launch]]:
        rows: list[tuple[int, Launch]] = []
        for number, step in enumerate(self.program.steps):
            launches = self._launches(step, number, None)
            if step.follower is not None:
                last = launches[-1] if launches else None
                tile = last.tile if last else None
                if last is not None and tile is not None:
                    following = self._launches(step.follower, number, tile)
                    last.follower = following[0] if following else None
                else:
                    launches += self._launches(step.follower, number, None)
            rows += [(number, launch) for launch in launches]
        return rows

    def _launches(self, step: Step, number: int, tile: tuple[int, int] | None) -> list[Launch]:
        for position, variable in step.writes.items():
            self._buffers[id(step.outputs[position])] = self._buffers[id(variable)]
        inputs = [self.buffer(value) for value in step.inputs]
        outputs = [self.buffer(value) for value in step.outputs]
        if step.fused is not None:
            space = step.fused.space
            if tile is not None:
                matrix = next(s for s in self.program.steps if s.follower is step).outputs[0]
                tiled = step.fused.on_tiles(matrix.shape)
                assert tiled is not None
                space = tiled
            sizes = [dim_value(axis, self.sizes) for axis in space.axes]
            launch = elementwise.launch(step.fused.chain, space, sizes, inputs, outputs, tile)
            return [launch] if launch else []
        op = step.node.op
        call = Call(
            op.bind(self.sizes) if hasattr(op, "bind") else op,
            tuple(self.spec(value) for value in step.node.inputs),
            tuple(self.spec(value) for value in step.node.outputs),
            tuple(self.buffer(value) for value in step.node.inputs),
            tuple(outputs),
            lambda count: self._new_scratch(count, number),
            self.status,
        )
        return list(op.cpu.launches(call))

    def _new_scratch(self, count: int, step: int) -> Buffer:
        buffer = Buffer(count)
        self.scratch.append((buffer, step))
        return buffer

    def places(self) -> tuple[list[tuple[Buffer, int]], int]:
        """Where each temporary lies in one block of memory, and how large the block is."""
        steps = self.program.steps
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for number, step in enumerate(steps):
            for part in (step, step.follower) if step.follower else (step,):
                for value in (*part.inputs, *part.outputs):
                    root = id(self.program.root(value))
                    first.setdefault(root, number)
                    last[root] = number
        for value in (*self.program.outputs, *self.program.guards):
            last[id(self.program.root(value))] = len(steps)
        fixed = {id(self._buffers[leaf]) for leaf in self._leaves}
        buffers: list[Buffer] = []
        lifetimes: list[Lifetime] = []
        for root, begin in first.items():
            buffer = self._buffers[root]
            if id(buffer) not in fixed:
                buffers.append(buffer)
                lifetimes.append(Lifetime(buffer.nbytes, begin, last[root]))
        for buffer, step_number in self.scratch:
            buffers.append(buffer)
            lifetimes.append(Lifetime(buffer.nbytes, step_number, step_number))
        offsets, total = place(lifetimes, PADDING)
        return list(zip(buffers, offsets, strict=True)), total

    def listing(self) -> list[PlannedStep]:
        """The steps in order: what runs, and what was chosen."""
        launches: list[list[Launch]] = [[] for _ in self.program.steps]
        for number, launch in self.rows:
            launches[number].append(launch)
        scratch = [0] * len(launches)
        for buffer, number in self.scratch:
            scratch[number] += buffer.nbytes
        return [
            listed(step, self.spec, launches[number], scratch[number])
            for number, step in enumerate(self.program.steps)
        ]


def nbytes(spec: Spec) -> int:
    """Bytes of an array."""
    return math.prod(spec.sizes) * SIZES[spec.dtype]
