"""Two losses of one model: which digit an image shows, and how much ink is in each of its quarters. Outputs,
targets, losses with their weights, and metrics go by the same names."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bigmodel_core as bm


@dataclass(frozen=True)
class Reader(bm.Layer):
    """Features of images (N, 1, 8, 8) that two heads share: {"digit": (N, 10), "ink": (N, 4)}."""

    body: bm.Layer
    digit: bm.Layer
    ink: bm.Layer

    def __call__(self, x: Any) -> Any:
        features = self.body(x)
        return {"digit": self.digit(features), "ink": self.ink(features)}


def named(split: bm.Split) -> bm.Split:
    """The digits with both targets by name."""
    quarters = np.asarray(split.x).reshape(-1, 2, 4, 2, 4).mean(axis=(2, 4)).reshape(-1, 4)
    return bm.Split(split.x, {"digit": split.y, "ink": quarters})


def main(steps: int = 400, out: Path | None = None) -> dict[str, Any]:
    """Train for about so many steps; returns what is measured on the test digits."""
    layers = bm.layers
    body = bm.Sequential(layers.Flatten(), layers.Dense(64, activation="relu"))
    data = bm.datasets.load("digits")
    trainer = bm.Trainer(
        Reader(body, layers.Dense(10), layers.Dense(4)),
        loss={"digit": "cross_entropy", "ink": ("huber", 5.0)},
        metrics={"digit": ["accuracy"], "ink": ["mean_absolute_error"]},
        optimizer=bm.optimizers.Adam(3e-3),
    )
    trainer.fit(named(data.train), epochs=max(steps // 21, 1), validation=0.1)
    if out is not None:
        bm.export(trainer.model, out)
    return trainer.evaluate(named(data.test))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--out", type=Path, help="an ONNX file to write")
    arguments = parser.parse_args()
    print(main(arguments.steps, arguments.out))
