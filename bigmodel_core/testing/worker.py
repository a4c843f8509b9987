"""Other processes for checks: one that never saw the code under test, one with CUDA's simulator.

Each is started once, at the first check that needs it, and serves all that follow. Requests and answers are
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

from bigmodel_core.nn.outputs import listed
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
                [sys.executable, "-m", "bigmodel_core.testing.worker"],
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


def _cuda_environment() -> dict[str, str]:
    """A real device where its driver and the extra are there, else Numba's simulator."""
    if Path("/dev/nvidiactl").exists() and importlib.util.find_spec("numba_cuda") is not None:
        return {}
    return {"NUMBA_ENABLE_CUDASIM": "1"}


FRESH = Worker(dict)
"""A process that has only what it looks up by name."""
CUDA = Worker(_cuda_environment)
"""A process with the device "cuda": Numba's simulator, unless there is a real one."""


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


# In the other process -------------------------------------------------------------------------------------


def _backward(request: Mapping[str, Any], arrays: list[np.ndarray], state: dict[str, Any]) -> list[Any]:
    """Outputs and gradients of a layer of a configuration on a device."""
    from bigmodel_core.errors import DeviceError
    from bigmodel_core.graph.spec import Spec
    from bigmodel_core.registry import config
    from bigmodel_core.testing.backward import Backward

    layer = config.from_config(request["kind"], request["config"])
    specs = [Spec(tuple(shape), dtype) for shape, dtype in request["specs"]]
    try:
        network = layer.build(*specs, device=request["device"])
    except (DeviceError, ImportError) as error:
        raise CheckSkipped(f"no CUDA here: {error}") from error
    network.load_state(state)
    outputs, _, gradients = Backward(network).run(arrays)
    return [*outputs, *gradients.values()]


def _loss(request: Mapping[str, Any], arrays: list[np.ndarray], state: dict[str, Any]) -> list[Any]:
    """A loss of a configuration with the gradient of the prediction, on a device."""
    from bigmodel_core.errors import DeviceError
    from bigmodel_core.registry import config
    from bigmodel_core.testing.evaluate import compute, compute_gradients

    loss = config.from_config("loss", request["config"])
    try:
        each = compute(loss.each, *arrays, device=request["device"])
    except (DeviceError, ImportError) as error:
        raise CheckSkipped(f"no CUDA here: {error}") from error
    return [each, *compute_gradients(loss, *arrays, wrt=[0], device=request["device"])]


def _reload(request: Mapping[str, Any], arrays: list[np.ndarray], state: dict[str, Any]) -> list[Any]:
    """Outputs of a saved model."""
    import bigmodel_core as bm

    return listed(bm.load(request["path"])(*arrays))


def main() -> None:
    """Answer requests on standard input until it ends; standard output is kept for answers."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    tasks = {"backward": _backward, "loss": _loss, "reload": _reload}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            with np.load(request["sent"]) as content:
                arrays = [content[f"input:{n}"] for n in range(sum(k.startswith("input:") for k in content))]
                state = {key[6:]: content[key] for key in content if key.startswith("state:")}
            outputs = tasks[request["task"]](request, arrays, state)
            np.savez(request["got"], **{f"output:{number}": array for number, array in enumerate(outputs)})
            answer: dict[str, Any] = {"done": True}
        except CheckSkipped as reason:
            answer = {"skipped": str(reason)}
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
