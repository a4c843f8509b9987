"""A training step on a CUDA device: dense networks, Adam, the batch from the host and the loss back."""

from __future__ import annotations

from collections.abc import Mapping

from bench import dense, training
from bench.workload import Run, Target, Workload

WORKLOAD = Workload("cuda_steps", "training step on a CUDA device, Adam", "ms")
PEERS = ("ours", "torch")
ROWS: Mapping[str, dense.Task] = {
    "narrow_b64": dense.Task((784, 128, 10), 64),
    "narrow_b1024": dense.Task((784, 128, 10), 1024),
    "wide_b256": dense.Task((784, 1024, 1024, 1024, 10), 256),
}


def rows() -> dict[str, tuple[Target, ...]]:
    return dict.fromkeys(ROWS, ())


def unavailable() -> str | None:
    from bigmodel_core.errors import DeviceError
    from bigmodel_core.kernels.cuda.engine.runtime import require_device

    try:
        require_device()
    except DeviceError as error:
        return str(error).splitlines()[0]
    return None


def measure(row: str, peer: str, run: Run) -> float:
    return run.median_step(dense.step(ROWS[row], peer, run, training.Adam(1e-3), "cuda"))
