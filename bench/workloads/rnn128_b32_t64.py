"""A training step of a recurrent network: 32-128-1 over 64 steps, Adam, batch 32."""

from __future__ import annotations

from bench.sequences import Task, jax_step, our_step, torch_step
from bench.workload import Run, Target, Workload

WORKLOAD = Workload(
    "rnn128_b32_t64",
    "training step, tanh RNN 32-128-1, 64 steps, Adam, batch 32",
    "ms",
    targets=(Target(ratio=1.5),),
)
TASK = Task("RNN", batch=32, steps=64, features=32, units=128)


def ours(run: Run) -> float:
    return run.median_step(our_step(TASK))


def torch(run: Run) -> float:
    return run.median_step(torch_step(TASK, run))


def torch_compile(run: Run) -> float:
    return run.median_step(torch_step(TASK, run, compiled=True))


def jax(run: Run) -> float:
    return run.median_step(jax_step(TASK))
