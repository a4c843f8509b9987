"""What a typed name refers to: a plugin, or classes that plugins offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bigmodel_core.errors import UnknownNameError, UsageError, close_matches

if TYPE_CHECKING:
    from bigmodel_core.registry import PluginInfo

Found = tuple[str, type[Any]]
"""A kind and a class of it."""


def plugin_named(name: str) -> PluginInfo | None:
    """The plugin of a name, or of a distribution that brings one alone, however it is written; None if there
    is none."""
    from bigmodel_core import registry
    from bigmodel_core.registry.discovery import normalise

    plugins, wanted = registry.plugins(), normalise(name)
    if named := [item for item in plugins if normalise(item.name) == wanted]:
        return named[0]
    brought = [item for item in plugins if normalise(item.distribution or "") == wanted]
    return brought[0] if len(brought) == 1 else None


def contents(item: PluginInfo) -> list[Found]:
    """What a plugin offers; nothing if it did not load."""
    from bigmodel_core import registry

    if item.status != "ok":
        return []
    return [
        (kind, cls)
        for kind in item.contents
        for cls in registry.classes(kind)
        if (offer := registry.origin(cls))
        and (offer.plugin.name, offer.plugin.distribution) == (item.name, item.distribution)
        and offer.kind == kind
    ]


def offered(name: str) -> list[Found]:
    """Everything of a name, whatever its kind.

    Raises:
        UsageError: there is nothing; the message lists the nearest names.
    """
    from bigmodel_core import registry

    found: list[Found] = []
    for kind in registry.KINDS:
        try:
            found.append((kind, registry.get(kind, name)))
        except UnknownNameError as error:
            if "is offered by" in error.message:  # by two plugins: only the user can say which
                raise UsageError(error.message, fix=error.fix, shell=error.shell) from error
    if found:
        return found
    names = [item.name for item in registry.plugins()]
    names += [each for kind in registry.KINDS for each in registry.names(kind)]
    near = list(dict.fromkeys(close_matches(name, names, 4, 0.5)))
    hint = f" The nearest names are {', '.join(near)}." if near else ""
    raise UsageError(
        f"there is no plugin '{name}', and no plugin offers it.{hint}",
        fix="`bigmodel plugins list` shows the plugins.",
    )


def shown_name(cls: type[Any]) -> str:
    """The name of a class as commands show it."""
    from bigmodel_core import registry

    return registry.display_name(cls)


def about(cls: type[Any]) -> str:
    """The first line of a class's docstring."""
    return (cls.__doc__ or "").strip().partition("\n")[0]
