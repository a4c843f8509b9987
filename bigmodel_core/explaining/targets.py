"""Which number of a model's output is explained."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.errors import UsageError, close_matches, short
from bigmodel_core.nn.probabilities import is_single


@dataclass(frozen=True)
class Targets:
    """A number of the output for each sample, which counts as it is or with the other sign.

    Args:
        places: (N, axes of the output behind the samples).
        signs: (N,), -1 for class 0 where one score stands for two classes.
        classes: (N,) the number of the class or output, or (N, axes) its place where each step has some.
    """

    places: np.ndarray
    signs: np.ndarray
    classes: np.ndarray

    def picked(self, outputs: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """That number of each row in float64.

        Args:
            outputs: (R, ...).
            samples: which sample each row is of.
        """
        where = (np.arange(len(outputs)), *self.places[samples].T)
        return outputs[where].astype(np.float64) * self.signs[samples]

    def weights(self, shape: Sequence[int], dtype: Any, samples: np.ndarray) -> np.ndarray:
        """What outputs (R, ...) of a shape are multiplied by so that their sum is that number."""
        found = np.zeros((len(samples), *shape[1:]), dtype)
        found[(np.arange(len(samples)), *self.places[samples].T)] = self.signs[samples]
        return found


@dataclass(frozen=True)
class Known:
    """What is known of the output of a model.

    Args:
        task: "classification", "binary" or "regression"; None if it is not known.
        labels: the names of classes.
        are_probabilities: whether the model itself makes probabilities.
        last: (N,) the last step of each sample that holds a token; None if that is the last of all.
    """

    task: str | None = None
    labels: Sequence[str] | None = None
    are_probabilities: bool = False
    last: np.ndarray | None = None


def targets_of(target: Any, outputs: np.ndarray, known: Known) -> Targets:
    """What is explained of each sample.

    Args:
        target: the number or label of a class, the number of an output, or for outputs of steps a tuple of
            the step and that; a list or an array has one for each sample. The most probable class if None,
            and the last step.
        outputs: (N, ...) of the model.
        known: what they mean.

    Raises:
        UsageError: there is no such class or place.
    """
    count = len(outputs)
    if isinstance(target, np.ndarray):
        target = list(target) if target.ndim else target.item()
    if isinstance(target, list):
        if len(target) != count:
            raise UsageError(
                f"there are {len(target)} targets for {count} samples.",
                where="target",
                fix="pass one for all samples, or a list with one for each.",
            )
        each = target
    else:
        each = [target] * count
    if is_single(outputs):
        return _of_one(each, outputs, known)
    places = np.array([_place(item, outputs, known, sample) for sample, item in enumerate(each)], np.int64)
    classes = places[:, 0] if places.shape[1] == 1 else places
    return Targets(places, np.ones(count), classes)


def _of_one(each: Sequence[Any], outputs: np.ndarray, known: Known) -> Targets:
    """The one number of each sample; the other way round for class 0 of two that share it."""
    places = np.zeros((len(outputs), outputs.ndim - 1), np.int64)
    if known.task != "binary":
        for item in each:
            if item is not None:
                _number(item, 1, known.labels)
        return Targets(places, np.ones(len(outputs)), np.zeros(len(outputs), np.int64))
    usual = outputs.reshape(-1) > (0.5 if known.are_probabilities else 0)
    classes = np.array(
        [
            int(chosen) if item is None else _number(item, 2, known.labels)
            for item, chosen in zip(each, usual, strict=True)
        ]
    )
    return Targets(places, np.where(classes == 1, 1.0, -1.0), classes)


def _place(item: Any, outputs: np.ndarray, known: Known, sample: int) -> tuple[int, ...]:
    """Where in the output of a sample the number is."""
    sizes = outputs.shape[1:]
    *steps, last = item if isinstance(item, tuple) else (item,)
    if not steps and len(sizes) == 2:
        steps = [sizes[0] - 1 if known.last is None else int(known.last[sample])]
    if len(steps) != len(sizes) - 1:
        raise UsageError(
            f"the target {short(item)} is no place in an output of {tuple(sizes)}.",
            where="target",
            fix=f"pass a tuple of {len(sizes)} numbers, the class last.",
        )
    inner = tuple(_number(step, size, None, "place") for step, size in zip(steps, sizes, strict=False))
    chosen = outputs[sample][inner]
    if last is None:
        return (*inner, int(chosen.argmax()))
    return (*inner, _number(last, sizes[-1], known.labels))


def _number(item: Any, count: int, labels: Sequence[str] | None, what: str = "class") -> int:
    """The number of a class from its label or number.

    Raises:
        UsageError: there is none.
    """
    known = list(labels or ())
    if isinstance(item, str):
        if item in known:
            return known.index(item)
        try:
            item = int(item)
        except ValueError:
            near = close_matches(item, known, 1, 0.5)
            hint = f"did you mean '{near[0]}'? " if near else ""
            listed = ", ".join(known[:12]) if known else f"0 to {count - 1}"
            raise UsageError(
                f"there is no {what} '{item}'.", where="target", fix=f"{hint}Use one of {listed}."
            ) from None
    try:
        number = operator.index(item)
    except TypeError:
        raise UsageError(
            f"the target is {short(item)}.", where="target", fix=f"pass the number of a {what}, or its label."
        ) from None
    if not 0 <= number < count:
        limits = f"0 to {count - 1}" if count > 1 else "0"
        raise UsageError(
            f"there is no {what} {number}: the model has {count}.", where="target", fix=f"use {limits}."
        )
    return number
