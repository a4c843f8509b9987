"""A starter plugin: a package that installs, passes its checks and exports unchanged."""

from __future__ import annotations

import importlib.util
import keyword
import re
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

from bigmodel_core.errors import BigmodelError, UsageError

ENDING = ".template"


def write_package(name: str, out: Path | None = None) -> tuple[Path, list[str]]:
    """Write the package of a new plugin; all of it, or nothing.

    Args:
        name: of the plugin: lower-case letters, digits, '-' and '_'.
        out: the folder; `bigmodel-NAME` in the current one if None.

    Returns:
        The folder, and the files in it.

    Raises:
        UsageError: the name cannot be one, or is taken, or the folder exists.
        BigmodelError: the folder cannot be written.
    """
    _check_name(name)
    folder = out if out is not None else Path(f"bigmodel-{name}")
    if folder.exists():
        raise UsageError("it already exists.", where=str(folder), fix="name another folder with --out.")
    words = re.split("[-_]", name)
    texts = {
        "{{name}}": name,
        "{{package}}": _package(name),
        "{{Layer}}": "".join(word.capitalize() for word in words if word),
    }
    made = {
        _filled(place.removesuffix(ENDING), texts): _filled(content, texts)
        for place, content in _templates(files("bigmodel_core.cli") / "templates" / "plugin").items()
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as draft:
            whole = Path(draft) / folder.name
            for place, content in made.items():
                path = whole / place
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, "utf-8")
            whole.rename(folder)
    except OSError as error:
        raise BigmodelError(
            f"cannot write the package: {error.strerror or error}.",
            where=str(folder),
            fix="choose a writable folder, with --out.",
        ) from error
    return folder, sorted(made)


def _check_name(name: str) -> None:
    from bigmodel_core import registry
    from bigmodel_core.registry.discovery import normalise

    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise UsageError(
            f"{name!r} cannot name a plugin.",
            fix="use lower-case letters and digits, separated by '-' or '_', as in my-layers.",
        )
    taken = [item.name for item in registry.plugins()] + registry.names("layer")
    if normalise(name) in map(normalise, taken) or importlib.util.find_spec(_package(name)) is not None:
        raise UsageError(
            f"the name '{name}' is taken by what is installed.",
            fix="choose another; `bigmodel plugins list` shows them.",
        )


def _package(name: str) -> str:
    return f"bigmodel_{name.replace('-', '_')}"


def _templates(folder: Any, before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for item in folder.iterdir():
        place = f"{before}{item.name}"
        if item.is_dir():
            found |= _templates(item, f"{place}/")
        elif place.endswith(ENDING):
            found[place] = item.read_text("utf-8")
    return found


def _filled(text: str, values: dict[str, str]) -> str:
    for key, value in values.items():
        text = text.replace(key, value)
    return text
