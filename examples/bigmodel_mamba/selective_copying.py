"""Selective copying (Gu and Dao, 2023): `python selective_copying.py` trains two layers to say what they saw.

Four tokens stand somewhere among steps that hold nothing; at the end they are asked for, in their order. What
to keep depends on what is read: a recurrence whose weights are the same at each step cannot do it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

import bigmodel_core as bm

NOTHING, ASKED, TOKENS, COUNT = 0, 8, 9, 4


@dataclass(frozen=True)
class Copier(bm.Layer):
    """Scores of each token for the last steps of sequences (N, T), by residual Mamba layers."""

    width: int = 32
    layers: int = 2

    def __call__(self, x: bm.Value) -> bm.Value:
        h = bm.layers.Embedding(TOKENS, self.width)(x)
        for _ in range(self.layers):
            h = h + bm.layers.Mamba()(bm.layers.LayerNorm()(h))
        return bm.layers.Dense(TOKENS)(bm.layers.LayerNorm()(h))[:, -COUNT:]


def batch(random: np.random.Generator, samples: int = 64, steps: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Sequences, and the tokens that stand in them."""
    x = np.full((samples, steps + COUNT), NOTHING)
    x[:, steps:] = ASKED
    y = random.integers(NOTHING + 1, ASKED, (samples, COUNT))
    for row, tokens in zip(x, y, strict=True):
        row[np.sort(random.choice(steps, COUNT, replace=False))] = tokens
    return x, y


def main(steps: int) -> float:
    """Train, and return the share of tokens that are right in new sequences."""
    random, model = np.random.default_rng(0), Copier()
    step = bm.compile(model, "cross_entropy", bm.optimizers.Adam(3e-3))
    right = 0.0
    for number in range(1, steps + 1):
        loss = step(*batch(random))
        if number % 100 == 0 or number == steps:
            x, y = batch(random, 256)
            right = float((model.network(x).argmax(-1) == y).mean())
            print(f"step {number}: loss {loss:.3f}, {right:.1%} of the tokens are right", flush=True)
    return right


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train Mamba layers on selective copying.")
    parser.add_argument("--steps", type=int, default=600)
    main(parser.parse_args().steps)
