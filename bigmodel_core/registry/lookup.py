"""The host of all plugins, and what is asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bigmodel_core.errors import UnknownNameError
from bigmodel_core.registry.discovery import PluginInfo
from bigmodel_core.registry.host import Offer, PluginHost

_host = PluginHost()


def get(kind: str, name: str, *, distribution: str | None = None, owner: str | None = None) -> type[Any]:
    """The class of a kind with a name.

    If several packages offer it, the code of a package finds its own, else that of a package it requires;
    a user has to say which.

    Args:
        kind: one of `KINDS`: "layer", "loss", "optimizer", "schedule", "metric", "dataset",
            "augmentation", "model", "callback", "exporter", "strategy", "explainer".
        name: "dense", "Dense" or, to say whose, "layers:Dense".
        distribution: the package the plugin must come from, as saved files name it.
        owner: the module whose code contains the name, such as that of a class that names its loss; the
            module that calls if None.

    Raises:
        UnknownNameError: nothing has this name (the message lists the nearest), or several packages offer it
            and none of them is the asker's.
        PluginError: a plugin failed to load, in strict mode.
    """
    if "=" in name:
        alone = name.partition("=")[0].rpartition(":")[0]
        raise UnknownNameError(
            f"'{name}' has options after the name, but a class takes none.",
            fix=f"look up '{alone}', or make an instance: bigmodel_core.registry.config.make('{kind}', ...).",
        )
    return _host.get(kind, name, distribution, owner)


def names(kind: str) -> list[str]:
    """The names of a kind as the command line shows them; qualified if two plugins offer one name."""
    return _host.names(kind)


def classes(kind: str) -> list[type[Any]]:
    """The classes of a kind that all plugins offer together."""
    return _host.classes(kind)


def plugins() -> list[PluginInfo]:
    """All plugins by name, also those that failed or are switched off; never raises for a broken one."""
    return _host.plugins()


def check() -> None:
    """Load all plugins and raise the first failure.

    Raises:
        PluginError: a plugin failed to load.
    """
    _host.check()


def configure(
    *, strict: bool | None = None, allow: Iterable[str] | None = None, block: Iterable[str] | None = None
) -> None:
    """Say which plugins may load, and whether a broken one is an error; what is not passed stays as it is.

    A plugin loads if every allow list (this one and `BIGMODEL_PLUGINS`) names it and no block list does.

    Args:
        strict: whether a look-up raises if any plugin failed to load.
        allow: plugins or distributions that may load; no others do.
        block: plugins or distributions that must not be imported.
    """
    _host.configure(strict=strict, allow=allow, block=block)


def register(plugin: object, name: str) -> None:
    """Add a plugin that no installed package declares, for a notebook or a test.

    Args:
        plugin: a module, or any object, with functions marked by `bigmodel_core.hookimpl`.
        name: its name, as an entry point would give it; registering the name again replaces the plugin.

    Raises:
        PluginError: the plugin does not keep the rules.
    """
    _host.register(plugin, name)


def reset() -> None:
    """Forget what was loaded, registered and configured; the next look-up starts afresh."""
    global _host
    _host = PluginHost()


def meant(classes: Sequence[type[Any]], *, owner: str | None = None) -> list[type[Any]]:
    """Of classes that serve one purpose, such as exporters of one file ending, those that the code of a
    module means: its own package's, else those of packages it requires, else all.

    Args:
        classes: what plugins offer.
        owner: the module; the one that calls if None.
    """
    return _host.meant(classes, owner)


def origin(cls: type[Any]) -> Offer | None:
    """Which plugin offers a class, or None if none does."""
    return _host.origin(cls)


def qualified_name(cls: type[Any]) -> str:
    """The name that always means this class: `plugin:Name`, or `package:Name` if two packages chose one
    name for their plugins.

    Raises:
        UnknownNameError: no plugin offers the class.
    """
    offer = origin(cls)
    if offer is None:
        raise UnknownNameError(
            f"no plugin offers the class {cls.__qualname__}, so it cannot be saved by name.",
            fix="offer it from a plugin (`bigmodel plugins new`), or call bigmodel_core.registry.register().",
        )
    return _host.qualified(offer)
