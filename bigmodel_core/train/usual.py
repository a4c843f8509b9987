"""The loss, the optimizer and the metrics of a model, if nobody chose others."""

from __future__ import annotations

from collections.abc import Mapping

from bigmodel_core.errors import UsageError
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.model import Model
from bigmodel_core.nn.optimizer import Optimizer
from bigmodel_core.registry.askers import CORE
from bigmodel_core.registry.config import make, make_list, owner_of
from bigmodel_core.train.by_output import Losses, Metrics, make_loss, make_metrics


def usual_loss(model: Model | None, task: str | None = None) -> Loss | Losses:
    """The loss that a model names, or those of its outputs; of several labels a sample, cross-entropy is that
    of yes and no for each.

    Args:
        model: the model.
        task: of its data, if they are known.

    Raises:
        UsageError: it is none that says.
    """
    if model is None:
        raise UsageError("no loss was given.", fix='pass one, such as loss="cross_entropy".')
    if not isinstance(model.usual_loss, str):
        return make_loss(model.usual_loss)
    if task == "multilabel" and model.usual_loss == "cross_entropy":
        flags: Loss = make("loss", "binary_cross_entropy", owner=CORE)
        return flags
    loss: Loss = make("loss", model.usual_loss, owner=owner_of(type(model), "loss"))
    return loss


def usual_optimizer(model: Model | None) -> Optimizer:
    """The optimizer that a model names, else Adam."""
    if model is None:
        adam: Optimizer = make("optimizer", "adam", owner=CORE)
        return adam
    rate = {} if model.usual_rate is None else {"learning_rate": model.usual_rate}
    owner = owner_of(type(model), "optimizer")
    optimizer: Optimizer = make("optimizer", {"name": model.optimizer, **rate}, owner=owner)
    return optimizer


def usual_metrics(model: Model | None) -> Metrics:
    """The metrics that a model names, else none."""
    if model is None:
        return []
    names = model.usual_metrics
    if isinstance(names, Mapping):
        return make_metrics(names)
    return make_list("metric", names, owner=owner_of(type(model), "metrics"))
