"""What a model's outputs say about each sample: a label with its probability, or numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Answer:
    """The answer for one sample.

    Args:
        label: the name of the class, or its number where classes have no names; None for numbers. Where each
            step of a sample has a class, their names in a row.
        index: the number of the class, or of each step's class; None for numbers.
        probability: how probable the class is; for steps, on average.
        values: the predicted numbers, where there is no class.
    """

    label: str | None = None
    index: int | list[int] | None = None
    probability: float | None = None
    values: Any = None

    def text(self) -> str:
        """The label, or the numbers."""
        if self.label is not None:
            return self.label
        numbers = np.asarray(self.values, np.float64).reshape(-1)
        text = ", ".join(f"{number:.6g}" for number in numbers[:8])
        return text if len(numbers) <= 8 else f"{text}, ... ({len(numbers)} numbers)"

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        if self.label is None:
            return {"values": self.values}
        return {"label": self.label, "index": self.index, "probability": self.probability}


def answers(
    outputs: Mapping[str, np.ndarray], task: str | None, labels: Sequence[str] | None
) -> list[Answer]:
    """The answers in a model's outputs.

    Args:
        outputs: by name; "label" and "probability" are taken as they are, else the first output counts:
            (n, C) scores, (n, T, C) scores of the steps of sequences, (n, 1) scores of two classes, or any
            numbers.
        task: "classification", "binary" or "regression"; judged by shape and labels where None.
        labels: the names of the classes.

    >>> outputs = {"y": np.array([[0.1, 2.0], [3.0, 1.0]])}
    >>> [answer.label for answer in answers(outputs, "classification", ("cat", "dog"))]
    ['dog', 'cat']
    """
    if {"label", "probability"} <= set(outputs):
        return _labelled(outputs["label"], outputs["probability"], labels)
    scores = np.asarray(next(iter(outputs.values())))
    if task is None:
        task = _task(scores, labels)
    if task == "classification" and scores.ndim == 2:
        chances = _probabilities(scores.astype(np.float64))
        best = scores.argmax(1)
        return _labelled(best, chances[np.arange(len(scores)), best], labels)
    if task == "classification" and scores.ndim == 3:
        chances = _probabilities(scores.astype(np.float64).reshape(-1, scores.shape[-1])).max(1)
        steps = zip(scores.argmax(2).tolist(), chances.reshape(scores.shape[:2]).mean(1), strict=True)
        return [Answer(in_a_row(best, labels), best, float(chance)) for best, chance in steps]
    if task == "binary" and scores.size == len(scores):
        flat = scores.reshape(-1).astype(np.float64)
        chances = 1 / (1 + np.exp(-np.clip(flat, -700, 700)))
        return _labelled(flat > 0, np.where(flat > 0, chances, 1 - chances), labels)
    return [Answer(values=sample.tolist()) for sample in scores]


def in_a_row(indices: Sequence[int], labels: Sequence[str] | None) -> str:
    """The names of the classes of successive steps: single characters as text, others parted by blanks.

    >>> in_a_row([1, 0], ("a", "b")), in_a_row([1, 0], ("noun", "verb")), in_a_row([1, 0], None)
    ('ba', 'verb noun', '1 0')
    """
    names = [labels[index] if labels and 0 <= index < len(labels) else str(index) for index in indices]
    return ("" if labels and all(len(label) == 1 for label in labels) else " ").join(names)


def _task(scores: np.ndarray, labels: Sequence[str] | None) -> str:
    if scores.ndim == 2 and scores.shape[1] > 1 and scores.dtype.kind == "f":
        return "classification"
    return "binary" if labels and len(labels) == 2 and scores.size == len(scores) else "regression"


def _labelled(indices: Any, chances: Any, labels: Sequence[str] | None) -> list[Answer]:
    return [
        Answer(labels[index] if labels and 0 <= index < len(labels) else str(index), index, float(chance))
        for index, chance in zip(map(int, indices), chances, strict=True)
    ]


def _probabilities(scores: np.ndarray) -> np.ndarray:
    """The scores themselves where they are probabilities already, else their softmax."""
    if (scores >= 0).all() and np.allclose(scores.sum(1), 1, atol=1e-4):
        return scores
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))
