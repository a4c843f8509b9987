"""Which checks there are for an object, or for everything that a plugin offers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bigmodel_core.errors import PluginError, UnknownNameError, UsageError
from bigmodel_core.graph import Op
from bigmodel_core.registry.discovery import display_name
from bigmodel_core.testing.checks import Check, CheckSkipped, Inputs


def checks_for(
    subject: Any,
    inputs: Inputs | None = None,
    reference: Callable[..., Any] | None = None,
    *,
    data_dir: str | Path | None = None,
) -> list[Check]:
    """The checks of an object that plugins offer, or of its class.

    Args:
        subject: a layer, op, model, loss, metric, optimizer, schedule, data set, augmentation, callback,
            exporter, strategy or explainer, or a class of these; for a class the kit takes its `examples()`,
            a classmethod that returns pairs of fields by name and inputs, such as
            `[({"heads": 2}, [(2, 4, 6)])]`; if it has none, the kit makes one, with small values for fields
            that have no default.
        inputs: what it is called on, one item for each input: shapes whose first dimension is the batch,
            specs (taken as they are), or arrays; found by trial if None.
        reference: computes in NumPy what the subject should; takes float64 arrays. For a layer also `state`,
            the parameters by path, if it has an argument of that name; for an optimizer see
            `optimizer_checks`.
        data_dir: the folder or file that holds a data set; None for its folder in `BIGMODEL_DATA_DIR`, else
            for what its `example(folder)` writes.

    Raises:
        UsageError: it is nothing that plugins offer, or no inputs suit it.
    """
    from bigmodel_core.registry.field_values import kind_of_base
    from bigmodel_core.testing import (
        augmentation_checks,
        callback_checks,
        data_checks,
        explainer_checks,
        exporter_checks,
        layer_checks,
        loss_checks,
        metric_checks,
        optimizer_checks,
        registry_checks,
        schedule_checks,
        strategy_checks,
    )
    from bigmodel_core.testing.examples import example_of, given_examples

    cls = subject if isinstance(subject, type) else type(subject)
    if isinstance(subject, type) and inputs is None and (given := given_examples(cls)):
        return [
            check for example, on in given for check in checks_for(example, on, reference, data_dir=data_dir)
        ]
    kind = "op" if issubclass(cls, Op) else kind_of_base(cls)
    makers: dict[str | None, Callable[..., dict[str, Callable[[], None]]]] = {
        "op": layer_checks.op_checks,
        "layer": layer_checks.layer_checks,
        "model": layer_checks.model_checks,
        "loss": loss_checks.loss_checks,
        "metric": metric_checks.metric_checks,
        "optimizer": optimizer_checks.optimizer_checks,
        "schedule": schedule_checks.schedule_checks,
        "dataset": functools.partial(
            data_checks.dataset_checks, data_dir=None if data_dir is None else Path(data_dir)
        ),
        "augmentation": augmentation_checks.augmentation_checks,
        "callback": callback_checks.callback_checks,
        "exporter": exporter_checks.exporter_checks,
        "strategy": strategy_checks.strategy_checks,
        "explainer": explainer_checks.explainer_checks,
    }
    if kind not in makers:
        raise UsageError(
            f"there are no checks for {cls.__name__}.",
            fix="pass an instance or a class of what plugins offer: a layer, op, model, loss and so on.",
        )
    name = cls.__name__ if kind == "op" else display_name(cls)
    try:
        example = example_of(cls) if isinstance(subject, type) else subject
        found = makers[kind](example, inputs, reference)
    except UsageError as error:
        if not isinstance(subject, type):
            raise
        found = {
            "example": functools.partial(_skip, str(error)),
            "registered and documented": functools.partial(registry_checks.check_registered, cls),
        }
    return [Check(check, name, function) for check, function in found.items()]


def checks_for_plugin(name: str) -> list[Check]:
    """The checks of everything that one plugin offers, on examples that the kit makes.

    Args:
        name: the plugin's name, as its entry point gives it, or that of its distribution.

    Raises:
        UnknownNameError: no plugin has this name.
        PluginError: it could not be loaded.

    >>> sorted({check.subject for check in checks_for_plugin("optimizers")})[:2]
    ['adagrad', 'adam']
    """
    from bigmodel_core import registry

    plugins = [plugin for plugin in registry.plugins() if name in (plugin.name, plugin.distribution)]
    if not plugins:
        known = ", ".join(plugin.name for plugin in registry.plugins())
        raise UnknownNameError(f"there is no plugin '{name}'.", fix=f"use one of {known or '(none)'}.")
    for plugin in plugins:
        if plugin.status != "ok":
            raise PluginError(f"the plugin is {plugin.status}: {plugin.reason}.", where=plugin.name)
    meant = {(plugin.name, plugin.distribution) for plugin in plugins}
    checks: list[Check] = []
    for kind in registry.KINDS:
        for cls in registry.classes(kind):
            offer = registry.origin(cls)
            if offer is not None and (offer.plugin.name, offer.plugin.distribution) in meant:
                checks += checks_for(cls)
    return checks


def _skip(reason: str) -> None:
    raise CheckSkipped(reason)
