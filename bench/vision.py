"""Training steps of image classifiers beside PyTorch and JAX: what the workloads on images share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.workload import Run, Step

RATE, MOMENTUM = 0.01, 0.9


@dataclass(frozen=True)
class Task:
    """A batch and an optimizer.

    Args:
        shape: of the batch, (N, C, H, W).
        optimizer: "sgd" (with momentum) or "adam".
        classes: how many classes there are.
    """

    shape: tuple[int, int, int, int]
    optimizer: str = "sgd"
    classes: int = 10

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """The batch that every peer trains on."""
        random = np.random.default_rng(0)
        x = random.standard_normal(self.shape, dtype=np.float32)
        return x, random.integers(0, self.classes, self.shape[0])


@dataclass(frozen=True)
class Network:
    """One network as each peer's users would write it.

    Args:
        name: of our model.
        torch: makes PyTorch's module.
        shapes: of the arrays that JAX trains.
        scores: what JAX computes of them and the images (N, H, W, C), its own layout.
    """

    name: str
    torch: Callable[[], Any]
    shapes: Sequence[tuple[int, ...]]
    scores: Callable[[list[Any], Any], Any]


def step(task: Task, network: Network, peer: str, run: Run) -> Step:
    """A step of one peer."""
    if peer == "ours":
        return our_step(task, network.name)
    if peer == "jax":
        return jax_step(task, jax_weights(network.shapes), network.scores)
    return torch_step(task, run, network.torch, peer == "torch_compile")


def our_step(task: Task, name: str) -> Step:
    """A step of a model of ours."""
    import bigmodel_core as bm

    model = bm.models.build(name)

    chosen = (
        bm.optimizers.SGD(RATE, momentum=MOMENTUM) if task.optimizer == "sgd" else bm.optimizers.Adam(0.001)
    )
    step = bm.compile(model, loss=bm.losses.CrossEntropy(), optimizer=chosen)
    x, y = task.batch()
    return lambda: step(x, y)


def torch_step(task: Task, run: Run, build: Callable[[], Any], compiled: bool) -> Step:
    """A step of PyTorch's module that `build` makes."""
    import torch

    torch.set_num_threads(run.threads)
    torch.manual_seed(0)
    model = build()
    parameters = model.parameters()
    if task.optimizer == "sgd":
        optimizer: Any = torch.optim.SGD(parameters, lr=RATE, momentum=MOMENTUM)
    else:
        optimizer = torch.optim.Adam(parameters, lr=0.001)
    criterion = torch.nn.CrossEntropyLoss()
    x, y = (torch.from_numpy(array) for array in task.batch())

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


def jax_step(task: Task, weights: list[Any], scores: Callable[[list[Any], Any], Any]) -> Step:
    """A step of JAX, one jitted update."""
    import functools

    import jax
    import jax.numpy as jnp

    adam = task.optimizer == "adam"
    zeros = [jnp.zeros_like(weight) for weight in weights]
    state: Any = (weights, zeros, [jnp.zeros_like(weight) for weight in weights] if adam else [], 0)

    def loss_of(weights: Any, x: Any, y: Any) -> Any:
        chosen = jnp.take_along_axis(jax.nn.log_softmax(scores(weights, x)), y[:, None], axis=1)
        return -jnp.mean(chosen)

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state: Any, x: Any, y: Any) -> Any:
        weights, mean, square, number = state
        loss, found = jax.value_and_grad(loss_of)(weights, x, y)
        if not adam:
            mean = [MOMENTUM * m + g for m, g in zip(mean, found, strict=True)]
            weights = [w - RATE * m for w, m in zip(weights, mean, strict=True)]
            return (weights, mean, square, number + 1), loss
        mean = [0.9 * m + 0.1 * g for m, g in zip(mean, found, strict=True)]
        square = [0.999 * s + 0.001 * g * g for s, g in zip(square, found, strict=True)]
        right_mean, right_square = 1 - 0.9 ** (number + 1), 1 - 0.999 ** (number + 1)
        weights = [
            w - 0.001 * (m / right_mean) / (jnp.sqrt(s / right_square) + 1e-8)
            for w, m, s in zip(weights, mean, square, strict=True)
        ]
        return (weights, mean, square, number + 1), loss

    images, labels = task.batch()
    x, y = jax.device_put(images.transpose(0, 2, 3, 1)), jax.device_put(labels)

    def step() -> float:
        nonlocal state
        state, loss = update(state, x, y)
        return float(loss)

    return step


def jax_weights(shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """Arrays to train in JAX: normal, with the deviation that the fan-in asks for."""
    import jax.numpy as jnp

    random = np.random.default_rng(0)
    return [
        jnp.asarray(random.standard_normal(shape, np.float32) * math.sqrt(2 / math.prod(shape[:-1])))
        for shape in shapes
    ]


def jax_convolution(x: Any, weight: Any, padding: int = 0, stride: int = 1) -> Any:
    """A convolution in JAX: images (N, H, W, C), filters (R, S, C, K)."""
    import jax

    return jax.lax.conv_general_dilated(
        x, weight, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def jax_pool(x: Any) -> Any:
    """Max-pooling over windows of 2 x 2 in JAX."""
    import jax
    import jax.numpy as jnp

    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
