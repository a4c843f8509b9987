"""The loss and the metrics if nobody chose some: those of the model, else what suits the task."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from bigmodel_core.cli.names import named, wrong_usage
from bigmodel_core.errors import BigmodelError
from bigmodel_core.registry import config
from bigmodel_core.registry.config import owner_of
from bigmodel_core.train import usual
from bigmodel_core.train.by_output import make_loss

if TYPE_CHECKING:
    from bigmodel_core.data.data import Data
    from bigmodel_core.nn.loss import Loss
    from bigmodel_core.nn.model import Model
    from bigmodel_core.train.by_output import Losses, Metrics
    from bigmodel_core.train.metric import Metric


def own_loss(model: Model, task: str | None = None) -> Loss | Losses:
    """The loss that a model names, for data of a task."""
    with wrong_usage():
        return usual.usual_loss(model, task)


def own_metrics(model: Model) -> Metrics:
    """The metrics that a model names."""
    with wrong_usage():
        return usual.usual_metrics(model)


def loss_for(described: Any, data: Data) -> Loss | Losses:
    """The loss of a model that was saved without a run: that of its class, else what suits the task."""
    flags = "binary_cross_entropy"
    name: Any = {"regression": "mean_squared_error", "binary": flags, "multilabel": flags}.get(
        data.task, "cross_entropy"
    )
    owner = __name__
    with contextlib.suppress(BigmodelError, KeyError, TypeError):
        model = config.from_config(described["kind"], described)
        if data.task != "multilabel":
            name, owner = getattr(model, "usual_loss", name), owner_of(type(model), "loss")
    if not isinstance(name, str):
        return make_loss(name)
    loss: Loss = config.make("loss", name, owner=owner)
    return loss


def metrics_for(data: Data) -> list[Metric]:
    """What suits the task of some data."""
    names = ("mean_absolute_error", "r2") if data.task == "regression" else ("accuracy",)
    if data.task == "regression" and data.labels is not None:  # boxes, which have classes
        names = ("mean_average_precision",)
    if data.task == "multilabel":
        names = ("f1", "accuracy")
    return [named("metric", name, owner=__name__) for name in names]
