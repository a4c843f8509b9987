"""Training steps of Transformers beside PyTorch and JAX: what the workloads on them share.

All have blocks with the norms in front, GELU by tanh, and products with biases. Scores of a "gpt" are
products with the table of its embedding; others have an output of their own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench import training
from bench.workload import Run, Step

ADAM = training.Adam(3e-4)


@dataclass(frozen=True)
class Task:
    """A Transformer and its batch.

    Args:
        kind: "gpt" (each step is scored on the next token), "bert" (the tokens that are hidden are) or "vit"
            (the mean of all patches is classified).
        layers, heads, width: of the blocks.
        batch: samples of a batch.
        steps: tokens, or patches, of a sample.
        outputs: the vocabulary, or the classes of images.
        features: numbers of a patch; 0 where there are tokens.
        scored: the share of the tokens that the loss counts.
    """

    kind: str
    layers: int
    heads: int
    width: int
    batch: int
    steps: int
    outputs: int
    features: int = 0
    scored: float = 1.0

    @property
    def is_causal(self) -> bool:
        """Whether a token sees only those before it."""
        return self.kind == "gpt"

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The batch that every peer trains on; labels that do not count are -1."""
        random = np.random.default_rng(0)
        shape = self.batch, self.steps
        if self.features:
            x = random.standard_normal((*shape, self.features), dtype=np.float32)
            return x, random.integers(0, self.outputs, self.batch)
        tokens, labels = random.integers(0, self.outputs, (2, *shape))
        if self.scored < 1:
            places = random.permuted(np.arange(self.batch * self.steps)).reshape(shape)
            labels = np.where(places < round(self.scored * places.size), labels, -1)
        return tokens, labels


def step(task: Task, peer: str, run: Run) -> Step:
    """A step of one peer."""
    batch = task.arrays()
    if peer == "ours":
        return training.our_step(our_model(task), our_loss(task), ADAM, batch)
    if peer == "jax":
        return training.jax_step(
            jax_weights(task), functools.partial(jax_loss, task), ADAM, jax_batch(task, batch)
        )
    return training.torch_step(
        functools.partial(torch_model, task), ADAM, batch, run, compiled=peer == "torch_compile"
    )


# Ours -----------------------------------------------------------------------------------------------------


def our_loss(task: Task) -> Any:
    """The cross-entropy of what counts."""
    import bigmodel_core as bm

    return bm.losses.CrossEntropy(ignore=-1) if task.scored < 1 else "cross_entropy"


