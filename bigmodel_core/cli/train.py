"""`bigmodel train`: train a model by name, run an experiment file, or go on with a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from bigmodel_core.cli.app import command_app
from bigmodel_core.cli.data import DataDir, SkipBroken, skipping
from bigmodel_core.cli.terminal import AsJson, Output, Quiet
from bigmodel_core.cli.training_options import (
    BatchSize,
    DataName,
    DeviceName,
    LearningRate,
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

app = command_app()


@app.command()
def train(
    what: What = None,
    options: Settings = None,
    data: DataName = None,
    data_dir: DataDir = None,
    skip_broken: SkipBroken = False,
    epochs: Annotated[
        int | None,
        option("--epochs", None, "Passes over the data.  [default: 10; more for tables of few rows]"),
    ] = None,
    batch_size: BatchSize = None,
    accumulate: Annotated[
        int | None, option("--accumulate", None, "Batches whose gradients give one update.  [default: 1]")
    ] = None,
    freeze: Annotated[
        list[str] | None,
        option("--freeze", "PATTERN", "Parameters that stay as they are, as in encoder/*; may be repeated."),
    ] = None,
    ema: Annotated[
        float | None, option("--ema", None, "Keep averages of the parameters, too, as in 0.999.")
    ] = None,
    privacy: Annotated[
        str | None,
        option("--privacy", "OPTIONS", "Train with differential privacy, as in epsilon=3,delta=1e-5,clip=1."),
    ] = None,
    energy: Annotated[
        str | None,
        option("--energy", "OPTIONS", "How energy is counted, as in carbon_intensity=350,price=0.3."),
    ] = None,
    optimizer: OptimizerName = None,
    learning_rate: LearningRate = None,
    schedule: ScheduleName = None,
    loss: Annotated[str | None, option("--loss", "NAME", "What to minimise.  [default: the model's]")] = None,
    metrics: Annotated[
        list[str] | None,
        option("--metrics", "NAMES", "What to report, as accuracy,f1.  [default: the model's]"),
    ] = None,
    augment: Annotated[
        list[str] | None,
        option("--augment", "NAME", "As in horizontal-flip or random-crop:padding=4; may be repeated."),
    ] = None,
    callbacks: Annotated[
        list[str] | None, option("--callback", "NAME", "As in early-stopping:patience=3; may be repeated.")
    ] = None,
    tensorboard: Annotated[
        bool, option("--tensorboard", None, "Write what TensorBoard shows into the run folder, too.")
    ] = False,
    validation: Validation = None,
    folds: Annotated[
        int | None,
        option("--folds", "N", "Train N times, holding out another part each time, and sum up."),
    ] = None,
    groups: Annotated[
        str | None,
        option("--groups", "COLUMN", "With --folds: samples that share a cell are held out together."),
    ] = None,
    monitor: Annotated[
        str | None,
        option("--monitor", "MEASURE", "What decides the best epoch, as val_loss or val_accuracy."),
    ] = None,
    seed: Annotated[
        int | None, option("--seed", None, "The same seed gives the same bits.  [default: 0]")
    ] = None,
    device: DeviceName = None,
    out: Annotated[
        Path | None, option("--out", "DIR", "The run folder.  [default: runs/MODEL-001, -002, ...]")
    ] = None,
    start_from: Annotated[
        str | None,
        option(
            "--from",
            "RUN",
            "Begin with the parameters of a run or of published weights, where they fit.",
        ),
    ] = None,
    teacher: Annotated[
        str | None,
        option("--teacher", "RUN", "Learn what a trained model says, beside the targets (distillation)."),
    ] = None,
    temperature: Annotated[
        float | None,
        option("--temperature", None, "What scores are divided by with --teacher.  [default: 4]"),
    ] = None,
    teacher_weight: Annotated[
        float | None,
        option("--teacher-weight", None, "How much the teacher counts, up to 1.  [default: 0.9]"),
    ] = None,
    checkpoint_every: Annotated[
        int | None, option("--checkpoint-every", "STEPS", "Write a checkpoint within epochs, too.", min=1)
    ] = None,
    workers: Annotated[
        int | None,
        option("--workers", None, "Threads that read and augment samples ahead.  [default: 1]", min=0),
    ] = None,
    profile: Annotated[
        bool, option("--profile", None, "Show where the time of a step goes, by layer and kernel.")
    ] = False,
    resume: Annotated[
        bool,
        option("--resume", None, "Resume the named run, or the newest one, to the same bits."),
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a model and write a run: configuration, metrics, best and last checkpoint.

    With --resume the argument may be a run, as in: bigmodel train --resume runs/mlp-001 --epochs 40.

    Options of names follow a colon: --optimizer sgd:momentum=0.9,nesterov=true.
    """
    from bigmodel_core.cli.names import names_in

    output = Output(as_json, quiet)
    changes = {
        "epochs": epochs,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "freeze": freeze,
        "ema": ema,
        "privacy": privacy,
        "energy": energy,
        "validation": validation,
        "monitor": monitor,
        "seed": seed,
        "device": device,
        "learning_rate": learning_rate,
        "loss": loss,
        "metrics": names_in(metrics) if metrics is not None else None,
        "augment": names_in(augment) if augment is not None else None,
        "start_from": start_from,
        "teacher": teacher,
        "temperature": temperature,
        "teacher_weight": teacher_weight,
    }
    if resume:
        from bigmodel_core.cli.resume import refuse_changes, resume_run

        fixed = {
            **{
                name: value
                for name, value in changes.items()
                if name not in ("epochs", "device", "start_from")
            },
            "from": start_from,
            "set": options, "data": data, "optimizer": optimizer, "schedule": schedule, "callback": callbacks,
            "tensorboard": tensorboard or None, "out": out, "skip_broken": skip_broken or None,
            "folds": folds, "groups": groups,
        }  # fmt: skip
        refuse_changes({name: value for name, value in fixed.items() if value is not None})
        resume_run(list(what or ()), data_dir, epochs, device, checkpoint_every, workers, profile, output)
        return
    experiment = experiment_of(list(what or ()))
    experiment = with_names(experiment, options, data, data_dir, optimizer, schedule, callbacks)
    if tensorboard:
        experiment = experiment.with_callback("tensorboard")
    if skip_broken:
        experiment = replace(experiment, data=replace(experiment.data, more=skipping(True)))
    from bigmodel_core.cli.experiment import with_changes

    experiment = with_changes(experiment, {**changes, "workers": workers})
    if folds is not None or groups is not None:
        from bigmodel_core.cli.folds import check_folds, train_folds

        others = {"validation": validation, "checkpoint_every": checkpoint_every, "profile": profile or None}
        train_folds(experiment, out, check_folds(folds, others), groups, output)
        return
    from bigmodel_core.cli.start import start

    start(experiment, out, checkpoint_every, profile, output)


# What is to be trained --------------------------------------------------------------------------------------


def experiment_of(what: list[str]) -> Experiment:
    """The experiment of a file, or of a model's name.

    Raises:
        UsageError: nothing is named, or too much; the file is wrong.
    """
    from bigmodel_core.cli.choice import Choice
    from bigmodel_core.cli.experiment import Experiment
    from bigmodel_core.cli.experiment_file import is_experiment, read_experiment

    if len(what) != 1:
        raise UsageError(
            "there is nothing to train." if not what else f"{what[1]!r} is one argument too many.",
            fix="name a model or an experiment file, as in: bigmodel train mlp --data digits",
        )
    return read_experiment(Path(what[0])) if is_experiment(what[0]) else Experiment(Choice("model", what[0]))


def with_names(
    experiment: Experiment,
    options: list[str] | None,
    data: str | None,
    data_dir: Path | None,
    optimizer: str | None,
    schedule: str | None,
    callbacks: list[str] | None,
) -> Experiment:
    """The experiment with what the command line names besides."""
    from bigmodel_core.cli.choice import Choice
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
