"""What samples count by their class: class weights, and labels that are ignored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ConfigError, ShapeError

ClassWeight = tuple[float, ...] | None
"""A weight for each class, in order; None if all count alike."""


def check_class_weight(loss: Any) -> None:
    """Bring the field `class_weight` of a loss to a tuple.

    Raises:
        ConfigError: a class has none, or a weight is negative or no number.
    """
    given = loss.class_weight
    if given is None:
        return
    where = f"{type(loss).__name__}.class_weight"
    if isinstance(given, Mapping):
        by_class = {_class(key, where): value for key, value in given.items()}
        for number, key in enumerate(sorted(by_class)):
            if key != number:
                raise ConfigError(
                    f"there is no weight for class {number}, but one for class {key}.",
                    where=where,
                    fix=f"give every class a weight, 1.0 for instance, or leave {key} out if it is no class.",
                )
        given = [by_class[key] for key in sorted(by_class)]
    try:
        weights = tuple(float(weight) for weight in given)
    except (TypeError, ValueError):
        weights = (math.nan,)
    if not weights or not all(0 <= weight < math.inf for weight in weights):
        raise ConfigError(
            f"{loss.class_weight!r} are no weights.",
            where=where,
            fix="pass a number of 0 or more for each class, as in {0: 1.0, 1: 5.0} or [1.0, 5.0].",
        )
    object.__setattr__(loss, "class_weight", weights)


def _class(key: Any, where: str) -> int:
    """The class that a key of class weights names; in files, keys are text."""
    try:
        number = int(key)
    except (TypeError, ValueError):
        number = -1
    if number < 0 or str(number) != str(key):
        raise ConfigError(
            f"{key!r} is no class, but has a weight.",
            where=where,
            fix="name classes by their numbers, from 0: {0: 1.0, 1: 5.0}.",
        )
    return number


def without_ignored(loss: Any, target: bm.Value) -> bm.Value:
    """Labels with class 0 in place of those that are ignored."""
    if loss.ignore is None or target.spec.is_float:
        return target
    return ops.where(ops.not_equal(target, loss.ignore), target, 0)


def weights_of(loss: Any, target: bm.Value, classes: Any, dtype: str) -> bm.Value | None:
    """What each label counts; None if all count 1.

    Args:
        loss: has `class_weight` and `ignore`.
        target: labels (...).
        classes: how many classes there are.
        dtype: the number type wanted.
    """
    found = None
    if loss.class_weight is not None:
        found = ops.gather(class_weights(loss, classes, target, dtype), without_ignored(loss, target))
    if loss.ignore is None:
        return found
    counts = ops.not_equal(target, loss.ignore).astype(dtype)
    return counts if found is None else found * counts


def class_weights(loss: Any, classes: Any, like: bm.Value, dtype: str) -> bm.Value:
    """The weights of classes as an array (C,) of the graph.

    Raises:
        ShapeError: there are more or fewer than classes.
    """
    if len(loss.class_weight) != classes:
        raise ShapeError(
            f"there are {len(loss.class_weight)} class weights and {classes} classes.",
            fix="give a weight for each class.",
        )
    return like.node.graph.constant(loss.class_weight, dtype)
