"""Writes docs/public_api.txt: every public name with its signature, one a line.

A test compares the list with the code, so that nothing public changes by accident. After a change that is
meant, say it in the part "Unreleased" of CHANGELOG.md and run `python docs/make_api.py`, which looks for the
names there.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import bigmodel_core as bm
from bigmodel_core import registry

TARGET = Path(__file__).with_name("public_api.txt")
ROOT = Path(__file__).parent.parent
CHANGELOG = ROOT / "CHANGELOG.md"
PACKAGES = {path.name for folder in ("plugins", "exporters") for path in (ROOT / folder).iterdir()}
"""The packages whose classes are listed: not those of strangers that are installed, too."""


def signature(thing: object) -> str:
    """The arguments of what can be called, without types; nothing for other things."""
    try:
        parameters = list(inspect.signature(thing).parameters.values())  # type: ignore[arg-type]  # may be no function
    except (TypeError, ValueError):
        return ""
    shown, named = [], False
    for parameter in parameters:
        if parameter.name in ("self", "cls"):
            continue
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        if parameter.kind == parameter.KEYWORD_ONLY and not named:
            shown.append("*")
        named = named or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        default = "" if parameter.default is parameter.empty else f"={_default(parameter.default)}"
        shown.append(f"{star}{parameter.name}{default}")
    return f"({', '.join(shown)})"


def _default(value: object) -> str:
    text = repr(value)
    return "..." if " at 0x" in text or len(text) > 60 else text


def members(name: str, thing: Any) -> Iterator[str]:
    """A name and, of a class of ours, its public methods and attributes."""
    is_class = inspect.isclass(thing)
    yield name + (signature(thing) if callable(thing) else "")
    if not is_class:
        return
    ours = [base for base in thing.__mro__ if base.__module__.split(".")[0].startswith("bigmodel_")]
    fields = {field: None for base in ours for field in getattr(base, "__dataclass_fields__", {})}
    found = {key: value for base in reversed(ours) for key, value in vars(base).items()}
    for key, value in found.items():
        if not key.startswith("_") and key not in fields:
            bare = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
            yield f"{name}.{key}{signature(bare) if inspect.isfunction(bare) else ''}"


def names_of(module: ModuleType) -> list[str]:
    """The public names of a module: those that it lists, else those that it defines."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return list(listed)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and (getattr(value, "__module__", module.__name__) == module.__name__)
        and name != "annotations"
    ]


def lines() -> list[str]:
    """All names with their signatures, sorted."""
    found: set[str] = set()
    for name in bm.__all__:
        thing = getattr(bm, name)
        if inspect.ismodule(thing):
            for key in names_of(thing):
                found |= set(members(f"bm.{name}.{key}", getattr(thing, key)))
        elif isinstance(thing, registry.Namespace):
            classes = registry.classes(bm._NAMESPACES[name])
            ours = [cls for cls in classes if cls.__module__.split(".")[0] in PACKAGES]
            found |= {f"bm.{name}.{cls.__name__}{signature(cls)}" for cls in ours}
        elif name != "__version__":
            found |= set(members(f"bm.{name}", thing))
    return sorted(found)


def changed(before: list[str], after: list[str]) -> dict[str, list[str]]:
    """The lines that came or went, by name."""
    found: dict[str, list[str]] = {}
    for sign, here, there in (("-", before, after), ("+", after, before)):
        for line in sorted(set(here) - set(there)):
            found.setdefault(line.split("(")[0], []).append(f"{sign} {line}")
    return found


def unsaid(names: list[str]) -> list[str]:
    """Those of some names that the part "Unreleased" of the changelog does not mention."""
    text = CHANGELOG.read_text(encoding="utf-8").split("\n## ")[1]
    words = set(re.findall(r"\w+", text))
    return [name for name in names if not words & set(name.split(".")[-2:])]


def main() -> int:
    """Write the list, unless the changelog is silent about a change."""
    before = TARGET.read_text(encoding="utf-8").splitlines() if TARGET.exists() else lines()
    changes = changed(before, lines())
    silent = unsaid(list(changes))
    for line in (line for name in silent for line in changes[name]):
        print(line, file=sys.stderr)
    if silent:
        print("CHANGELOG.md does not mention these under Unreleased: say what changed.", file=sys.stderr)
        return 1
    TARGET.write_text("\n".join(lines()) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
