"""The base class of losses."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bigmodel_core.errors import GraphError, UsageError
from bigmodel_core.graph import Value
from bigmodel_core.registry.config import make
from bigmodel_core.registry.contracts import undefined


@dataclass(frozen=True)
class Loss:
    """What training minimises: a frozen dataclass whose `each` composes ops.

    Subclasses define `each(prediction, target)`, the loss of each sample with the batch as its first axis;
    calling the loss gives the mean over all of them as a scalar.
    """

    target_dtype: ClassVar[str | None] = None
    """The number type of targets if it is not the model's: "int64" for class labels."""
    one_score: ClassVar[bool] = False
    """Whether two classes take one score, that of class 1, and not a score each."""

    def each(self, prediction: Value, target: Value) -> Value:
        """The loss of each sample (or of each output of each sample)."""
        raise undefined(self, "loss", "each")

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """The probabilities of classes that a model's scores stand for, in float64.

        Raises:
            UsageError: the loss does not compare classes.
        """
        raise UsageError(
            f"{type(self).__name__} does not say which probabilities a prediction stands for.",
            fix="use predict, or train with cross_entropy or binary_cross_entropy.",
        )

    def __call__(self, prediction: Value, target: Value) -> Value:
        """The mean loss, a scalar."""
        from bigmodel_core import ops

        return ops.mean(self.each(prediction, target))


LossCall = Callable[[Any, Any], Value]
"""A function of a model's output and the targets that composes ops."""


@dataclass(frozen=True)
class LossFunction(Loss):
    """A function of Values, or a method of a layer, as a loss.

    A method runs as a part of its layer: it may call the layers of its fields.

    Args:
        function: takes the model's output, as the model returned it, and the targets; gives the loss of each
            sample, or their mean.
    """

    function: LossCall

    @property
    def title(self) -> str:
        """What the function is called."""
        return str(getattr(self.function, "__qualname__", type(self.function).__name__))

    def each(self, prediction: Any, target: Any) -> Value:
        return self.function(prediction, target)


def loss_of(given: Any) -> Loss:
    """The loss that a user means: a loss, its name, or a function of Values.

    Raises:
        UnknownNameError, ConfigError, UsageError: it is none of these.
    """
    if callable(given) and not isinstance(given, (Loss, type)):
        _check_takes_two(given)
        return LossFunction(given)
    found: Loss = make("loss", given)
    return found


def _check_takes_two(function: Callable[..., Any]) -> None:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        name = getattr(function, "__qualname__", type(function).__name__)
        raise UsageError(
            f"the function {name} is not a loss: {error}.",
            fix="take the model's output and the targets: def loss(output, target).",
        ) from None
    except ValueError:  # a built-in function that has no signature
        return


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
    one = "output['name']" if isinstance(prediction, dict) else "output[0]"
    return GraphError(
        f"the model returns {len(prediction)} outputs{listed}, and {type(loss).__name__} takes one"
        + (f": {reason}." if reason else "."),
        fix=f"return one output, or write a Loss whose each(output, target) uses them, as in {one}.",
    )
