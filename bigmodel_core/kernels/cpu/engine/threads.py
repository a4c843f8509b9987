"""The thread pool under the table walker: Python threads parked inside native code that holds no lock.

Threads of the interpreter, started on first use, call `runner.work` through ctypes and stay there without the
interpreter's lock. They survive calls from many Python threads at once (the second caller runs its own
chunks), a fork (the child starts again) and the end of the process (they are stopped and joined first).
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from bigmodel_core.errors import ConfigError
from bigmodel_core.kernels.cpu.engine import runner

MOST_THREADS = 1024
"""More would only wait for each other, and few systems let a process have many more."""

_lock = threading.RLock()


class _State:
    """The pool of this process; one object, replaced as a whole after a fork."""

    wanted: int | None = None
    block: np.ndarray | None = None
    address: int = 0
    threads: list[threading.Thread] = []
    keep: list[object] = []


class _Own(threading.local):
    """Whether the kernels of a thread run on that thread alone."""

    is_alone = False


_own = _Own()
_NOBODY = np.zeros(runner.POOL_SIZE, np.int64)
"""A pool without workers: whoever uses it runs all chunks himself."""


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """The kernels that this thread runs inside use no other thread: for several small programs at once, each
    on a thread of its own, since sharing a small kernel takes longer than running it."""
    before, _own.is_alone = _own.is_alone, True
    try:
        yield
    finally:
        _own.is_alone = before


def num_threads() -> int:
    """How many threads kernels use: `set_num_threads`, else `BIGMODEL_NUM_THREADS`, else the cores of this
    process."""
    if _State.wanted is None:
        _State.wanted = _default()
    return _State.wanted


def set_num_threads(count: int) -> None:
    """Set how many threads kernels use from now on; results are the same bits at any number.

    Raises:
        ConfigError: `count` is not a positive integer.
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise ConfigError(f"the number of threads is {count!r}.", fix="pass a positive integer.")
    if count > MOST_THREADS:
        raise _too_many("the number of threads", count)
    with _lock:
        if count != _State.wanted:
            _close()
            _State.wanted = count


def is_worker(thread: threading.Thread) -> bool:
    """Whether a thread is one of the pool's, which run native code alone."""
    return thread in _State.threads


def pool() -> int:
    """The address of the pool's block; starts the workers on first use."""
    if _own.is_alone:
        return int(_NOBODY.ctypes.data)
    return _State.address or _start()


def _default() -> int:
    text = os.environ.get("BIGMODEL_NUM_THREADS")
    if text:
        if not (text.isascii() and text.isdigit()) or not text.strip("0"):
            raise ConfigError(
                f"BIGMODEL_NUM_THREADS is '{text}'.", fix="set it to a positive integer, or unset it."
            )
        if len(text) > 9 or int(text) > MOST_THREADS:
            raise _too_many("BIGMODEL_NUM_THREADS", text if len(text) < 20 else f"{text[:20]}...")
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _too_many(what: str, count: object) -> ConfigError:
    return ConfigError(
        f"{what} is {count}, expected at most {MOST_THREADS}.",
        fix=f"leave it out, or use as many as there are cores: {os.cpu_count() or 1}.",
    )


def _start() -> int:
    with _lock:
        if _State.address:
            return _State.address
        block = np.zeros(runner.POOL_SIZE + 8, np.int64)
        address = (block.ctypes.data + 63) // 64 * 64
        slots = block[(address - block.ctypes.data) // 8 :]
        slots[runner.WORKERS] = num_threads() - 1
        _State.keep += [block, *_system_calls(slots)]
        _State.block = slots
        if num_threads() > 1:
            work = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t)(
                runner.WORK.address
            )
            result, failure = (ctypes.c_ssize_t * 1)(), (ctypes.c_void_p * 1)()
            _State.keep += [work, result, failure]
            for number in range(num_threads() - 1):
                thread = threading.Thread(
                    target=work,
                    args=(ctypes.addressof(result), ctypes.addressof(failure), address),
                    name=f"bigmodel-{number + 1}",
                    daemon=True,
                )
                try:
                    thread.start()
                except RuntimeError as error:  # the system has no more threads for this process
                    _close()
                    raise ConfigError(
                        f"the system does not give {num_threads()} threads: {error}.",
                        fix="set BIGMODEL_NUM_THREADS to a smaller number.",
                    ) from None
                _State.threads.append(thread)
        _State.address = address
        return address


@functools.cache
def _library() -> Any:
    """The system's library of threads."""
    platform: str = sys.platform  # mypy takes the other branches for dead otherwise
    if platform == "win32":
        return ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]  # on Windows only
    return ctypes.CDLL(None)


def give_way() -> int:
    """The address of the system's function by which a thread that waits offers its core to others."""
    library, platform = _library(), str(sys.platform)
    return _address(library.SwitchToThread if platform == "win32" else library.sched_yield)


def _system_calls(slots: np.ndarray) -> list[object]:
    """Fill in how a worker sleeps, how it is woken and how a waiting caller gives way."""
    library, platform = _library(), str(sys.platform)
    slots[runner.YIELD] = give_way()
    if platform == "win32":
        slots[runner.WAIT], slots[runner.WAIT_ARGUMENT] = _address(library.Sleep), 1
        return [library]
    if platform.startswith("linux"):
        semaphore = ctypes.create_string_buffer(64)
        library.sem_init(semaphore, 0, 0)
        slots[runner.WAIT], slots[runner.POST] = _address(library.sem_wait), _address(library.sem_post)
        slots[runner.WAIT_ARGUMENT] = ctypes.addressof(semaphore)
        return [library, semaphore]
    slots[runner.WAIT], slots[runner.WAIT_ARGUMENT] = (
        _address(library.usleep),
        500,
    )  # no unnamed semaphores here
    return [library]


def _address(function: object) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]  # the stubs miss functions


def _close() -> None:
    """Tell the workers to stop and wait for them; their memory is kept, so that a plan still running is
    safe."""
    if _State.block is not None:
        _State.block[runner.QUIT] = 1
        if _State.block[runner.POST]:
            post = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(int(_State.block[runner.POST]))
            for _ in _State.threads:
                post(int(_State.block[runner.WAIT_ARGUMENT]))
        for thread in _State.threads:
            thread.join()
    _State.block, _State.address, _State.threads = None, 0, []


def _after_fork() -> None:
    """The child has none of its parent's threads: it starts with a new pool on first use."""
    global _lock
    _lock = threading.RLock()
    _State.block, _State.address, _State.threads = None, 0, []


atexit.register(_close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
