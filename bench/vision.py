"""Training steps of image classifiers beside PyTorch and JAX: what the workloads on images share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench import training
from bench.workload import Run, Step

SGD = training.Sgd(0.01, momentum=0.9)


@dataclass(frozen=True)
class Task:
    """A batch and an optimizer.

    Args:
        shape: of the batch, (N, C, H, W).
        optimizer: what moves the weights.
        classes: how many classes there are.
    """

    shape: tuple[int, int, int, int]
    optimizer: training.Optimizer = SGD
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
    images, labels = batch = task.batch()
    if peer == "ours":
        import bigmodel_core as bm

        return training.our_step(bm.models.build(network.name), "cross_entropy", task.optimizer, batch)
    if peer == "jax":

        def loss_of(weights: list[Any], x: Any, y: Any) -> Any:
            return training.jax_cross_entropy(network.scores(weights, x), y)

        last = (images.transpose(0, 2, 3, 1), labels)
        return training.jax_step(jax_weights(network.shapes), loss_of, task.optimizer, last)

    def build() -> Any:
        return training.torch_classifier(network.torch())

    return training.torch_step(build, task.optimizer, batch, run, compiled=peer == "torch_compile")


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


def torch_resnet(depths: Sequence[int], width: int, expansion: int, stem: Sequence[Any], classes: int) -> Any:
    """A residual network (He et al., 2015) in PyTorch.

    Args:
        depths: blocks in each stage; a stage is twice as wide as the one before, on half the image.
        width: of the first stage.
        expansion: 1 for blocks of two 3x3 convolutions; else blocks of 1x1, 3x3 and 1x1, the last this many
            times as wide.
        stem: what comes before the stages, with `width` channels.
        classes: how many scores there are.
    """
    from torch import nn

    class Block(nn.Module):
        def __init__(self, before: int, inner: int, stride: int) -> None:
            super().__init__()
            after = inner * expansion
            first = torch_convolution(
                before, inner, 3 if expansion == 1 else 1, stride if expansion == 1 else 1
            )
            middle = [] if expansion == 1 else [nn.ReLU(), torch_convolution(inner, inner, 3, stride)]
            last = torch_convolution(inner, after, 3 if expansion == 1 else 1)
            self.body = nn.Sequential(first, *middle, nn.ReLU(), last)
            same = before == after and stride == 1
            self.shortcut = nn.Identity() if same else torch_convolution(before, after, 1, stride)

        def forward(self, x: Any) -> Any:
            return nn.functional.relu(self.body(x) + self.shortcut(x))

    parts, before = list(stem), width
    for stage, depth in enumerate(depths):
        for number in range(depth):
            parts.append(Block(before, width * 2**stage, 2 if stage and not number else 1))
            before = width * 2**stage * expansion
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


def torch_convolution(before: int, filters: int, size: int, stride: int = 1) -> Any:
    """A convolution and its normalisation in PyTorch."""
    from torch import nn

    layer = nn.Conv2d(before, filters, size, stride, size // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(filters))


def torch_resnet20() -> Any:
    """ResNet-20 for CIFAR in PyTorch."""
    from torch import nn

    return torch_resnet((3, 3, 3), 16, 1, [torch_convolution(3, 16, 3), nn.ReLU()], 10)


def torch_large_resnet(depths: Sequence[int], expansion: int) -> Any:
    """A residual network for images of 224 pixels in PyTorch."""
    from torch import nn

    stem = [torch_convolution(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return torch_resnet(depths, 64, expansion, stem, 1000)
