"""A program's launches on a CUDA device at some sizes, before temporaries have memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from bigmodel_core.graph import Node, Value
from bigmodel_core.graph.spec import Spec, dim_value
from bigmodel_core.kernels import status as codes
from bigmodel_core.kernels.cuda import elementwise
from bigmodel_core.kernels.cuda.engine.launch import CudaBuffer, CudaLaunch, View
from bigmodel_core.plan.bound import BoundProgram
from bigmodel_core.plan.steps import Step

if TYPE_CHECKING:
    from bigmodel_core.plan.program import Program


class CudaProgram(BoundProgram[CudaBuffer]):
    """A program's launches at some sizes, and the buffers they refer to; none has memory yet but the leaves.

    Args:
        program: what to compute.
        sizes: the sizes of named dimensions.
        leaf: gives the buffer of an input, variable or constant.
        results: the buffers of the program's outputs, if they have any yet.
        outer: the program that this is the body of an op of.
    """

    def __init__(
        self,
        program: Program,
        sizes: Mapping[str, int],
        leaf: Callable[[Value, Spec], CudaBuffer],
        results: Sequence[CudaBuffer] = (),
        outer: CudaProgram | None = None,
    ) -> None:
        super().__init__(program, sizes, leaf, CudaBuffer, results)
        self._outer = outer
        self.status = CudaBuffer(0)
        self.reporting: list[tuple[Step, View | None]] = []
        """The steps that may report a failure, in the order of the status, and the numbers they check."""
        self.steps: list[list[CudaLaunch]] = []
        self._waiting: list[Callable[[], None]] = []
        self._written: View | None = None
        for number, step in enumerate(program.steps):
            self.steps.append([launch for part in step.parts() for launch in self._launches(part, number)])
        self.status.nbytes = len(self.reporting) * codes.WIDTH * 8
        for finish in self._waiting:
            finish()

    @property
    def launches(self) -> list[CudaLaunch]:
        """All launches, in order."""
        return [launch for launches in self.steps for launch in launches]

    def _launches(self, step: Step, number: int) -> list[CudaLaunch]:
        inputs, outputs = self.buffers_of(step)
        if step.fused is not None:
            sizes = [dim_value(axis, self.sizes) for axis in step.fused.space.axes]
            whole = self._whole_status() if step.writes else None
            chain, space = step.fused.chain, step.fused.space
            written = self._written_status(step) if chain.watched else None
            launch = elementwise.launch(chain, space, sizes, inputs, outputs, whole, written)
            if launch is None:
                return []
            if whole is not None:
                self._finish_status(launch, whole)
            return [launch]

        def status(checked: View | None = None) -> View:
            return self._own_status(step, checked)

        kernel = self.program.device.kernel_of(step.node)
        return list(kernel.launches(self.call_of(step, number, status)))

    def _body(
        self, node: Node, number: int, inputs: Sequence[CudaBuffer], outputs: Sequence[CudaBuffer]
    ) -> list[CudaLaunch]:
        program, leaf = self.program.bodies[node.index], self._leaf_inside(inputs)
        bound = CudaProgram(program, self.sizes, leaf, outputs, self)
        self._put_inside(bound, number)
        return bound.launches

    def _own_status(self, step: Step, checked: View | None) -> View:
        if self._outer is not None:  # what a step of a loop checks is overwritten by the next
            return self._outer._own_status(step, None)
        self.reporting.append((step, checked))
        return View(self.status, (codes.WIDTH,), "int64", (len(self.reporting) - 1) * codes.WIDTH)

    def _written_status(self, step: Step) -> View:
        """If all chains that watch what they write report: each reads all of the status before it begins,
        so one place serves them all."""
        if self._written is None:
            self._written = self._own_status(step, None)
        return self._written

    def _whole_status(self) -> View:
        return View(self.status, (0,), "int64")

    def _finish_status(self, launch: CudaLaunch, status: View) -> None:
        """Once all steps are bound the status has its length; a chain that writes a variable reads all."""

        def finish() -> None:
            whole = View(self.status, (len(self.reporting) * codes.WIDTH,), "int64")
            launch.arguments = [whole if argument is status else argument for argument in launch.arguments]

        self._waiting.append(finish)
