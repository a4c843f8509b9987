"""`bigmodel train --resume`: which run is meant, and continuing with it to the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel_core.cli.earlier import Earlier
from bigmodel_core.cli.experiment_file import is_experiment, read_experiment
from bigmodel_core.cli.finish import finish
from bigmodel_core.cli.folds import fold_of
from bigmodel_core.cli.terminal import Output
from bigmodel_core.errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from bigmodel_core.train.trainer import Trainer


def refuse_changes(given: dict[str, Any]) -> None:
    """Say which options a resumed run cannot take.

    Raises:
        UsageError: one was given.
    """
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(
            f"{options} cannot change in a resumed run.",
            where="--resume",
            fix="leave it out: the run keeps its options; --epochs, --device, --workers, --data-dir and"
            " --profile may be given.",
        )


def resume_run(
    what: list[str],
    data_dir: Path | None,
    epochs: int | None,
    device: str | None,
    checkpoint_every: int | None,
    workers: int | None,
    profile: bool,
    output: Output,
) -> None:
    """Go on with a run.

    Args:
        what: the run, or the model or experiment whose newest run is meant; nothing for the newest of all.
        data_dir: where the data is now.
        epochs: all epochs of the run together; as many as it was to do if None.
        device: another device than the run's.
        checkpoint_every: steps between checkpoints within an epoch.
        workers: threads that prepare batches; as many as usual if None.
        profile: whether to measure where the time of a step goes.
        output: where messages go.

    Raises:
        CheckpointError: there is no such run, or none of its checkpoints can be used.
        RunInUseError: another process is training it.
    """
    from bigmodel_core.cli.sources import known_of, load_data, recorded_place
    from bigmodel_core.data.prefetch import DEFAULT_WORKERS
    from bigmodel_core.registry import config
    from bigmodel_core.train import runs
    from bigmodel_core.train.lock import check_unused
    from bigmodel_core.train.trainer import Trainer

    if epochs is not None and epochs < 1:
        raise UsageError(f"{epochs} epochs.", where="--epochs", fix="pass 1 or more.")
    run = _run_to_resume(what)
    check_unused(run)
    manifest = runs.read_manifest(run)
    if not isinstance(manifest.get("dataset"), dict):
        raise CheckpointError(
            "the run does not say which data set it was trained on.",
            where=str(run),
            fix="resume it from Python: trainer.fit(data, resume=...).",
        )
    trainer = Trainer.resume(run, device=device or str(manifest.get("device", "cpu")))
    done = 0
    if trainer.resumed is None:  # it has no checkpoint: it starts over
        dataset = config.from_config("dataset", manifest["dataset"])
        place = data_dir if data_dir is not None else recorded_place(run)
        begins = manifest.get("from")
        earlier = None if begins is None else Earlier.read(str(begins), type(trainer.model))
        data = dataset.load(place) if earlier is None else earlier.load(dataset, None, place)
        if earlier is not None:
            output.say(earlier.put_into(trainer.model, data, trainer.step.seed, trainer.step.device), "dim")
    else:
        data = load_data(None, data_dir, known_of(trainer.resumed))
        state = (trainer.resumed.training or {})["state"]
        done = state["steps"]
        _check_rate(trainer, trainer.resumed.options["epochs"], state, run, epochs)
    if isinstance(manifest.get("fold"), dict):
        data = fold_of(data, manifest)
    output.say(f"resuming {run}", "dim")
    with output.progress():
        history = trainer.fit(
            data,
            epochs,
            validation=manifest.get("validation_fraction"),
            verbose=not output.quiet,
            checkpoint_every=checkpoint_every,
            record={"results": None},
            workers=DEFAULT_WORKERS if workers is None else workers,
            profile=profile,
        )
    if trainer.step.steps == done and not trainer.stop and not history.interrupted:
        output.say(f"--epochs {2 * len(history)} asks for more.")
    finish(trainer, history, data, run, output)


def _check_rate(
    trainer: Trainer, planned: int, state: Mapping[str, Any], run: Path, epochs: int | None
) -> None:
    """Say that a run whose learning rate has fallen to zero would learn nothing more.

    Raises:
        UsageError: it has, and more epochs are requested.
    """
    if epochs is None or epochs <= state["epoch"] or state["epoch"] < planned:
        return
    if trainer.step.optimizer.rate(state["steps"]) == 0:
        raise UsageError(
            f"the learning rate of this run has fallen to zero with its {planned} epochs.",
            where=str(run),
            fix="start a new run with more --epochs, or with --schedule constant to extend it later.",
        )


def _run_to_resume(what: list[str]) -> Path:
    """The run that is named last; of a model or an experiment its newest run, without any the newest."""
    from bigmodel_core.cli.names import class_named, split_options
    from bigmodel_core.cli.sources import RUNS, found, run_of
    from bigmodel_core.registry import display_name
    from bigmodel_core.train import runs

    if not what:
        return runs.newest(RUNS)
    if len(what) > 2:
        raise UsageError(f"{what[2]!r} is one argument too many.", fix="name one run.")
    named = what[-1]
    if Path(named).is_dir() or (RUNS / named).is_dir() or named.endswith(".safetensors"):
        path = found(named)
        run = run_of(path)
        if run is None:
            raise CheckpointError("this is not a run.", where=str(path), fix="name the folder of a run.")
        return run
    cls = (
        read_experiment(Path(named)).model.cls()
        if is_experiment(named)
        else class_named("model", split_options(named)[0])
    )
    title = display_name(cls).replace("_", "-")
    own = runs.by_start(RUNS, title)
    if not own:
        raise CheckpointError(
            f"there is no run of {title} to resume.", where=str(RUNS), fix="train without --resume."
        )
    return own[0]
