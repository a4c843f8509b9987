"""A training step of a vision Transformer: 6 layers of width 192, 8x8 patches of 3x64x64 images, Adam."""

from __future__ import annotations

from bench import transformers
from bench.workload import Run, Step, Target, Workload

WORKLOAD = Workload(
    "vit_b32",
    "training step, ViT of 6 layers, 3 heads, width 192, 8x8 patches of 3x64x64, Adam, batch 32",
    "ms",
    targets=(Target(ratio=1.25),),
)
TASK = transformers.Task("vit", layers=6, heads=3, width=192, batch=32, steps=64, outputs=10, features=192)


def step(peer: str, run: Run) -> Step:
    return transformers.step(TASK, peer, run)
