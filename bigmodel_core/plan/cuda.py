"""Plans on a CUDA device: every step becomes launches on one stream, which are recorded and replayed as one;
the host waits once a run."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bigmodel_core.errors import BigmodelError, DeviceError, OutOfMemoryError
from bigmodel_core.graph import Value
from bigmodel_core.graph.dtypes import COMPUTED
from bigmodel_core.graph.spec import Spec, dim_value
from bigmodel_core.kernels import status as codes
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda import elementwise, runtime
from bigmodel_core.kernels.cuda.launch import LAST, CudaBuffer, CudaLaunch, View
from bigmodel_core.kernels.cuda.recording import Recording, record
from bigmodel_core.plan.binding import SMALLER, ValueBuffers
from bigmodel_core.plan.capacity import gibibytes
from bigmodel_core.plan.device import Device, Variables
from bigmodel_core.plan.failures import Unproven, error_of
from bigmodel_core.plan.listing import PlannedStep
from bigmodel_core.plan.memory import place
from bigmodel_core.plan.program import Program
from bigmodel_core.plan.steps import Step


class Memory:
    """An array on the device.

    Args:
        shape: its shape.
        dtype: its number type.
        cuda: the module `numba.cuda`.
    """

    def __init__(self, shape: tuple[int, ...], dtype: str, cuda: Any) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.count = int(np.prod(shape, dtype=np.int64))
        self.nbytes = self.count * self.dtype.itemsize
        try:
            self.array = cuda.device_array(max(self.count, 1), self.dtype)
        except Exception as error:  # the driver's errors have no class of their own without a device
            if not isinstance(error, MemoryError) and "OUT_OF_MEMORY" not in str(error):
                raise
            raise OutOfMemoryError(
                f"the device does not give {gibibytes(self.nbytes)} of memory.",
                fix=SMALLER,
            ) from None

    @property
    def buffer(self) -> CudaBuffer:
        """The memory as plans refer to it."""
        return CudaBuffer(self.nbytes, self.array)


class CudaDevice(Device):
    """The current CUDA device, or Numba's simulator of one.

    Raises:
        DeviceError: the extra `cuda` is not installed, or there is no device.
    """

    name = "cuda"
    dtypes = COMPUTED

    def __init__(self) -> None:
        runtime.require_device()
        self.cuda = runtime.numba_cuda()
        self.stream = self.cuda.stream()
        self.lock = threading.RLock()
        self._arenas: weakref.WeakKeyDictionary[Program, Memory] = weakref.WeakKeyDictionary()

    def arena(self, program: Program, nbytes: int) -> Memory:
        """Scratch memory of at least so many bytes: that of the program's other plans where it is large
        enough. Runs take turns, so that no two plans use it at once."""
        found = self._arenas.get(program)
        if found is None or found.nbytes < nbytes:
            found = Memory(
                (nbytes if found is None else max(nbytes, found.nbytes * 5 // 4),), "uint8", self.cuda
            )
            self._arenas[program] = found
        return found

    def allocate(self, array: np.ndarray) -> Memory:
        """Memory that starts with an array's numbers."""
        memory = Memory(array.shape, array.dtype.name, self.cuda)
        self.write(memory, array)
        return memory

    def read(self, memory: Memory) -> np.ndarray:
        """A copy of what memory holds."""
        with self.lock:
            found = memory.array.copy_to_host(stream=self.stream)
            self.stream.synchronize()
        return np.array(found[: memory.count].reshape(memory.shape))

    def write(self, memory: Memory, array: np.ndarray) -> None:
        """Overwrite memory, in place."""
        host = np.empty(memory.shape, memory.dtype)
        host[...] = array
        if memory.count:
            with self.lock:
                memory.array.copy_to_device(host.reshape(-1), stream=self.stream)
                self.stream.synchronize()

    def plan(self, program: Program, sizes: Mapping[str, int], variables: Variables) -> CudaPlan:
        """Bind a program to sizes."""
        return CudaPlan(self, program, sizes, variables)

    def listing(self, program: Program, sizes: Mapping[str, int]) -> list[PlannedStep]:
        """What a plan would run: on the CPU alone it is told.

        Raises:
            DeviceError: always.
        """
        raise DeviceError("kernels are listed for the CPU only.", fix="build the model with device='cpu'.")


@functools.cache
def cuda_device() -> CudaDevice:
    """The CUDA device.

    Raises:
        DeviceError: the extra `cuda` is not installed, or there is no device.
    """
    return CudaDevice()


