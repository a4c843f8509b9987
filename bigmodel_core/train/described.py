"""What a run is made of, as its records name it: plain values, from which the same is made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bigmodel_core.errors import BigmodelError
from bigmodel_core.nn.loss import Loss, LossFunction
from bigmodel_core.nn.sequential import Sequential
from bigmodel_core.registry import config
from bigmodel_core.train.by_output import OUTPUTS, Losses, Metrics
from bigmodel_core.train.restored import RestoredModel


def described(obj: Any) -> dict[str, Any]:
    """An object as records name it: its configuration, or its class if no plugin offers it."""
    if isinstance(obj, RestoredModel) and obj.about.config is not None:
        return dict(obj.about.config)
    if isinstance(obj, Sequential):
        return {"class": "Sequential", "layers": [described(layer) for layer in obj.layers]}
    try:
        return config.to_config(obj)
    except BigmodelError:
        return {"class": obj.title if isinstance(obj, LossFunction) else type(obj).__name__}


def described_loss(loss: Loss | Losses) -> dict[str, Any]:
    """A loss, or losses by output, as records name them: plain values."""
    if isinstance(loss, Losses):
        return {
            OUTPUTS: [
                {"output": term.output, "loss": described_loss(term.loss), "weight": term.weight}
                for term in loss.terms
            ]
        }
    return described(loss)


def described_metrics(metrics: Metrics) -> Any:
    """Metrics as records name them."""
    if isinstance(metrics, Mapping):
        return {OUTPUTS: {output: described_metrics(items) for output, items in metrics.items()}}
    return [described(metric) for metric in metrics]


def each_described(described_items: Any, read: Callable[[Any], Any]) -> Any:
    """The description of losses or metrics with what `read` makes of each one in it."""
    if isinstance(described_items, Mapping) and described_items.keys() == {OUTPUTS}:
        inside = described_items[OUTPUTS]
        if isinstance(inside, Mapping):
            return {output: [read(item) for item in items] for output, items in inside.items()}
        return {OUTPUTS: [{**item, "loss": read(item["loss"])} for item in inside]}
    if isinstance(described_items, list):
        return [read(item) for item in described_items]
    return read(described_items)


def loss_of(options: Mapping[str, Any]) -> Any:
    """The loss, or losses by output, of a run's options, as `Trainer` takes them.

    Raises:
        UnknownNameError, ConfigError: one cannot be made any more.
    """
    return each_described(options["loss"], lambda item: config.from_config("loss", item))


def metrics_of(options: Mapping[str, Any]) -> Any:
    """The metrics of a run's options, as `Trainer` takes them.

    Raises:
        UnknownNameError, ConfigError: one cannot be made any more.
    """
    return each_described(options["metrics"], lambda item: config.from_config("metric", item))
