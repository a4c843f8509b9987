"""A training step of a recurrent network: 32-128-1 over 64 steps, Adam, batch 32."""

from __future__ import annotations

from bench import sequences
from bench.workload import Run, Step, Target, Workload

WORKLOAD = Workload(
    "rnn128_b32_t64",
    "training step, tanh RNN 32-128-1, 64 steps, Adam, batch 32",
    "ms",
    targets=(Target(ratio=1.5),),
)
TASK = sequences.Task("RNN", batch=32, steps=64, features=32, units=128)


def step(peer: str, run: Run) -> Step:
    return sequences.step(TASK, peer, run)
