"""From the start of the process to the end of the first step of mlp_b64, as in every run but the first."""

from __future__ import annotations

from bench.workload import Run, Target, Workload
from bench.workloads import mlp_b64

WORKLOAD = Workload(
    "first_step_warm",
    "process start to first step of mlp_b64, caches filled",
    "s",
    targets=(Target(limit=1.5),),
    warm_up=("ours", "torch", "torch_compile", "jax"),
)


def _first(run: Run, step: mlp_b64.Step) -> float:
    run.notes["loss"] = step()
    return run.since_start()


def ours(run: Run) -> float:
    return _first(run, mlp_b64.our_step(run))


def torch(run: Run) -> float:
    return _first(run, mlp_b64.torch_step(run))


def torch_compile(run: Run) -> float:
    return _first(run, mlp_b64.torch_step(run, compiled=True))


def jax(run: Run) -> float:
    return _first(run, mlp_b64.jax_step(run))
