"""`bigmodel plugins`: what is installed and what it offers, whether it keeps its promises, a new one."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigmodel_core.cli.app import FAILED, command_app
from bigmodel_core.cli.data import DataDir
from bigmodel_core.cli.names import settings
from bigmodel_core.cli.plugin_contents import about, contents, offered, plugin_named, shown_name
from bigmodel_core.cli.terminal import AsJson, Output, Quiet
from bigmodel_core.errors import ConfigError

if TYPE_CHECKING:
    from bigmodel_core.registry import PluginInfo

app = command_app(commands=True)


@app.callback()
def plugins() -> None:
    """List, show, check or create plugins."""


@app.command("list")
def list_plugins(as_json: AsJson = False) -> None:
    """List the installed plugins: what they offer, how long they took to load, and why one did not."""
    from bigmodel_core import registry

    found = registry.plugins()
    output = Output(as_json)
    if not as_json:
        rows = []
        for item in found:
            first, *more = _offers(item, found) or [""]
            rows += [
                (item.name, _package(item), item.status, item.api or "any", _seconds(item), first),
                *(("",) * 5 + (line,) for line in more),
            ]
        output.table(["Plugin", "Package", "Status", "API", "Load time", "Offers"], rows, ["Load time"])
        for item in found:
            if item.reason:
                output.line(f"\n{item.name}: {item.reason}", "red" if item.status == "failed" else "dim")
        output.say("\nbigmodel plugins info NAME shows one, or anything it offers with its options.", "dim")
    output.result([_entry(item) for item in found])
    registry.names("layer")  # with --strict-plugins a broken plugin is an error, once all are shown


def _package(item: PluginInfo) -> str:
    return f"{item.distribution} {item.version or ''}".strip() if item.distribution else "(this program)"


def _seconds(item: PluginInfo) -> str:
    """How long it took to load; nothing if it was never imported."""
    return "" if item.status == "blocked" or not item.module else f"{item.seconds:.2f} s"


def _offers(item: PluginInfo, plugins: Sequence[PluginInfo]) -> list[str]:
    """The names a plugin offers, a line for each kind; with the plugin's own if another has the same."""
    from bigmodel_core.registry.discovery import PLURALS

    lines = []
    for kind, names in item.contents.items():
        others = {name for other in plugins if other is not item for name in other.contents.get(kind, ())}
        shown = [f"{item.name}:{name}" if name in others else name for name in sorted(names)]
        lines.append(f"{kind if len(names) == 1 else PLURALS[kind]}: {', '.join(shown)}")
    return lines


def _entry(item: PluginInfo) -> dict[str, Any]:
    return {key: value for key, value in dataclasses.asdict(item).items() if key != "traceback"}


# Showing ----------------------------------------------------------------------------------------------


@app.command("info")
def info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A plugin, or anything that one offers.")],
    as_json: AsJson = False,
) -> None:
    """Show a plugin, or a layer, optimizer, data set, ... with its options."""
    from bigmodel_core.registry.loading import API_VERSION

    output = Output(as_json)
    item = plugin_named(name)
    if item is None:
        found = offered(name)
        if not as_json:
            for kind, cls in found:
                _show_class(kind, cls, output)
        output.result([_described(kind, cls) for kind, cls in found])
        return
    if not as_json:
        output.pairs(
            {
                "Plugin": item.name,
                "Package": _package(item),
                "Module": item.module,
                "Status": item.status,
                "API": f"{item.api or 'any'} (this version has {'.'.join(map(str, API_VERSION))})",
                "Load time": _seconds(item),
            }
        )
        if item.reason:
            output.line(f"\n{item.reason}", "red" if item.status == "failed" else None)
        if item.traceback:
            output.line(f"\n{item.traceback.rstrip()}", "dim")
        rows = [(shown_name(cls), kind, about(cls)) for kind, cls in contents(item)]
        if rows:
            output.line()
            output.table(["Name", "Kind", "About"], rows)
    output.result(
        {
            **_entry(item),
            "traceback": item.traceback or None,
            "classes": [_described(*found) for found in contents(item)],
        }
    )


