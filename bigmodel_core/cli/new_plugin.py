"""Starter plugins: a package of each kind that installs, passes its checks and is of use unchanged.

`templates/common` has what all packages share, `templates/KIND` the rest. In the names of files and in their
text, `{{...}}` is filled in; `usage.md` of a kind becomes part of its README.
"""

from __future__ import annotations

import ast
import builtins
import datetime
import importlib.util
import keyword
import re
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

from bigmodel_core.errors import BigmodelError, UsageError, close_matches

ENDING = ".template"
PREFIX = "bigmodel-"
KINDS = {
    "layer": "x * sigmoid(beta * x) by kernels of its own",
    "op": "x + sin(frequency * x)^2 / frequency by kernels of its own, as a function and as a layer",
    "optimizer": "gradient descent that rolls like a heavy ball",
    "dataset": "labelled rows of numbers in JSON Lines",
    "model": "a multi-layer perceptron with residual connections",
    "exporter": "all parameters of a model as JSON",
    "callback": "a chart of the losses, drawn anew after each epoch",
    "augmentation": "a square of each image is covered",
    "metric": "the mean of 1 / the rank of the right class",
    "strategy": "tokens are drawn that are probable enough beside the best",
    "explainer": "the slope at each number, times how far it is from the baseline",
}
"""The kinds there are packages of, with what each begins with."""
OFFERED = {"op": "layer"}
"""The kind of what a package offers by a hook, where it is another."""


def write_package(name: str, kind: str = "layer", out: Path | None = None) -> tuple[str, Path, list[str]]:
    """Write the package of a new plugin; all of it, or nothing.

    Args:
        name: of the plugin, or of its distribution: lower-case letters, digits, '-' and '_'.
        kind: one of `KINDS`.
        out: the folder; `bigmodel-NAME` in the current one if None.

    Returns:
        The name of the plugin, the folder, and the files in it.

    Raises:
        UsageError: there is no such kind, or the name cannot be one, or is taken, or the folder exists.
        BigmodelError: the folder cannot be written.
    """
    name = re.sub("^bigmodel[-_]", "", name)
    _check_kind(kind)
    _check_name(name, OFFERED.get(kind, kind))
    folder = out if out is not None else Path(f"{PREFIX}{name}")
    if folder.exists():
        raise UsageError("it already exists.", where=str(folder), fix="name another folder with --out.")
    made = _made(name, kind)
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
    return name, folder, sorted(made)


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        near = close_matches(kind, KINDS, 1, 0.4)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"there is no package to begin {kind!r} from.{hint}",
            where="--kind",
            fix=f"use one of {', '.join(KINDS)}.",
        )


def _check_name(name: str, offered: str) -> None:
    from bigmodel_core import registry
    from bigmodel_core.registry.discovery import normalise

    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise UsageError(
            f"{name!r} cannot name a plugin.",
            fix="use lower-case letters and digits, separated by '-' or '_', as in my-layers.",
        )
    taken = [item.name for item in registry.plugins()] + registry.names(offered)
    if normalise(name) in map(normalise, taken) or importlib.util.find_spec(_package(name)) is not None:
        raise UsageError(
            f"the name '{name}' is taken by what is installed.",
            fix="choose another; `bigmodel plugins list` shows them.",
        )


def _package(name: str) -> str:
    return f"bigmodel_{name.replace('-', '_')}"


# Filling the templates ------------------------------------------------------------------------------------


def _made(name: str, kind: str) -> dict[str, str]:
    """The files of a package by their places.

    Raises:
        UsageError: the package would define something of a name that its code uses.
    """
    from bigmodel_core.registry.discovery import PLURALS

    offered = OFFERED.get(kind, kind)
    values = {
        "name": name,
        "package": _package(name),
        "Class": "".join(word.capitalize() for word in re.split("[-_]", name)),
        "function": name.replace("-", "_"),
        "kind": kind,
        "about": KINDS[kind],
        "module": PLURALS[offered],
        "hook": f"bigmodel_{PLURALS[offered]}",
        "Base": offered.capitalize(),
        "year": str(datetime.date.today().year),
        ".": ".",
    }
    folder = files("bigmodel_core.cli") / "templates"
    values["usage"] = _filled((folder / kind / "usage.md").read_text("utf-8").strip(), values)
    made = {}
    for place, template in (_templates(folder / "common") | _templates(folder / kind)).items():
        text = _filled(template, values)
        if place.endswith(".py"):
            for key in ("Class", "function"):
                if f"{{{{{key}}}}}" in template and _is_used(values[key], text):
                    raise UsageError(
                        f"the name '{name}' makes {values[key]}, which Python or the package itself uses.",
                        fix="choose another.",
                    )
        made[_filled(place, values)] = text
    return made


def _templates(folder: Any, before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for item in folder.iterdir():
        place = f"{before}{item.name}"
        if item.is_dir():
            found |= _templates(item, f"{place}/")
        elif place.endswith(ENDING):
            found[place.removesuffix(ENDING)] = item.read_text("utf-8")
    return found


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\{\{([A-Za-z.]+)\}\}", lambda match: values[match[1]], text)


def _is_used(name: str, text: str) -> bool:
    """Whether a name that a module is to have stands for something else there, too."""
    if hasattr(builtins, name) or keyword.iskeyword(name):
        return True
    bound: list[str] = []
    for node in ast.parse(text).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            bound += [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            bound.append(node.name)
    return bound.count(name) > 1
