"""The names of ops in checkpoints: "core:Affine", or "swish:SwishOp" for an op of the plugin `swish`.

Reading one looks among the op classes that the core and the loaded plugins define. Nothing is ever imported
by a text out of a file.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bigmodel_core import registry
from bigmodel_core.errors import CheckpointError
from bigmodel_core.graph import LEAVES, Op

CORE = "core"
_CORE_OPS = "bigmodel_core.ops"


def op_name(cls: type[Op]) -> str:
    """The name of an op class in checkpoints.

    Raises:
        CheckpointError: neither the core nor a plugin defines it, or another op has its name.
    """
    homes = _homes()
    owner = _owner(cls, homes)
    if owner is None:
        raise CheckpointError(
            f"the op {cls.__name__} of the module {cls.__module__} belongs to no plugin, so no other"
            " process could find it.",
            fix="put it into a plugin (`bigmodel plugins new`), or call bigmodel_core.registry.register().",
        )
    found = _named({owner}, cls.__name__, homes)
    if found != [cls]:
        raise CheckpointError(
            f"the plugin '{owner.plugin}' has {len(found)} ops called {cls.__name__}.",
            fix="define each op once, in a module, and give it its own name.",
        )
    return f"{_written(owner, homes)}:{cls.__name__}"


def op_class(name: str, distribution: str | None = None) -> type[Op]:
    """The op class that a checkpoint names.

    Args:
        name: what `op_name` gave.
        distribution: the package that brought the plugin when the checkpoint was written.

    Raises:
        CheckpointError: no such op is here; says which plugin or package is missing.
    """
    owner, _, own = name.partition(":")
    homes = _homes()
    found = _named(_meant(owner, distribution, homes), own, homes) if own else []
    if len(found) == 1:
        return found[0]
    if found:
        raise CheckpointError(f"the plugin '{owner}' has {len(found)} ops called {own}.")
    if not own or owner == CORE:
        raise CheckpointError(
            f"there is no op '{name}' in this version of bigmodel.",
            fix="update bigmodel: a newer version may have written the file.",
        )
    raise _missing(owner, own, distribution)


def plugins_of(names: Iterator[str]) -> dict[str, str | None]:
    """The packages that bring the plugins of some ops, by the name of the plugin."""
    owners = {name.partition(":")[0] for name in names} - {CORE}
    homes = _homes()
    written = {_written(home, homes): home.package for home in homes}
    return {name: package for name, package in written.items() if name in owners}


def _missing(owner: str, own: str, distribution: str | None) -> CheckpointError:
    by = f" of the package '{distribution}'" if distribution else ""
    message = f"the model needs the op {own} of the plugin '{owner}'{by}"
    here = [info for info in registry.plugins() if owner in (info.name, info.distribution)]
    if not here:
        fix = f"pip install {distribution}" if distribution else "install the package that provides it"
        return CheckpointError(f"{message}, which is not installed.", fix=f"{fix}.")
    if here[0].status != "ok":
        return CheckpointError(
            f"{message}, which could not be used: {here[0].reason}.",
            fix=f"see `bigmodel plugins info {owner}`.",
        )
    return CheckpointError(
        f"{message}, which has no such op.",
        fix="use the version of the plugin that the checkpoint was written with.",
    )


# Finding --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Owner:
    """Whose an op is: a plugin of a package; that of the core has no package."""

    plugin: str
    package: str | None


_OF_CORE = _Owner(CORE, None)


def _written(owner: _Owner, homes: Iterable[_Owner]) -> str:
    """An owner in a checkpoint: the plugin, or its package if another plugin has the same name."""
    rivals = {home for home in homes if home.plugin == owner.plugin} - {owner}
    return owner.package if rivals and owner.package else owner.plugin


def _meant(written: str, package: str | None, homes: Iterable[_Owner]) -> set[_Owner]:
    """The owners that a checkpoint may mean.

    Args:
        written: a plugin or, since plugins of several packages may have one name, a package.
        package: the package that brought it, as far as the checkpoint says.
        homes: the owners there are.
    """
    if written == CORE and package is None:
        return {_OF_CORE}
    found = {home for home in homes if written in (home.plugin, home.package)}
    return {home for home in found if home.package == package} if package else found


def _named(owners: set[_Owner], name: str, homes: dict[_Owner, set[str]]) -> list[type[Op]]:
    if _OF_CORE in owners:
        for module in pkgutil.iter_modules(importlib.import_module(_CORE_OPS).__path__, f"{_CORE_OPS}."):
            importlib.import_module(module.name)
    classes = dict.fromkeys(_subclasses(Op))  # once each, whatever their bases
    found = [cls for cls in classes if cls.__name__ == name and _owner(cls, homes) in owners]
    if len(found) > 1:  # a module that was loaded again leaves its former classes behind
        found = [cls for cls in found if getattr(sys.modules.get(cls.__module__), name, None) is cls]
    return found


def _subclasses(cls: type[Op]) -> Iterator[type[Op]]:
    for sub in cls.__subclasses__():
        if sub not in LEAVES:
            yield sub
        yield from _subclasses(sub)


def _homes() -> dict[_Owner, set[str]]:
    """The modules and packages that belong to each plugin: the one its entry point names and all inside it,
    and those that define the classes it offers."""
    homes: dict[_Owner, set[str]] = {_OF_CORE: {_CORE_OPS}}
    for info in registry.plugins():
        if info.status == "ok":
            home = info.module.partition(":")[0].partition(".")[0]
            homes.setdefault(_Owner(info.name, info.distribution), set()).add(home)
    for kind in registry.KINDS:
        for cls in registry.classes(kind):
            offer = registry.origin(cls)
            if offer is not None:
                owner = _Owner(offer.plugin.name, offer.plugin.distribution)
                homes.setdefault(owner, set()).add(cls.__module__)
    return homes


def _owner(cls: type[Op], homes: dict[_Owner, set[str]]) -> _Owner | None:
    """The plugin with the closest home; None for an op of nobody."""
    fits = [
        (len(home), owner.plugin, owner.package or "", owner)
        for owner, places in homes.items()
        for home in places
        if f"{cls.__module__}.".startswith(f"{home}.")
    ]
    return max(fits, key=lambda fit: fit[:3])[3] if fits else None
