"""`bigmodel train`: train a model by name, run an experiment file, or go on with a run."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigmodel_core.cli.app import STOPPED, command_app
from bigmodel_core.cli.data import DataDir, SkipBroken, skipping
from bigmodel_core.cli.terminal import AsJson, Output, Quiet, metric
from bigmodel_core.errors import UsageError

if TYPE_CHECKING:
    from bigmodel_core.cli.experiment import Experiment
    from bigmodel_core.data.dataset import Data
    from bigmodel_core.train.history import History
    from bigmodel_core.train.trainer import Trainer

app = command_app()


def _option(name: str, metavar: str | None, text: str, **more: Any) -> Any:
    return typer.Option(name, metavar=metavar, help=text, **more)


@app.command()
def train(
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL|FILE.toml]", help="A model's name, or an experiment file."),
    ] = None,
    options: Annotated[
        list[str] | None, _option("--set", "KEY=VALUE", "An option of the model; may be repeated.")
    ] = None,
    data: Annotated[str | None, _option("--data", "NAME", "The data set.  [default: digits]")] = None,
    data_dir: DataDir = None,
    skip_broken: SkipBroken = False,
    epochs: Annotated[int | None, _option("--epochs", None, "Passes over the data.  [default: 10]")] = None,
    batch_size: Annotated[
        int | None, _option("--batch-size", None, "Samples in a step.  [default: 64]")
    ] = None,
    optimizer: Annotated[
        str | None, _option("--optimizer", "NAME", "As in sgd:momentum=0.9.  [default: the model's]")
    ] = None,
    learning_rate: Annotated[
        float | None, _option("--learning-rate", None, "In place of the optimizer's own.")
    ] = None,
    schedule: Annotated[
        str | None,
        _option("--schedule", "NAME", "Constant, step-decay:every=100, ...  [default: cosine]"),
    ] = None,
    loss: Annotated[
        str | None, _option("--loss", "NAME", "What to minimise.  [default: the model's]")
    ] = None,
    metrics: Annotated[
        list[str] | None,
        _option("--metrics", "NAMES", "What to report, as accuracy,f1.  [default: the model's]"),
    ] = None,
    augment: Annotated[
        list[str] | None,
        _option("--augment", "NAME", "As in horizontal-flip or random-crop:padding=4; may be repeated."),
    ] = None,
    callbacks: Annotated[
        list[str] | None, _option("--callback", "NAME", "As in early-stopping:patience=3; may be repeated.")
    ] = None,
    validation: Annotated[
        float | None,
        _option("--validation", "FRACTION", "Share of the training samples to hold out.  [default: 0.1]"),
    ] = None,
    monitor: Annotated[
        str | None,
        _option("--monitor", "MEASURE", "What decides the best epoch, as val_loss or val_accuracy."),
    ] = None,
    seed: Annotated[
        int | None, _option("--seed", None, "The same seed gives the same bits.  [default: 0]")
    ] = None,
    device: Annotated[str | None, _option("--device", None, "cpu or cuda.  [default: cpu]")] = None,
    out: Annotated[
        Path | None, _option("--out", "DIR", "The folder of the run.  [default: runs/MODEL-001, -002, ...]")
    ] = None,
    checkpoint_every: Annotated[
        int | None, _option("--checkpoint-every", "STEPS", "Write a checkpoint within epochs, too.", min=1)
    ] = None,
    workers: Annotated[
        int | None,
        _option("--workers", None, "Threads that read and augment samples ahead.  [default: 1]", min=0),
    ] = None,
    resume: Annotated[
        bool,
        _option(
            "--resume", None, "Go on with the run that is named, else with the newest, to the same bits."
        ),
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a model and write a run: configuration, metrics, best and last checkpoint.

    With --resume the argument may be a run, as in: bigmodel train --resume runs/mlp-001 --epochs 40.

    Options of names follow a colon: --optimizer sgd:momentum=0.9,nesterov=true.
    """
    output = Output(as_json, quiet)
    changes = {
        "epochs": epochs,
        "batch_size": batch_size,
        "validation": validation,
        "monitor": monitor,
        "seed": seed,
        "device": device,
        "learning_rate": learning_rate,
        "loss": loss,
        "metrics": names_in(metrics) if metrics is not None else None,
        "augment": names_in(augment) if augment is not None else None,
    }
    if resume:
        from bigmodel_core.cli.resume import refuse_changes, resume_run

        fixed = {
            **{name: value for name, value in changes.items() if name not in ("epochs", "device")},
            "set": options, "data": data, "optimizer": optimizer, "schedule": schedule, "callback": callbacks,
            "out": out, "skip_broken": skip_broken or None,
        }  # fmt: skip
        refuse_changes({name: value for name, value in fixed.items() if value is not None})
        resume_run(list(what or ()), data_dir, epochs, device, checkpoint_every, workers, output)
        return
    experiment = _experiment(list(what or ()))
    experiment = _with_names(experiment, options, data, data_dir, optimizer, schedule, callbacks)
    if skip_broken:
        experiment = replace(experiment, data=replace(experiment.data, more=skipping(True)))
    from bigmodel_core.cli.experiment import with_changes

    _start(with_changes(experiment, {**changes, "workers": workers}), out, checkpoint_every, output)


