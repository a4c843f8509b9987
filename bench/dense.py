"""Training steps of dense networks beside PyTorch and JAX: what the workloads on plain vectors share."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from bench.workload import Run, Step

RATE = 0.01


@dataclass(frozen=True)
class Task:
    """A training step of dense layers with rectifiers between them, by SGD on the cross-entropy.

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


def step(task: Task, peer: str, run: Run) -> Step:
    """A step of one peer."""
    if peer == "ours":
        return our_step(task)
    return jax_step(task) if peer == "jax" else torch_step(task, run, peer == "torch_compile")


def our_step(task: Task) -> Step:
    """A step of ours."""
    import bigmodel_core as bm

    model = bm.Sequential(
        *(part for width in task.widths[1:-1] for part in (bm.layers.Dense(width), bm.layers.Relu())),
        bm.layers.Dense(task.widths[-1]),
    )
    step = bm.compile(model, loss=bm.losses.CrossEntropy(), optimizer=bm.optimizers.SGD(RATE))
    x, y = task.arrays()
    return lambda: step(x, y)


def torch_step(task: Task, run: Run, compiled: bool) -> Step:
    """A step of PyTorch, eager or compiled."""
    import torch
    from torch import nn

    torch.set_num_threads(run.threads)
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for inner, outer in pairwise(task.widths[:-1]):
        parts += [nn.Linear(inner, outer), nn.ReLU()]
    model = nn.Sequential(*parts, nn.Linear(task.widths[-2], task.widths[-1]))
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    criterion = nn.CrossEntropyLoss()
    x, y = (torch.from_numpy(array) for array in task.arrays())

    def loss_of(x: Any, y: Any) -> Any:
        return criterion(model(x), y)

    forward = torch.compile(loss_of) if compiled else loss_of

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = forward(x, y)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def jax_step(task: Task) -> Step:
    """A step of JAX, one jitted update."""
    import functools

    import jax
    import jax.numpy as jnp

    random = np.random.default_rng(0)
    params = [
        {
            "weight": jnp.asarray(random.standard_normal((inner, outer), np.float32) / np.sqrt(inner)),
            "bias": jnp.zeros(outer, jnp.float32),
        }
        for inner, outer in pairwise(task.widths)
    ]

    def loss_of(params: Any, x: Any, y: Any) -> Any:
        for layer in params[:-1]:
            x = jax.nn.relu(x @ layer["weight"] + layer["bias"])
        logits = x @ params[-1]["weight"] + params[-1]["bias"]
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)
        return -jnp.mean(chosen)

    @functools.partial(jax.jit, donate_argnums=0)
    def update(params: Any, x: Any, y: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        return jax.tree.map(lambda p, g: p - RATE * g, params, grads), loss

    x, y = (jax.device_put(array) for array in task.arrays())

    def step() -> float:
        nonlocal params
        params, loss = update(params, x, y)
        return float(loss)

    return step
