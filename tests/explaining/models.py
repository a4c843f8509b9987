"""Small models whose parameters are known to NumPy, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import bigmodel_core as bm

DRAW = np.random.default_rng(0)
TABLE = DRAW.normal(size=(5, 4)).astype("float32")
IMAGES = DRAW.normal(size=(3, 1, 8, 8)).astype("float32")
TOKENS = np.array([[3, 1, 4, 1, 5], [2, 6, 0, -1, -1]])


def built(model: bm.Layer, *inputs: bm.Spec, seed: int = 0) -> Any:
    model.build(*inputs, seed=seed)
    return model


def perceptron(seed: int = 0) -> Any:
    """Scores of three classes of a table of four features."""
    layers = bm.layers.Dense(8), bm.layers.Tanh(), bm.layers.Dense(3)
    return built(bm.Sequential(*layers), bm.Spec(("N", 4)), seed=seed)


def numpy_scores(model: Any, x: np.ndarray) -> np.ndarray:
    """What `perceptron` computes, in float64."""
    state = {path: array.astype(np.float64) for path, array in model.state().items()}
    hidden = np.tanh(x @ state["dense_1/weight"] + state["dense_1/bias"])
    return hidden @ state["dense_2/weight"] + state["dense_2/bias"]


def convolutions(seed: int = 0) -> Any:
    """Scores of three classes of images (1, 8, 8)."""
    layers = (
        bm.layers.Conv2d(4, 3, padding=1),
        bm.layers.Relu(),
        bm.layers.MaxPool2d(2),
        bm.layers.Flatten(),
        bm.layers.Dense(3),
    )
    model = built(bm.Sequential(*layers), bm.Spec(("N", 1, 8, 8)), seed=seed)
    # Without biases scores grow in proportion to the image, so that one step would be enough.
    draw = np.random.default_rng(seed)
    model.load_state({"conv2d_1/bias": draw.normal(size=4).astype("float32")}, partial=True)
    return model


def reader(seed: int = 0) -> Any:
    """Scores of three classes of texts of tokens, -1 where there is none."""
    sizes: dict[str, int] = {"vocabulary": 9, "context": 8, "layers": 1, "heads": 2, "width": 8}
    model = bm.models.build("bert-classifier", classes=3, segments=1, dropout=0.0, **sizes)
    built(model, bm.Spec(("N", "T"), "int64"), seed=seed)
    # First values are small, so that texts would hardly differ.
    drawn = {path: 20 * array for path, array in model.state().items() if "norm" not in path}
    model.load_state(drawn, partial=True)
    return model


@dataclass(frozen=True)
class Reused(bm.Layer):
    """The same layers, embedding included, are called several times."""

    embedding: bm.Layer
    hidden: bm.Layer
    activation: bm.Layer
    scores: bm.Layer

    def __call__(self, first: Any, second: Any) -> Any:
        x = self.embedding(first) + self.embedding(second) * 0.5
        for _ in range(3):
            x = self.activation(self.hidden(x))
        return self.scores(self.activation(bm.ops.mean(x, 1)))


def reused() -> Any:
    model = Reused(bm.layers.Embedding(9, 8), bm.layers.Dense(8), bm.layers.Relu(), bm.layers.Dense(3))
    return built(model, *[bm.Spec(("N", "T"), "int64")] * 2)
