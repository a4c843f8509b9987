"""Training steps of dense networks beside PyTorch and JAX: what the workloads on plain vectors share."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from bench import training
from bench.workload import Run, Step

SGD = training.Sgd(0.01)


@dataclass(frozen=True)
class Task:
    """A training step of dense layers with rectifiers between them, on the cross-entropy.

    Args:
        widths: of the input, the hidden layers and the classes.
        batch: samples of a batch.
    """

    widths: tuple[int, ...]
    batch: int

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The batch that every peer trains on."""
        random = np.random.default_rng(0)
        x = random.standard_normal((self.batch, self.widths[0]), dtype=np.float32)
        return x, random.integers(0, self.widths[-1], self.batch)


def step(task: Task, peer: str, run: Run, optimizer: training.Optimizer = SGD, device: str = "cpu") -> Step:
    """A step of one peer."""
    batch = task.arrays()
    if peer == "ours":
        return training.our_step(our_model(task), "cross_entropy", optimizer, batch, device)
    if peer == "jax":
        return training.jax_step(jax_weights(task), jax_loss, optimizer, batch)

    def build() -> Any:
        return training.torch_classifier(torch_model(task).to(device))

    compiled = peer == "torch_compile"
    return training.torch_step(build, optimizer, batch, run, compiled=compiled, device=device)


def our_model(task: Task) -> Any:
    """The network of ours."""
    import bigmodel_core as bm

    return bm.Sequential(
        *(part for width in task.widths[1:-1] for part in (bm.layers.Dense(width), bm.layers.Relu())),
        bm.layers.Dense(task.widths[-1]),
    )


def torch_model(task: Task) -> Any:
    """The network in PyTorch."""
    from torch import nn

    parts: list[nn.Module] = []
    for inner, outer in pairwise(task.widths[:-1]):
        parts += [nn.Linear(inner, outer), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(task.widths[-2], task.widths[-1]))


def jax_weights(task: Task) -> list[dict[str, Any]]:
    """The weights and biases of each layer in JAX."""
    import jax.numpy as jnp

    random = np.random.default_rng(0)
    return [
        {
            "weight": jnp.asarray(random.standard_normal((inner, outer), np.float32) / np.sqrt(inner)),
            "bias": jnp.zeros(outer, jnp.float32),
        }
        for inner, outer in pairwise(task.widths)
    ]


def jax_loss(weights: list[dict[str, Any]], x: Any, y: Any) -> Any:
    """The cross-entropy in JAX."""
    import jax

    for layer in weights[:-1]:
        x = jax.nn.relu(x @ layer["weight"] + layer["bias"])
    return training.jax_cross_entropy(x @ weights[-1]["weight"] + weights[-1]["bias"], y)
