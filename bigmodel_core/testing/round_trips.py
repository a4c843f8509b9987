"""Checks that take a layer elsewhere and back: another device, a fresh process, an exported file."""

from __future__ import annotations

import math
import pickle
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core import registry
from bigmodel_core.graph import Node, needed
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.outputs import listed
from bigmodel_core.ops.recurrent import Recurrent
from bigmodel_core.plan.kernel_table import without_kernel
from bigmodel_core.registry import config
from bigmodel_core.testing.checks import CheckSkipped, expect, expect_numbers
from bigmodel_core.testing.layer_subject import Applied, LayerSubject
from bigmodel_core.testing.registry_checks import require_registered
from bigmodel_core.testing.worker import FRESH, SIMULATOR, Worker, cuda_workers, exchanged, simulates_cuda
from bigmodel_core.train.checkpoint import save

MOST_WORK = 500_000
"""Multiplications of a prediction that CUDA's simulator does in about 15 seconds, with the gradients."""
RTOL, ATOL = 1e-4, 1e-5
"""How far float32 results of another implementation may be away."""


def check_cuda(subject: LayerSubject) -> None:
    """Outputs and gradients on "cuda" (a device, if there is one, and the simulator) equal those on "cpu"."""
    sent = _sent(subject.layer)
    network = subject.network()
    nodes = needed(network.trace(training=True).outputs)
    if lacking := without_kernel("cuda", [node.op for node in nodes]):
        raise CheckSkipped(f"{', '.join(lacking)}: no CUDA kernel")
    for worker in cuda_workers():
        simulated = worker is SIMULATOR
        arrays = subject.arrays(min(subject.batch, 3) if simulated else subject.batch)
        if not simulated or not (reason := _too_much_for_the_simulator(nodes, arrays, network)):
            _compare_cuda(subject, sent, network, arrays, worker)
        elif simulates_cuda():
            raise CheckSkipped(reason)


def _sent(layer: Layer) -> dict[str, Any]:
    """How another process finds a layer: by its registered name, or an op by its module."""
    if not isinstance(layer, Applied):
        return {"kind": require_registered(layer), "config": config.to_config(layer)}
    if type(layer.op).__module__ == "__main__":
        raise CheckSkipped("no other process can import what a script defines; put the op into a module")
    try:
        return {"op": pickle.dumps(layer.op).hex()}
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise CheckSkipped(f"no other process can import the op ({error}); define it in a module") from None


def _compare_cuda(
    subject: LayerSubject,
    sent: Mapping[str, Any],
    network: Network,
    arrays: list[np.ndarray],
    worker: Worker,
) -> None:
    outputs, _, gradients = subject.backward().run(arrays)
    found = exchanged(
        worker,
        "backward",
        arrays,
        network.state(),
        **sent,
        specs=[[list(spec.shape), spec.dtype] for spec in subject.specs_in("float32")],
        device="cuda",
    )
    for number, (ours, theirs) in enumerate(zip([*outputs, *gradients.values()], found, strict=True)):
        expect_numbers(theirs, ours, f"array {number}")
        np.testing.assert_allclose(theirs, ours, rtol=RTOL, atol=ATOL, err_msg=f"array {number}")


def _too_much_for_the_simulator(
    nodes: Sequence[Node], arrays: Sequence[np.ndarray], network: Network
) -> str | None:
    """Why CUDA's simulator, thousands of times slower than a device, would take too long, or None."""
    if sum(array.size for array in arrays) > 2000:
        return "the inputs are too large for CUDA's simulator; pass smaller ones"
    if (work := _work(nodes, len(arrays[0]) if arrays and arrays[0].ndim else 1)) > MOST_WORK:
        return f"{work:,} multiplications are too many for CUDA's simulator; pass smaller inputs"
    recurrent = any(isinstance(node.op, Recurrent) for node in nodes)
    if recurrent and sum(array.size for array in network.state().values()) > 2000:
        return "the states are too wide for CUDA's simulator; pass a narrower layer"
    return None


def _work(nodes: Sequence[Node], batch: int) -> int:
    """About how many multiplications a prediction takes: of products, rows times columns times what is added
    up, which is the square root of the product of three sizes."""
    total = 0
    for node in nodes:
        read, made = (
            [math.prod(value.spec.bind(dict.fromkeys(value.spec.names(), batch)).sizes) for value in values]
            for values in (node.inputs, node.outputs)
        )
        is_product = len(read) > 1 and len({*read[:2], made[0]}) > 1
        total += max(sum(read) + sum(made), math.isqrt(read[0] * read[1] * made[0]) if is_product else 0)
    return total


def check_reload(subject: LayerSubject) -> None:
    """A saved model, loaded by a process that knows only names, gives the same bits."""
    require_registered(subject.layer)
    network = subject.rebuilt()
    arrays = subject.arrays(subject.batch)
    expected = network(*arrays)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        save(subject.layer, path)
        found = exchanged(FRESH, "reload", arrays, {}, path=str(path))
    for ours, theirs in zip(listed(expected), found, strict=True):
        expect_numbers(theirs, ours, "the reloaded model")
        expect(np.array_equal(ours, theirs), "the reloaded model computes something else")


def check_onnx(subject: LayerSubject) -> None:
    """The exported file gives the same in ONNX Runtime for batches of 1, 2 and 7, as outputs and as what is
    carried to the next call."""
    exporters: list[Any] = [cls for cls in registry.classes("exporter") if cls.suffix == ".onnx"]
    if not exporters:
        raise CheckSkipped("no installed exporter writes .onnx files")
    try:
        import onnxruntime
    except ImportError as error:
        raise CheckSkipped(f"ONNX Runtime is not installed: {error}") from error
    network = subject.rebuilt()
    nodes = needed(network.trace(training=False).outputs)
    if kept := dict.fromkeys(type(node.op).__name__ for node in nodes if not node.op.exported):
        raise CheckSkipped(f"{', '.join(kept)}: exported = False")
    free = any(spec.names() for spec in subject.specs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        exporters[0]().export(subject.layer, path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        answering = exporters[0]().session(path)
    names = [item.name for item in session.get_inputs()]
    for batch in (1, 2, 7) if free else (1,):
        arrays = subject.arrays(batch)
        ours, given = listed(network(*arrays)), list(arrays)
        if network.trace(training=False).carried:
            calls = network.session(len(arrays[0]))
            given += calls.state().values()
            ours = [*listed(calls(*arrays)), *calls.state().values()]
        if len(names) == len(given):
            theirs = session.run(None, dict(zip(names, given, strict=True)))
        else:  # the file has what is carried in a form of its own, which the exporter compared
            ours, theirs = listed(network(*arrays)), list(answering.run(*arrays).values())
        for left, right in zip(ours, theirs, strict=True):
            expect(
                left.shape == right.shape, f"batch {batch}: the file gives {right.shape}, not {left.shape}"
            )
            expect_numbers(right, left, f"batch {batch}")
            np.testing.assert_allclose(right, left, rtol=RTOL, atol=ATOL, err_msg=f"batch {batch}")
