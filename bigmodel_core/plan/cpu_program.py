"""A program's launches on the CPU at some sizes, before memory is found and anything is compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from bigmodel_core.errors import BigmodelError, KernelError
from bigmodel_core.graph import Node, Value
from bigmodel_core.graph.spec import Spec, dim_value
from bigmodel_core.kernels.cpu import elementwise
from bigmodel_core.kernels.cpu.engine.launch import PADDING, CpuBuffer, CpuLaunch
from bigmodel_core.kernels.cpu.engine.side_by_side import side_by_side
from bigmodel_core.plan.bound import BoundProgram
from bigmodel_core.plan.cpu_kept import Kept, separated
from bigmodel_core.plan.listing import PlannedStep, listed
from bigmodel_core.plan.placement import Lifetime, offsets_of
from bigmodel_core.plan.steps import Step

if TYPE_CHECKING:
    from bigmodel_core.plan.program import Program


@contextmanager
def _named_after(step: Step) -> Iterator[None]:
    """Errors name the layer of the step: some sizes are wrong that are only known now."""
    try:
        yield
    except BigmodelError as error:
        error.where = error.where or step.node.place or None
        raise


class CpuProgram(BoundProgram[CpuBuffer]):
    """A program's launches at some sizes, and the buffers they refer to; none has an address yet but the
    leaves.

    Args:
        program: what to compute.
        sizes: the sizes of named dimensions.
        leaf: gives the buffer of an input, variable or constant.
        status: where kernels report a failure.
        results: the buffers of the program's outputs, if they have any yet.

    Attributes:
        rows: the launches in order, each with the number of its step.
        inner_steps: by the id of a row's launch in the body of an op, the step it is there.
        kept: those that run before them only after a variable has changed.
        epilogues: by the id of a row's launch, the steps that run on each of its chunks after it.
    """

    def __init__(
        self,
        program: Program,
        sizes: Mapping[str, int],
        leaf: Callable[[Value, Spec], CpuBuffer],
        status: CpuBuffer,
        results: Sequence[CpuBuffer] = (),
    ) -> None:
        super().__init__(program, sizes, leaf, CpuBuffer, results)
        self.status = status
        self.inner_steps: dict[int, Step] = {}
        self.epilogues: dict[int, list[Step]] = {}
        self.rows, self.kept = self._bound(), Kept()
        if program.keeps:
            self.rows, self.kept = separated(
                self.rows,
                program.steps,
                {n for n, step in enumerate(program.steps) if self._is_loop(step)},
                {*self.unchanging_leaves(), id(status)},
                [self.buffer(value) for value in program.outputs],
            )

    def _is_loop(self, step: Step) -> bool:
        return step.fused is None and step.node.index in self.program.bodies

    def unchanging_leaves(self) -> dict[int, Value]:
        """The constants and the variables that stay, by the ids of their buffers."""
        leaves = (*self.program.variables, *self.program.constants)
        return {
            id(self.buffers[id(value)]): value for value in leaves if id(value) in self.program.unchanging
        }

    @property
    def padding(self) -> int:
        return PADDING

    def _bound(self) -> list[tuple[int, CpuLaunch]]:
        rows: list[tuple[int, CpuLaunch]] = []
        for number, step in enumerate(self.program.steps):
            launches = self._together(step, number) if step.beside else self._chain(step, number)
            rows += [(number, launch) for launch in launches]
        return rows

    def _chain(self, step: Step, number: int) -> list[CpuLaunch]:
        """The launches of a step and its epilogues: these run on its chunks where the sizes allow."""
        found = self._launches(step, number)
        matrix, tile = step.outputs[0], found[-1].tile if found else None
        for part in islice(step.chain(), 1, None):
            made = self._epilogue(part, number, tile, matrix) if tile is not None else None
            if made is None:
                made = self._launches(part, number)
                found += made
            elif made:
                if made[0].chunks != found[-1].chunks:
                    raise KernelError(
                        f"the kernel '{made[0].kernel.name}' has {made[0].chunks} chunks as an epilogue of"
                        f" '{found[-1].kernel.name}', which has {found[-1].chunks}.",
                        fix="an epilogue has a chunk for each chunk of the kernel that writes the tiles.",
                        where=part.node.place or None,
                    )
                *_, last = found[-1].linked()
                last.epilogue = made[0]
                self.epilogues.setdefault(id(found[-1]), []).append(part)
                found += made[1:]
            if part.fused is None:
                matrix, tile = part.outputs[0], made[-1].tile if made else None
        return found

    def _together(self, step: Step, number: int) -> list[CpuLaunch]:
        """One launch for steps beside each other."""
        found: list[CpuLaunch] = []
        weights = []
        for part in step.parts():
            for launch in self._launches(part, number):
                assert part.fused is not None
                found.append(launch)
                weights.append(elementwise.chunk_weight(part.fused.chain, launch))
        return side_by_side(found, weights, self.status)

    def _launches(self, step: Step, number: int) -> list[CpuLaunch]:
        inputs, outputs = self.buffers_of(step)
        if step.fused is None:
            with _named_after(step):
                return list(
                    self.program.device.kernel_of(step.node).launches(self.call_of(step, number, self.status))
                )
        space = step.fused.space
        sizes = [dim_value(axis, self.sizes) for axis in space.axes]
        launch = elementwise.launch(step.fused.chain, space, sizes, inputs, outputs, status=self.status)
        return [launch] if launch else []

    def _body(
        self, node: Node, number: int, inputs: Sequence[CpuBuffer], outputs: Sequence[CpuBuffer]
    ) -> list[CpuLaunch]:
        program, leaf = self.program.bodies[node.index], self._leaf_inside(inputs)
        bound = CpuProgram(program, self.sizes, leaf, self.status, outputs)
        self._put_inside(bound, number)
        self.epilogues.update(bound.epilogues)
        self.inner_steps.update({id(launch): program.steps[step] for step, launch in bound.rows})
        self.inner_steps.update(bound.inner_steps)
        return [launch for _, launch in bound.rows]

    def _epilogue(
        self, step: Step, number: int, tile: tuple[int, int], matrix: Value
    ) -> list[CpuLaunch] | None:
        """The launches of a step on the tiles of a matrix; None if the sizes do not allow it."""
        inputs, outputs = self.buffers_of(step)
        if step.fused is None:
            with _named_after(step):
                found = self.program.device.kernel_of(step.node).epilogue(
                    self.call_of(step, number, self.status), tile
                )
            return None if found is None else list(found)
        space = step.fused.on_tiles(matrix.shape)
        assert space is not None
        sizes = [dim_value(axis, self.sizes) for axis in space.axes]
        launch = elementwise.launch(step.fused.chain, space, sizes, inputs, outputs, tile, self.status)
        return [launch] if launch else []

    def largest(self) -> str | None:
        """The layer that the largest temporary belongs to."""
        sized = [
            (buffer.nbytes, step.node.place)
            for step in self.program.steps
            for value in step.outputs
            if (buffer := self.buffers.get(id(self.program.root(value)))) is not None
        ]
        return max(sized, key=lambda pair: pair[0], default=(0, ""))[1] or None

    def step_of(self, number: int, launch: CpuLaunch) -> Step:
        """The step of a row, in the body of an op where it is in one."""
        return self.inner_steps.get(id(launch)) or self.program.steps[number]

    def lifetimes(self, kept: Iterable[CpuBuffer] = ()) -> list[tuple[CpuBuffer, Lifetime]]:
        """The temporaries without those of what is kept, and from which step to which each is needed."""
        apart = {id(buffer) for buffer in self.kept.buffers}
        apart.update(id(buffer) for buffer, _ in self.kept.temporaries)
        return [item for item in super().lifetimes(kept) if id(item[0]) not in apart]

    def places(self, kept: Iterable[CpuBuffer] = ()) -> tuple[list[tuple[CpuBuffer, int]], int]:
        """Where each temporary is in one block of memory, and how large the block is.

        What is kept is computed before a run, in the same memory."""
        places, total = super().places(kept)
        before = self.kept.temporaries
        offsets, nbytes = offsets_of([lifetime for _, lifetime in before], self.padding)
        places += [(buffer, offset) for (buffer, _), offset in zip(before, offsets, strict=True)]
        return places, max(total, nbytes)

    def listing(self) -> list[PlannedStep]:
        """The steps in order: what runs, and what was chosen."""
        launches: list[list[CpuLaunch]] = [[] for _ in self.program.steps]
        for number, launch in (*self.kept.rows, *self.rows):
            launches[number].append(launch)
        scratch = [0] * len(launches)
        for buffer, number in self.scratch:
            scratch[number] += buffer.nbytes
        kept = {id(launch) for _, launch in self.kept.rows}
        return [
            listed(step, self.spec, launches[number], self.epilogues, scratch[number], kept)
            for number, step in enumerate(self.program.steps)
        ]
