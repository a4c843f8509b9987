"""From the start of the process to the end of the first step of mlp_b64, with nothing compiled before."""

from __future__ import annotations

import os
import tempfile

from bench.workload import Run, Target, Workload
from bench.workloads import mlp_b64

WORKLOAD = Workload(
    "first_step_cold",
    "process start to first step of mlp_b64, empty kernel caches",
    "s",
    targets=(Target(limit=10.0),),
    warm_up=(),
)


def ours(run: Run) -> float:
    with tempfile.TemporaryDirectory() as empty:
        os.environ["BIGMODEL_CACHE_DIR"] = empty
        run.notes["loss"] = mlp_b64.our_step(run)()
        return run.since_start()


def torch(run: Run) -> float:
    run.notes["loss"] = mlp_b64.torch_step(run)()
    return run.since_start()


def torch_compile(run: Run) -> float:
    with tempfile.TemporaryDirectory() as empty:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = empty
        run.notes["loss"] = mlp_b64.torch_step(run, compiled=True)()
        return run.since_start()


def jax(run: Run) -> float:
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    run.notes["loss"] = mlp_b64.jax_step(run)()
    return run.since_start()
