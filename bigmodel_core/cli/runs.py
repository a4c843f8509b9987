"""`bigmodel runs`: the runs there are, compared, marked, deleted, shown in a browser."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigmodel_core.cli.app import command_app
from bigmodel_core.cli.names import wrong_usage
from bigmodel_core.cli.terminal import AsJson, Output, Quiet, duration, metric
from bigmodel_core.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from bigmodel_core.train.run import Run
    from bigmodel_core.train.run_comparison import Comparison

app = command_app()

Folder = Annotated[Path | None, typer.Argument(metavar="FOLDER", help="Where the runs are.  [default: runs]")]
Names = Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs, by name or folder.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="Only runs for which this holds, as in model=mlp or 'val_accuracy>0.97'; may be repeated.",
    ),
]
BARS = "▁▂▃▄▅▆▇█"


@app.callback(invoke_without_command=True)
def runs(context: typer.Context) -> None:
    """List runs, compare, mark, delete or show them in a browser; without a command, list them."""
    if context.invoked_subcommand is None:
        list_runs()


@app.command("list")
def list_runs(
    folder: Folder = None,
    where: Where = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort", metavar="NAME", help="Order by a measure, the best first, or by anything else."
        ),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    most: Annotated[int | None, typer.Option("--limit", min=1, help="Show at most this many.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """List the runs in a folder, the newest first: model, data, how they ended, what they reached."""
    from bigmodel_core.cli.sources import RUNS
    from bigmodel_core.train.run_filter import Condition, chosen, ordered

    place = folder or RUNS
    known = _all(place, named=folder is not None)
    with wrong_usage():
        found = chosen(known, map(Condition.parse, where or ()))
        found = ordered(found, sort, reverse=reverse) if sort else found[::-1] if reverse else found
    found, left = (found[:most], len(found[most:])) if most else (found, 0)
    output = Output(as_json, quiet)
    if not as_json:
        if not known:
            output.line(f"There is no run in {place}. Train a model: bigmodel train mlp --data digits")
        elif not found:
            output.line(f"None of the {len(known)} runs in {place} fits.")
        else:
            _table(found, sort, output)
        if left:
            output.say(f"\n{left} more; without --limit all are shown.", "dim")
    output.result([run.to_dict() for run in found])


def _all(place: Path, *, named: bool) -> list[Run]:
    """The runs in a folder.

    Raises:
        UsageError: a user named a folder that does not exist.
    """
    from bigmodel_core.train import run

    if named and not place.is_dir():
        raise UsageError("there is no such folder.", where=str(place), fix="name the folder that holds runs.")
    return run.runs(place)


def _table(found: Sequence[Run], sort: str | None, output: Output) -> None:
    from bigmodel_core.train.run_filter import FACTS, value_of

    extra = [sort] if sort and sort not in FACTS and any(sort != run.monitor for run in found) else []
    tagged = ["Tags"] if any(run.tags for run in found) else []
    rows = [
        (
            run.name,
            run.status,
            run.model,
            run.data,
            run.progress,
            *(_cell(value_of(run, name)) for name in extra),
            _reached(run),
            run.started.astimezone().strftime("%Y-%m-%d %H:%M"),
            duration(run.seconds),
            *([", ".join(run.tags)] if tagged else []),
        )
        for run in found
    ]
    columns = ["Run", "Status", "Model", "Data", "Epochs", *extra, "Best epoch", "Started", "Time", *tagged]
    output.table(columns, rows, ["Epochs", *extra, "Time"])


def _reached(run: Run) -> str:
    """The monitored measure in the best epoch, and which epoch that is."""
    if run.reached is None:
        return ""
    return f"{run.monitor} {metric(run.reached)} ({run.best.get('epoch')})"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return metric(value)
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def _option(value: Any) -> str:
    """An option as it is typed."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ",".join(map(_option, value))
    return f"{value:.12g}" if isinstance(value, float) else _cell(value)


# Comparing ------------------------------------------------------------------------------------------------


