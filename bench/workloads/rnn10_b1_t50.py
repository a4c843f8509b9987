"""A training step of a small recurrent network: 1-10-1 over 50 steps, Adam, batch 1."""

from __future__ import annotations

from bench.sequences import Task, jax_step, our_step, torch_step
from bench.workload import Run, Target, Workload

WORKLOAD = Workload(
    "rnn10_b1_t50",
    "training step, tanh RNN 1-10-1, 50 steps, Adam, batch 1",
    "ms",
    targets=(Target(ratio=1.5),),
)
TASK = Task("RNN", batch=1, steps=50, features=1, units=10)


def ours(run: Run) -> float:
    return run.median_step(our_step(TASK))


def torch(run: Run) -> float:
    return run.median_step(torch_step(TASK, run))


def torch_compile(run: Run) -> float:
    return run.median_step(torch_step(TASK, run, compiled=True))


def jax(run: Run) -> float:
    return run.median_step(jax_step(TASK))
