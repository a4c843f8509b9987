"""Copies of the process in which kernels run that may end it."""

from __future__ import annotations

import contextlib
import faulthandler
import mmap
import os
import pickle
import signal
import sys
import tempfile
import traceback
import unittest
import warnings
from collections.abc import Callable
from typing import IO, Any

IS_POSSIBLE = sys.platform.startswith(("linux", "darwin"))
"""Whether the system makes copies of processes."""
PATIENCE = 120
"""Seconds after which a copy that hangs is ended."""


class Died(AssertionError):
    """What ran in a copy of the process ended it."""


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
        return self._said[:].partition(b"\0")[0].decode(errors="replace")

    def run(self, work: Callable[[], None]) -> None:
        """Run something there; what it raises is raised here.

        Raises:
            Died: it ended the process; the text names the signal, after what was said last.
        """
        with tempfile.TemporaryFile() as answer:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of threads, which the copy lacks and does not need
                child = os.fork()
            if child == 0:
                self._work(work, answer)
            try:
                _, status = os.waitpid(child, 0)
            except BaseException:  # such as a limit of time
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                raise
            code = os.waitstatus_to_exitcode(status)
            if code < 0:
                raise Died(self._last_words(signal.Signals(-code)))
            answer.seek(0)
            if code and (content := answer.read()):
                raise pickle.loads(content)
            if code:
                raise AssertionError(self.said())

    def _last_words(self, number: signal.Signals) -> str:
        place = f"{said}: " if (said := self.said()) else ""
        if number == signal.SIGALRM:
            return f"{place}it did not end within {PATIENCE} seconds"
        return f"{place}it ended the process with {number.name}"

    def _work(self, work: Callable[[], None], answer: IO[bytes]) -> None:
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what C libraries say there of their end
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            self.say(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
            with contextlib.suppress(Exception):
                answer.write(_pickled(error))
                answer.flush()
        finally:
            os._exit(code)


def _pickled(error: BaseException) -> bytes:
    """An exception that another process can read, or one that says the same."""
    with contextlib.suppress(Exception):
        content = pickle.dumps(error)
        if str(pickle.loads(content)) == str(error):
            return content
    if isinstance(error, unittest.SkipTest):
        return pickle.dumps(unittest.SkipTest(str(error)))
    is_plain = isinstance(error, AssertionError)
    return pickle.dumps(AssertionError(str(error) if is_plain else f"{type(error).__name__}: {error}"))


def isolated(work: Callable[..., Any], *arguments: Any) -> None:
    """Run a check in a copy of the process, so that it can end only that; in this one where there are none.

    Raises:
        Died: it ended the copy.
    """
    if IS_POSSIBLE:
        Child().run(lambda: work(*arguments))
    else:
        work(*arguments)
