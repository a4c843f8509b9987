"""What names mean: layers, losses, optimizers, data sets and the rest, from whichever plugin offers them.

Plugins are loaded on the first look-up, all of them once; importing this module imports none. Look-ups ignore
case, '-' and '_'. A qualified name, `plugin:Name`, always says which plugin is meant; without one, the code
of a package finds its own package's names first (`registry_askers`).

    registry.get("layer", "dense")          # the class Dense of the plugin `layers`
    registry.get("layer", "swish:Swish")    # the one of the plugin `swish`, whoever else offers a Swish
    registry.names("dataset")               # ['csv', 'digits', ...]

`BIGMODEL_PLUGINS` (an allow list) and `BIGMODEL_DISABLE_PLUGINS` hold names of plugins or of their
distributions, separated by commas or spaces; `configure` takes the same. What is switched off is never
imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bigmodel_core.errors import UnknownNameError
from bigmodel_core.registry_discovery import KINDS, PluginInfo, display_name
from bigmodel_core.registry_host import Offer, PluginHost

__all__ = [
    "KINDS",
    "DatasetNamespace",
    "ModelNamespace",
    "Namespace",
    "PluginInfo",
    "check",
    "classes",
    "configure",
    "display_name",
    "get",
    "meant",
    "names",
    "origin",
    "plugins",
    "qualified_name",
    "register",
    "reset",
]

_host = PluginHost()


def get(kind: str, name: str, *, distribution: str | None = None, owner: str | None = None) -> type[Any]:
    """The class of a kind with a name.

    Where several packages offer it, the code of a package finds its own, else that of a package it requires;
    a user has to say which.

    Args:
        kind: one of `KINDS`: "layer", "loss", "optimizer", "schedule", "metric", "dataset",
            "augmentation", "model", "callback", "exporter".
        name: "dense", "Dense" or, to say whose, "layers:Dense".
        distribution: the package the plugin must come from, as saved files name it.
        owner: the module in whose code the name stands, such as that of a class that names its loss; the
            module that calls where None.

    Raises:
        UnknownNameError: nothing has this name (the message lists the nearest), or several packages offer it
            and none of them is the asker's.
        PluginError: a plugin failed to load, in strict mode.
    """
    if "=" in name:
        alone = name.partition("=")[0].rpartition(":")[0]
        raise UnknownNameError(
            f"'{name}' has options behind the name, and a class has none.",
            fix=f"look up '{alone}', or make one of it: bigmodel_core.config.make('{kind}', ...).",
        )
    return _host.get(kind, name, distribution, owner)


def names(kind: str) -> list[str]:
    """The names of a kind as the command line shows them; qualified where two plugins offer one name."""
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
        owner: the module; the one that calls where None.
    """
    return _host.meant(classes, owner)


def origin(cls: type[Any]) -> Offer | None:
    """Which plugin offers a class, or None where none does."""
    return _host.origin(cls)


def qualified_name(cls: type[Any]) -> str:
    """The name that always means this class: `plugin:Name`, or `package:Name` where two packages chose one
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


class UnknownAttributeError(UnknownNameError, AttributeError):
    """A name a namespace does not have; an AttributeError too, so that hasattr() answers False."""


class Namespace:
    """The classes of one kind as attributes, `bm.layers.Dense`, and by name, `bm.layers["acme:Dense"]`.

    Args:
        kind: one of `KINDS`.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def get(self, name: str) -> type[Any]:
        """The class with a name; the same look-up as an attribute's, for names that are text."""
        return get(self._kind, name)

    def __getitem__(self, name: str) -> type[Any]:
        return get(self._kind, name)

    def __getattr__(self, name: str) -> type[Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return get(self._kind, name)
        except UnknownNameError as error:
            raise UnknownAttributeError(error.message, fix=error.fix, where=error.where) from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(cls.__name__ for cls in classes(self._kind))})

    def __repr__(self) -> str:
        return f"<the {self._kind} namespace: {self._kind} classes of all plugins>"


class DatasetNamespace(Namespace):
    """The data sets, as classes and by name: `bm.datasets.load("digits")`."""

    def __init__(self) -> None:
        super().__init__("dataset")

    def load(self, name: str, data_dir: str | Path | None = None, *, like: Any = None, **fields: Any) -> Any:
        """The data of a data set: train and test split, labels and preprocessing.

        Args:
            name: a name of the registry, such as "digits"; options may follow, as in "csv:target=species".
            data_dir: the folder (or file) that holds the set; searched for where None.
            like: data, a model, or the path of a run or an exported file: labels, columns, preprocessing and
                options are those of its training, and nothing is fitted again.
            fields: options of the data set, by field name.

        Raises:
            UnknownNameError: no data set has this name.
            ConfigError: an option is unknown or has a wrong value.
            DataError: the files are missing or damaged, or do not fit `like`.
        """
        from bigmodel_core import config

        dataset = config.build_named("dataset", name, fields)
        place = None if data_dir is None else Path(data_dir)
        return dataset.load(place) if like is None else dataset.load(place, like=like)


class ModelNamespace(Namespace):
    """The ready-made models, as classes and by name: `bm.models.build("mlp")`."""

    def __init__(self) -> None:
        super().__init__("model")

    def build(self, name: str, **fields: Any) -> Any:
        """The model with a name.

        Args:
            name: a name of the registry, such as "mlp"; options may follow, as in "mlp:widths=64,32".
            fields: options of the model, by field name.

        Raises:
            UnknownNameError: no model has this name.
            ConfigError: an option is unknown or has a wrong value.
        """
        from bigmodel_core import config

        return config.build_named("model", name, fields)