class Binding(ValueBuffers[CudaBuffer]):
    """A program's launches at some sizes, and the buffers they refer to; none has memory yet but the leaves.

    Args:
        program: what to compute.
        sizes: the sizes of named dimensions.
        leaf: gives the buffer of an input, variable or constant.
    """

    def __init__(
        self, program: Program, sizes: Mapping[str, int], leaf: Callable[[Value, Spec], CudaBuffer]
    ) -> None:
        super().__init__(program, sizes, leaf, CudaBuffer)
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
        for position, variable in step.writes.items():
            self.buffers[id(step.outputs[position])] = self.buffers[id(variable)]
        outputs = [self.buffer(value) for value in step.outputs]
        if step.fused is not None:
            sizes = [dim_value(axis, self.sizes) for axis in step.fused.space.axes]
            inputs = [self.buffer(value) for value in step.inputs]
            status = self._whole_status() if step.writes else None
            chain, space = step.fused.chain, step.fused.space
            written = self._written_status(step) if chain.watched else None
            launch = elementwise.launch(chain, space, sizes, inputs, outputs, status, written)
            if launch is None:
                return []
            if status is not None:
                self._finish_status(launch, status)
            return [launch]
        op: Any = step.node.op
        call = Call(
            op.bind(self.sizes),
            tuple(self.spec(value) for value in step.node.inputs),
            tuple(self.spec(value) for value in step.node.outputs),
            tuple(self.buffer(value) for value in step.node.inputs),
            tuple(outputs),
            lambda count: self.new_scratch(count, number),
            lambda checked=None: self._own_status(step, checked),
        )
        return list(self.program.device.kernel_of(step.node).launches(call))

    def _own_status(self, step: Step, checked: View | None) -> View:
        self.reporting.append((step, checked))
        return View(self.status, (codes.WIDTH,), "int64", (len(self.reporting) - 1) * codes.WIDTH)

    def _written_status(self, step: Step) -> View:
        """Where all chains that watch what they write report: each reads all of the status before it begins,
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
        self._keep: list[Memory] = []
        self._staging: dict[str, tuple[Memory, np.ndarray]] = {}
        self.nbytes = 0
        self._inputs = {id(value): name for name, value in program.inputs.items()}
        self._binding = Binding(program, sizes, self._leaf)
        self._place_buffers()
        self._status = self._allocated((max(len(self._binding.reporting), 1) * codes.WIDTH,), "int64")
        device.write(self._status, np.zeros(self._status.shape, np.int64))
        self._binding.status.memory = self._status.array
        self._calls = [launch.bound(device.stream) for launch in self._binding.launches]
        self._status_copy = device.cuda.pinned_array(self._status.shape, np.int64)
        self._results = [self._result(value) for value in program.outputs]
        self._runs = 0
        self._recording: Recording | None = None

    def _allocated(self, shape: tuple[int, ...], dtype: str) -> Memory:
        memory = Memory(shape, dtype, self.device.cuda)
        self.nbytes += memory.nbytes
        return memory

    def _leaf(self, value: Value, spec: Spec) -> CudaBuffer:
        op: Any = value.node.op
        if id(value) in self._inputs:
            memory = self._allocated(spec.sizes, spec.dtype)
            host = self.device.cuda.pinned_array(max(memory.count, 1), memory.dtype)
            self._staging[self._inputs[id(value)]] = memory, host
        elif hasattr(op, "path"):
            memory = self._variables.memory(op.path)
        else:
            memory = self.device.allocate(op.array)
        self._keep.append(memory)
        return memory.buffer

    def _place_buffers(self) -> None:
        """Give every temporary its place in one block of memory."""
        checked = [view.buffer for _, view in self._binding.reporting if view is not None]
        found = self._binding.lifetimes(kept=checked)
        offsets, total = place([lifetime for _, lifetime in found])
        arena = self.scratch = self.device.arena(self.program, max(total, 1))
        self.nbytes += total
        for (buffer, _), offset in zip(found, offsets, strict=True):
            buffer.memory = arena.array[offset : offset + buffer.nbytes] if buffer.nbytes else arena.array

    def _result(self, value: Value) -> tuple[Any, np.ndarray, tuple[int, ...]]:
        """An output's device array, the host memory it is copied to, and its shape."""
        spec, buffer = self._binding.spec(value), self._binding.buffer(value)
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
        step, checked = self._binding.reporting[number]
        status = self._status_copy[number * codes.WIDTH : (number + 1) * codes.WIDTH].copy()
        self.device.write(self._status, np.zeros(self._status.shape, np.int64))
        if checked is not None:
            status[codes.POSITION] = LAST - status[codes.POSITION]
            status[codes.FOUND] = checked.resolve().copy_to_host()[status[codes.POSITION]]
        return error_of(step, status)
