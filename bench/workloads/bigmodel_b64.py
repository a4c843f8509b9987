"""A training step of bigmodel-cnn: 3x28x28 images, 64 and 128 3x3 filters, 6272-1000-10, Adam, batch 64."""

from __future__ import annotations

from typing import Any

from bench.vision import Task, jax_convolution, jax_pool, jax_step, jax_weights, our_step, torch_step
from bench.workload import Run, Target, Workload

WORKLOAD = Workload(
    "bigmodel_b64",
    "training step, bigmodel-cnn on 3x28x28, Adam, batch 64",
    "ms",
    targets=(Target(ratio=1.5),),
)
TASK = Task((64, 3, 28, 28), "adam")


def _torch_model() -> Any:
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


def ours(run: Run) -> float:
    import bigmodel_core as bm

    return run.median_step(our_step(TASK, bm.models.BigmodelCnn()), warm_up=5)


def torch(run: Run) -> float:
    return run.median_step(torch_step(TASK, run, _torch_model), warm_up=5)


def torch_compile(run: Run) -> float:
    return run.median_step(torch_step(TASK, run, _torch_model, compiled=True), warm_up=5)


def jax(run: Run) -> float:
    shapes = [(3, 3, 3, 64), (64,), (3, 3, 64, 128), (128,), (6272, 1000), (1000,), (1000, 10), (10,)]
    return run.median_step(jax_step(TASK, jax_weights(shapes), _scores), warm_up=5)
