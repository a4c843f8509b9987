"""A training step of a small dense network: 784-128-64-10, SGD, batch 64."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from bench.workload import Run, Target, Workload

WORKLOAD = Workload(
    "mlp_b64",
    "training step, 784-128-64-10, SGD, batch 64",
    "ms",
    targets=(Target(ratio=2.0),),
)
WIDTHS = (784, 128, 64, 10)
BATCH = 64
RATE = 0.01

Step = Callable[[], float]


def batch() -> tuple[np.ndarray, np.ndarray]:
    """The batch that every peer trains on."""
    random = np.random.default_rng(0)
    x = random.standard_normal((BATCH, WIDTHS[0]), dtype=np.float32)
    return x, random.integers(0, WIDTHS[-1], BATCH)


def our_step(run: Run) -> Step:
    import bigmodel_core as bm

    model = bm.Sequential(
        *(part for width in WIDTHS[1:-1] for part in (bm.layers.Dense(width), bm.layers.Relu())),
        bm.layers.Dense(WIDTHS[-1]),
    )
    step = bm.compile(model, loss=bm.losses.CrossEntropy(), optimizer=bm.optimizers.SGD(RATE))
    x, y = batch()
    return lambda: step(x, y)


def torch_step(run: Run, compiled: bool = False) -> Step:
    import torch
    from torch import nn

    torch.set_num_threads(run.threads)
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for inner, outer in pairwise(WIDTHS[:-1]):
        parts += [nn.Linear(inner, outer), nn.ReLU()]
    model = nn.Sequential(*parts, nn.Linear(WIDTHS[-2], WIDTHS[-1]))
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    criterion = nn.CrossEntropyLoss()
    x, y = (torch.from_numpy(array) for array in batch())

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


def jax_step(run: Run) -> Step:
    import functools

    import jax
    import jax.numpy as jnp

    random = np.random.default_rng(0)
    params = [
        {
            "weight": jnp.asarray(random.standard_normal((inner, outer), np.float32) / np.sqrt(inner)),
            "bias": jnp.zeros(outer, jnp.float32),
        }
        for inner, outer in pairwise(WIDTHS)
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

    x, y = (jax.device_put(array) for array in batch())

    def step() -> float:
        nonlocal params
        params, loss = update(params, x, y)
        return float(loss)

    return step


def ours(run: Run) -> float:
    return run.median_step(our_step(run))


def torch(run: Run) -> float:
    return run.median_step(torch_step(run))


def torch_compile(run: Run) -> float:
    return run.median_step(torch_step(run, compiled=True))


def jax(run: Run) -> float:
    return run.median_step(jax_step(run))
