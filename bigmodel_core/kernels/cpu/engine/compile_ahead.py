"""Kernels that a plan needs and the cache lacks, compiled by several processes at once.

Numba compiles one function at a time in a process. Copies of this process (`fork`) share the work through a
pipe that holds the number of each kernel once, the longest first, and leave what they compile in the kernel
cache. It is a matter of time alone: what is missing afterwards, for whatever reason, is compiled as it is
requested.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterable

from bigmodel_core.kernels import cache
from bigmodel_core.kernels.cpu.engine.fingerprint import code_length
from bigmodel_core.kernels.cpu.engine.native import NativeFunction, compile_native
from bigmodel_core.kernels.cpu.engine.threads import is_worker, num_threads

FEWEST = 6
"""With fewer kernels to compile, a copy of the process is not worth it."""
EACH = 4
"""Kernels that make another copy worth it."""
PATIENCE = 120.0
"""Seconds after which a copy that is not done is given up."""


def compile_ahead(kernels: Iterable[NativeFunction]) -> None:
    """Compile those kernels that this process has not loaded and the cache does not hold.

    Does nothing where copies of the process are not safe (anywhere but on Linux, or while other Python
    threads run, whose locks a copy would find taken forever), or where no cache passes the results on.
    """
    if not _can_fork():
        return
    missing = [kernel for kernel in dict.fromkeys(kernels) if not kernel.is_ready]
    helpers = min(num_threads(), len(missing) // EACH) - 1
    if len(missing) < FEWEST or helpers < 1 or not cache.is_usable():
        return
    missing.sort(key=lambda kernel: code_length(kernel.function), reverse=True)  # so that all end together
    taking, giving = os.pipe()
    for number in range(len(missing)):
        os.write(giving, number.to_bytes(2, "little"))
    os.close(giving)
    children: list[int] = []
    try:
        for _ in range(helpers):
            child = _fork()
            if child == 0:
                _help(missing, taking)
            children.append(child)
        own = set(_compiled(missing, taking))
        _wait_for(children, PATIENCE)
    except BaseException:
        _wait_for(children, 0.0)
        raise
    finally:
        os.close(taking)
    for number, kernel in enumerate(missing):
        if number not in own:
            cache.count_compilation(kernel.name)


def _can_fork() -> bool:
    if not sys.platform.startswith("linux") or threading.current_thread() is not threading.main_thread():
        return False
    return all(t is threading.main_thread() or is_worker(t) for t in threading.enumerate())


def _fork() -> int:
    with warnings.catch_warnings():
        # Python and others warn of threads that are not Python's, such as those of BLAS: nobody calls them.
        warnings.simplefilter("ignore")
        return os.fork()


def _compiled(kernels: list[NativeFunction], taking: int) -> Iterable[int]:
    """Compile kernels whose numbers come from the pipe, until it is empty; gives the numbers."""
    while True:
        taken = os.read(taking, 2)
        if len(taken) < 2:
            return
        number = int.from_bytes(taken, "little")
        compile_native(kernels[number])
        yield number


def _help(kernels: list[NativeFunction], taking: int) -> None:
    """What a copy does; it never returns, and an error is left to the process that asks for the kernel."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process deals with Ctrl-C
        for _ in _compiled(kernels, taking):
            pass
    except BaseException:
        os._exit(1)
    os._exit(0)


def _wait_for(children: list[int], patience: float) -> None:
    """Wait until all have ended; after so many seconds, end them."""
    end = time.monotonic() + patience
    for child in children:
        while os.waitpid(child, os.WNOHANG)[0] == 0:
            if time.monotonic() > end:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                break
            time.sleep(0.005)
