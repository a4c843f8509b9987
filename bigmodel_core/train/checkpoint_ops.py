"""The names of ops in checkpoints: "core:Affine", or "swish:SwishOp" for an op of the plugin `swish`.

Reading one looks among the op classes that the core and the loaded plugins define. Nothing is ever imported
by a text out of a file.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator

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
    owner = _owner(cls, _homes())
    if owner is None:
        raise CheckpointError(
            f"the op {cls.__name__} of the module {cls.__module__} belongs to no plugin, so that no other"
            " process could find it.",
            fix="put it into a plugin (`bigmodel plugins new`), or call bigmodel_core.registry.register().",
        )
    found = _named(owner, cls.__name__)
    if found != [cls]:
        raise CheckpointError(
            f"the plugin '{owner}' has {len(found)} ops called {cls.__name__}.",
            fix="define each op once, in a module, and give it a name of its own.",
        )
    return f"{owner}:{cls.__name__}"


def op_class(name: str, distribution: str | None = None) -> type[Op]:
    """The op class that a checkpoint names.

    Args:
        name: what `op_name` gave.
        distribution: the package that brought the plugin when the checkpoint was written.

    Raises:
        CheckpointError: no such op is here; says which plugin or package is missing.
    """
    owner, _, own = name.partition(":")
    found = _named(owner, own) if own else []
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
    return {info.name: info.distribution for info in registry.plugins() if info.name in owners}


def _missing(owner: str, own: str, distribution: str | None) -> CheckpointError:
    by = f" of the package '{distribution}'" if distribution else ""
    message = f"the model needs the op {own} of the plugin '{owner}'{by}"
    here = [info for info in registry.plugins() if info.name == owner]
    if not here:
        fix = f"pip install {distribution}" if distribution else "install the package that brings it"
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


def _named(owner: str, name: str) -> list[type[Op]]:
    if owner == CORE:
        for module in pkgutil.iter_modules(importlib.import_module(_CORE_OPS).__path__, f"{_CORE_OPS}."):
            importlib.import_module(module.name)
    homes = _homes()
    found = [cls for cls in _subclasses(Op) if cls.__name__ == name and _owner(cls, homes) == owner]
    if len(found) > 1:  # a module that was loaded again leaves its former classes behind
        found = [cls for cls in found if getattr(sys.modules.get(cls.__module__), name, None) is cls]
    return found


def _subclasses(cls: type[Op]) -> Iterator[type[Op]]:
    for sub in cls.__subclasses__():
        if sub not in LEAVES:
            yield sub
        yield from _subclasses(sub)


def _homes() -> dict[str, set[str]]:
    """The modules and packages that belong to each plugin: the one its entry point names, with all that lies
    in it, and those that define the classes it offers."""
    homes: dict[str, set[str]] = {CORE: {_CORE_OPS}}
    for info in registry.plugins():
        if info.status == "ok":
            homes.setdefault(info.name, set()).add(info.module.partition(":")[0].partition(".")[0])
    for kind in registry.KINDS:
        for cls in registry.classes(kind):
            offer = registry.origin(cls)
            if offer is not None:
                homes.setdefault(offer.plugin.name, set()).add(cls.__module__)
    return homes


def _owner(cls: type[Op], homes: dict[str, set[str]]) -> str | None:
    """The plugin with the closest home; None for an op of nobody."""
    fits = [
        (len(home), owner)
        for owner, places in homes.items()
        for home in places
        if f"{cls.__module__}.".startswith(f"{home}.")
    ]
    return max(fits)[1] if fits else None
