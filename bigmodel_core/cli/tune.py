"""`bigmodel tune`: search options of an experiment, or find a learning rate or a batch size."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigmodel_core.cli.app import command_app
from bigmodel_core.cli.data import DataDir
from bigmodel_core.cli.terminal import AsJson, Output, Quiet, size
from bigmodel_core.cli.training_options import (
    BatchSize,
    DataName,
    DeviceName,
    OptimizerName,
    ScheduleName,
    Settings,
    Validation,
    What,
    option,
)
from bigmodel_core.errors import UsageError

if TYPE_CHECKING:
    from bigmodel_core.cli.experiment import Experiment
    from bigmodel_core.cli.search_space import Dimension
    from bigmodel_core.cli.trial import Trial

app = command_app()

TRIALS = 20


@app.command()
def tune(
    what: What = None,
    search: Annotated[
        list[str] | None,
        option(
            "--search",
            "NAME=SPACE",
            "What to vary, as learning_rate=1e-4..1e-1 or model.widths=64|128,64; may be repeated."
            "  [default: learning rate, batch size, widths, dropout]",
        ),
    ] = None,
    trials: Annotated[int | None, option("--trials", None, "Trials in all.  [default: 20]", min=1)] = None,
    minutes: Annotated[
        float | None, option("--minutes", None, "Begin no trial after this time.", min=0.01)
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune/--no-prune", help="End trials early that do worse than most.")
    ] = True,
    find: Annotated[
        str | None,
        option("--find", "WHAT", "Find a learning-rate or a batch-size in a short training, and stop."),
    ] = None,
    options: Settings = None,
    data: DataName = None,
    data_dir: DataDir = None,
    epochs: Annotated[int | None, option("--epochs", None, "Of each trial.  [default: 10]")] = None,
    batch_size: BatchSize = None,
    optimizer: OptimizerName = None,
    learning_rate: Annotated[
        float | None, option("--learning-rate", None, "Where it is not searched.")
    ] = None,
    schedule: ScheduleName = None,
    validation: Validation = None,
    monitor: Annotated[
        str | None, option("--monitor", "MEASURE", "What trials are judged by, as val_loss.")
    ] = None,
    seed: Annotated[int | None, option("--seed", None, "Of the search and each trial.  [default: 0]")] = None,
    device: DeviceName = None,
    out: Annotated[
        Path | None, option("--out", "DIR", "The search's folder.  [default: runs/tune-001, -002, ...]")
    ] = None,
    resume: Annotated[
        bool, option("--resume", None, "Go on with the search in the named folder, or the newest one.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Search the options of an experiment: each trial is a run, and the first is the experiment as it is.

    What is typed for train is typed here: bigmodel tune mlp --data digits --trials 30
    """
    from bigmodel_core.cli.study import optuna_package
    from bigmodel_core.cli.study_files import experiment_asked, keep

    output = Output(as_json, quiet)
    asked: dict[str, Any] = {
        "search": search,
        "set": options,
        "data": data,
        "data_dir": None if data_dir is None else str(data_dir.absolute()),
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "validation": validation,
        "monitor": monitor,
        "seed": seed,
        "device": device,
        "prune": None if prune else False,
    }
    said = {name: value for name, value in asked.items() if value is not None}
    if resume:
        _refuse({**said, **({"find": find} if find else {}), **({"out": out} if out else {})})
        _go_on(list(what or ()), trials, minutes, output)
        return
    if len(what or ()) != 1:
        raise UsageError(
            "there is nothing to tune." if not what else f"{what[1]!r} is one argument too many.",
            fix="name a model or an experiment file, as in: bigmodel tune mlp --data digits",
        )
    assert what is not None
    said["what"] = what[0]
    experiment = experiment_asked(said)
    if find is not None:
        _find(find, experiment, output)
        return
    space = _space(said, experiment)
    optuna_package()
    folder = _new_folder(out)
    with _owned(folder, is_new=True):
        asked = {**said, "what": str(Path(what[0]).absolute()) if what[0].endswith(".toml") else what[0]}
        keep(folder, {"asked": asked, "space": [[one.name, one.to_dict()] for one in space]})
        _search(folder, experiment, space, asked, trials or TRIALS, minutes, output)


def _refuse(said: Mapping[str, Any]) -> None:
    if said:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in said)
        raise UsageError(
            f"a search goes on as it began; {names} cannot be changed.",
            fix="leave them out (--trials and --minutes may be given), or begin a new search.",
        )


# What is searched -----------------------------------------------------------------------------------------


def _space(said: Mapping[str, Any], experiment: Experiment) -> tuple[Dimension, ...]:
    """What is searched: what the command line says, else the experiment file, else what is usual."""
    from bigmodel_core.cli.names import settings
    from bigmodel_core.cli.search_space import check_space, dimension, usual_space

    if typed := settings(said.get("search"), "--search"):
        space = tuple(dimension(name, text) for name, text in typed.items())
    elif experiment.document is not None and (named := experiment.document.section("search")):
        where = f"{experiment.document.path} [search]"
        space = tuple(dimension(name, value, where) for name, value in _flat(named))
    else:
        space = usual_space(experiment)
    check_space(experiment, space)
    return space


