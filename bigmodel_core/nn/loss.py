"""The base class of losses, and functions of values as losses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bigmodel_core.data.tree import leaves
from bigmodel_core.errors import DtypeError, GraphError, ShapeError, UsageError
from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import format_shape
from bigmodel_core.registry.config import make
from bigmodel_core.registry.contracts import undefined


@dataclass(frozen=True)
class Loss:
    """What training minimises: a frozen dataclass whose `each` composes ops.

    Subclasses define `each(prediction, target)`, the loss of each sample with the batch as its first axis;
    calling the loss gives the mean over all of them as a scalar. Where some count more than others, or not at
    all, they also define `counts`.
    """

    target_dtype: ClassVar[str | None] = None
    """The number type of targets if it is not the model's: "int64" for class labels."""
    soft_targets: ClassVar[bool] = False
    """Whether a float for each class, such as a probability, may stand in place of a class label."""
    takes_scores: ClassVar[bool] = False
    """Whether predictions are scores (logits), of which the loss itself makes probabilities."""
    one_score: ClassVar[bool] = False
    """Whether two classes take one score, that of class 1, and not a score each."""

    def each(self, prediction: Value, target: Value) -> Value:
        """The loss of each sample (or of each output of each sample), times what it counts."""
        raise undefined(self, "loss", "each")

    def counts(self, prediction: Value, target: Value) -> Value | None:
        """What each entry of `each` counts in the mean, in its shape; None if all count alike.

        The mean is the sum of `each` divided by the sum of this.
        """
        return None

    def example_targets(self, outputs: Mapping[str, np.ndarray], random: np.random.Generator) -> Any:
        """Targets that suit the outputs of a model, with which checks see whether it learns.

        None, as here, if labels do where `target_dtype` says so, or else numbers of the shape of the output.
        """
        return None

    def of_mixed(self) -> Loss:
        """The loss of targets that augmentations mix, class labels as shares of each class; no label that it
        ignores is among them.

        Raises:
            UsageError: it cannot tell those that it ignores, once they are mixed.
        """
        return self

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """The probabilities of classes that a model's scores stand for, in float64.

        Raises:
            UsageError: the loss does not compare classes.
        """
        raise UsageError(
            f"{type(self).__name__} does not say which probabilities a prediction stands for.",
            fix="use predict, or train with cross_entropy or binary_cross_entropy.",
        )

    def point(self, prediction: np.ndarray) -> np.ndarray:
        """What of a prediction stands for it where metrics compare it with a target: all of it, unless a loss
        has several numbers predicted for one."""
        return prediction

    def __call__(self, prediction: Value, target: Value, weight: Value | None = None) -> Value:
        """The mean loss over what counts, a scalar; 0 if nothing counts.

        Args:
            prediction: the output of the model, or all of them if there are several.
            target: the target.
            weight: what samples, or entries of them, count: (N,), or as many leading axes of `each` as it
                has. The mean is sum(weight * each) / sum(weight * counts).

        Raises:
            UsageError: it is called with arrays.
        """
        for what, tree in (("prediction", prediction), ("target", target)):
            for item in leaves(tree).values():
                if not isinstance(item, Value):
                    kind = type(item).__name__
                    raise UsageError(
                        f"{name_of(self)} composes ops of Values, and its {what} is of type {kind}.",
                        fix="of arrays, call it compiled: bm.function(loss)(prediction, target); or measure a"
                        " model: Trainer(model, loss).evaluate((x, y)).",
                    )
        return averaged(self, prediction, target, weight)[0]


