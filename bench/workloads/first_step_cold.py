"""From the start of the process to the end of the first training step, with nothing compiled before."""

from __future__ import annotations

import os
import tempfile

from bench.workload import TRAINED, Run, Target, Workload, module, training_rows

WORKLOAD = Workload("first_step_cold", "process start to first step, empty kernel caches", "s", warm_up=())
PEERS = TRAINED
LIMITS = {"mlp_b64": 10.0, "lenet_b64": 15.0, "resnet20_b32": 15.0}
"""Seconds that are promised."""


def rows() -> dict[str, tuple[Target, ...]]:
    return {row: (Target(limit=LIMITS[row]),) if row in LIMITS else () for row in training_rows()}


def measure(row: str, peer: str, run: Run) -> float:
    with tempfile.TemporaryDirectory() as empty:
        os.environ.update(
            BIGMODEL_CACHE_DIR=empty, TORCHINDUCTOR_CACHE_DIR=empty, JAX_ENABLE_COMPILATION_CACHE="false"
        )
        run.notes["loss"] = module(row).step(peer, run)()
        return run.since_start()
