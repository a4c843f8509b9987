"""The plugin host: loads plugins once, on the first look-up, and answers for what they offer."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bigmodel_core.errors import PluginError, UsageError
from bigmodel_core.registry.askers import asking_module, package_of, required_by
from bigmodel_core.registry.discovery import (
    KINDS,
    Candidate,
    PluginInfo,
    Switch,
    display_name,
    installed,
    keys,
    normalise,
)
from bigmodel_core.registry.texts import ambiguous, unknown

if TYPE_CHECKING:
    from bigmodel_core.registry.loading import Loader


@dataclass(frozen=True)
class Offer:
    """One class offered by one plugin."""

    kind: str
    plugin: Candidate
    cls: type[Any]


class PluginHost:
    """Loads plugins on the first look-up and answers for what they offer.

    Args:
        loader: how a plugin is imported and vetted; tests pass one with newer hooks.
    """

    def __init__(self, loader: Loader | None = None) -> None:
        self._lock = threading.RLock()
        self._loader = loader
        self._switch = Switch()
        self._strict = False
        self._registered: dict[str, Candidate] = {}
        self._forget()

    def _forget(self) -> None:
        self._pending: list[Candidate] | None = None
        self._known: list[Candidate] = []
        self._loading: list[Candidate] = []
        self._infos: list[PluginInfo] = []
        self._offers: dict[str, dict[str, list[Offer]]] = {kind: {} for kind in KINDS}
        self._origin: dict[type[Any], Offer] = {}

    # Loading -------------------------------------------------------------------------------------------

    def configure(
        self,
        *,
        strict: bool | None = None,
        allow: Iterable[str] | None = None,
        block: Iterable[str] | None = None,
    ) -> None:
        """Say which plugins may load and whether a broken one is an error; what is not passed stays."""
        with self._lock:
            self._refuse_while_loading("configure")
            self._strict = self._strict if strict is None else strict
            self._switch = Switch(
                self._switch.allow if allow is None else _listed(allow),
                self._switch.block if block is None else _listed(block),
            )
            self._forget()

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin that no installed package declares; a second one of the same name takes its place.

        Raises:
            PluginError: the plugin cannot be registered.
        """
        with self._lock:
            self._refuse_while_loading("register")
            module = getattr(plugin, "__name__", type(plugin).__qualname__)
            candidate = Candidate(name, None, None, module, lambda: plugin)
            if not self._switch.blocks(candidate):
                info, _ = self._load(candidate)
                if info.status != "ok":
                    raise PluginError(info.reason, where=f"plugin {candidate.title()}")
            self._registered[name] = candidate
            self._forget()

    def _refuse_while_loading(self, what: str) -> None:
        if self._loading:
            name = self._loading[-1].name
            raise PluginError(
                f"the plugin '{name}' calls {what}() while it is imported.", fix="remove that call."
            )

    def _load(self, plugin: Candidate) -> tuple[PluginInfo, Mapping[str, list[type[Any]]]]:
        if self._loader is None:
            from bigmodel_core.registry.loading import Loader

            self._loader = Loader()
        return self._loader.load(plugin)

    def _load_all(self) -> None:
        """Load what is not loaded yet.

        A plugin that looks a name up while it is imported gets here again: it continues with the others, so
        that what it needs is there unless two plugins need each other.
        """
        if self._pending is None:
            self._pending = [*installed(), *self._registered.values()]
            for name in self._switch.unmatched(self._pending):
                reason = "named in an allow list, but no installed package offers it"
                self._infos.append(PluginInfo(name, None, None, "", "failed", reason))
        while self._pending:
            plugin = self._pending.pop(0)
            if switched_off := self._switch.blocks(plugin):
                self._infos.append(plugin.info("blocked", switched_off))
                continue
            self._loading.append(plugin)
            if plugin not in self._known:
                self._known.append(plugin)
            try:
                info, contents = self._load(plugin)
            except BaseException:  # Ctrl-C: the next look-up starts again with this one
                self._pending.insert(0, plugin)
                raise
            finally:
                self._loading.remove(plugin)
            self._infos.append(info)
            for kind, classes in contents.items():
                for cls in classes:
                    self._add(Offer(kind, plugin, cls))

    def _add(self, offer: Offer) -> None:
        self._origin.setdefault(offer.cls, offer)
        for key in keys(offer.cls):
            self._offers[offer.kind].setdefault(key, []).append(offer)

    def check(self) -> None:
        """Load all plugins and raise the first failure.

        Raises:
            PluginError: a plugin failed.
        """
        for info in self.plugins():
            if info.status == "failed":
                by = f" ({info.distribution} {info.version})" if info.distribution else ""
                raise PluginError(
                    info.reason,
                    where=f"plugin '{info.name}'{by}",
                    fix=f"update or uninstall it, or set BIGMODEL_DISABLE_PLUGINS={info.name}.",
                )

    def _ready(self) -> None:
        with self._lock:
            self._load_all()
            if self._strict and not self._loading:
                self.check()

    # Asking --------------------------------------------------------------------------------------------

    def plugins(self) -> list[PluginInfo]:
        """All plugins, loaded or not, in the order of their names."""
        with self._lock:
            self._load_all()
            return sorted(self._infos, key=lambda info: (info.name, info.distribution or ""))

    def names(self, kind: str) -> list[str]:
        """The names of a kind as the command line shows them; qualified if two plugins offer one name."""
        _check_kind(kind)
        self._ready()
        shown = set()
        for offers in self._offers[kind].values():
            for offer in offers:
                name = display_name(offer.cls)
                rivals = {other.cls for key in keys(offer.cls) for other in self._offers[kind][key]}
                whose = self.qualified(offer).partition(":")[0]
                shown.add(name if len(rivals) == 1 else f"{whose}:{name}")
        return sorted(shown)

    def classes(self, kind: str) -> list[type[Any]]:
        """The classes of a kind, in the order of their plugins."""
        _check_kind(kind)
        self._ready()
        offers = (offer for rivals in self._offers[kind].values() for offer in rivals)
        return list(dict.fromkeys(offer.cls for offer in offers))

    def get(
        self, kind: str, name: str, distribution: str | None = None, owner: str | None = None
    ) -> type[Any]:
        """The class of a kind with a name.

        Args:
            kind: one of `KINDS`, such as "layer".
            name: "dense", "Dense" or "layers:Dense".
            distribution: the package the plugin must come from, as a saved file names it.
            owner: the module whose code contains the name; None for the calling one.

        Raises:
            UnknownNameError: nothing has this name, or two plugins offer it.
        """
        _check_kind(kind)
        self._ready()
        plugin, _, wanted = name.rpartition(":")
        offers = self._offers[kind].get(normalise(wanted), [])
        if plugin:
            offers = [offer for offer in offers if offer.plugin.answers_to(plugin)]
        if distribution:
            offers = [offer for offer in offers if offer.plugin.package == normalise(distribution)]
        if _differ(offers):
            offers = self._meant(offers, asking_module() if owner is None else owner)
        if _differ(offers):
            raise ambiguous(kind, wanted, [(offer.plugin, self.qualified(offer)) for offer in offers])
        if offers:
            return offers[0].cls
        shown = {key: display_name(found[0].cls) for key, found in sorted(self._offers[kind].items())}
        loading = self._loading[-1].name if self._loading else None
        raise unknown(kind, name, distribution, shown, self._infos, loading)

    def _meant(self, offers: list[Offer], owner: str) -> list[Offer]:
        """Of several offers of one name, those that the code of a module means by it."""
        package = package_of(owner, self._known)
        if package is None:
            return offers
        own = [offer for offer in offers if offer.plugin.package == package]
        near = own or [offer for offer in offers if offer.plugin.package in required_by(package)]
        return near or offers

    def qualified(self, offer: Offer) -> str:
        """The name that always means a class: `plugin:Name`, or `package:Name` if two packages chose one
        name for their plugins, too."""
        plugin, name = offer.plugin, offer.cls.__name__
        rivals = [
            other
            for key in keys(offer.cls)
            for other in self._offers[offer.kind].get(key, ())
            if other.cls is not offer.cls and other.plugin.answers_to(plugin.name)
        ]
        return f"{plugin.distribution if rivals and plugin.distribution else plugin.name}:{name}"

    def meant(self, classes: Sequence[type[Any]], owner: str | None = None) -> list[type[Any]]:
        """Of classes that serve one purpose, those that the code of a module means; all if it may be any."""
        offers = [offer for cls in classes if (offer := self.origin(cls))]
        return [offer.cls for offer in self._meant(offers, asking_module() if owner is None else owner)]

    def origin(self, cls: type[Any]) -> Offer | None:
        """Who offers a class, or None if no plugin does."""
        self._ready()
        return self._origin.get(cls)


def _differ(offers: list[Offer]) -> bool:
    return len({offer.cls for offer in offers}) > 1


def _listed(names: Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise UsageError(
            f"'{kind}' is not a kind of thing a plugin offers.", fix=f"use one of {', '.join(KINDS)}."
        )
