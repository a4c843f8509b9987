"""Writes docs/reference.md: every public name, with the first sentence of its docstring.

Run it after a public name was added: `python docs/make_reference.py`.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import bigmodel_core as bm
from bigmodel_core import charts, errors, ops, registry, testing
from bigmodel_core.nn import initializers

TARGET = Path(__file__).with_name("reference.md")
KINDS = {
    "layer": "Layers",
    "loss": "Losses",
    "optimizer": "Optimizers",
    "schedule": "Schedules",
    "metric": "Metrics",
    "dataset": "Data sets",
    "augmentation": "Augmentations",
    "model": "Models",
    "callback": "Callbacks",
    "exporter": "Exporters",
    "strategy": "Strategies",
    "explainer": "Explainers",
}
TYPES = {
    "Dim": "A dimension: an integer, or a `SymbolicDim` or its text, which is free.",
    "MetricState": "What a metric has counted and summed so far: a dict of numbers and arrays.",
    "Shape": "A tuple of dimensions.",
    "Task": 'What a model decides: "classification", "binary" or "regression".',
}
"""Names of types, which have no docstrings."""


def sentence(thing: object) -> str:
    """The first sentence of a docstring."""
    text = inspect.getdoc(thing) or ""
    first = text.split("\n\n")[0].replace("\n", " ").strip()
    end = first.find(". ")
    return (first if end < 0 else first[: end + 1]).rstrip(":").replace("|", "\\|")


def signature(thing: object) -> str:
    """Arguments as a reader needs them: names and defaults."""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return ""
    shown = []
    for parameter in parameters:
        if parameter.name in ("self", "_"):
            continue
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        shown.append(f"{star}{parameter.name}{default if len(default) < 40 else '=...'}")
    return f"({', '.join(shown)})"


def table(rows: list[tuple[str, str]]) -> list[str]:
    """A Markdown table of names and sentences."""
    return ["| name | what it is |", "| --- | --- |", *(f"| `{name}` | {text} |" for name, text in rows), ""]


def text() -> str:
    """The whole page."""
    lines = ["# Reference", "", "Made by `python docs/make_reference.py`; `help(bm.NAME)` tells more.", ""]
    lines += ["`bigmodel plugins list` shows the names of installed plugins, too.", ""]
    lines += ["## `import bigmodel_core as bm`", ""]
    plain = [name for name in bm.__all__ if name != "__version__" and not inspect.ismodule(getattr(bm, name))]
    things = [(name, getattr(bm, name)) for name in plain]
    lines += table(
        [
            (f"bm.{name}", TYPES.get(name) or sentence(thing))
            for name, thing in things
            if not isinstance(thing, registry.Namespace)
        ]
    )
    modules = [name for name in bm.__all__ if inspect.ismodule(getattr(bm, name))]
    lines += ["## Modules", ""]
    lines += table([(f"bm.{name}", sentence(getattr(bm, name))) for name in modules])
    for kind, title in KINDS.items():
        lines += [f"## {title}", ""]
        classes = sorted(registry.classes(kind), key=lambda cls: cls.__name__)
        lines += table([(cls.__name__ + signature(cls), sentence(cls)) for cls in classes])
    for module, title in (
        (ops, "Ops"),
        (initializers, "Initializers"),
        (charts, "Charts"),
        (testing, "Testing"),
    ):
        lines += [f"## {title}: `bm.{module.__name__.split('.')[-1]}`", ""]
        names = getattr(module, "__all__", None) or sorted(initializers.NAMED)
        lines += table([(name, sentence(getattr(module, name))) for name in names])
    lines += ["## Errors: `bm.errors`", ""]
    kinds = [cls for cls in vars(errors).values() if inspect.isclass(cls) and issubclass(cls, BaseException)]
    lines += table([(cls.__name__, sentence(cls)) for cls in kinds])
    for cls in (bm.Op, bm.Emit, bm.Call, bm.Operand):
        lines += [f"## What `bm.{cls.__name__}` has", ""]
        methods = [
            (name, item) for name, item in vars(cls).items() if not name.startswith("_") and callable(item)
        ]
        lines += table([(name + signature(item), sentence(item)) for name, item in methods])
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    TARGET.write_text(text())