@app.command("compare")
def compare(
    names: Names,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write a page with their curves, too.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show the options in which they agree, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare runs: what they measured, in which options they differ, and their curves."""
    from bigmodel_core.reporting.comparison import comparison_page
    from bigmodel_core.train.atomic import write_atomically
    from bigmodel_core.train.run_comparison import Comparison

    compared = Comparison.of([_run(name) for name in names])
    output = Output(as_json)
    if out is not None:
        if out.is_dir():
            raise UsageError("this is a folder.", where=f"--out {out}", fix="name a file, such as runs.html.")
        write_atomically(out, [comparison_page(compared).html().encode()])
    if not as_json:
        _show(compared, everything, output)
        if out is not None:
            output.line(f"\nWrote {out}")
    output.result({**compared.to_dict(), **({} if out is None else {"page": str(out)})})


def _run(name: str) -> Run:
    """The run of a name or folder.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    from bigmodel_core.cli.sources import found, run_of
    from bigmodel_core.train.run import Run

    path = found(name)
    return Run.read(run_of(path) or path)


def _show(compared: Comparison, everything: bool, output: Output) -> None:
    from bigmodel_core.reporting.comparison import names_of

    found, names = compared.runs, names_of(compared)
    rows: list[tuple[str, ...]] = [
        ("status", *(run.status for run in found)),
        ("model", *(run.model for run in found)),
        ("data", *(run.data for run in found)),
        ("epochs", *(run.progress for run in found)),
        ("best epoch", *(_cell(run.best.get("epoch")) for run in found)),
        ("time", *(duration(run.seconds) for run in found)),
    ]
    for name, values in compared.measures.items():
        best = compared.winners(name)
        rows.append((name, *(_cell(value) + " *" * (place in best) for place, value in enumerate(values))))
    output.table(["", *names], rows)
    options = {key: [run.options.get(key) for run in found] for run in found for key in run.options}
    shown = {key: options[key] for key in sorted(options)} if everything else compared.options
    shown = {key: values for key, values in shown.items() if key not in ("model", "data")}
    output.line(
        "\nOptions" if everything else "\nOptions that differ" if shown else "\nAll options agree.", "bold"
    )
    if shown:
        output.table(
            ["", *names],
            [(key, *map(_option, values)) for key, values in shown.items()],
        )
    output.line("\nCurves, on one scale each", "bold")
    curves = [(name, *_curves(name, found)) for name in compared.measures if not name.startswith("test_")]
    output.table(["", *names], curves)
    output.say("\n* best of these runs", "dim")


def _curves(name: str, found: Sequence[Run], width: int = 24) -> list[str]:
    """A measure of each run over its epochs as a line of bars, all on one scale."""
    histories = [[logs.get(name) for logs in run.history] for run in found]
    numbers = [float(v) for values in histories for v in values if isinstance(v, (int, float))]
    if not numbers:
        return ["" for _ in found]
    low, high = min(numbers), max(numbers)
    return [_bars(values, low, high, width) for values in histories]


def _bars(values: Sequence[Any], low: float, high: float, width: int) -> str:
    step = max(1, -(-len(values) // width))
    kept = [*values[: -1 or None : step], *values[-1:]] if values else []
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(
        BARS[round((float(value) - low) * scale)] if isinstance(value, (int, float)) else " "
        for value in kept
    )


# Marking and deleting -------------------------------------------------------------------------------------


@app.command("tag")
def tag(
    names: Names,
    add: Annotated[
        list[str] | None, typer.Option("--add", metavar="TAG", help="Mark them so; may be repeated.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="TAG", help="Unmark them; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Mark runs with tags, to find them again: bigmodel runs list --where tag=best."""
    if not add and not remove:
        raise UsageError("there is nothing to do.", fix="name a tag: --add TAG or --remove TAG.")
    found = [_run(name) for name in names]
    with wrong_usage("--add"):
        found = [run.add_tags(*add or ()).remove_tags(*remove or ()) for run in found]
    output = Output(as_json)
    if not as_json:
        for run in found:
            output.line(f"{run.name}: {', '.join(run.tags) or 'no tags'}")
    output.result([run.to_dict() for run in found])


@app.command("delete")
def delete(
    names: Names,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Delete runs with all that is in their folders."""
    from bigmodel_core.train.lock import check_unused

    found = list({run.folder.resolve(): run for run in map(_run, names)}.values())
    for run in found:
        check_unused(run.folder)
        _check_alone(run.folder)
    output = Output(as_json, quiet)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nobody can be asked whether to delete them.", fix="pass --yes.")
        question = f"Delete {', '.join(str(run.folder) for run in found)}?"
        if not typer.confirm(question, err=True):
            output.say("Nothing was deleted.")
            output.result([])
            return
    for run in found:
        _remove(run.folder)
        if not as_json:
            output.say(f"Deleted {run.folder}.")
    output.result([str(run.folder) for run in found])


def _check_alone(folder: Path) -> None:
    """Refuse to delete a folder that holds more than a run.

    Raises:
        UsageError: it holds other runs, or the current folder.
    """
    from bigmodel_core.train.runs import MANIFEST

    inside = next((path for path in folder.rglob(MANIFEST) if path.parent != folder), None)
    if inside is not None:
        raise UsageError(
            f"the folder holds another run, {inside.parent}.", where=str(folder), fix="move that one."
        )
    if Path.cwd().resolve().is_relative_to(folder.resolve()):
        raise UsageError("the current folder is in it.", where=str(folder), fix="go to another folder first.")


def _remove(folder: Path) -> None:
    """Delete a folder; it ceases to be a run at once, though its files go one by one.

    Raises:
        CheckpointError: it cannot be deleted.
    """
    from bigmodel_core.train.runs import MANIFEST

    try:
        if folder.is_symlink():
            folder.unlink()
            return
        (folder / MANIFEST).unlink()
        shutil.rmtree(folder)
    except OSError as error:
        raise CheckpointError(
            f"cannot delete the run: {error.strerror or error}.",
            where=str(error.filename or folder),
            fix="check who may write to the folder.",
        ) from error


# Showing them live ----------------------------------------------------------------------------------------


@app.command("serve")
def serve(
    folder: Folder = None,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen at; 0.0.0.0 shows the runs to others.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 for any that is free.")] = 6060,
    as_json: AsJson = False,
) -> None:
    """Show runs in a browser, also while they train: a list, each run's curves, some side by side."""
    import socket

    from bigmodel_core.cli.sources import RUNS
    from bigmodel_core.extras import optional
    from bigmodel_core.reporting.live import live_app

    place = folder or RUNS
    if not place.is_dir():
        raise UsageError("there is no such folder.", where=str(place), fix="name the folder that holds runs.")
    uvicorn = optional("uvicorn", "serve", "pages of runs")
    is_local = host in ("127.0.0.1", "localhost", "::1")
    made = live_app(place) if is_local else live_app(place, ("*",))
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen()  # who is told the address may ask at once
        except OSError as error:
            raise UsageError(
                f"cannot listen at {host}:{port}: {error.strerror or error}.",
                where="--port",
                fix="choose another port, or 0 for any that is free.",
            ) from error
        address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        output = Output(as_json)
        if not as_json:
            output.line(f"Runs in {place}: {address} (Ctrl-C ends this)")
        output.result({"folder": str(place), "address": address})
        sys.stdout.flush()
        config = uvicorn.Config(made, log_level="warning", lifespan="off")
        uvicorn.Server(config).run(sockets=[listening])
