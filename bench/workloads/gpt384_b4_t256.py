"""A training step of a GPT: 6 layers of width 384, vocabulary 65, context 256, Adam, batch 4."""

from __future__ import annotations

from bench import transformers
from bench.workload import Run, Step, Target, Workload

WORKLOAD = Workload(
    "gpt384_b4_t256",
    "training step, GPT of 6 layers, 6 heads, width 384, 256 tokens, Adam, batch 4",
    "ms",
    targets=(Target(ratio=1.2),),
    memory=1 / 0.6,
)
TASK = transformers.Task("gpt", layers=6, heads=6, width=384, batch=4, steps=256, outputs=65)


def step(peer: str, run: Run) -> Step:
    return transformers.step(TASK, peer, run)
