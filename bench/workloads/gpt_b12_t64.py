"""A training step of a small GPT: 4 layers of width 128, vocabulary 65, context 64, Adam, batch 12."""

from __future__ import annotations

from bench import transformers
from bench.workload import Run, Step, Target, Workload

WORKLOAD = Workload(
    "gpt_b12_t64",
    "training step, GPT of 4 layers, 4 heads, width 128, 64 tokens, Adam, batch 12",
    "ms",
    targets=(Target(ratio=1.8),),
)
TASK = transformers.Task("gpt", layers=4, heads=4, width=128, batch=12, steps=64, outputs=65)


def step(peer: str, run: Run) -> Step:
    return transformers.step(TASK, peer, run)