def our_model(task: Task) -> Any:
    """The network of ours: the model `gpt`, or one of public layers and ops."""
    import bigmodel_core as bm

    if task.kind == "gpt":
        return bm.models.build(
            "gpt",
            vocabulary=task.outputs,
            context=task.steps,
            layers=task.layers,
            heads=task.heads,
            width=task.width,
        )
    layers, ops = bm.layers, bm.ops

    @dataclass(frozen=True)
    class Block(bm.Layer):
        heads: int

        def __call__(self, x: Any) -> Any:
            width = x.shape[-1]
            y = layers.LayerNorm()(x)

            def split(part: Any) -> Any:
                parted = ops.reshape(part, (*part.shape[:-1], self.heads, width // self.heads))
                return ops.transpose(parted, (0, 2, 1, 3))

            q, k, v = (split(layers.Dense(width)(y)) for _ in range(3))
            seen = ops.transpose(ops.attention(q, k, v), (0, 2, 1, 3))
            x = x + layers.Dense(width)(ops.reshape(seen, x.shape))
            y = ops.gelu_tanh(layers.Dense(4 * width)(layers.LayerNorm()(x)))
            return x + layers.Dense(width)(y)

    @dataclass(frozen=True)
    class Transformer(bm.Layer):
        task: Task

        def __call__(self, x: Any) -> Any:
            task = self.task
            x = (
                layers.Dense(task.width)(x)
                if task.features
                else layers.Embedding(task.outputs, task.width)(x)
            )
            x = x + self.parameter("position", (task.steps, task.width), 0.01)
            for _ in range(task.layers):
                x = Block(task.heads)(x)
            x = layers.LayerNorm()(x)
            return layers.Dense(task.outputs)(ops.mean(x, 1) if task.features else x)

    return Transformer(task)


# PyTorch --------------------------------------------------------------------------------------------------


def torch_model(task: Task) -> tuple[Any, Callable[[Any, Any], Any]]:
    """The parameters in PyTorch, and the loss."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm_1, self.norm_2 = nn.LayerNorm(task.width), nn.LayerNorm(task.width)
            self.qkv, self.output = nn.Linear(task.width, 3 * task.width), nn.Linear(task.width, task.width)
            self.wide, self.narrow = (
                nn.Linear(task.width, 4 * task.width),
                nn.Linear(4 * task.width, task.width),
            )

        def forward(self, x: Any) -> Any:
            n, t, width = x.shape
            parts = self.qkv(self.norm_1(x)).split(width, 2)
            q, k, v = (part.view(n, t, task.heads, width // task.heads).transpose(1, 2) for part in parts)
            seen = functional.scaled_dot_product_attention(q, k, v, is_causal=task.is_causal)
            x = x + self.output(seen.transpose(1, 2).reshape(n, t, width))
            return x + self.narrow(functional.gelu(self.wide(self.norm_2(x)), approximate="tanh"))

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter = (
                nn.Linear(task.features, task.width)
                if task.features
                else nn.Embedding(task.outputs, task.width)
            )
            self.position = nn.Parameter(torch.full((task.steps, task.width), 0.01))
            self.blocks = nn.ModuleList(Block() for _ in range(task.layers))
            self.norm = nn.LayerNorm(task.width)
            self.leave = nn.Linear(task.width, task.outputs, bias=task.kind != "gpt")
            if task.kind == "gpt":
                self.leave.weight = self.enter.weight

        def forward(self, x: Any) -> Any:
            x = self.enter(x) + self.position
            for block in self.blocks:
                x = block(x)
            return self.norm(x)

    model = Transformer()

    def loss_of(x: Any, y: Any) -> Any:
        found = model(x)
        if task.features:
            return functional.cross_entropy(model.leave(found.mean(1)), y)
        found, y = found.flatten(0, 1), y.flatten()
        if task.scored < 1:  # only what is scored meets the vocabulary
            found, y = found[y >= 0], y[y >= 0]
        return functional.cross_entropy(model.leave(found), y)

    return list(model.parameters()), loss_of


# JAX ------------------------------------------------------------------------------------------------------


def jax_batch(task: Task, batch: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The batch with the labels (and their places) that count: a jitted function has fixed shapes."""
    x, y = batch
    if task.scored == 1:
        return batch
    places = np.flatnonzero(y >= 0)
    return x, np.stack([places, y.ravel()[places]])


def jax_weights(task: Task) -> dict[str, Any]:
    """The weights in JAX: those of products normal, scaled by the width."""
    import jax.numpy as jnp

    random = np.random.default_rng(0)

    def dense(before: int, after: int) -> tuple[Any, Any]:
        weight = random.standard_normal((before, after), np.float32) / math.sqrt(before)
        return jnp.asarray(weight), jnp.zeros(after)

    def norm() -> tuple[Any, Any]:
        return jnp.ones(task.width), jnp.zeros(task.width)

    width = task.width
    table = random.standard_normal((task.outputs, width), np.float32)
    blocks = [
        {
            "norm_1": norm(),
            "qkv": dense(width, 3 * width),
            "output": dense(width, width),
            "norm_2": norm(),
            "wide": dense(width, 4 * width),
            "narrow": dense(4 * width, width),
        }
        for _ in range(task.layers)
    ]
    return {
        "enter": dense(task.features, width) if task.features else jnp.asarray(table),
        "position": jnp.full((task.steps, width), 0.01),
        "blocks": blocks,
        "norm": norm(),
        **({} if task.kind == "gpt" else {"leave": dense(width, task.outputs)}),
    }


def jax_loss(task: Task, weights: dict[str, Any], x: Any, y: Any) -> Any:
    """The loss in JAX, with its `dot_product_attention`."""
    import jax
    import jax.numpy as jnp

    def norm(x: Any, parameters: Any) -> Any:
        mean, variance = jnp.mean(x, -1, keepdims=True), jnp.var(x, -1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * parameters[0] + parameters[1]

    def dense(x: Any, parameters: Any) -> Any:
        return x @ parameters[0] + parameters[1]

    x = dense(x, weights["enter"]) if task.features else weights["enter"][x]
    x = x + weights["position"]
    for block in weights["blocks"]:
        parts = jnp.split(dense(norm(x, block["norm_1"]), block["qkv"]), 3, axis=-1)
        q, k, v = (part.reshape(*x.shape[:2], task.heads, -1) for part in parts)
        seen = jax.nn.dot_product_attention(q, k, v, is_causal=task.is_causal)
        x = x + dense(seen.reshape(x.shape), block["output"])
        x = x + dense(jax.nn.gelu(dense(norm(x, block["norm_2"]), block["wide"])), block["narrow"])
    x = norm(x, weights["norm"])
    if task.features:
        return training.jax_cross_entropy(dense(jnp.mean(x, 1), weights["leave"]), y)
    if task.kind == "gpt":
        return training.jax_cross_entropy(x.reshape(-1, task.width) @ weights["enter"].T, y.ravel())
    rows, labels = x.reshape(-1, task.width), y.ravel()
    if task.scored < 1:
        rows, labels = rows[y[0]], y[1]
    return training.jax_cross_entropy(dense(rows, weights["leave"]), labels)