# What is to be trained --------------------------------------------------------------------------------------


def names_in(texts: list[str]) -> tuple[str, ...]:
    """Names parted by commas; a piece such as `k=3` belongs to the name before it.

    >>> names_in(["accuracy,top_k_accuracy:k=3", "f1:average=macro,beta=2"])
    ('accuracy', 'top_k_accuracy:k=3', 'f1:average=macro,beta=2')
    """
    found: list[str] = []
    for piece in (piece.strip() for text in texts for piece in text.split(",")):
        if found and "=" in piece and ":" not in piece:
            found[-1] += f",{piece}"
        elif piece:
            found.append(piece)
    return tuple(found)


def is_experiment(what: str) -> bool:
    """Whether an argument means an experiment file."""
    return what.lower().endswith(".toml")


def _experiment(what: list[str]) -> Experiment:
    from bigmodel_core.cli.experiment import Choice, Experiment
    from bigmodel_core.cli.experiment_file import read_experiment

    if len(what) != 1:
        raise UsageError(
            "nothing says what to train." if not what else f"{what[1]!r} is one argument too many.",
            fix="name a model or an experiment file, as in: bigmodel train mlp --data digits",
        )
    return read_experiment(Path(what[0])) if is_experiment(what[0]) else Experiment(Choice("model", what[0]))


def _with_names(
    experiment: Experiment,
    options: list[str] | None,
    data: str | None,
    data_dir: Path | None,
    optimizer: str | None,
    schedule: str | None,
    callbacks: list[str] | None,
) -> Experiment:
    """The experiment with what the command line names besides."""
    from bigmodel_core.cli.experiment import Choice
    from bigmodel_core.cli.names import settings

    changed = replace(experiment, model=replace(experiment.model, more=settings(options)))
    if data is not None:
        changed = replace(changed, data=Choice("dataset", data), data_dir=None)
    if data_dir is not None:
        changed = replace(changed, data_dir=data_dir)
    if optimizer is not None:
        changed = replace(changed, optimizer=Choice("optimizer", optimizer))
    if schedule is not None:
        changed = replace(changed, schedule=Choice("schedule", schedule))
    if callbacks is not None:
        changed = replace(changed, callbacks=tuple(Choice("callback", text) for text in callbacks))
    return changed


# Running ------------------------------------------------------------------------------------------------


