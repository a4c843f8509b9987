"""What a model's outputs say about each sample: a class with its probability, or numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bigmodel_core.errors import NumericsError
from bigmodel_core.nn.probabilities import classified, is_single, of_both, sigmoid


@dataclass(frozen=True)
class Prediction:
    """What is predicted for one sample.

    Args:
        label: the name of the class, or its number if classes have no names; None for numbers. Where each
            step of a sample has a class, their names in a row; where each pixel has one, the share of each
            class; or a text that the model wrote.
        index: the number of the class, or of each step's class, or of each pixel's, row by row; None for
            numbers and written texts.
        probability: how probable the class is; for steps, on average.
        values: the predicted numbers, if there is no class.
        probabilities: those of all classes, by name; None for steps, and where the model tells that of the
            label alone.
        outputs: all outputs by name, of a model with several.
        spans: the parts of a text with a label each; see `Dataset.spans`.
        boxes: what is found in an image, the surest first, as {"label": "cat", "score": 0.98, "box": [left,
            top, right, bottom]}, in pixels of the model's input.
        labels: the names of all labels that a sample has, where it may have several.
    """

    label: str | None = None
    index: int | list[int] | list[list[int]] | None = None
    probability: float | None = None
    values: Any = None
    probabilities: Mapping[str, float] | None = None
    outputs: Mapping[str, Any] | None = None
    spans: Sequence[Mapping[str, Any]] | None = None
    boxes: Sequence[Mapping[str, Any]] | None = None
    labels: Sequence[str] | None = None

    @property
    def is_mask(self) -> bool:
        """Whether each pixel of an image has a class."""
        return isinstance(self.index, list) and bool(self.index) and isinstance(self.index[0], list)

    def text(self) -> str:
        """The label, or the numbers."""
        if self.label is not None:
            return self.label
        numbers = np.asarray(self.values, np.float64).reshape(-1)
        text = ", ".join(f"{number:.6g}" for number in numbers[:8])
        return text if len(numbers) <= 8 else f"{text}, ... ({len(numbers)} numbers)"

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values; numbers that are not finite, which JSON lacks, are None."""
        found: dict[str, Any] = {"values": _finite(self.values)}
        if self.label is not None:
            found = {"label": self.label, "index": self.index, "probability": self.probability}
        if self.label is not None and self.index is None:
            found = {"text": self.label}
        if self.spans is not None:
            found = {"spans": [dict(span) for span in self.spans], "probability": self.probability}
        if self.boxes is not None:
            found = {"boxes": [dict(box) for box in self.boxes]}
        if self.labels is not None:
            found = {"labels": list(self.labels)}
        if self.probabilities is not None:
            found["probabilities"] = dict(self.probabilities)
        if self.outputs is not None:
            found["outputs"] = {name: _finite(value) for name, value in self.outputs.items()}
        return found


def shown(spans: Sequence[Mapping[str, Any]]) -> str:
    """Parts of a text in a row, each with its label, if it has one.

    >>> shown([{"text": "the", "label": "DET"}, {"text": "old house"}])
    'the/DET old house'
    """
    return " ".join("/".join(span[key] for key in ("text", "label") if key in span) for span in spans)


def of_spans(spans: Sequence[Mapping[str, Any]]) -> Prediction:
    """The prediction for a text of which parts are told; its probability is their mean."""
    chances = [span["probability"] for span in spans]
    return Prediction(
        shown(spans),
        probability=sum(chances) / len(chances) if chances else None,
        spans=spans,
    )


DETECTIONS = "detections"
"""The output of models that find boxes, (n, K, 6): class (-1 is none), score, left, top, right, bottom."""
LEAST_SCORE = 0.5
"""Boxes of a lower score are not told."""


def of_detections(rows: np.ndarray, labels: Sequence[str] | None) -> Prediction:
    """The prediction for an image in which boxes were found.

    >>> of_detections(np.array([[1, 0.9, 2, 3, 8, 9], [-1, 0, 0, 0, 0, 0]]), ("cat", "dog")).label
    'dog'
    """
    told = [row for row in rows.astype(np.float64).tolist() if row[0] >= 0 and row[1] >= LEAST_SCORE]
    boxes = [
        {"label": class_name(int(row[0]), labels), "score": row[1], "box": [round(x, 2) for x in row[2:]]}
        for row in told
    ]
    return Prediction(", ".join(sorted(box["label"] for box in boxes)) or "nothing", boxes=boxes)


def of_labels(chances: np.ndarray, labels: Sequence[str] | None) -> Prediction:
    """The prediction for a sample that may have several labels: those of a probability above a half.

    >>> of_labels(np.array([0.9, 0.2, 0.7]), ("cat", "dog", "tree")).label
    'cat, tree'
    """
    names = class_names(labels, len(chances))
    told = [name for name, chance in zip(names, chances.tolist(), strict=True) if chance > 0.5]
    by_name = dict(zip(names, map(float, chances), strict=True))
    return Prediction(named(told), probabilities=by_name, labels=told)


def named(labels: Sequence[str]) -> str:
    """All labels of a sample in a row.

    >>> named([]), named(["cat", "tree"])
    ('nothing', 'cat, tree')
    """
    return ", ".join(labels) or "nothing"