def averaged(
    loss: Loss, prediction: Any, target: Any, weight: Value | None
) -> tuple[Value, Value | None, Value | None]:
    """The mean of a loss, the sum of what its entries count, and what each counts; None for both where all
    count alike.

    Raises:
        ShapeError: a weight does not fit.
        GraphError: there is a weight, and the loss says nothing of each sample.
    """
    from bigmodel_core import ops

    name = name_of(loss)
    if type(loss).__call__ is not Loss.__call__:
        if weight is not None:
            raise GraphError(
                f"{name} takes a mean of its own, so samples cannot be weighted.",
                fix="let it define each(prediction, target), the loss of each sample.",
            )
        return loss(prediction, target), None, None
    each, counts = loss.each(prediction, target), loss.counts(prediction, target)
    if weight is None and counts is None:
        return ops.mean(each), None, None
    if weight is not None:
        if each.ndim == 0 or weight.shape != each.shape[: weight.ndim]:
            raise ShapeError(
                f"weights of shape {format_shape(weight.shape)} do not fit the losses of {name}, which have"
                f" the shape {format_shape(each.shape)}.",
                fix="give one weight for each sample, (N,), or one for each entry."
                if each.ndim
                else "a loss that is weighted gives one number for each sample, not their mean.",
            )
        weight = weight.astype(each.dtype)
        spread = ops.reshape(weight, (*weight.shape, *(1,) * (each.ndim - weight.ndim)))
        each = each * spread
        counts = ops.broadcast_to(spread, each.shape) if counts is None else counts * spread
    assert counts is not None
    counted = ops.sum(counts)
    return ops.sum(each) / ops.where(ops.equal(counted, 0.0), 1.0, counted), counted, counts


LossCall = Callable[[Any, Any], Value]
"""A function of a model's output and the targets that composes ops."""


@dataclass(frozen=True)
class LossFunction(Loss):
    """A function of Values, or a method of a layer, as a loss.

    A method runs as a part of its layer: it may call the layers of its fields.

    Args:
        function: takes the model's output, as the model returned it, and the targets, as they were passed;
            gives a Value: the loss of each sample, or their mean.

    Raises:
        GraphError: it gave something else.
        DtypeError: it gave no floats.
    """

    function: LossCall

    @property
    def title(self) -> str:
        """What the function is called."""
        return str(getattr(self.function, "__qualname__", type(self.function).__name__))

    def each(self, prediction: Any, target: Any) -> Value:
        found = self.function(prediction, target)
        if not isinstance(found, Value):
            raise GraphError(
                f"the loss {self.title} returned a {type(found).__name__}, expected a Value.",
                fix="compose it of bm.ops and arithmetic of its arguments, and return the loss of each"
                " sample, or one number.",
            )
        if not found.spec.is_float:
            raise DtypeError(f"the loss {self.title} returned {found.dtype}, expected floats.")
        return found


def name_of(loss: Any) -> str:
    """What a loss is called in messages."""
    return loss.title if isinstance(loss, LossFunction) else type(loss).__name__


def loss_of(given: Any) -> Loss:
    """The loss that a user means: a loss, its name, or a function of Values.

    Raises:
        UnknownNameError, ConfigError, UsageError: it is none of these.
    """
    if callable(given) and not isinstance(given, (Loss, type)):
        _check_takes_two(given)
        return LossFunction(given)
    found: Loss = make("loss", given)
    _check_takes_two(found.each)
    return found


def _check_takes_two(function: Callable[..., Any]) -> None:
    """Raise unless a function takes the model's output and the targets.

    Raises:
        UsageError: it takes fewer, or needs more.
    """
    try:
        signature = inspect.signature(function)
    except ValueError:  # a built-in function that has no signature
        return
    try:
        signature.bind(None, None)
    except TypeError:
        name = getattr(function, "__qualname__", type(function).__name__)
        raise UsageError(
            f"{name} is not a loss: it takes {signature}, and a loss is called with two arguments.",
            fix="take the model's output and the targets: (output, target).",
            where="loss",
        ) from None


def one_output(loss: Loss, prediction: Any) -> Value:
    """The prediction of a model with one output.

    Raises:
        GraphError: the model returns several.
    """
    if isinstance(prediction, Value):
        return prediction
    raise several_outputs(loss, prediction)


def several_outputs(loss: Loss, prediction: Any, reason: str = "") -> GraphError:
    """The error if a model returns several outputs, but its loss takes one."""
    names = prediction if isinstance(prediction, dict) else getattr(prediction, "_fields", ())
    listed = f" ({', '.join(names)})" if names else ""
    example = f'{{"{next(iter(names))}": ...}}' if names else "[..., ...]"
    return GraphError(
        f"the model returns {len(prediction)} outputs{listed}, and {name_of(loss)} takes one"
        + (f": {reason}." if reason else "."),
        fix=f"return one output, or pass a loss for each: loss={example}.",
    )
