"""Plans on a CUDA device: every step becomes launches on one stream, which are recorded and replayed as one;
the host waits once a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.errors import BigmodelError
from bigmodel_core.graph import Constant, Input, Value, Variable
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels import status as codes
from bigmodel_core.kernels.cuda.engine.array import is_being_checked
from bigmodel_core.kernels.cuda.engine.launch import LAST, CudaBuffer, View
from bigmodel_core.kernels.cuda.engine.recording import Recording, record
from bigmodel_core.plan.cuda_array import DeviceArray
from bigmodel_core.plan.cuda_program import CudaProgram
from bigmodel_core.plan.failures import Unproven, error_of
from bigmodel_core.plan.variables import Variables

if TYPE_CHECKING:
    from bigmodel_core.plan.cuda import CudaDevice
    from bigmodel_core.plan.program import Program


class CudaPlan:
    """A program bound to a device and to sizes: launches with all arguments, one block of memory.

    Args:
        device: where it runs.
        program: what to compute.
        sizes: the sizes of named dimensions.
        variables: the arrays that live across runs; the plan refers to their memory.
    """

    def __init__(
        self, device: CudaDevice, program: Program, sizes: Mapping[str, int], variables: Variables
    ) -> None:
        self.device, self.program = device, program
        self._variables, self._sizes = variables, sizes
        self._keep: list[DeviceArray] = []
        self._staging: dict[str, tuple[DeviceArray, np.ndarray]] = {}
        self.nbytes = 0
        self._bound = CudaProgram(program, sizes, self._leaf)
        self._place_buffers()
        self._status = self._allocated((max(len(self._bound.reporting), 1) * codes.WIDTH,), "int64")
        device.write(self._status, np.zeros(self._status.shape, np.int64))
        self._bound.status.memory = self._status.array
        self._calls = [launch.bound(device.stream) for launch in self._bound.launches]
        self._status_copy = device.cuda.pinned_array(self._status.shape, np.int64)
        self._results = [self._result(value) for value in program.outputs]
        self._runs = 0
        self._recording: Recording | None = None

    def _allocated(self, shape: tuple[int, ...], dtype: str) -> DeviceArray:
        memory = DeviceArray(shape, dtype, self.device.cuda)
        self.nbytes += memory.nbytes
        return memory

    def _leaf(self, value: Value, spec: Spec) -> CudaBuffer:
        """The memory of an input, variable or constant."""
        op = value.node.op
        if isinstance(op, Input):
            memory = self._allocated(spec.sizes, spec.dtype)
            host = self.device.cuda.pinned_array(max(memory.count, 1), memory.dtype)
            self._staging[op.name] = memory, host
        elif isinstance(op, Variable):
            memory = self._variables.memory(op.path)
        else:
            assert isinstance(op, Constant)
            memory = self.device.allocate(op.array)
        self._keep.append(memory)
        return memory.buffer

    def _place_buffers(self) -> None:
        """Give every temporary its place in one block of memory."""
        checked = [view.buffer for _, view in self._bound.reporting if view is not None]
        found, total = self._bound.places(kept=checked)
        arena = self.arena = self.device.arenas.of(self.program, max(total, 1))
        self.nbytes += total
        if is_being_checked():
            self.device.write(arena, np.full(arena.shape, 0xFF, np.uint8))
        for buffer, offset in found:
            buffer.memory = arena.array[offset : offset + buffer.nbytes] if buffer.nbytes else arena.array

    def _result(self, value: Value) -> tuple[Any, np.ndarray, tuple[int, ...]]:
        """An output's device array, the host memory it is copied to, and its shape."""
        spec, buffer = self._bound.spec(value), self._bound.buffer(value)
        count = int(np.prod(spec.sizes, dtype=np.int64))
        view = View(buffer, (count,), spec.dtype).resolve()
        host = self.device.cuda.pinned_array(max(count, 1), np.dtype(spec.dtype))
        return view, host[:count], spec.sizes

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run once; returns copies of the outputs."""
        try:
            return self._run(inputs)
        except Unproven:
            return self.program.exact().plan(self._variables, self._sizes).run(inputs)

    def _run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        with self.device.lock:
            for name, (memory, host) in self._staging.items():
                given = inputs.get(name)
                host[: memory.count].reshape(memory.shape)[...] = 0 if given is None else given
            if self._runs == 1:  # the first run compiles
                self._recording = record(self.device.stream, self._launch)
            self._runs += 1
            if self._recording is not None:
                self._recording.replay()
            else:
                self._launch()
            self.device.stream.synchronize()
            failed = np.flatnonzero(self._status_copy[:: codes.WIDTH])
            if failed.size:
                raise self._failure(int(failed[0]))
            return [target.reshape(shape).copy() for _, target, shape in self._results]

    def _launch(self) -> None:
        """Put copies and kernels on the stream, one by one."""
        stream = self.device.stream
        for memory, host in self._staging.values():
            if memory.count:
                memory.array.copy_to_device(host, stream=stream)
        for call in self._calls:
            call()
        for source, target, _ in self._results:
            if target.size:
                source.copy_to_host(target, stream=stream)
        self._status.array.copy_to_host(self._status_copy, stream=stream)

    def _failure(self, number: int) -> BigmodelError:
        """The error that a step reported; the status is cleared for the next run."""
        step, checked = self._bound.reporting[number]
        status = self._status_copy[number * codes.WIDTH : (number + 1) * codes.WIDTH].copy()
        self.device.write(self._status, np.zeros(self._status.shape, np.int64))
        if checked is not None:
            status[codes.POSITION] = LAST - status[codes.POSITION]
            status[codes.FOUND] = checked.resolve().copy_to_host()[status[codes.POSITION]]
        return error_of(step, status, is_found=checked is not None)
