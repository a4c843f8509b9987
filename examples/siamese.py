"""A Siamese network on handwritten digits: two images go through one tower, and their distance says whether
they are the same digit (Chopra, Hadsell and LeCun, 2005). Alone, the tower finds each digit's neighbours."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np

import bigmodel_core as bm


@dataclass(frozen=True)
class Siamese(bm.Layer):
    """The squared distance of two inputs after one tower: (N, ...) and (N, ...) to (N,)."""

    tower: bm.Layer

    def __call__(self, left: Any, right: Any) -> Any:
        return bm.ops.sum((self.tower(left) - self.tower(right)) ** 2, axis=1)


@dataclass(frozen=True)
class Contrastive(bm.Loss):
    """Pulls pairs of one kind together, and pushes others until they are `margin` apart."""

    margin: float = 1.0

    def each(self, prediction: Any, target: Any) -> Any:
        short = bm.ops.maximum(self.margin - bm.ops.sqrt(prediction + 1e-6), 0.0)
        return target * prediction + (1 - target) * short**2


def main(steps: int = 600, file: str = "tower.onnx") -> float:
    """Train, export the tower; returns the share of test digits whose nearest neighbour is of their kind."""
    data = bm.datasets.load("digits")
    x, y = data.train.x, data.train.y
    layers = (bm.layers.Flatten(), bm.layers.Dense(64), bm.layers.Relu(), bm.layers.Dense(8))
    model = Siamese(bm.Sequential(*layers))
    step = bm.compile(model, loss=Contrastive(), optimizer=bm.optimizers.Adam(2e-3))
    generator, loss = np.random.default_rng(0), 0.0
    for _ in range(steps):
        left, right = generator.integers(0, len(y), (2, 128))
        right[::2] = [generator.choice(np.flatnonzero(y == y[one])) for one in left[::2]]  # half are pairs
        loss = step((x[left], x[right]), (y[left] == y[right]).astype("float32"))
    known, asked = model.tower(x), model.tower(data.test.x)  # the tower alone, as trained
    nearest = ((asked[:, None] - known[None]) ** 2).sum(-1).argmin(1)
    accuracy = float((y[nearest] == data.test.y).mean())
    bm.export(model.tower, file)
    print(f"loss {loss:.4f}, accuracy of the nearest neighbour {accuracy:.3f}, tower in {file}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=600)
    main(parser.parse_args().steps)