def _start(experiment: Experiment, out: Path | None, checkpoint_every: int | None, output: Output) -> None:
    """Make everything the experiment names, then train."""
    from bigmodel_core import registry
    from bigmodel_core.train.trainer import Trainer

    how = experiment.train
    # Every name is looked up before the data is read, so that a mistake is told at once.
    model_class, dataset = experiment.model.cls(), experiment.data.make()
    callbacks = [choice.make() for choice in experiment.callbacks]
    loss, metrics = experiment.make_loss(experiment.model.make()), experiment.make_metrics()
    augment = experiment.make_augmentations()
    experiment.make_optimizer(model_class, 1)
    data: Data = dataset.load(experiment.data_dir)
    for note in data.notes:  # how the target was read may be what is wrong with it
        output.say(note, "dim")
    _check_loss(loss, data)
    model = experiment.make_model(data)
    loss = experiment.make_loss(model)
    fraction = how.validation if how.validation and data.validation is None else None
    kept, aside = _parted(data, fraction)
    steps = how.epochs * -(-kept // how.batch_size)
    if metrics is None:
        metrics = _usual_metrics(model, how.loss, data)
    experiment.check_monitor(metrics, validated=bool(fraction) or data.validation is not None)
    title = registry.display_name(type(model)).replace("_", "-")
    with _folder(out, title) as folder:
        trainer = Trainer(
            model,
            loss,
            experiment.make_optimizer(model_class, steps),
            metrics,
            callbacks=callbacks,
            seed=how.seed,
            device=how.device,
            out=folder,
            monitor=how.monitor,
        )
        output.say(
            f"{title} on {data.name}: {len(data.train):,} samples{aside}, {len(data.test):,} to test.", "dim"
        )
        with progress(output):
            history = trainer.fit(
                data,
                how.epochs,
                how.batch_size,
                fraction,
                verbose=not output.quiet,
                checkpoint_every=checkpoint_every,
                record={"validation_fraction": fraction},
                augment=augment,
                workers=how.workers,
            )
    finish(trainer, history, data, folder, output)


def _parted(data: Data, fraction: float | None) -> tuple[int, str]:
    """How many samples are trained on when a fraction is held out, and what is said of the others."""
    from bigmodel_core.data.sampling import split_indices

    if not fraction:
        return len(data.train), ""
    kept, held_out = split_indices(len(data.train), fraction, 0, reach=data.train.reach)
    between = len(data.train) - len(kept) - len(held_out)
    overlapping = f", {between:,} that overlap those left out" if between else ""
    return len(kept), f", {len(held_out):,} of them held out to validate{overlapping}"


def _check_loss(loss: Any, data: Data) -> None:
    """Say that a loss and a data set are made for different targets, before shapes say it less clearly."""
    from bigmodel_core import registry
    from bigmodel_core.errors import DataError

    name = registry.display_name(type(loss))
    if data.task == "regression" and loss.target_dtype == "int64":
        raise DataError(
            f"its targets are numbers, and the loss {name} wants class labels.",
            where=data.name,
            fix="train linear-regression, or pass --loss mean_squared_error and as many outputs as targets.",
        )
    takes_labels = loss.target_dtype == "int64" or (loss.one_score and data.classes == 2)
    if data.task == "classification" and not takes_labels:
        raise DataError(
            f"its targets are class labels, and the loss {name} wants numbers.",
            where=data.name,
            fix="train a classifier such as logistic-regression, or choose a data set for regression.",
        )


def _usual_metrics(model: Any, loss: str | None, data: Data) -> list[Any]:
    """The model's metrics, as long as its own loss is used; else those that suit the task."""
    from bigmodel_core.cli.evaluate import usual_metrics
    from bigmodel_core.cli.names import named
    from bigmodel_core.registry.config import owner_of

    if loss is None:
        whose = owner_of(type(model), "metrics")
        return [named("metric", text, owner=whose) for text in model.metrics]
    return usual_metrics(data)


@contextlib.contextmanager
def _folder(out: Path | None, title: str) -> Iterator[Path]:
    """The folder of the run; it is removed again where nothing was written to it."""
    from bigmodel_core.cli.sources import RUNS
    from bigmodel_core.train.lock import check_unused
    from bigmodel_core.train.runs import is_blank, is_run, new_run_folder

    if out is not None:
        check_unused(out)
    if out is not None and ((is_run(out) and not is_blank(out)) or (out.exists() and not out.is_dir())):
        what = "the folder holds another run." if out.is_dir() else "there is a file of this name."
        raise UsageError(what, where=str(out), fix="name another folder, or go on with that run: --resume.")
    folder = out if out is not None else new_run_folder(RUNS, title)
    try:
        yield folder
    except BaseException:
        if out is None and not is_run(folder):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


@contextlib.contextmanager
def progress(output: Output) -> Iterator[None]:
    """What the trainer shows goes to stderr where stdout is for JSON."""
    with contextlib.redirect_stdout(sys.stderr) if output.as_json else contextlib.nullcontext():
        yield


def finish(trainer: Trainer, history: History, data: Data, folder: Path, output: Output) -> None:
    """Measure the best checkpoint on the test samples, note it, and say what to do next."""
    from bigmodel_core.cli.evaluate import show_matrix
    from bigmodel_core.cli.sources import RUNS
    from bigmodel_core.train.checkpoint import read
    from bigmodel_core.train.history import plain

    if history.interrupted:
        output.line(f"Go on with: bigmodel train --resume {shlex.quote(str(folder))}")
        output.result({"run": str(folder), **history.to_dict(), "best_epoch": None, "test": None})
        raise typer.Exit(STOPPED)
    best = trainer.state.best
    trainer.network.load_state(read(folder).state)
    found = trainer.evaluate(data.test) if data.test.y is not None else {}
    results = {"best_epoch": best.epoch if best else None, "test": plain(found)}
    if trainer.record is not None:
        trainer.record.note(results=results)
    if not output.as_json:
        which = f"best checkpoint (epoch {best.epoch})" if best else "last checkpoint"
        values = "  ".join(
            f"{name} {metric(value)}" for name, value in found.items() if isinstance(value, float)
        )
        output.line(f"{which[0].upper()}{which[1:]} on {len(data.test):,} test samples: {values}", "bold")
        for name, value in found.items():
            if not isinstance(value, float):
                output.line(name)
                show_matrix(value, output)
        typed = shlex.quote(str(folder))
        which = "" if folder.parent == RUNS else f" --run {typed}"
        output.say(f"\nSaved in {folder}. Next:")
        output.say(f"  bigmodel export model.onnx{which}")
        output.say(f"  bigmodel evaluate {typed}")
        output.say(f"  bigmodel info {typed}")
    output.result({"run": str(folder), **history.to_dict(), **results})
