"""A training step of LeNet-5: 1x32x32 images, 6 and 16 5x5 filters, 400-120-84-10, SGD, batch 64."""

from __future__ import annotations

from typing import Any

from bench import vision
from bench.vision import jax_convolution, jax_pool
from bench.workload import Run, Step, Target, Workload

WORKLOAD = Workload(
    "lenet_b64",
    "training step, LeNet-5 on 1x32x32, SGD with momentum, batch 64",
    "ms",
    targets=(Target(ratio=2.0),),
)
SHAPES = [(5, 5, 1, 6), (6,), (5, 5, 6, 16), (16,), (400, 120), (120,), (120, 84), (84,), (84, 10), (10,)]
"""Of the filters, weights and biases that `_scores` takes."""


def torch_model() -> Any:
    from torch import nn

    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )


def _scores(weights: list[Any], x: Any) -> Any:
    import jax

    convolutions, dense = weights[:4], weights[4:]
    for weight, bias in zip(convolutions[::2], convolutions[1::2], strict=True):
        x = jax_pool(jax.nn.relu(jax_convolution(x, weight) + bias))
    x = x.reshape(len(x), -1)
    for weight, bias in zip(dense[:-2:2], dense[1:-2:2], strict=True):
        x = jax.nn.relu(x @ weight + bias)
    return x @ dense[-2] + dense[-1]


def step(peer: str, run: Run, batch: int = 64) -> Step:
    network = vision.Network("lenet", torch_model, SHAPES, _scores)
    return vision.step(vision.Task((batch, 1, 32, 32)), network, peer, run)
