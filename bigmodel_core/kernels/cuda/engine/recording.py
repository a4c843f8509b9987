"""Recordings: everything that a plan puts on a stream, launched again as one CUDA graph.

A launch from Python costs the host some 50 microseconds, more than most kernels take on the device. What a
plan launches is the same on every run, with the same arguments, so it is recorded once and replayed by a
single call.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from bigmodel_core.kernels.cuda.engine.runtime import simulated


class Recording:
    """Work on a stream as one graph.

    Args:
        runtime: the module `cuda.bindings.runtime`.
        executable: the graph, ready to run.
        stream: the stream's number.
    """

    def __init__(self, runtime: Any, executable: Any, stream: int) -> None:
        self._runtime, self._executable, self._stream = runtime, executable, stream
        weakref.finalize(self, runtime.cudaGraphExecDestroy, executable).atexit = False

    def replay(self) -> None:
        """Put all of it on the stream again."""
        _checked(self._runtime, self._runtime.cudaGraphLaunch(self._executable, self._stream))


def record(stream: Any, work: Callable[[], None]) -> Recording | None:
    """What `work` puts on a stream, which does not run meanwhile; None in the simulator, and where CUDA's
    bindings are missing or the driver refuses: `work` then must be called on each run.

    Args:
        stream: of Numba's.
        work: launches and copies whose kernels are compiled and whose memory stays where it is.
    """
    if simulated():
        return None
    try:
        from cuda.bindings import runtime
    except ImportError:
        return None
    number = int(getattr(stream.handle, "value", stream.handle))
    mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeRelaxed
    try:
        _checked(runtime, runtime.cudaStreamBeginCapture(number, mode))
        try:
            work()
        finally:
            graph = _checked(runtime, runtime.cudaStreamEndCapture(number))
        try:
            return Recording(runtime, _checked(runtime, runtime.cudaGraphInstantiate(graph, 0)), number)
        finally:
            runtime.cudaGraphDestroy(graph)
    except _RefusedError:
        return None


class _RefusedError(Exception):
    """A call of the driver that failed."""


def _checked(runtime: Any, result: tuple[Any, ...]) -> Any:
    """What a call returns besides its code."""
    if result[0] != runtime.cudaError_t.cudaSuccess:
        raise _RefusedError(str(result[0]))
    return result[1] if len(result) > 1 else None
