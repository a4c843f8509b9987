"""`bigmodel data`: the data sets there are, and what is in one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bigmodel_core.cli.app import command_app
from bigmodel_core.cli.names import named, settings
from bigmodel_core.cli.terminal import AsJson, Output, visible

app = command_app(commands=True)

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="PATH", help="The folder or file that holds the data set."),
]
DataOfRun = Annotated[
    str | None, typer.Option("--data", metavar="NAME", help="The data set.  [default: that of training]")
]
SkipBroken = Annotated[
    bool, typer.Option("--skip-broken", help="Skip images that cannot be read, and count them.")
]


def skipping(skip_broken: bool) -> dict[str, str]:
    """The data set option that `--skip-broken` sets."""
    return {"skip_broken": "true"} if skip_broken else {}


@app.callback()
def data() -> None:
    """List data sets, or show one."""


@app.command("list")
def list_data(as_json: AsJson = False) -> None:
    """List the data sets of all plugins."""
    from bigmodel_core import registry

    found = [
        {"name": name, "plugin": _plugin(registry.get("dataset", name)), "about": _about(name)}
        for name in registry.names("dataset")
    ]
    output = Output(as_json)
    if not as_json:
        output.table(["Name", "Plugin", "About"], [list(item.values()) for item in found])
        output.say("\nbigmodel data info NAME shows one; `--data-dir` says where its files are.", "dim")
    output.result(found)


@app.command("info")
def info(
    name: Annotated[str, typer.Argument(help="A data set, with options as in csv:target=species.")],
    data_dir: DataDir = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the data set; may be repeated."),
    ] = None,
    skip_broken: SkipBroken = False,
    as_json: AsJson = False,
) -> None:
    """Load a data set and show its splits, shapes, classes and source."""
    dataset = named("dataset", name, {**settings(options), **skipping(skip_broken)})
    facts = dataset.load(data_dir).summary()
    output = Output(as_json)
    if not as_json:
        output.pairs(_shown(facts))
    output.result(facts)


def _plugin(cls: type[Any]) -> str:
    from bigmodel_core import registry

    return registry.qualified_name(cls).partition(":")[0]


def _about(name: str) -> str:
    from bigmodel_core import registry

    text = registry.get("dataset", name).__doc__ or ""
    return text.strip().partition("\n")[0]


def _shown(facts: dict[str, Any]) -> dict[str, Any]:
    samples = ", ".join(f"{number:,} {part}" for part, number in facts["samples"].items())
    labels = facts["labels"]
    steps = facts["preprocessing"]
    return {
        "Name": facts["name"],
        "Task": facts["task"],
        "Samples": samples,
        "Input": _input(facts["input_shape"], facts["input_dtype"]),
        "Meaning": facts["input_meaning"],
        "Classes": facts["classes"],
        "Labels": _shortened(labels) if labels else None,
        "Preprocessing": steps and preprocessing(steps),
        "Source": facts["source"],
        "Notes": " ".join(visible(note) for note in facts["notes"]),
    }


def _input(sizes: Any, dtype: str) -> str:
    """The shape and type of a sample; of several inputs those of each."""
    if isinstance(sizes, dict):
        names, sizes = [f"{name} " for name in sizes], tuple(sizes.values())
    elif isinstance(sizes, tuple):
        names = [""] * len(sizes)
    else:
        return f"{shape(sizes)} {dtype}"
    parts = zip(names, sizes, dtype.split(", "), strict=True)
    return "; ".join(f"{name}{shape(part)} {kind}" for name, part, kind in parts)


def shape(sizes: Any) -> str:
    """A shape as people read it.

    >>> shape([1, 8, 8]), shape([])
    ('1x8x8', 'one number')
    """
    return "x".join(str(size) for size in sizes) or "one number"


def preprocessing(steps: dict[str, Any]) -> str:
    """What happens to raw values, in one line."""

    def few(values: list[float]) -> str:
        text = ", ".join(f"{value:.4g}" for value in values[:3])
        return text if len(values) <= 3 else f"{text}, ..."

    return (
        f"({steps['raw_dtype']} * {steps['scale']:.4g} - {few(steps['mean'])}) / {few(steps['std'])}"
        if steps["mean"] or steps["std"]
        else ""
    )


def _shortened(labels: list[str], most: int = 12) -> str:
    text = ", ".join(visible(label) if label.strip() else repr(label) for label in labels[:most])
    return text if len(labels) <= most else f"{text}, ... ({len(labels)})"
