"""Who asks for a name: if several packages offer it, the code of a package finds its own first.

    the asker                             finds
    the code of a package                 its own class, else that of a package it requires
                                          (bigmodel is always one), else the only one there is
    a script, a notebook, a command line  the only one there is; of several, the user has to say which

The packages that come with bigmodel are one. So a package that is installed changes neither what another
means by its names, nor what a new version of bigmodel has to keep clear of.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from importlib import metadata
from types import FrameType

from bigmodel_core.registry.discovery import OURS, Candidate, normalise

CORE = "bigmodel_core"


def asking_module() -> str:
    """The module whose code looks a name up: the innermost that is neither the core nor Python's own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        top = name.partition(".")[0]
        if top != CORE and top not in sys.stdlib_module_names:
            return name
        frame = frame.f_back
    return ""


def package_of(module: str, plugins: Iterable[Candidate]) -> str | None:
    """The package that a module belongs to, as `Candidate.package` names it; None for a user's own code.

    It is the one whose plugin lies nearest: `acme.layers` belongs to the plugin `acme.plugin`, unless that
    of another package is in `acme.layers`, too.
    """
    if module == CORE or module.startswith(f"{CORE}."):
        return normalise(OURS)
    parts, nearest = module.split("."), 0
    found: set[str] = set()
    for plugin in plugins:
        home = plugin.module.partition(":")[0].split(".")
        shared = next((i for i, (a, b) in enumerate(zip(parts, home, strict=False)) if a != b), None)
        depth = min(len(parts), len(home)) if shared is None else shared
        if depth > nearest:
            nearest, found = depth, set()
        if depth and depth == nearest:
            found.add(plugin.package)
    return found.pop() if len(found) == 1 and parts[0] != "__main__" else None


def required_by(package: str) -> set[str]:
    """The packages that a package requires, and bigmodel."""
    try:
        lines = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        lines = []
    names = (re.match(r"\s*([\w.-]+)", line) for line in lines)
    return {normalise(OURS), *(normalise(name[1]) for name in names if name)}
