"""Loops on a CUDA device: the launches of a body, once for each step of its arrays. Plans replay all of them
as one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bigmodel_core.graph.dtypes import SIZES
from bigmodel_core.kernels.call import Call, Operand
from bigmodel_core.kernels.cuda.engine.kernels import cuda_kernel, cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaBuffer, CudaLaunch, View
from bigmodel_core.kernels.cuda.updates import copy_all
from bigmodel_core.kernels.loop import body_of, unchanged


class _Loop:
    """The buffers that move from step to step, and where each is."""

    def __init__(self, steps: int, reverse: bool) -> None:
        self.steps, self.reverse = steps, reverse
        self._places: dict[int, Any] = {}

    def _moving(self, nbytes: int, place: Any) -> CudaBuffer:
        buffer = CudaBuffer(nbytes)
        self._places[id(buffer)] = place
        return buffer

    def step_of(self, array: Operand) -> CudaBuffer:
        """The step of an array that is there at each turn."""
        nbytes = array.spec.nbytes // self.steps
        last = (self.steps - 1) * self.reverse
        return self._moving(nbytes, lambda step: (array.buffer, abs(last - step) * nbytes))

    def carried(self, initial: Operand, last: Operand, other: Any) -> tuple[CudaBuffer, CudaBuffer]:
        """What is carried, before and after each step: in two buffers by turns, at the end in the last."""

        def after(step: int) -> tuple[Any, int]:
            return (last.buffer if (self.steps - 1 - step) % 2 == 0 else other), 0

        def before(step: int) -> tuple[Any, int]:
            return after(step - 1) if step else (initial.buffer, 0)

        nbytes = last.spec.nbytes
        return self._moving(nbytes, before), self._moving(nbytes, after)

    def at(self, launch: CudaLaunch, step: int) -> CudaLaunch:
        """A launch of the body at a step."""
        return replace(launch, arguments=[self._argument(item, step) for item in launch.arguments])

    def _argument(self, item: Any, step: int) -> Any:
        place = self._places.get(id(item.buffer)) if isinstance(item, View) else None
        if place is None:
            return item
        buffer, offset = place(step)
        return replace(item, buffer=buffer, offset=item.offset + offset // SIZES[item.dtype])


@cuda_launches
def scan(call: Call) -> list[CudaLaunch]:
    """All steps of a loop."""
    steps = call.op.length
    if steps == 0:
        return unchanged(call, cuda_kernel(copy_all))
    loop = _Loop(steps, call.op.reverse)
    body = body_of(call, loop)
    return [loop.at(launch, step) for step in range(steps) for launch in body]
