"""Training steps of recurrent layers beside PyTorch and JAX: what the workloads on sequences share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.workload import Run, Step

RATE = 1e-3


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
    if peer == "ours":
        return our_step(task)
    return jax_step(task) if peer == "jax" else torch_step(task, run, peer == "torch_compile")


def our_step(task: Task) -> Step:
    """A step of ours."""
    import bigmodel_core as bm

    layer = bm.layers.get(task.cell)(task.units, return_sequences=False)
    model = bm.Sequential(layer, bm.layers.Dense(1))
    step = bm.compile(model, loss=bm.losses.MeanSquaredError(), optimizer=bm.optimizers.Adam(RATE))
    x, y = task.arrays()
    return lambda: step(x, y)


def torch_step(task: Task, run: Run, compiled: bool) -> Step:
    """A step of PyTorch, eager or compiled."""
    import torch
    from torch import nn

    torch.set_num_threads(run.threads)
    torch.manual_seed(0)
    recurrent = getattr(nn, task.cell)(task.features, task.units, batch_first=True)
    dense = nn.Linear(task.units, 1)
    optimizer = torch.optim.Adam([*recurrent.parameters(), *dense.parameters()], lr=RATE)
    x, y = (torch.from_numpy(array) for array in task.arrays())

    def loss_of(x: Any, y: Any) -> Any:
        return nn.functional.mse_loss(dense(recurrent(x)[0][:, -1]), y)

    forward = torch.compile(loss_of) if compiled else loss_of

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = forward(x, y)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def jax_step(task: Task) -> Step:
    """With `lax.scan` over the steps and all input projections before it."""
    import functools

    import jax
    import jax.numpy as jnp

    gates = 4 if task.cell == "LSTM" else 1
    random = np.random.default_rng(0)
    limit = task.units**-0.5

    def weight(*shape: int) -> Any:
        return jnp.asarray(random.uniform(-limit, limit, shape).astype(np.float32))

    params = {
        "input": weight(task.features, gates * task.units),
        "recurrent": weight(task.units, gates * task.units),
        "bias": weight(gates * task.units),
        "weight": weight(task.units, 1),
        "offset": weight(1),
    }

    def forward(params: Any, carry: Any, projected: Any) -> Any:
        h, c = carry
        total = projected + h @ params["recurrent"]
        if gates == 1:
            return (jnp.tanh(total), c), None
        enter, forget, new, leave = jnp.split(total, 4, axis=-1)
        c = jax.nn.sigmoid(forget) * c + jax.nn.sigmoid(enter) * jnp.tanh(new)
        return (jax.nn.sigmoid(leave) * jnp.tanh(c), c), None

    def loss_of(params: Any, x: Any, y: Any) -> Any:
        projected = jnp.swapaxes(x @ params["input"] + params["bias"], 0, 1)
        start = jnp.zeros((task.batch, task.units), jnp.float32)
        (h, _), _ = jax.lax.scan(functools.partial(forward, params), (start, start), projected)
        return jnp.mean((h @ params["weight"] + params["offset"] - y) ** 2)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(params: Any, state: Any, x: Any, y: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        count = state["count"] + 1
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["mean"], grads)
        square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, state["square"], grads)

        def moved(p: Any, m: Any, s: Any) -> Any:
            return p - RATE * (m / (1 - 0.9**count)) / (jnp.sqrt(s / (1 - 0.999**count)) + 1e-8)

        params = jax.tree.map(moved, params, mean, square)
        return params, {"count": count, "mean": mean, "square": square}, loss

    def zeros() -> Any:
        return jax.tree.map(jnp.zeros_like, params)

    state = {"count": jnp.float32(0), "mean": zeros(), "square": zeros()}
    x, y = (jax.device_put(array) for array in task.arrays())

    def step() -> float:
        nonlocal params, state
        params, state, loss = update(params, state, x, y)
        return float(loss)

    return step
