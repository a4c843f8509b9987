"""MNIST from the start of the process to the test accuracy: 784-64-64-10, Adam, batch 64, 5 epochs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.mnist_files import arrays
from bench.mnist_files import unavailable as unavailable
from bench.workload import Run, Target, Workload

WORKLOAD = Workload(
    "mnist_to_accuracy",
    "MNIST 784-64-64-10, Adam, batch 64, 5 epochs: process start to test accuracy",
    "s",
    targets=(Target(ratio=3.0, against="torch"),),
)
WIDTHS = (784, 64, 64, 10)
BATCH, EPOCHS, RATE = 64, 5, 1e-3


def ours(run: Run) -> float:
    import bigmodel_core as bm

    data = bm.datasets.load("mnist")
    model = bm.models.build("mlp", widths=WIDTHS[1:-1])
    step = bm.compile(model, loss="cross_entropy", optimizer=bm.optimizers.Adam(RATE))
    for epoch in range(EPOCHS):
        chosen = bm.batches(data.train, BATCH, shuffle_seed=0, epoch=epoch)
        for indices in itertools.islice(chosen, run.steps):
            run.notes["loss"] = step(data.train.x[indices], data.train.y[indices])
    run.notes["accuracy"] = float(np.mean(model(data.test.x).argmax(1) == data.test.y))
    return run.since_start()


def torch(run: Run) -> float:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(run.threads)
    torch.manual_seed(0)
    x, y, test_x, test_y = (torch.from_numpy(array) for array in arrays())
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)
    model = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    criterion = nn.CrossEntropyLoss()
    for _ in range(EPOCHS):
        for inputs, targets in itertools.islice(loader, run.steps):
            optimizer.zero_grad(set_to_none=True)
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            run.notes["loss"] = loss.item()
    with torch.no_grad():
        run.notes["accuracy"] = float((model(test_x).argmax(1) == test_y).float().mean())
    return run.since_start()


def jax(run: Run) -> float:
    import functools

    import jax
    import jax.numpy as jnp

    x, y, test_x, test_y = arrays()
    random = np.random.default_rng(0)

    def drawn(inner: int, outer: int) -> Any:
        bound = np.sqrt(6 / (inner + outer))
        return jnp.asarray(random.uniform(-bound, bound, (inner, outer)), jnp.float32)

    sizes = itertools.pairwise(WIDTHS)
    params: Any = [(drawn(inner, outer), jnp.zeros(outer)) for inner, outer in sizes]
    state: Any = (
        params,
        jax.tree.map(jnp.zeros_like, params),
        jax.tree.map(jnp.zeros_like, params),
        jnp.int32(0),
    )

    def logits_of(params: Any, x: Any) -> Any:
        for weight, bias in params[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        return x @ params[-1][0] + params[-1][1]

    def loss_of(params: Any, x: Any, y: Any) -> Any:
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits_of(params, x)), y[:, None], axis=1))

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state: Any, x: Any, y: Any) -> Any:
        params, mean, square, count = state
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        count = count + 1
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, grads)
        square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, square, grads)
        size, root = RATE / (1 - 0.9**count), 1 / jnp.sqrt(1 - 0.999**count)
        params = jax.tree.map(
            lambda p, m, v: p - size * m / (jnp.sqrt(v) * root + 1e-8), params, mean, square
        )
        return (params, mean, square, count), loss

    def order() -> Iterator[np.ndarray]:
        shuffled = random.permutation(len(x))
        return iter([shuffled[start : start + BATCH] for start in range(0, len(x), BATCH)])

    for _ in range(EPOCHS):
        for indices in itertools.islice(order(), run.steps):
            state, loss = update(state, x[indices], y[indices])
            run.notes["loss"] = float(loss)
    predicted = jax.jit(logits_of)(state[0], test_x).argmax(1)
    run.notes["accuracy"] = float(np.mean(np.asarray(predicted) == test_y))
    return run.since_start()
