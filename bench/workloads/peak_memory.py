"""The most memory that a process training 784-128-64-10 ever holds, everything it imports included."""

from __future__ import annotations

from bench.worker import peak_memory
from bench.workload import Run, Target, Workload
from bench.workloads import mlp_b64

WORKLOAD = Workload(
    "peak_memory",
    "peak memory of the process of mlp_b64",
    "MiB",
    words=("less", "more"),
    targets=(Target(ratio=1.0, against="torch"),),
)
STEPS = 200


def _after_steps(run: Run, step: mlp_b64.Step) -> float:
    for _ in range(run.steps or STEPS):
        run.notes["loss"] = step()
    return peak_memory()


def ours(run: Run) -> float:
    return _after_steps(run, mlp_b64.our_step(run))


def torch(run: Run) -> float:
    return _after_steps(run, mlp_b64.torch_step(run))


def torch_compile(run: Run) -> float:
    return _after_steps(run, mlp_b64.torch_step(run, compiled=True))


def jax(run: Run) -> float:
    return _after_steps(run, mlp_b64.jax_step(run))
