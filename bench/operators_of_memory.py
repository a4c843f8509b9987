"""Ops whose cost is reading and writing: pools, normalisation, softmax, chains, embedding, updates.

Bytes are those of the operands, read once, and of the results, written once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bench.operators import Arrays, Case, normal

FLOAT = 4
"""Bytes of a float32."""


def pool(kind: str, n: int, *sizes: int) -> list[Case]:
    """A "max" or "average" pool of images, or volumes, of such sizes and channels under windows of 2 x 2, or
    2 x 2 x 2: forward, and forward with its gradient."""
    *image, channels = sizes
    halves = [size // 2 for size in image]
    whole, part = n * math.prod(sizes) * FLOAT, n * math.prod(halves) * channels * FLOAT
    axes = len(image)

    def arrays() -> Arrays:
        return normal(n, *sizes), normal(n, *halves, channels)

    def pooled(x: Any) -> Any:
        from bigmodel_core.ops.pooling import AveragePool, MaxPool

        return (MaxPool if kind == "max" else AveragePool)(
            (2,) * axes, (2,) * axes, (0,) * 2 * axes, layout="NHWC"
        )(x)

    def ours(x: Any, dy: Any) -> Sequence[Any]:
        return [pooled(x)[0] if kind == "max" else pooled(x)]

    def ours_both(x: Any, dy: Any) -> Sequence[Any]:
        y = pooled(x)
        first = y[0] if kind == "max" else y
        upstream = (dy, *y[1:]) if kind == "max" else dy
        return [first, *first.node.op.grad(upstream, y, x)]

    def function() -> Callable[[Any], Any]:
        from torch.nn import functional

        chosen = getattr(functional, f"{'max' if kind == 'max' else 'avg'}_pool{axes}d")
        return lambda x: chosen(x, 2)

    def jax_forward(x: Any, dy: Any) -> Any:
        import jax
        import jax.numpy as jnp

        window = ((1, *[2] * axes, 1), (1, *[2] * axes, 1), "VALID")
        if kind == "max":
            return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, *window)
        return jax.lax.reduce_window(x, 0.0, jax.lax.add, *window) / 2**axes

    def jax_both(x: Any, dy: Any) -> Any:
        import jax

        y, backward = jax.vjp(lambda x: jax_forward(x, dy), x)
        return y, backward(dy)

    name = f"{kind} pool {'x'.join(map(str, (n, *sizes)))}"
    return [
        Case(name, whole + part, arrays, ours, _torch_forward(function, 1), jax_forward, images=(0, 1)),
        Case(
            f"{name}, with gradient",
            2 * (whole + part),
            arrays,
            ours_both,
            _torch_both(function, 1),
            jax_both,
            images=(0, 1),
        ),
    ]


def batch_norm(n: int, size: int, channels: int) -> list[Case]:
    """Batch normalisation in training: forward, and forward with all gradients."""
    image = n * size**2 * channels * FLOAT

    def arrays() -> Arrays:
        x, dy = (normal(n, size, size, channels, seed=seed) for seed in (0, 1))
        return x, normal(channels), normal(channels, seed=1), dy

    def normalised(x: Any, scale: Any, shift: Any) -> Any:
        from bigmodel_core.ops.batch_normalization import BatchNorm

        return BatchNorm(layout="NHWC")(x, scale, shift)

    def ours(x: Any, scale: Any, shift: Any, dy: Any) -> Sequence[Any]:
        return [normalised(x, scale, shift)[0]]

    def ours_both(x: Any, scale: Any, shift: Any, dy: Any) -> Sequence[Any]:
        y = normalised(x, scale, shift)
        return [y[0], *y[0].node.op.grad((dy, *y[1:]), y, x, scale, shift)]

    def function() -> Callable[..., Any]:
        from torch.nn import functional

        return lambda x, scale, shift: functional.batch_norm(x, None, None, scale, shift, training=True)

    def forward(x: Any, scale: Any, shift: Any) -> Any:
        import jax
        import jax.numpy as jnp

        mean, variance = jnp.mean(x, (0, 1, 2)), jnp.var(x, (0, 1, 2))
        return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + shift

    def jax_both(x: Any, scale: Any, shift: Any, dy: Any) -> Any:
        import jax

        y, backward = jax.vjp(forward, x, scale, shift)
        return y, backward(dy)

    name = f"batch norm {n}x{size}x{size}x{channels}"
    return [
        Case(
            name,
            2 * image,
            arrays,
            ours,
            _torch_forward(function, 3),
            lambda *operands: forward(*operands[:3]),
            images=(0, 3),
        ),
        Case(
            f"{name}, with gradients",
            5 * image,
            arrays,
            ours_both,
            _torch_both(function, 3),
            jax_both,
            images=(0, 3),
        ),
    ]


def softmax(rows: int, columns: int) -> list[Case]:
    """The softmax of each row."""

    def ours(x: Any) -> Sequence[Any]:
        from bigmodel_core import ops

        return [ops.softmax(x)]

    def torch(x: Any) -> Callable[[], Any]:
        return lambda: x.softmax(-1)

    def jax(x: Any) -> Any:
        import jax

        return jax.nn.softmax(x)

    return [
        Case(
            f"softmax {rows}x{columns}",
            2 * rows * columns * FLOAT,
            lambda: (normal(rows, columns),),
            ours,
            torch,
            jax,
        )
    ]


def chain(rows: int, columns: int) -> list[Case]:
    """Four elementwise ops: relu(x * scale + shift) + x."""

    def ours(x: Any, scale: Any, shift: Any) -> Sequence[Any]:
        from bigmodel_core import ops

        return [ops.relu(x * scale + shift) + x]

    def torch(x: Any, scale: Any, shift: Any) -> Callable[[], Any]:
        return lambda: (x * scale + shift).relu() + x

    def jax(x: Any, scale: Any, shift: Any) -> Any:
        import jax

        return jax.nn.relu(x * scale + shift) + x

    return [
        Case(
            f"relu(x * scale + shift) + x, {rows}x{columns}",
            2 * rows * columns * FLOAT,
            lambda: (normal(rows, columns), normal(columns), normal(columns, seed=1)),
            ours,
            torch,
            jax,
        )
    ]


def embedding(tokens: int, vocabulary: int, width: int) -> list[Case]:
    """Rows of a table by number, and the gradient of the table."""

    def arrays() -> Arrays:
        chosen = np.random.default_rng(0).integers(0, vocabulary, tokens)
        return normal(vocabulary, width), chosen, normal(tokens, width)

    def ours(table: Any, chosen: Any, dy: Any) -> Sequence[Any]:
        from bigmodel_core import ops

        return [ops.gather(table, chosen)]

    def ours_gradient(table: Any, chosen: Any, dy: Any) -> Sequence[Any]:
        from bigmodel_core import ops

        y = ops.gather(table, chosen)
        return [y.node.op.grad(dy, y, table, chosen)[0]]

    def torch(table: Any, chosen: Any, dy: Any) -> Callable[[], Any]:
        from torch.nn import functional

        return lambda: functional.embedding(chosen, table)

    def torch_gradient(table: Any, chosen: Any, dy: Any) -> Callable[[], Any]:
        import torch

        return lambda: torch.ops.aten.embedding_dense_backward(dy, chosen, vocabulary, -1, False)

    def jax_gradient(table: Any, chosen: Any, dy: Any) -> Any:
        import jax.numpy as jnp

        return jnp.zeros((vocabulary, width), jnp.float32).at[chosen].add(dy)

    name = f"embedding of {tokens}, table {vocabulary}x{width}"
    rows = tokens * width * FLOAT
    return [
        Case(name, 2 * rows, arrays, ours, torch, lambda table, chosen, dy: table[chosen]),
        Case(
            f"{name}, gradient",
            rows + vocabulary * width * FLOAT,
            arrays,
            ours_gradient,
            torch_gradient,
            jax_gradient,
        ),
    ]


def adam(*shape: int) -> list[Case]:
    """The update of one array by Adam, at its first step."""
    rate, beta1, beta2, epsilon = 1e-3, 0.9, 0.999, 1e-8

    def arrays() -> Arrays:
        zeros = np.zeros(shape, np.float32)
        return normal(*shape), normal(*shape, seed=1), zeros, zeros

    def ours(parameter: Any, gradient: Any, mean: Any, square: Any) -> Sequence[Any]:
        import bigmodel_core as bm

        optimizer = bm.optimizers.Adam(rate)
        graph = parameter.node.graph
        number, step = graph.constant(rate, "float32"), graph.constant(1.0, "float64")
        new, state = optimizer.update(parameter, gradient, {"mean": mean, "square": square}, number, step)
        return [new, *state.values()]

    def torch(parameter: Any, gradient: Any, mean: Any, square: Any) -> Callable[[], Any]:
        from torch.optim import Adam

        parameter.grad = gradient
        return Adam([parameter], lr=rate).step

    def jax(parameter: Any, gradient: Any, mean: Any, square: Any) -> Any:
        import jax.numpy as jnp

        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        moved = (mean / (1 - beta1)) / (jnp.sqrt(square / (1 - beta2)) + epsilon)
        return parameter - rate * moved, mean, square

    name = f"Adam, {'x'.join(map(str, shape))}"
    return [Case(name, 7 * math.prod(shape) * FLOAT, arrays, ours, torch, jax)]


def _torch_forward(function: Callable[[], Any], count: int) -> Callable[..., Callable[[], Any]]:
    """Calls a function of the first operands without a tape."""

    def make(*tensors: Any) -> Callable[[], Any]:
        import torch

        chosen = function()

        def call() -> Any:
            with torch.no_grad():
                return chosen(*tensors[:count])

        return call

    return make


def _torch_both(function: Callable[[], Any], count: int) -> Callable[..., Callable[[], Any]]:
    """Calls a function of the first operands and goes back from the last one, its upstream gradient."""

    def make(*tensors: Any) -> Callable[[], Any]:
        import torch

        chosen = function()
        operands = [tensor.requires_grad_() for tensor in tensors[:count]]
        return lambda: torch.autograd.grad(chosen(*operands), operands, tensors[-1])

    return make
