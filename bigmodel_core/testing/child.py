"""Work in a copy of the process, which may die of it."""

from __future__ import annotations

import faulthandler
import mmap
import os
import signal
import traceback
import warnings
from collections.abc import Callable

from bigmodel_core.kernels.cpu.engine import threads

PATIENCE = 120
"""Seconds after which a copy of the process that hangs is ended."""


class Child:
    """A copy of the process, which says what it does until it ends or dies."""

    def __init__(self) -> None:
        self._said = mmap.mmap(-1, 64 * 1024)

    def say(self, text: str) -> None:
        """Put a text where the first process finds it."""
        encoded = text.encode()[: len(self._said) - 1]
        self._said[: len(encoded) + 1] = encoded + b"\0"

    def said(self) -> str:
        """What was said last."""
        return self._said[:].partition(b"\0")[0].decode()

    def run(self, work: Callable[[], None]) -> str:
        """What went wrong, empty where nothing did."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads, which the copy lacks and does not need
            child = os.fork()
        if child == 0:
            self._work(work)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            return f"{self.said()}: {signal.Signals(-code).name}"
        return self.said() if code else ""

    def _work(self, work: Callable[[], None]) -> None:
        faulthandler.disable()
        signal.alarm(PATIENCE)
        code = 1
        try:
            threads.set_num_threads(1)
            work()
            code = 0
        except BaseException as error:
            self.say(f"{self.said()}: {error}\n{traceback.format_exc()}")
        finally:
            os._exit(code)
