"""The installed plugin that offers all classes of the table, right and wrong ones."""

from __future__ import annotations

from typing import Any

import bigmodel_core as bm
from tests.plugins.wrong import cuda, explainers, kernels, layers, losses, numbers, parts, strategies
from tests.plugins.wrong.table import offered

FILLED = (
    kernels,
    layers,
    cuda,
    losses,
    numbers,
    parts,
    strategies,
    explainers,
)  # importing them fills the table


@bm.hookimpl
def bigmodel_layers() -> list[Any]:
    models = offered(bm.Model)
    return [cls for cls in offered(bm.Layer) if cls not in models]


@bm.hookimpl
def bigmodel_models() -> list[Any]:
    return offered(bm.Model)


@bm.hookimpl
def bigmodel_losses() -> list[Any]:
    return offered(bm.Loss)


@bm.hookimpl
def bigmodel_metrics() -> list[Any]:
    return offered(bm.Metric)


@bm.hookimpl
def bigmodel_optimizers() -> list[Any]:
    return offered(bm.Optimizer)


@bm.hookimpl
def bigmodel_schedules() -> list[Any]:
    return offered(bm.Schedule)


@bm.hookimpl
def bigmodel_augmentations() -> list[Any]:
    return offered(bm.Augmentation)


@bm.hookimpl
def bigmodel_datasets() -> list[Any]:
    return offered(bm.Dataset)


@bm.hookimpl
def bigmodel_callbacks() -> list[Any]:
    return offered(bm.Callback)


@bm.hookimpl
def bigmodel_exporters() -> list[Any]:
    return offered(bm.Exporter)


@bm.hookimpl
def bigmodel_strategies() -> list[Any]:
    return offered(bm.Strategy)


@bm.hookimpl
def bigmodel_explainers() -> list[Any]:
    return offered(bm.Explainer)
