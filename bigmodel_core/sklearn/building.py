"""What an estimator trains, from what its parameters name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bigmodel_core.errors import ConfigError
from bigmodel_core.nn.buildable import clone
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.loss import Loss, LossFunction, name_of
from bigmodel_core.nn.model import Model
from bigmodel_core.nn.optimizer import Optimizer
from bigmodel_core.registry.config import make
from bigmodel_core.train.usual import usual_optimizer


def new_model(model: Any, options: Mapping[str, Any] | None, where: str) -> Layer:
    """A model as it was named, or a copy of a layer.

    Args:
        model: a name, or a layer.
        options: of the model that is named.
        where: the estimator, for the message.

    Raises:
        UnknownNameError: nothing has this name.
        ConfigError: an option is unknown, or belongs to no name.
    """
    if isinstance(model, str):
        named: Layer = make("model", {"name": model, **options} if options else model)
        return named
    if options:
        raise ConfigError(
            "options belong to the name of a model, and the model is one already.",
            where=where,
            fix="set them where the model is made.",
        )
    return clone(model if isinstance(model, Layer) else make("model", model))


def chosen_optimizer(model: Layer, optimizer: str | Optimizer | None, learning_rate: Any) -> Optimizer:
    """The optimizer that was asked for, or the model's own; with the learning rate that was asked for.

    Args:
        model: what is trained.
        optimizer: an optimizer or its name; the model's own if None.
        learning_rate: a number or a schedule; the optimizer's own if None.

    Raises:
        UnknownNameError, ConfigError: there is no such optimizer, or it has no learning rate.
    """
    own = model if isinstance(model, Model) else None
    chosen: Optimizer = usual_optimizer(own) if optimizer is None else make("optimizer", optimizer)
    if learning_rate is None:
        return chosen
    if not hasattr(chosen, "learning_rate"):
        raise ConfigError(
            f"{type(chosen).__name__} has no learning rate.", where="learning_rate", fix="leave it out."
        )
    changes: dict[str, Any] = {"learning_rate": learning_rate}
    return replace(chosen, **changes)


def compares_classes(loss: Loss) -> bool:
    """Whether a loss compares scores with classes, and not numbers with each other."""
    return loss.target_dtype == "int64" or loss.one_score


def check_loss(loss: Any, tells_classes: bool, where: str) -> None:
    """Say that a loss is made for other targets, before shapes say it less clearly.

    Args:
        loss: a loss, a function, or losses by output.
        tells_classes: whether the targets are classes.
        where: the estimator, for the message.

    Raises:
        ConfigError: it is.
    """
    is_known = isinstance(loss, Loss) and not isinstance(loss, LossFunction)
    if not is_known or compares_classes(loss) == tells_classes:
        return
    kinds = {True: "classes", False: "numbers"}
    raise ConfigError(
        f"the loss {name_of(loss)} is for {kinds[not tells_classes]}.",
        where=where,
        fix=f"choose a model or a loss for {kinds[tells_classes]}.",
    )