def _flat(section: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The entries of a section; `model.widths` may be written with or without quotes."""
    for name, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


# Searching ------------------------------------------------------------------------------------------------


def _new_folder(out: Path | None) -> Path:
    from bigmodel_core.cli.sources import RUNS
    from bigmodel_core.cli.study_files import STUDY
    from bigmodel_core.train.runs import is_run, new_run_folder

    if out is None:
        return new_run_folder(RUNS, "tune")
    if (out / STUDY).exists() or is_run(out) or (out.exists() and not out.is_dir()):
        raise UsageError(
            "it holds something already.", where=str(out), fix="name another folder, or go on: --resume."
        )
    out.mkdir(parents=True, exist_ok=True)
    return out


@contextlib.contextmanager
def _owned(folder: Path, *, is_new: bool = False) -> Iterator[None]:
    """Have a folder for oneself; a new one in which nothing was written is removed again."""
    from bigmodel_core.train.lock import RunLock

    lock = RunLock(folder)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()
        if is_new:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _go_on(what: list[str], trials: int | None, minutes: float | None, output: Output) -> None:
    """Go on with a search."""
    from bigmodel_core.cli.study_files import experiment_asked, kept

    folder = _named(what)
    about = kept(folder)
    asked = about["asked"]
    experiment = experiment_asked(asked)
    space = tuple(_dimension(name, described) for name, described in about["space"])
    with _owned(folder):
        _search(folder, experiment, space, asked, trials or TRIALS, minutes, output)


def _dimension(name: str, described: Mapping[str, Any]) -> Dimension:
    from bigmodel_core.cli.search_space import Dimension

    if "choices" in described:
        return Dimension(name, choices=tuple(described["choices"]))
    return Dimension(name, described["low"], described["high"], described["whole"])


def _named(what: list[str]) -> Path:
    """The folder of a search.

    Raises:
        UsageError: there is none.
    """
    from bigmodel_core.cli.sources import RUNS
    from bigmodel_core.cli.study_files import STUDY

    if len(what) > 1:
        raise UsageError(f"{what[1]!r} is one argument too many.", fix="name one search.")
    if what:
        path = Path(what[0])
        return path if path.exists() else RUNS / path
    found = sorted(RUNS.glob(f"*/{STUDY}"), key=lambda path: (path.stat().st_mtime, path))
    if not found:
        raise UsageError(f"there is no search in {RUNS}.", fix="begin one: bigmodel tune mlp --data digits")
    return found[-1].parent


def _search(
    folder: Path,
    experiment: Experiment,
    space: tuple[Dimension, ...],
    asked: Mapping[str, Any],
    trials: int,
    minutes: float | None,
    output: Output,
) -> None:
    """Run the trials that are missing, and tell what came of it."""
    from bigmodel_core.cli.study import Study
    from bigmodel_core.cli.trial import told
    from bigmodel_core.cli.tuned import conclude

    study = Study(folder, experiment, space, asked.get("monitor"), asked.get("prune", True))
    study.open()
    output.say(f"Searching {', '.join(one.name for one in space)} in {folder}.", "dim")

    def tell(trial: Trial, done: int) -> None:
        best = study.best()
        mark = "  (best)" if best is not None and best.number == trial.number and done > 1 else ""
        output.say(f"trial {done}/{trials}  {told(trial, study.monitor)}{mark}")

    with output.progress():
        is_whole = study.run(trials, minutes, tell)
    conclude(study, asked, output, is_whole)


# Finding one number ---------------------------------------------------------------------------------------


def _find(what: str, experiment: Experiment, output: Output) -> None:
    """Find a learning rate or a batch size.

    Raises:
        UsageError: it is neither.
    """
    if what not in ("learning-rate", "batch-size"):
        raise UsageError(
            f"{what!r} cannot be found.", where="--find", fix="find a learning-rate or a batch-size."
        )
    data: Any = experiment.data.make().load(experiment.data_dir)
    model = experiment.make_model(data)
    loss, optimizer = experiment.make_loss(model, data.task), experiment.make_optimizer(model, 1000)
    how = experiment.train
    if what == "batch-size":
        from bigmodel_core.train.batch_size_finder import find_batch_size

        sizes = find_batch_size(model, data, loss, optimizer, device=how.device)
        if not output.as_json:
            rows = [
                (one.size, f"{1000 * one.seconds:.2f} ms", f"{one.samples_per_second:,.0f}", size(one.memory))
                for one in sizes.measured
            ]
            columns = ["Batch size", "Step", "Samples/s", "Memory"]
            output.table(columns, rows, columns)
            output.line(
                f"\nSuggested: {sizes.suggestion}, the smallest that is nearly as fast as the fastest.",
                "bold",
            )
        output.result(sizes.to_dict())
        return
    from bigmodel_core.train.learning_rate_finder import find_learning_rate

    rates = find_learning_rate(
        model, data, loss, optimizer, batch_size=how.batch_size, seed=how.seed, device=how.device
    )
    if not output.as_json:
        every = max(1, math.ceil(len(rates.rates) / 20))
        shown = range(0, len(rates.rates), every)
        smooth = rates.smooth
        most = max(min(float(smooth.max()), 2 * float(smooth[0])), 1e-12)
        bars = [
            (f"{rates.rates[k]:.1e}", f"{smooth[k]:.4f}", "█" * round(30 * min(float(smooth[k]) / most, 1.0)))
            for k in shown
        ]
        output.table(["Rate", "Loss", ""], bars, ["Rate", "Loss"])
        output.line(f"\nSuggested: {rates.suggestion:.2g}. {rates.told().capitalize()}.", "bold")
    output.result(rates.to_dict())
