"""A training step of ResNet-20 for CIFAR: 3x32x32 images, SGD with momentum, batch 32."""

from __future__ import annotations

from typing import Any

from bench import vision
from bench.vision import jax_convolution
from bench.workload import Run, Step, Target, Workload

WORKLOAD = Workload(
    "resnet20_b32",
    "training step, ResNet-20 on 3x32x32, SGD with momentum, batch 32",
    "ms",
    targets=(Target(ratio=1.2),),
)
BLOCKS = [(16, 1)] * 3 + [(32, 2)] + [(32, 1)] * 2 + [(64, 2)] + [(64, 1)] * 2
"""Width and stride of each block."""


def _shapes() -> list[tuple[int, ...]]:
    """Filters, scales and shifts in the order that `_scores` takes them."""
    found: list[tuple[int, ...]] = [(3, 3, 3, 16), (1, 16), (1, 16)]
    before = 16
    for filters, stride in BLOCKS:
        found += [(3, 3, before, filters), (1, filters), (1, filters)]
        found += [(3, 3, filters, filters), (1, filters), (1, filters)]
        if before != filters or stride != 1:
            found += [(1, 1, before, filters), (1, filters), (1, filters)]
        before = filters
    return [*found, (64, 10), (10,)]


def _scores(weights: list[Any], x: Any) -> Any:
    import jax
    import jax.numpy as jnp

    rest = iter(weights)

    def convolution(x: Any, stride: int = 1) -> Any:
        weight, scale, shift = next(rest), next(rest), next(rest)
        y = jax_convolution(x, weight, padding=weight.shape[0] // 2, stride=stride)
        mean, variance = jnp.mean(y, (0, 1, 2)), jnp.var(y, (0, 1, 2))
        return (y - mean) * jax.lax.rsqrt(variance + 1e-5) * scale[0] + shift[0]

    x = jax.nn.relu(convolution(x))
    for filters, stride in BLOCKS:
        y = convolution(jax.nn.relu(convolution(x, stride)))
        x = jax.nn.relu(y + (x if x.shape[-1] == filters and stride == 1 else convolution(x, stride)))
    return jnp.mean(x, (1, 2)) @ next(rest) + next(rest)


def step(peer: str, run: Run, batch: int = 32) -> Step:
    network = vision.Network("resnet20", vision.torch_resnet20, _shapes(), _scores)
    return vision.step(vision.Task((batch, 3, 32, 32)), network, peer, run)
