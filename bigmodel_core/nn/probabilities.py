"""Probabilities of classes out of the scores that a model gives."""

from __future__ import annotations

import numpy as np

from bigmodel_core.graph import Value
from bigmodel_core.ops.activations import Sigmoid
from bigmodel_core.ops.softmax import Softmax


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


def makes_probabilities(output: Value) -> bool:
    """Whether a model's own last step makes probabilities: softmax or sigmoid, whatever is reshaped after."""
    while output.node.op.alias and output.node.inputs:
        output = output.node.inputs[0]
    return isinstance(output.node.op, (Softmax, Sigmoid))
