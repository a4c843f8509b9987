"""A training step of bigmodel-cnn: 3x28x28 images, 64 and 128 3x3 filters, 6272-1000-10, Adam, batch 64."""

from __future__ import annotations

from typing import Any

from bench import training, vision
from bench.vision import jax_convolution, jax_pool
from bench.workload import Run, Step, Target, Workload

WORKLOAD = Workload(
    "bigmodel_b64",
    "training step, bigmodel-cnn on 3x28x28, Adam, batch 64",
    "ms",
    targets=(Target(ratio=1.5),),
)
SHAPES = [(3, 3, 3, 64), (64,), (3, 3, 64, 128), (128,), (6272, 1000), (1000,), (1000, 10), (10,)]
"""Of the filters, weights and biases that `_scores` takes."""


def torch_model() -> Any:
    from torch import nn

    return nn.Sequential(
        *(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(6272, 1000), nn.ReLU(), nn.Linear(1000, 10)),
    )


def _scores(weights: list[Any], x: Any) -> Any:
    import jax

    for weight, bias in zip(weights[0:4:2], weights[1:4:2], strict=True):
        x = jax_pool(jax.nn.relu(jax_convolution(x, weight, padding=1) + bias))
    x = jax.nn.relu(x.reshape(len(x), -1) @ weights[4] + weights[5])
    return x @ weights[6] + weights[7]


def step(peer: str, run: Run, batch: int = 64) -> Step:
    network = vision.Network("bigmodel-cnn", torch_model, SHAPES, _scores)
    return vision.step(vision.Task((batch, 3, 28, 28), training.Adam(0.001)), network, peer, run)
