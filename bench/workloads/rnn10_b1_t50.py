"""A training step of a small recurrent network: 1-10-1 over 50 steps, Adam, batch 1."""

from __future__ import annotations

from bench import sequences
from bench.workload import Run, Step, Target, Workload

WORKLOAD = Workload(
    "rnn10_b1_t50",
    "training step, tanh RNN 1-10-1, 50 steps, Adam, batch 1",
    "ms",
    targets=(Target(ratio=1.5),),
)
TASK = sequences.Task("RNN", batch=1, steps=50, features=1, units=10)


def step(peer: str, run: Run) -> Step:
    return sequences.step(TASK, peer, run)
