"""Class probabilities from a model's scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from bigmodel_core.graph import Node, Value
from bigmodel_core.ops.activations import Sigmoid
from bigmodel_core.ops.softmax import Softmax

Kind = Literal["softmax", "sigmoid"]
"""What makes probabilities of scores."""


def softmax(scores: np.ndarray) -> np.ndarray:
    """exp(x) / sum(exp(x)) along the last axis, in float64; no score is too large.

    >>> softmax(np.array([[0.0, 0.0], [1000.0, 0.0]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    wide = np.asarray(scores, np.float64)
    powers = np.exp(wide - wide.max(-1, keepdims=True, initial=-np.inf, where=~np.isnan(wide)))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) in float64, without overflow.

    >>> sigmoid(np.array([0.0, -1000.0])).tolist()
    [0.5, 0.0]
    """
    small = np.exp(-np.abs(np.asarray(scores, np.float64)))
    return np.where(np.asarray(scores) >= 0, 1, small) / (1 + small)


def of_both(chance: np.ndarray) -> np.ndarray:
    """The probabilities (n, 2) of both classes from that of class 1, (n,).

    >>> of_both(np.array([0.25])).tolist()
    [[0.75, 0.25]]
    """
    return np.stack([1 - chance, chance], -1)


def is_single(scores: np.ndarray) -> bool:
    """Whether each sample has one score, which stands for two classes: (n,), (n, 1) and so on."""
    return scores.ndim > 0 and math.prod(scores.shape[1:]) == 1


def classified(scores: np.ndarray, are_probabilities: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The most probable class of each sample, and the probabilities of all classes.

    Args:
        scores: (n, C) or, of steps, (n, T, C), one a class; or one for two classes, see `is_single`.
        are_probabilities: whether the model itself made probabilities of them.

    Returns:
        The numbers of the classes, int64 (n,) or (n, T), and the probabilities, float64 (n, C) or (n, T, C).

    >>> classes, probabilities = classified(np.array([[0.0], [-1000.0]]))
    >>> classes.tolist(), probabilities.tolist()
    ([0, 0], [[0.5, 0.5], [1.0, 0.0]])
    """
    if not is_single(scores):
        return scores.argmax(-1), scores.astype(np.float64) if are_probabilities else softmax(scores)
    flat = scores.reshape(-1).astype(np.float64)
    chosen = flat > (0.5 if are_probabilities else 0)
    return chosen.astype(np.int64), of_both(flat if are_probabilities else sigmoid(flat))


def scores_of(
    outputs: Mapping[str, np.ndarray], are_probabilities: bool, task: str | None = None
) -> np.ndarray:
    """What metrics of classes take: a score per class, or one that is above 0 if class 1 is more probable; of
    several labels one for each that is above 0 if a sample has it.

    Args:
        outputs: of a model or a file, by name.
        are_probabilities: whether the first of them already is probabilities.
        task: of the model, if it is known.
    """
    if "probabilities" in outputs:
        found, are_probabilities = outputs["probabilities"], True
    else:
        found = outputs.get("label", next(iter(outputs.values())))
    is_flags = task == "multilabel" or is_single(found)
    is_chance = are_probabilities and found.dtype.kind == "f" and is_flags
    return found - np.asarray(0.5, found.dtype) if is_chance else found


def mean_scores(views: Sequence[np.ndarray], kind: Kind | None) -> np.ndarray:
    """Scores whose probabilities are the mean of those that some outputs stand for.

    Args:
        views: outputs of one shape.
        kind: what makes probabilities of them; None takes the mean of the outputs themselves.

    >>> found = mean_scores([np.array([[0.0, 0.0]]), np.array([[1000.0, 0.0]])], "softmax")
    >>> softmax(found).round(6).tolist()
    [[0.75, 0.25]]
    """
    if len(views) == 1:
        return views[0]
    if kind is None:
        return np.mean(views, 0, np.float64).astype(views[0].dtype)
    chances = np.mean([(softmax if kind == "softmax" else sigmoid)(view) for view in views], 0)
    least = np.finfo(np.float64).tiny
    found = np.log(np.maximum(chances, least))
    if kind == "sigmoid":
        found -= np.log(np.maximum(1 - chances, least))
    return np.asarray(found, views[0].dtype)


def most_probable_spans(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The most probable span of each sample: where it starts, where it ends, and how probable that is.

    Args:
        start, end: scores (n, T) of where it starts and ends; it does not end before it starts.

    Returns:
        The places, int64 (n,) each, and the product of both probabilities, float64 (n,).

    >>> first, last, chance = most_probable_spans(np.zeros((1, 3)), np.array([[-1000.0, 0.0, -1000.0]]))
    >>> first.tolist(), last.tolist(), chance.round(3).tolist()
    ([0], [1], [0.333])
    """
    chances, ends = softmax(start), softmax(end)
    products = np.maximum.accumulate(chances, -1) * ends
    last = products.argmax(-1)
    before = np.arange(chances.shape[-1]) <= last[:, None]
    return np.where(before, chances, -1).argmax(-1), last, products.max(-1)


def makes_probabilities(output: Value) -> bool:
    """Whether a model's own last step makes probabilities: softmax or sigmoid, whatever is reshaped after."""
    return isinstance(last_step(output).op, (Softmax, Sigmoid))


def last_step(output: Value) -> Node:
    """What computed an output, whatever is reshaped after."""
    while output.node.op.alias and output.node.inputs:
        output = output.node.inputs[0]
    return output.node
