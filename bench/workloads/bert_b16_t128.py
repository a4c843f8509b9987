"""A training step of a masked language model: 4 layers of width 256, vocabulary 8,192, 15 % scored."""

from __future__ import annotations

from bench import transformers
from bench.workload import Run, Step, Target, Workload

WORKLOAD = Workload(
    "bert_b16_t128",
    "training step, BERT of 4 layers, width 256, vocabulary 8192, 128 tokens, 15 % scored, Adam, batch 16",
    "ms",
    targets=(Target(ratio=1.25),),
)
TASK = transformers.Task("bert", layers=4, heads=4, width=256, batch=16, steps=128, outputs=8192, scored=0.15)


def step(peer: str, run: Run) -> Step:
    return transformers.step(TASK, peer, run)
