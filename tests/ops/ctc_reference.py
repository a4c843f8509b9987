"""The loss of connectionist temporal classification by its definition: the sum of the chances of all
sequences of classes that read as the labels."""

from __future__ import annotations

import itertools

import numpy as np


def ctc_losses(
    logits: np.ndarray,
    targets: np.ndarray,
    steps: np.ndarray | None = None,
    counts: np.ndarray | None = None,
    blank: int = 0,
) -> np.ndarray:
    """The loss of each sample: logits (N, T, C) of few steps and classes."""
    found = []
    for i, scores in enumerate(logits.astype("float64")):
        chances = np.exp(scores - scores.max(-1, keepdims=True))
        chances /= chances.sum(-1, keepdims=True)
        total = logits.shape[1] if steps is None else int(steps[i])
        labels = targets[i, : targets.shape[1] if counts is None else int(counts[i])].tolist()
        chance = 0.0
        for way in itertools.product(range(logits.shape[2]), repeat=total):
            read = [kind for kind, _ in itertools.groupby(way) if kind != blank]
            if read == labels:
                chance += float(np.prod([chances[t, kind] for t, kind in enumerate(way)]))
        found.append(-np.log(chance) if chance else np.inf)
    return np.array(found)