def _fields(cls: type[Any]) -> list[dict[str, Any]]:
    """The options of a class: name, what they take, default."""
    from bigmodel_core.registry.field_values import describe, field_types

    try:
        types = field_types(cls)
    except ConfigError:
        return []
    found = []
    for item in dataclasses.fields(cls):
        if item.name in types:
            default = None if item.default is dataclasses.MISSING else item.default
            is_needed = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
            found.append(
                {
                    "name": item.name,
                    "takes": describe(types[item.name]),
                    "default": _written(default),
                    "is_needed": is_needed,
                }
            )
    return found


def _written(value: Any) -> Any:
    """A default as JSON can hold it."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return [_written(item) for item in value] if isinstance(value, (list, tuple)) else repr(value)


def _described(kind: str, cls: type[Any]) -> dict[str, Any]:
    from bigmodel_core import registry

    return {
        "kind": kind,
        "name": shown_name(cls),
        "qualified_name": registry.qualified_name(cls),
        "about": about(cls),
        "options": _fields(cls),
    }


def _show_class(kind: str, cls: type[Any], output: Output) -> None:
    import inspect

    from bigmodel_core import registry

    output.line(f"{registry.qualified_name(cls)} ({kind})", "bold")
    output.line((inspect.getdoc(cls) or "").partition(">>>")[0].rstrip())
    fields = _fields(cls)
    if fields:
        output.line()
        rows = [
            (option["name"], "(needed)" if option["is_needed"] else option["default"], option["takes"])
            for option in fields
        ]
        output.table(["Option", "Default", "Takes"], [[_none(cell) for cell in row] for row in rows])
    output.line()


def _none(cell: Any) -> str:
    if isinstance(cell, list):
        return ",".join(map(str, cell))
    return "none" if cell is None else str(cell)


# Checking ----------------------------------------------------------------------------------------------


@app.command("check")
def check(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A plugin, its package, or anything that one offers.")
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="SHAPE",
            help="An input of a layer, model or loss: 2x4x6, the batch first, or 2x5:int64; may be repeated.",
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of what is checked; may be repeated."),
    ] = None,
    data_dir: DataDir = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CHECK", help="Run this check, or those with this in their names."),
    ] = None,
    skip: Annotated[
        list[str] | None,
        typer.Option(
            "--skip", metavar="CHECK", help="Leave this check out, or those with this in their names."
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", min=0.001, help="A check that takes longer fails."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run the conformance checks on everything that a plugin offers; fails if one fails or none ran."""
    from bigmodel_core.cli.plugin_check import Request, check_all, input_shapes

    request = Request(
        name, settings(options), input_shapes(inputs or ()), data_dir, only or (), skip or (), timeout
    )
    if not check_all(request, Output(as_json, quiet)):
        raise typer.Exit(FAILED)


# Beginning one -------------------------------------------------------------------------------------------


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The plugin's name, as in swish.")],
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="layer, op, optimizer, dataset, model, exporter, callback, augmentation, metric, "
            "strategy or explainer.",
        ),
    ] = "layer",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to.  [default: ./bigmodel-NAME]")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a complete package to begin a plugin with: code, tests, README, licence, CI."""
    from bigmodel_core.cli.new_plugin import write_package

    plugin, folder, files = write_package(name, kind, out)
    output = Output(as_json, quiet)
    if not as_json:
        output.line(f"Wrote {folder}:")
        for file in files:
            output.line(f"  {file}")
        typed = shlex.quote(str(folder))
        output.say(f"\nNext:\n  pip install -e {typed}\n  bigmodel plugins check {plugin}")
        output.say(f"  python -m pytest {typed}")
    output.result({"name": plugin, "kind": kind, "folder": str(folder), "files": files})
