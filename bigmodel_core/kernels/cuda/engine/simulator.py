"""Numba's simulator of a CUDA device, mended where it is slow or wrong.

Its threads are threads of the operating system, and kernels run in them as Python.
"""

from __future__ import annotations

import functools
import math
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np


@functools.cache
def share_arrays_of_blocks() -> None:
    """Give the threads of a simulated block one and the same shared array.

    The simulator looks an array up by the line that asks for it and makes it if there is none, in two
    steps: two threads that ask at the same moment get an array each, and never see what the other writes.
    """
    from numba.core import types as numba_types
    from numba.cuda.simulator.kernelapi import FakeCUDAShared
    from numba.np import numpy_support

    in_two_steps = FakeCUDAShared.array

    def array(self: Any, shape: Any, dtype: Any) -> np.ndarray:
        if shape == 0:  # dynamic shared memory, made with the block
            return in_two_steps(self, shape, dtype)
        asking = sys._getframe(1)
        number = numpy_support.as_dtype(dtype) if isinstance(dtype, numba_types.Type) else dtype
        line = asking.f_code.co_filename, asking.f_lineno
        return self._allocations.setdefault(line, np.empty(shape, number))

    FakeCUDAShared.array = array


@functools.cache
def meet_without_polling() -> None:
    """Let the threads of a simulated block wait for each other, and a launch for them.

    The simulator asks them in a loop whether all have come, which takes most of the time. Where a thread has
    ended, by an error or not, the others meet without it.
    """
    from numba.cuda.simulator.kernel import BlockManager, BlockThread

    def run(self: Any, place: tuple[int, ...], *arguments: Any) -> None:
        self.arrived, self.meetings, self.changed = 0, 0, threading.Condition()

        def work() -> None:
            try:
                self._f(*arguments)
            finally:
                with self.changed:
                    self.running -= 1
                    meet_if_all_are_there(self)

        points = list(np.ndindex(*self._block_dim))
        self.running = len(points)
        self.threads = [BlockThread(work, self, place, point, self._debug) for point in points]
        for thread in self.threads:
            thread.start()
        for thread in self.threads:
            thread.join()
        for thread in self.threads:
            if thread.exception:
                raise thread.exception[0].with_traceback(thread.exception[1])

    def meet_if_all_are_there(block: Any) -> None:
        if block.arrived and block.arrived == block.running:
            block.arrived = 0
            block.meetings += 1
            block.changed.notify_all()

    def syncthreads(self: Any) -> None:
        block = self._manager
        with block.changed:
            this = block.meetings
            block.arrived += 1
            meet_if_all_are_there(block)
            block.changed.wait_for(lambda: block.meetings > this)

    BlockManager.run, BlockThread.syncthreads = run, syncthreads


def read_only(array: Any) -> Any:
    """A simulated device array of the same memory, to which writing is an error."""
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    view = array._ary.view()
    view.flags.writeable = False
    return FakeCUDAArray(view)


def plain(argument: Any) -> Any:
    """An integer, or a tuple of them, as Python's: the simulator computes with these several times faster."""
    if isinstance(argument, tuple):
        return tuple(plain(item) for item in argument)
    return int(argument) if isinstance(argument, np.int64) else argument


@functools.cache
def replacements() -> dict[int, Any]:
    """By the identity of a function of `math`, what the simulator calls instead."""
    return {id(getattr(math, name)): function for name, function in functions_of_math().items()}


@functools.cache
def functions_of_math() -> dict[str, Callable[..., Any]]:
    """Functions of `math` by name, that keep float32 and never raise."""

    def typed(function: Callable[[float], float]) -> Callable[[Any], Any]:
        return lambda x: np.asarray(x).dtype.type(function(float(x)))

    same: tuple[str, ...] = (
        "exp",
        "expm1",
        "log",
        "log1p",
        "log2",
        "log10",
        "sqrt",
        "sin",
        "cos",
        "tan",
        "sinh",
    )
    same += ("cosh", "tanh", "floor", "ceil", "trunc", "fabs", "fmod", "copysign")
    other = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2"}
    other |= {"asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "pow": "power"}
    found: dict[str, Callable[..., Any]] = {
        name: getattr(np, other.get(name, name)) for name in (*same, *other)
    }
    return found | {"erf": typed(math.erf), "erfc": typed(math.erfc)}
