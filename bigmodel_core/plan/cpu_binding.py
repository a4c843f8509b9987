"""A program's launches on the CPU at some sizes, before memory is found and anything is compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bigmodel_core.graph import Value
from bigmodel_core.kernels.array import Call
from bigmodel_core.kernels.cpu import elementwise
from bigmodel_core.kernels.cpu.launch import PADDING, Buffer, Launch
from bigmodel_core.plan.binding import ValueBuffers
from bigmodel_core.plan.listing import PlannedStep, listed
from bigmodel_core.plan.memory import place
from bigmodel_core.plan.program import Program, Step
from bigmodel_core.spec import Spec, dim_value


class Binding(ValueBuffers[Buffer]):
    """A program's launches at some sizes, and the buffers they refer to; none has an address yet but the
    leaves.

    Args:
        program: what to compute.
        sizes: the sizes of named dimensions.
        leaf: gives the buffer of an input, variable or constant.
        status: where kernels report a failure.

    Attributes:
        rows: the launches in order, each with the number of its step.
    """

    def __init__(
        self,
        program: Program,
        sizes: Mapping[str, int],
        leaf: Callable[[Value, Spec], Buffer],
        status: Buffer,
    ) -> None:
        super().__init__(program, sizes, leaf, Buffer)
        self.status = status
        self.rows = self._bound()

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
            self.buffers[id(step.outputs[position])] = self.buffers[id(variable)]
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
            lambda count: self.new_scratch(count, number),
            self.status,
        )
        return list(op.cpu.launches(call))

    def places(self) -> tuple[list[tuple[Buffer, int]], int]:
        """Where each temporary lies in one block of memory, and how large the block is."""
        found = self.lifetimes()
        offsets, total = place([lifetime for _, lifetime in found], PADDING)
        return [(buffer, offset) for (buffer, _), offset in zip(found, offsets, strict=True)], total

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
