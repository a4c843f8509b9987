"""`bigmodel advise`: which models suit a data set and this machine, by measuring them."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any

import typer

from bigmodel_core.cli.app import FAILED, command_app
from bigmodel_core.cli.data import DataDir
from bigmodel_core.cli.terminal import AsJson, Output, Quiet, count, duration, metric, size
from bigmodel_core.errors import UsageError

app = command_app()

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30}


@app.command()
def advise(
    data_name: Annotated[str, typer.Option("--data", metavar="NAME", help="The data set.")] = "digits",
    data_dir: DataDir = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task", metavar="TASK", help="classification, binary or regression.  [default: the data's]"
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory",
            metavar="SIZE",
            help="What a training step may take, as 2GB.  [default: half of all]",
        ),
    ] = None,
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.001, help="How long the whole training may take.")
    ] = 10.0,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Of that training.")] = 10,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Samples in a step.")] = 64,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME", help="Consider this one; may be repeated.  [default: all]"),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--try", metavar="SECONDS", min=0.01, help="How long each model is tried.")
    ] = 2.0,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say which models suit a data set and fit this machine: each is tried for a few seconds.

    They are ordered by what they reach on validation samples in that time.
    """
    from bigmodel_core.cli.names import class_named
    from bigmodel_core.cli.sources import load_data
    from bigmodel_core.train.advice import Candidate
    from bigmodel_core.train.advice import advise as advised

    limit = None if memory is None else _bytes(memory)
    for name in models or ():
        class_named("model", name)
    data = load_data(data_name, data_dir)
    output = Output(as_json, quiet)

    def tell(one: Candidate) -> None:
        if not one.reason:
            output.say(f"tried {one.name}", "dim")

    with output.progress():
        found = advised(
            data,
            task=task,
            memory=limit,
            minutes=minutes,
            epochs=epochs,
            batch_size=batch_size,
            seconds=seconds,
            models=models,
            device=device,
            told=tell,
        )
    good = [one for one in found if not one.reason]
    typed = _typed(good[0], data_name, data_dir, epochs, batch_size, device) if good else None
    if not as_json:
        rows = [
            (
                one.name,
                count(one.parameters or 0),
                duration(one.step or 0.0),
                size(one.memory or 0),
                duration(one.seconds or 0.0),
                "" if one.score is None else f"{one.measure} {metric(one.score)}",
            )
            for one in good
        ]
        whole = f"{epochs} epochs" if epochs > 1 else "1 epoch"
        columns = ["Model", "Parameters", "Step", "Memory", whole, f"After {seconds:g} s"]
        if rows:
            output.line()
            output.table(columns, rows, columns[1:5])
        left = [one for one in found if one.reason]
        if left:
            output.say("\nLeft out:", "dim")
            for one in left:
                output.say(f"  {one.name}: {one.reason.partition(chr(10))[0]}", "dim")
        if typed:
            output.say(f"\nBegin with:\n  {typed}")
        else:
            output.line("\nNo model suits these data within these limits.", "bold")
    output.result({"models": [one.to_dict() for one in found], "command": typed})
    if not good:
        raise typer.Exit(FAILED)


def _bytes(text: str) -> int:
    """A size in bytes, as typed: 2GB, 512MiB, 1e9.

    Raises:
        UsageError: it is none.

    >>> _bytes("2GB"), _bytes("512 MiB")
    (2000000000, 536870912)
    """
    found = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?i?)b?\s*", text.lower())
    if not found or found[2] not in _UNITS or found[1].count(".") > 1 or float(found[1]) <= 0:
        raise UsageError(f"{text!r} is no size.", where="--memory", fix="write one as 2GB or 512MiB.")
    return int(float(found[1]) * _UNITS[found[2]])


def _typed(one: Any, data_name: str, data_dir: Any, epochs: int, batch_size: int, device: str) -> str:
    words = ["bigmodel", "train", one.name, "--data", data_name]
    words += ["--data-dir", str(data_dir)] if data_dir is not None else []
    words += ["--epochs", str(epochs)] if epochs != 10 else []
    words += ["--batch-size", str(batch_size)] if batch_size != 64 else []
    words += ["--device", device] if device != "cpu" else []
    return shlex.join(words)
