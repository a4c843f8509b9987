"""What the other processes of checks do: read requests, run their tasks, answer; see `worker`."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bigmodel_core.errors import DeviceError
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.cuda.engine.array import shared_by
from bigmodel_core.nn.outputs import listed
from bigmodel_core.plan import device_named
from bigmodel_core.registry import config
from bigmodel_core.testing.backward import Backward
from bigmodel_core.testing.checks import CheckSkipped, expect
from bigmodel_core.testing.evaluate import compute, compute_gradients
from bigmodel_core.testing.kernel_checks import Work
from bigmodel_core.testing.layer_subject import Applied
from bigmodel_core.testing.optimizer_run import steps_on
from bigmodel_core.train.checkpoint import load

SHARES: tuple[tuple[dict[str, Any], str], ...] = (
    (
        {"threads": 1},
        "other numbers where one thread does all the work: a thread must go on in steps of `threads`",
    ),
    (
        {"is_backwards": True},
        "other numbers where the last thread starts first: a thread reads what another writes; make two"
        " launches of it (bm.cuda_launches)",
    ),
)
"""Other ways to share the work of a kernel among threads, and what is wrong if numbers depend on them."""


def _backward(request: Mapping[str, Any], arrays: list[np.ndarray], state: dict[str, Any]) -> list[Any]:
    """Outputs and gradients of a layer of a configuration on a device."""
    layer = _layer(request)
    specs = [Spec(tuple(shape), dtype) for shape, dtype in request["specs"]]
    try:
        network = layer.build(*specs, device=request["device"], dtype="float32")
    except (DeviceError, ImportError) as error:
        raise CheckSkipped(f"no CUDA here: {error}") from error
    network.load_state(state)

    def run() -> list[Any]:
        outputs, _, gradients = Backward(network).run(arrays)
        return [*outputs, *gradients.values()]

    found = _however_shared(run)
    backward = Backward(network)
    for op in Work(backward.program, backward.given(arrays), state).in_place():
        op.check()
    return found


def _layer(request: Mapping[str, Any]) -> Any:
    """The layer of a configuration, or one that applies an op of a module."""
    if "op" not in request:
        return config.from_config(request["kind"], request["config"])
    try:
        return Applied(pickle.loads(bytes.fromhex(request["op"])))
    except (AttributeError, ImportError) as error:
        raise CheckSkipped(f"no other process can import the op ({error})") from error


def _loss(request: Mapping[str, Any], arrays: list[np.ndarray], state: dict[str, Any]) -> list[Any]:
    """A loss of a configuration with the gradient of the prediction, on a device."""
    loss = config.from_config("loss", request["config"])
    device = request["device"]

    def run() -> list[Any]:
        try:
            each = compute(loss.each, *arrays, device=device)
        except (DeviceError, ImportError) as error:
            raise CheckSkipped(f"no CUDA here: {error}") from error
        return [each, *compute_gradients(loss, *arrays, wrt=[0], device=device)]

    return _however_shared(run)


def _optimizer(request: Mapping[str, Any], arrays: list[np.ndarray], state: dict[str, Any]) -> list[Any]:
    """A parameter and its state after steps of an optimizer of a configuration on a device."""
    optimizer, (start, *given) = config.from_config("optimizer", request["config"]), arrays
    try:
        device_named(request["device"])
    except (DeviceError, ImportError) as error:
        raise CheckSkipped(f"no CUDA here: {error}") from error
    return _however_shared(lambda: [*steps_on(request["device"], optimizer, start, given).values()])


def _however_shared(run: Callable[[], list[Any]]) -> list[Any]:
    """What is computed, once its kernels have given the same however threads share their work."""
    with shared_by() as kernels:
        usual = run()
    names = ", ".join(dict.fromkeys(kernels))
    for options, problem in SHARES if kernels else ():
        with shared_by(**options):
            for found, expected in zip(run(), usual, strict=True):
                same = np.allclose(found, expected, rtol=1e-4, atol=1e-5, equal_nan=True)
                expect(same, f"CUDA kernels {names}: {problem}")
    return usual


def _reload(request: Mapping[str, Any], arrays: list[np.ndarray], state: dict[str, Any]) -> list[Any]:
    """Outputs of a saved model."""
    return listed(load(request["path"])(*arrays))


def main() -> None:
    """Answer requests on standard input until it ends; standard output is kept for answers."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    tasks = {"backward": _backward, "loss": _loss, "optimizer": _optimizer, "reload": _reload}
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
