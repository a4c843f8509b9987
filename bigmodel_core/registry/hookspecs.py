"""The hooks a plugin may implement: each returns a list of the classes it offers.

A plugin is a module (or object) with functions marked by `hookimpl`, named by an entry point in the group
`bigmodel`:

    @bm.hookimpl
    def bigmodel_layers():
        return [Swish]

A hook may gain arguments in a later version; an implementation asks only for those it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pluggy

hookspec = pluggy.HookspecMarker("bigmodel")
_marker = pluggy.HookimplMarker("bigmodel")


def hookimpl(
    function: Callable[..., Any] | None = None, *, specname: str | None = None, optionalhook: bool = False
) -> Any:
    """Mark a function of a plugin as the implementation of the hook of the same name, which returns classes.

    The hooks are `bigmodel_layers`, `bigmodel_losses`, `bigmodel_optimizers`, `bigmodel_schedules`,
    `bigmodel_metrics`, `bigmodel_datasets`, `bigmodel_augmentations`, `bigmodel_models`,
    `bigmodel_callbacks`, `bigmodel_exporters`, `bigmodel_strategies` and `bigmodel_explainers`.

    Args:
        function: returns a list of the classes that the plugin offers.
        specname: the name of the hook, if the function has another one.
        optionalhook: whether a version of bigmodel that does not know the hook ignores it.

    >>> import bigmodel_core as bm
    >>> @bm.hookimpl
    ... def bigmodel_layers():
    ...     return [Swish]
    """
    return _marker(function, specname=specname, optionalhook=optionalhook)


@hookspec
def bigmodel_layers() -> Sequence[type[Any]]:
    """Layers: subclasses of `bigmodel_core.Layer`."""


@hookspec
def bigmodel_losses() -> Sequence[type[Any]]:
    """Losses: subclasses of `bigmodel_core.Loss`."""


@hookspec
def bigmodel_optimizers() -> Sequence[type[Any]]:
    """Optimizers: subclasses of `bigmodel_core.Optimizer`."""


@hookspec
def bigmodel_schedules() -> Sequence[type[Any]]:
    """Learning-rate schedules: subclasses of `bigmodel_core.Schedule`."""


@hookspec
def bigmodel_metrics() -> Sequence[type[Any]]:
    """Metrics: subclasses of `bigmodel_core.Metric`."""


@hookspec
def bigmodel_datasets() -> Sequence[type[Any]]:
    """Data sets: subclasses of `bigmodel_core.Dataset`."""


@hookspec
def bigmodel_augmentations() -> Sequence[type[Any]]:
    """Augmentations of training samples: subclasses of `bigmodel_core.Augmentation`."""


@hookspec
def bigmodel_models() -> Sequence[type[Any]]:
    """Ready-made models: subclasses of `bigmodel_core.Model`."""


@hookspec
def bigmodel_callbacks() -> Sequence[type[Any]]:
    """Callbacks of the training loop: subclasses of `bigmodel_core.Callback`."""


@hookspec
def bigmodel_exporters() -> Sequence[type[Any]]:
    """Exporters to file formats: subclasses of `bigmodel_core.Exporter`."""


@hookspec
def bigmodel_strategies() -> Sequence[type[Any]]:
    """Strategies of generation: subclasses of `bigmodel_core.Strategy`."""


@hookspec
def bigmodel_explainers() -> Sequence[type[Any]]:
    """Methods of explanation: subclasses of `bigmodel_core.Explainer`."""