def predictions(
    outputs: Mapping[str, np.ndarray],
    task: str | None,
    labels: Sequence[str] | None,
    are_probabilities: bool = False,
    start: int = 0,
) -> list[Prediction]:
    """The prediction for each sample in a model's outputs.

    Args:
        outputs: by name; "label" and "probability" are taken as they are, else the first output counts:
            (n, C) scores, (n, T, C) scores of the steps of sequences, (n, H, W, C) scores of the pixels of
            images, C being the number of labels, one score of two classes (n, 1) or (n,), or any numbers.
        task: as in `bm.Data`; judged by shape and labels if None.
        labels: the names of the classes.
        are_probabilities: whether the model itself made probabilities of its scores.
        start: how many samples came before these, for messages.

    Raises:
        NumericsError: the scores of a sample are NaN, so no class is the most probable.

    >>> outputs = {"y": np.array([[0.1, 2.0], [3.0, 1.0]])}
    >>> [found.label for found in predictions(outputs, "classification", ("cat", "dog"))]
    ['dog', 'cat']
    """
    if DETECTIONS in outputs:
        _check_numbers(outputs[DETECTIONS], start)
        return [of_detections(rows, labels) for rows in outputs[DETECTIONS]]
    if task == "multilabel":
        is_told = "probabilities" in outputs
        scores = outputs["probabilities"] if is_told else np.asarray(next(iter(outputs.values())))
        _check_numbers(scores, start)
        return [
            of_labels(row, labels) for row in (scores if is_told or are_probabilities else sigmoid(scores))
        ]
    if {"label", "probability"} <= set(outputs):
        chances = outputs.get("probabilities")
        if chances is not None and chances.ndim == 1:
            chances = of_both(chances.astype(np.float64))
        _check_numbers(outputs["probability"], start)
        if outputs["label"].ndim > 1:
            return _of_places(outputs["label"], outputs["probability"], labels)
        return _labelled(outputs["label"], outputs["probability"], labels, chances)
    scores = np.asarray(next(iter(outputs.values())))
    task = task or _task(scores, labels)
    if task != "regression" and scores.dtype.kind == "f":
        _check_numbers(scores, start)
    found = _of_scores(scores, task, labels, are_probabilities)
    if len(outputs) == 1:
        return found
    return [
        replace(
            prediction, outputs={name: np.asarray(array)[row].tolist() for name, array in outputs.items()}
        )
        for row, prediction in enumerate(found)
    ]


def _of_scores(
    scores: np.ndarray, task: str, labels: Sequence[str] | None, are_probabilities: bool
) -> list[Prediction]:
    of_classes = task in ("classification", "binary") and scores.dtype.kind == "f"
    is_masks = scores.ndim == 4 and labels is not None and len(labels) == scores.shape[-1]
    if not of_classes or not (is_single(scores) or scores.ndim in (2, 3) or is_masks):
        return [Prediction(values=sample.tolist()) for sample in scores]
    indices, chances = classified(scores, are_probabilities)
    if indices.ndim == 1:
        return _labelled(indices, chances[np.arange(len(indices)), indices], labels, chances)
    return _of_places(indices, chances.max(-1), labels)


def _of_places(indices: np.ndarray, chances: np.ndarray, labels: Sequence[str] | None) -> list[Prediction]:
    """What is predicted of the steps (n, T) or pixels (n, H, W) of samples."""
    told = in_a_row if indices.ndim == 2 else in_shares
    means = chances.reshape(len(chances), -1).mean(1, dtype=np.float64).tolist()
    return [
        Prediction(told(row, labels), row, chance)
        for row, chance in zip(indices.tolist(), means, strict=True)
    ]


def _check_numbers(scores: np.ndarray, start: int) -> None:
    rows = np.isnan(scores.reshape(len(scores), -1)).any(1)
    if rows.any():
        raise NumericsError(
            f"the scores of sample {start + int(rows.argmax())} are NaN: it belongs to no class.",
            fix="look for missing or infinite values in the input.",
        )


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def in_a_row(indices: Sequence[int], labels: Sequence[str] | None) -> str:
    """The names of the classes of successive steps: single characters as text, others separated by blanks.

    >>> in_a_row([1, 0], ("a", "b")), in_a_row([1, 0], ("noun", "verb")), in_a_row([1, 0], None)
    ('ba', 'verb noun', '1 0')
    """
    names = [class_name(index, labels) for index in indices]
    return ("" if labels and all(len(label) == 1 for label in labels) else " ").join(names)


def in_shares(mask: Any, labels: Sequence[str] | None) -> str:
    """The classes of the pixels of an image, each with its share, the largest first.

    >>> in_shares([[1, 0], [0, 0]], ("ground", "cat"))
    'ground: 75 %, cat: 25 %'
    """
    classes, counts = np.unique(np.asarray(mask), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shares = 100 * counts / max(counts.sum(), 1)
    return ", ".join(f"{class_name(int(classes[k]), labels)}: {shares[k]:.2g} %" for k in order)


def _task(scores: np.ndarray, labels: Sequence[str] | None) -> str:
    if scores.ndim == 2 and scores.shape[1] > 1 and scores.dtype.kind == "f":
        return "classification"
    return "binary" if labels and len(labels) == 2 and is_single(scores) else "regression"


def _labelled(
    indices: Any, chances: Any, labels: Sequence[str] | None, all_chances: np.ndarray | None = None
) -> list[Prediction]:
    names = class_names(labels, 0 if all_chances is None else all_chances.shape[1])
    return [
        Prediction(
            class_name(index, labels),
            index,
            float(chance),
            probabilities=None
            if all_chances is None
            else dict(zip(names, map(float, all_chances[row]), strict=True)),
        )
        for row, (index, chance) in enumerate(zip(map(int, indices), chances, strict=True))
    ]


def class_name(index: int, labels: Sequence[str] | None) -> str:
    """The label of a class, or its number if it has none."""
    return labels[index] if labels and 0 <= index < len(labels) else str(index)


def class_names(labels: Sequence[str] | None, count: int) -> list[str]:
    """A name for each class: its label, or its number if it has none of its own."""
    known = list(labels or ())[:count]
    return [
        known[number] if number < len(known) and known.count(known[number]) == 1 else str(number)
        for number in range(count)
    ]
