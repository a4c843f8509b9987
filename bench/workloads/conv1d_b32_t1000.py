"""A training step of two convolutions of sequences: 8-64-64 channels, window 7, 1000 steps, Adam."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from bench import training, vision
from bench.workload import Run, Step, Target, Workload

WORKLOAD = Workload(
    "conv1d_b32_t1000",
    "training step, 1-d convolutions 8-64-64 of window 7, 1000 steps, Adam, batch 32",
    "ms",
    targets=(Target(ratio=1.2),),
)
CHANNELS, FILTERS, WINDOW, STEPS, CLASSES = 8, 64, 7, 1000, 10
ADAM = training.Adam(1e-3)
SHAPES = [(WINDOW, CHANNELS, FILTERS), (FILTERS,), (WINDOW, FILTERS, FILTERS), (FILTERS,)]
"""Of JAX's filters and biases; after them come those of the dense layer."""


def our_model() -> Any:
    import bigmodel_core as bm

    def convolution() -> Any:
        return bm.Sequential(bm.layers.Conv1d(FILTERS, WINDOW, padding="same"), bm.layers.Relu())

    head = bm.Sequential(bm.layers.GlobalAveragePool(), bm.layers.Dense(CLASSES))
    return bm.Sequential(convolution(), convolution(), head)


def torch_model() -> Any:
    from torch import nn

    return nn.Sequential(
        *(nn.Conv1d(CHANNELS, FILTERS, WINDOW, padding="same"), nn.ReLU()),
        *(nn.Conv1d(FILTERS, FILTERS, WINDOW, padding="same"), nn.ReLU()),
        *(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(FILTERS, CLASSES)),
    )


def _jax_loss(weights: list[Any], x: Any, y: Any) -> Any:
    import jax
    import jax.numpy as jnp

    for weight, bias in zip(weights[:4:2], weights[1:4:2], strict=True):
        layout = ("NWC", "WIO", "NWC")
        x = jax.lax.conv_general_dilated(x, weight, (1,), "SAME", dimension_numbers=layout)
        x = jax.nn.relu(x + bias)
    return training.jax_cross_entropy(jnp.mean(x, 1) @ weights[4] + weights[5], y)


def step(peer: str, run: Run, batch: int = 32) -> Step:
    random = np.random.default_rng(0)
    x = random.standard_normal((batch, CHANNELS, STEPS), dtype=np.float32)
    y = random.integers(0, CLASSES, batch)
    if peer == "ours":
        return training.our_step(our_model(), "cross_entropy", ADAM, (x, y))
    if peer == "jax":
        last = (np.ascontiguousarray(x.transpose(0, 2, 1)), y)
        weights = vision.jax_weights([*SHAPES, (FILTERS, CLASSES), (CLASSES,)])
        return training.jax_step(weights, _jax_loss, ADAM, last)
    build = partial(training.torch_classifier, torch_model())
    return training.torch_step(build, ADAM, (x, y), run, compiled=peer == "torch_compile")
