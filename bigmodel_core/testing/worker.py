"""Other processes for checks: one that never saw the code under test, one with CUDA's simulator.

Each is started once, at the first check that needs it, and serves all later ones. Requests and answers are
lines of JSON; arrays travel in files.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.testing.checks import CheckSkipped


class Worker:
    """A Python process that runs checks' tasks.

    Args:
        environment: gives what to set in its environment, once it is started.
    """

    def __init__(self, environment: Callable[[], Mapping[str, str]]) -> None:
        self._environment, self._lock = environment, threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def ask(self, task: str, **details: Any) -> dict[str, Any]:
        """Run a task there.

        Raises:
            CheckSkipped: the task cannot be run there.
            AssertionError: it failed, or the process died.
        """
        with self._lock:
            process = self._started()
            assert process.stdin is not None and process.stdout is not None
            try:
                process.stdin.write(json.dumps({"task": task, **details}) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except OSError:
                line = ""
            if not line:
                self._process = None
                raise AssertionError(f"the process for '{task}' ended with status {process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "skipped" in answer:
            raise CheckSkipped(answer["skipped"])
        if "failed" in answer:
            raise AssertionError(f"in another process: {answer['failed']}")
        return answer

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bigmodel_core.testing.tasks"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    **self._environment(),
                },
            )
            atexit.register(self.stop)
        return self._process

    def stop(self) -> None:
        """End the process, if it runs."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
            process.stdout.close()


def simulates_cuda() -> bool:
    """Whether the device "cuda" is Numba's simulator here: where no driver or no extra is installed."""
    return not Path("/dev/nvidiactl").exists() or importlib.util.find_spec("numba_cuda") is None


FRESH = Worker(dict)
"""A process that has only what it looks up by name; "cuda" is a real device there, if there is one."""
SIMULATOR = Worker(lambda: {"NUMBA_ENABLE_CUDASIM": "1"})
"""A process with Numba's simulator, where a kernel that leaves its memory or writes to an input raises."""


def cuda_workers() -> list[Worker]:
    """Where "cuda" has to be right: on a device, if there is one, and in the simulator."""
    return [SIMULATOR] if simulates_cuda() else [FRESH, SIMULATOR]


def exchanged(
    worker: Worker, task: str, arrays: Sequence[np.ndarray], state: Mapping[str, np.ndarray], **details: Any
) -> list[np.ndarray]:
    """Send arrays to a task and get arrays back."""
    with tempfile.TemporaryDirectory() as folder:
        sent, got = Path(folder, "sent.npz"), Path(folder, "got.npz")
        content: dict[str, Any] = {f"input:{number}": array for number, array in enumerate(arrays)}
        content |= {f"state:{path}": array for path, array in state.items()}
        np.savez(sent, **content)
        worker.ask(task, sent=str(sent), got=str(got), **details)
        with np.load(got) as found:
            return [found[f"output:{number}"] for number in range(len(found.files))]
