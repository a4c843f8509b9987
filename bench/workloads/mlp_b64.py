"""A training step of a small dense network: 784-128-64-10, SGD, batch 64."""

from __future__ import annotations

from bench import dense
from bench.workload import Run, Step, Target, Workload

WORKLOAD = Workload(
    "mlp_b64",
    "training step, 784-128-64-10, SGD, batch 64",
    "ms",
    targets=(Target(ratio=2.0),),
)
WIDTHS = (784, 128, 64, 10)


def step(peer: str, run: Run, batch: int = 64) -> Step:
    return dense.step(dense.Task(WIDTHS, batch), peer, run)
