"""Options of the commands that train: what is trained on what, and how; None where nothing was typed."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def option(name: str, metavar: str | None, text: str, **more: Any) -> Any:
    """An option with its help."""
    return typer.Option(name, metavar=metavar, help=text, **more)


What = Annotated[
    list[str] | None,
    typer.Argument(metavar="[MODEL|FILE.toml]", help="A model's name, or an experiment file."),
]
Settings = Annotated[
    list[str] | None, option("--set", "KEY=VALUE", "An option of the model; may be repeated.")
]
DataName = Annotated[str | None, option("--data", "NAME", "The data set.  [default: digits]")]
BatchSize = Annotated[int | None, option("--batch-size", None, "Samples in a step.  [default: 64]")]
OptimizerName = Annotated[
    str | None, option("--optimizer", "NAME", "As in sgd:momentum=0.9.  [default: the model's]")
]
LearningRate = Annotated[float | None, option("--learning-rate", None, "In place of the optimizer's own.")]
ScheduleName = Annotated[
    str | None, option("--schedule", "NAME", "Constant, step-decay:every=100, ...  [default: cosine]")
]
Validation = Annotated[
    float | None,
    option("--validation", "FRACTION", "Fraction of the training samples to hold out.  [default: 0.1]"),
]
DeviceName = Annotated[str | None, option("--device", None, "cpu or cuda.  [default: cpu]")]
