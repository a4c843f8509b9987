"""Transfer: an encoder trained on the digits 0 to 4 serves, frozen, to tell 5 to 9 apart from few samples."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import bigmodel_core as bm


def digits(split: bm.Split, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of five digits, from one on."""
    chosen = np.flatnonzero((split.y >= first) & (split.y < first + 5))
    return np.asarray(split.x)[chosen], split.y[chosen] - first


def train(step: Any, x: np.ndarray, y: np.ndarray, steps: int) -> None:
    """Steps on batches of 64."""
    for number in range(steps):
        rows = np.arange(number * 64, number * 64 + 64) % len(x)
        step(x[rows], y[rows])


def accuracy(model: bm.Layer, x: np.ndarray, y: np.ndarray) -> float:
    """The share of samples whose highest score is that of their class."""
    return float((model(x).argmax(1) == y).mean())


def main(steps: int = 400) -> float:
    """Train, cut the head off, put another on and train that; returns its accuracy on test digits."""
    data, layers = bm.datasets.load("digits"), bm.layers
    image = (layers.Reshape((1, 8, 8)), layers.Conv2d(16, 3), layers.BatchNorm(), layers.Relu())
    encoder = bm.Sequential(*image, layers.Flatten(), layers.Dense(64), layers.Relu())
    before = bm.Sequential(encoder, layers.Dense(5))
    train(bm.compile(before, "cross_entropy", bm.optimizers.Adam(1e-3)), *digits(data.train, 0), steps)
    print(f"digits 0 to 4: accuracy {accuracy(before, *digits(data.test, 0)):.3f}")

    after = bm.Sequential(encoder, layers.Dense(5))  # the same encoder, another head
    x, y = digits(data.train, 5)
    optimizer = bm.optimizers.Adam(1e-2, weight_decay=1e-3)
    train(bm.compile(after, "cross_entropy", optimizer, freeze="sequential_1/*"), x[:100], y[:100], steps)
    print(f"digits 5 to 9, a new head on 100 samples: accuracy {accuracy(after, *digits(data.test, 5)):.3f}")

    train(bm.compile(after, "cross_entropy", bm.optimizers.Adam(1e-4)), x[:100], y[:100], steps)
    found = accuracy(after, *digits(data.test, 5))
    print(f"digits 5 to 9, then all layers, gently: accuracy {found:.3f}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    main(parser.parse_args().steps)
