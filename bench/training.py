"""The training step of each peer, whatever the network: forward, loss, backward, update, as its users do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bench.workload import Run, Step

Batch = tuple[np.ndarray, np.ndarray]
"""Inputs and targets, which every peer trains on."""


class Optimizer(Protocol):
    """One optimizer as each peer has it."""

    def ours(self) -> Any:
        """Our own."""

    def torch(self, parameters: Iterable[Any]) -> Any:
        """PyTorch's, of some parameters."""

    def jax(self, weights: Any) -> tuple[Any, Callable[[Any, Any, Any], tuple[Any, Any]]]:
        """The first state, and what makes weights, state and gradients the next weights and state."""


@dataclass(frozen=True)
class Sgd:
    """Gradient descent, with momentum if it is not 0."""

    rate: float
    momentum: float = 0.0

    def ours(self) -> Any:
        import bigmodel_core as bm

        return bm.optimizers.SGD(self.rate, momentum=self.momentum)

    def torch(self, parameters: Iterable[Any]) -> Any:
        import torch

        return torch.optim.SGD(parameters, lr=self.rate, momentum=self.momentum)

    def jax(self, weights: Any) -> tuple[Any, Callable[[Any, Any, Any], tuple[Any, Any]]]:
        import jax
        import jax.numpy as jnp

        def moved(weights: Any, mean: Any, grads: Any) -> tuple[Any, Any]:
            if self.momentum:
                grads = mean = jax.tree.map(lambda m, g: self.momentum * m + g, mean, grads)
            return jax.tree.map(lambda w, g: w - self.rate * g, weights, grads), mean

        return jax.tree.map(jnp.zeros_like, weights) if self.momentum else (), moved


@dataclass(frozen=True)
class Adam:
    """Adam, with its usual decays."""

    rate: float

    def ours(self) -> Any:
        import bigmodel_core as bm

        return bm.optimizers.Adam(self.rate)

    def torch(self, parameters: Iterable[Any]) -> Any:
        import torch

        return torch.optim.Adam(parameters, lr=self.rate)

    def jax(self, weights: Any) -> tuple[Any, Callable[[Any, Any, Any], tuple[Any, Any]]]:
        import jax
        import jax.numpy as jnp

        def moved(weights: Any, state: Any, grads: Any) -> tuple[Any, Any]:
            count = state["count"] + 1
            mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["mean"], grads)
            square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g * g, state["square"], grads)

            def next_weight(w: Any, m: Any, s: Any) -> Any:
                return w - self.rate * (m / (1 - 0.9**count)) / (jnp.sqrt(s / (1 - 0.999**count)) + 1e-8)

            weights = jax.tree.map(next_weight, weights, mean, square)
            return weights, {"count": count, "mean": mean, "square": square}

        def zeros() -> Any:
            return jax.tree.map(jnp.zeros_like, weights)

        return {"count": jnp.float32(0), "mean": zeros(), "square": zeros()}, moved


def our_step(model: Any, loss: str, optimizer: Optimizer, batch: Batch, device: str = "cpu") -> Step:
    """A step of ours; the batch comes from the host's memory."""
    import bigmodel_core as bm

    x, y = batch
    if device != "cpu":
        model = model.build(bm.Spec(("N", *x.shape[1:])), device=device)
    step = bm.compile(model, loss=loss, optimizer=optimizer.ours())
    return lambda: step(x, y)


def torch_step(
    build: Callable[[], tuple[Iterable[Any], Callable[[Any, Any], Any]]],
    optimizer: Optimizer,
    batch: Batch,
    run: Run,
    *,
    compiled: bool,
    device: str = "cpu",
) -> Step:
    """A step of PyTorch, eager or compiled; the batch comes from the host's memory.

    Args:
        build: makes the parameters, and the loss of inputs and targets.
        optimizer: what moves the parameters.
        batch: what is trained on.
        run: says how many threads there are.
        compiled: whether forward and loss go through `torch.compile`.
        device: where the parameters are.
    """
    import torch

    torch.set_num_threads(run.threads)
    torch.manual_seed(0)
    parameters, loss_of = build()
    moves = optimizer.torch(parameters)
    x, y = (torch.from_numpy(array) for array in batch)
    forward = torch.compile(loss_of) if compiled else loss_of

    def step() -> float:
        moves.zero_grad(set_to_none=True)
        there = (x, y) if device == "cpu" else (x.to(device), y.to(device))
        loss = forward(*there)
        loss.backward()
        moves.step()
        return float(loss.item())

    return step


def jax_step(
    weights: Any, loss_of: Callable[[Any, Any, Any], Any], optimizer: Optimizer, batch: Batch
) -> Step:
    """A step of JAX, one jitted update.

    Args:
        weights: the arrays to train, in any nesting.
        loss_of: the loss of those, inputs and targets.
        optimizer: what moves the weights.
        batch: what is trained on.
    """
    import functools

    import jax

    state, moved = optimizer.jax(weights)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(weights: Any, state: Any, x: Any, y: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(weights, x, y)
        return *moved(weights, state, grads), loss

    x, y = (jax.device_put(array) for array in batch)

    def step() -> float:
        nonlocal weights, state
        weights, state, loss = update(weights, state, x, y)
        return float(loss)

    return step


# Classifiers ----------------------------------------------------------------------------------------------


def torch_classifier(model: Any) -> tuple[Iterable[Any], Callable[[Any, Any], Any]]:
    """The parameters of a module of PyTorch that gives scores, and its cross-entropy."""
    import torch

    criterion = torch.nn.CrossEntropyLoss()

    def loss_of(x: Any, y: Any) -> Any:
        return criterion(model(x), y)

    return model.parameters(), loss_of


def jax_cross_entropy(scores: Any, y: Any) -> Any:
    """The mean cross-entropy in JAX of scores (N, classes) and labels (N,)."""
    import jax
    import jax.numpy as jnp

    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(scores), y[:, None], axis=1))
