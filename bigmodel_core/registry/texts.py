"""What is said of a name that nothing has, or that several packages have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bigmodel_core.errors import UnknownNameError, close_matches
from bigmodel_core.registry.discovery import PLURALS, Candidate, PluginInfo, normalise

FEW = 24
"""How many names an error lists in full."""


def ambiguous(kind: str, name: str, offers: Sequence[tuple[Candidate, str]]) -> UnknownNameError:
    """The error for a name that several packages offer.

    Args:
        kind: the kind.
        name: the name.
        offers: the plugins, and the qualified name of what each offers.
    """
    titles = " and by ".join(plugin.title() for plugin, _ in offers)
    ways = " or ".join(qualified for _, qualified in offers)
    return UnknownNameError(
        f"the {kind} '{name}' is offered by {titles}.",
        fix=f"write {ways}, or switch one of the plugins off.",
    )


def unknown(
    kind: str,
    name: str,
    package: str | None,
    known: Mapping[str, str],
    infos: Sequence[PluginInfo],
    loading: str | None,
) -> UnknownNameError:
    """The error for a name that nothing has.

    Args:
        kind: the kind.
        name: the name, qualified or not.
        package: the package it has to come from.
        known: the names of the kind as they are shown, by how they compare.
        infos: all plugins.
        loading: the plugin that is being imported, if one is.
    """
    plugin, _, own = name.rpartition(":")
    if plugin and (missing := _missing(kind, plugin, own, package, infos)):
        return missing
    message = f"there is no {kind} '{own}'{f' in the plugin {plugin!r}' if plugin else ''}."
    if near := nearest(own, known):
        message += f" The nearest names are {', '.join(near)}."
    if failed := [f"{info.name} ({info.reason})" for info in infos if info.status == "failed"]:
        message += f" Plugins that failed to load: {'; '.join(failed)}."
    if loading:
        message += f" The plugin '{loading}' looked it up while being imported; look names up later."
    if not infos:
        return UnknownNameError(
            f"{message} No plugin is installed.", fix="install bigmodel: pip install -e ."
        )
    names = sorted(set(known.values()))
    if not 0 < len(names) <= FEW:
        return UnknownNameError(message, fix=f"use one of the names that {_every(kind)} shows.")
    only = PLURALS[kind] if len(names) > 1 else kind
    there = "are" if len(names) > 1 else "is"
    return UnknownNameError(
        message, fix=f"the {only} {there} {', '.join(names)}; {_every(kind)} shows whose they are."
    )


def nearest(name: str, known: Mapping[str, str]) -> list[str]:
    """The names that look most like one.

    Args:
        name: what was requested.
        known: the names as they are shown, by how they compare.

    >>> nearest("batch_norm2d", {"batchnorm": "batch_norm", "dense": "dense"})
    ['batch_norm']
    """
    near = close_matches(normalise(name), known, n=4, cutoff=0.5)
    return list(dict.fromkeys(known[key] for key in near))


def _every(kind: str) -> str:
    return f"`bigmodel {'data' if kind == 'dataset' else 'plugins'} list`"


def _missing(
    kind: str, plugin: str, name: str, package: str | None, infos: Sequence[PluginInfo]
) -> UnknownNameError | None:
    """The error for a plugin that is not there or did not load; None if it did."""
    here = [info for info in infos if normalise(info.name) == normalise(plugin)]
    if package:
        here = [info for info in here if normalise(info.distribution or "") == normalise(package)]
    its_package = any(
        info.status == "ok" and normalise(info.distribution or "") == normalise(plugin) for info in infos
    )
    if its_package or any(info.status == "ok" for info in here):
        return None
    message = f"the {kind} '{plugin}:{name}' needs the plugin '{plugin}'"
    message += f" of the package '{package}', which " if package else ", which "
    if here:
        state = {"failed": "failed to load", "blocked": "is blocked", "skipped": "was skipped"}
        return UnknownNameError(
            f"{message}{state[here[0].status]}: {here[0].reason}.",
            fix=f"see `bigmodel plugins info {plugin}`.",
        )
    fix = (
        f"pip install {package}" if package else f"install the package that provides it; {_every(kind)} shows"
    )
    return UnknownNameError(f"{message}is not installed.", fix=f"{fix}{'' if package else ' the others'}.")
