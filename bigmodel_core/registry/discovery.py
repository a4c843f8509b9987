"""Which plugins are installed and may load, and how names compare; nothing here imports a plugin."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

GROUP = "bigmodel"
OURS = "bigmodel"
"""The distribution that brings the core and the built-in plugins."""

KINDS = (
    "layer",
    "loss",
    "optimizer",
    "schedule",
    "metric",
    "dataset",
    "augmentation",
    "model",
    "callback",
    "exporter",
    "strategy",
    "explainer",
)
PLURALS = {kind: f"{kind}s" for kind in KINDS} | {"loss": "losses", "strategy": "strategies"}

Status = Literal["ok", "failed", "blocked", "skipped"]
Contents = dict[str, list[type[Any]]]


@dataclass(frozen=True)
class PluginInfo:
    """What the host knows of one plugin.

    Args:
        name: the name of its entry point.
        distribution: the installed package that brings it; None if a program registered it.
        version: the version of that package.
        module: the module or object the entry point names.
        status: "ok", "failed" (an error, in `reason`), "blocked" (switched off) or "skipped" (made for
            another version of the plugin API).
        reason: why the status is not "ok"; empty otherwise.
        contents: the names it offers, by kind.
        api: the versions of the plugin API it declares, such as ">=1,<2"; empty if it declares none.
        seconds: how long its import and registration took, without other plugins that it made load.
        traceback: the full traceback of a failure, for the plugin's author.
    """

    name: str
    distribution: str | None
    version: str | None
    module: str
    status: Status
    reason: str = ""
    contents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    api: str = ""
    seconds: float = 0.0
    traceback: str = field(default="", repr=False)


@dataclass(frozen=True)
class Candidate:
    """A plugin that may be loaded: where it comes from, and how to get at it."""

    name: str
    distribution: str | None
    version: str | None
    module: str
    load: Callable[[], object]

    @property
    def package(self) -> str:
        """What the plugins of one distribution share; each that a program registers is alone."""
        return f":{self.name}" if self.distribution is None else normalise(self.distribution)

    def answers_to(self, selector: str) -> bool:
        """Whether a name in an allow or block list means this plugin: its own name or its distribution's."""
        return normalise(selector) in {normalise(self.name), normalise(self.distribution or self.name)}

    def title(self) -> str:
        """The plugin as messages name it."""
        if self.distribution is None:
            return f"'{self.name}' (registered by the program)"
        return f"'{self.name}' ({self.distribution} {self.version})"

    def info(self, status: Status, reason: str = "", **more: Any) -> PluginInfo:
        """What `registry.plugins()` tells of it."""
        return PluginInfo(self.name, self.distribution, self.version, self.module, status, reason, **more)


def normalise(name: str) -> str:
    """A name without case, '-', '_' and '.', as look-ups compare it.

    >>> normalise("cross-entropy") == normalise("CrossEntropy") == normalise("cross_entropy")
    True
    """
    return re.sub(r"[-_.\s]", "", name).casefold()


def display_name(cls: type[Any]) -> str:
    """The name the command line shows: the class's own `name`, else its class name in snake case.

    >>> display_name(type("CrossEntropy", (), {})), display_name(type("Mnist", (), {"name": "fashion-mnist"}))
    ('cross_entropy', 'fashion-mnist')
    """
    own = vars(cls).get("name")
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    if isinstance(own, str) and own and all(field.name != "name" for field in fields):
        return own
    return snake_case(cls.__name__)


def snake_case(name: str) -> str:
    """The name of a class in words.

    >>> snake_case("CrossEntropy"), snake_case("AdamW"), snake_case("BigmodelCNN")
    ('cross_entropy', 'adam_w', 'bigmodel_cnn')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def keys(cls: type[Any]) -> set[str]:
    """The normalised names that find a class: its class name and its display name."""
    return {normalise(cls.__name__), normalise(display_name(cls))}


# Finding ----------------------------------------------------------------------------------------------


def installed() -> list[Candidate]:
    """All plugins that installed distributions declare, none of them imported."""
    from importlib import metadata

    found = []
    for point in metadata.entry_points(group=GROUP):
        package = point.dist
        name = package.name if package else "an unknown distribution"
        version = package.version if package else None
        found.append(Candidate(point.name, name, version, point.value, point.load))
    return sorted(found, key=lambda plugin: (plugin.name, plugin.distribution or ""))


@dataclass(frozen=True)
class Switch:
    """Which plugins may load: those that every allow list names and no block list does."""

    allow: tuple[str, ...] | None = None
    block: tuple[str, ...] = ()

    def blocks(self, plugin: Candidate) -> str | None:
        """Why a plugin must not be imported, or None."""
        for lists, source in ((self.block, "the configuration"), (_listed("BIGMODEL_DISABLE_PLUGINS"), None)):
            if any(plugin.answers_to(name) for name in lists or ()):
                return f"switched off by {source or 'BIGMODEL_DISABLE_PLUGINS'}"
        for wanted, source in ((self.allow, "the configuration"), (_listed("BIGMODEL_PLUGINS"), None)):
            if wanted is not None and not any(plugin.answers_to(name) for name in wanted):
                return f"not in the allow list of {source or 'BIGMODEL_PLUGINS'}"
        return None

    def unmatched(self, plugins: Iterable[Candidate]) -> list[str]:
        """The names in allow lists that no installed plugin answers to."""
        present = list(plugins)
        wanted = [*(self.allow or ()), *(_listed("BIGMODEL_PLUGINS") or ())]
        return [name for name in wanted if not any(plugin.answers_to(name) for plugin in present)]


def _listed(variable: str) -> tuple[str, ...] | None:
    text = os.environ.get(variable, "").replace(",", " ").split()
    return tuple(text) or None
