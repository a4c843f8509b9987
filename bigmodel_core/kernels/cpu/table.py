"""Launches bound to memory and run as one native call: for tests and benchmarks of single kernels."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from bigmodel_core.kernels.cpu import runner, threads
from bigmodel_core.kernels.cpu.launch import Launch, integer_of


class Table:
    """Launches whose buffers have addresses, ready to run.

    Args:
        launches: run in this order.
        repeat: how often one `run` goes through them.
    """

    def __init__(self, launches: Sequence[Launch], repeat: int = 1) -> None:
        self._contexts = [np.array([integer_of(item) for item in it.context], np.int64) for it in launches]
        self._status = np.zeros(8, np.int64)
        status = self._status.ctypes.data
        rows = [
            (launch.kernel.address, context.ctypes.data, launch.chunks, 0, 0, status)
            for launch, context in zip(launches, self._contexts, strict=True)
        ]
        self._table = np.array(rows * repeat, np.int64).reshape(-1, runner.ROW)
        self._result, self._failure = (ctypes.c_ssize_t * 1)(), (ctypes.c_void_p * 1)()
        kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_ssize_t] * 4)
        self._native = kind(runner.RUN.address)
        self._arguments = (
            ctypes.addressof(self._result),
            ctypes.addressof(self._failure),
            self._table.ctypes.data,
            len(self._table),
        )

    def run(self) -> None:
        """Run all launches, on as many threads as `threads.num_threads()` says."""
        self._native(*self._arguments, threads.pool(), self._status.ctypes.data)
