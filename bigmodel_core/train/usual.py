"""The loss, the optimizer and the metrics of a model, if nobody chose others."""

from __future__ import annotations

from bigmodel_core.errors import UsageError
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.model import Model
from bigmodel_core.nn.optimizer import Optimizer
from bigmodel_core.registry.askers import CORE
from bigmodel_core.registry.config import make, make_list, owner_of
from bigmodel_core.train.metric import Metric


def usual_loss(model: Model | None) -> Loss:
    """The loss that a model names.

    Raises:
        UsageError: it is none that says.
    """
    if model is None:
        raise UsageError("no loss was given.", fix='pass one, such as loss="cross_entropy".')
    loss: Loss = make("loss", model.usual_loss, owner=owner_of(type(model), "loss"))
    return loss


def usual_optimizer(model: Model | None) -> Optimizer:
    """The optimizer that a model names, else Adam."""
    if model is None:
        adam: Optimizer = make("optimizer", "adam", owner=CORE)
        return adam
    rate = {} if model.learning_rate is None else {"learning_rate": model.learning_rate}
    owner = owner_of(type(model), "optimizer")
    optimizer: Optimizer = make("optimizer", {"name": model.optimizer, **rate}, owner=owner)
    return optimizer


def usual_metrics(model: Model | None) -> list[Metric]:
    """The metrics that a model names, else none."""
    return [] if model is None else make_list("metric", model.metrics, owner=owner_of(type(model), "metrics"))
