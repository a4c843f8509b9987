"""The loss and the metrics where nobody chose some: those of the model, else what suits the task."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from bigmodel_core.cli.names import named
from bigmodel_core.errors import BigmodelError
from bigmodel_core.registry import config
from bigmodel_core.registry.config import owner_of

if TYPE_CHECKING:
    from bigmodel_core.data.dataset import Data
    from bigmodel_core.nn.loss import Loss
    from bigmodel_core.nn.model import Model
    from bigmodel_core.train.metric import Metric


def own_loss(model: Model) -> Loss:
    """The loss that a model names."""
    loss: Loss = named("loss", model.usual_loss, owner=owner_of(type(model), "loss"))
    return loss


def own_metrics(model: Model) -> list[Metric]:
    """The metrics that a model names."""
    owner = owner_of(type(model), "metrics")
    return [named("metric", text, owner=owner) for text in model.metrics]


def usual_loss(described: Any, data: Data) -> Loss:
    """The loss of a model that was saved without a run: that of its class, else what suits the task."""
    usual = {"regression": "mean_squared_error", "binary": "binary_cross_entropy"}.get(
        data.task, "cross_entropy"
    )
    owner = __name__
    with contextlib.suppress(BigmodelError, KeyError, TypeError):
        model = config.from_config(described["kind"], described)
        usual, owner = getattr(model, "usual_loss", usual), owner_of(type(model), "loss")
    loss: Loss = config.make("loss", usual, owner=owner)
    return loss


def usual_metrics(data: Data) -> list[Metric]:
    """What suits the task of some data."""
    names = ("mean_absolute_error", "r2") if data.task == "regression" else ("accuracy",)
    return [named("metric", name, owner=__name__) for name in names]
