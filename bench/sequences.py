"""Training steps of recurrent layers beside PyTorch and JAX: what the workloads on sequences share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bench import training
from bench.workload import Run, Step

ADAM = training.Adam(1e-3)


@dataclass(frozen=True)
class Task:
    """A training step of a recurrent layer and a dense one, by Adam on the mean squared error.

    Args:
        cell: "RNN" (tanh) or "LSTM".
        batch: sequences of a batch.
        steps: their length.
        features: numbers at a step.
        units: the width of the state.
    """

    cell: str
    batch: int
    steps: int
    features: int
    units: int

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The batch that every peer trains on."""
        random = np.random.default_rng(0)
        x = random.standard_normal((self.batch, self.steps, self.features), dtype=np.float32)
        return x, random.standard_normal((self.batch, 1), dtype=np.float32)


def step(task: Task, peer: str, run: Run) -> Step:
    """A step of one peer."""
    batch = task.arrays()
    if peer == "ours":
        return training.our_step(our_model(task), "mean_squared_error", ADAM, batch)
    if peer == "jax":
        return training.jax_step(jax_weights(task), partial(jax_loss, task), ADAM, batch)
    return training.torch_step(partial(torch_model, task), ADAM, batch, run, compiled=peer == "torch_compile")


def our_model(task: Task) -> Any:
    """The network of ours."""
    import bigmodel_core as bm

    layer = bm.layers.get(task.cell)(task.units, return_sequences=False)
    return bm.Sequential(layer, bm.layers.Dense(1))


def torch_model(task: Task) -> Any:
    """The parameters in PyTorch, and the loss."""
    from torch import nn

    recurrent = getattr(nn, task.cell)(task.features, task.units, batch_first=True)
    dense = nn.Linear(task.units, 1)

    def loss_of(x: Any, y: Any) -> Any:
        return nn.functional.mse_loss(dense(recurrent(x)[0][:, -1]), y)

    return [*recurrent.parameters(), *dense.parameters()], loss_of


def jax_weights(task: Task) -> dict[str, Any]:
    """The weights in JAX, the gates of a cell beside each other."""
    import jax.numpy as jnp

    gates = 4 if task.cell == "LSTM" else 1
    random = np.random.default_rng(0)
    limit = task.units**-0.5

    def weight(*shape: int) -> Any:
        return jnp.asarray(random.uniform(-limit, limit, shape).astype(np.float32))

    return {
        "input": weight(task.features, gates * task.units),
        "recurrent": weight(task.units, gates * task.units),
        "bias": weight(gates * task.units),
        "weight": weight(task.units, 1),
        "offset": weight(1),
    }


def jax_loss(task: Task, weights: dict[str, Any], x: Any, y: Any) -> Any:
    """The loss in JAX, with `lax.scan` over the steps and all input projections before it."""
    import jax
    import jax.numpy as jnp

    def forward(carry: Any, projected: Any) -> Any:
        h, c = carry
        total = projected + h @ weights["recurrent"]
        if task.cell != "LSTM":
            return (jnp.tanh(total), c), None
        enter, forget, new, leave = jnp.split(total, 4, axis=-1)
        c = jax.nn.sigmoid(forget) * c + jax.nn.sigmoid(enter) * jnp.tanh(new)
        return (jax.nn.sigmoid(leave) * jnp.tanh(c), c), None

    projected = jnp.swapaxes(x @ weights["input"] + weights["bias"], 0, 1)
    start = jnp.zeros((task.batch, task.units), jnp.float32)
    (h, _), _ = jax.lax.scan(forward, (start, start), projected)
    return jnp.mean((h @ weights["weight"] + weights["offset"] - y) ** 2)
