"""`bigmodel train --folds 5`: a run for each fold, and what all of them come to.

runs/mlp-001/folds.json     the measures of each fold, their mean and deviation
runs/mlp-001/fold-1/        the run that was not trained on the first fold
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bigmodel_core.cli.app import STOPPED
from bigmodel_core.cli.start import Ready, folder_for
from bigmodel_core.cli.terminal import Output, metric
from bigmodel_core.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from bigmodel_core.cli.experiment import Experiment
    from bigmodel_core.data.data import Data

FOLDS = "folds.json"


def check_folds(count: int | None, others: Mapping[str, Any]) -> int:
    """How many folds there are to be.

    Args:
        count: as typed; None if it was not.
        others: options that folds leave no place for, as typed.

    Raises:
        UsageError: none are asked for, or too few, or one of the others was typed.
    """
    if count is None:
        raise UsageError("there are no folds.", where="--groups", fix="say how many: --folds 5.")
    if count < 2:
        raise UsageError(f"{count} folds.", where="--folds", fix="pass 2 or more.")
    for name, value in others.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{option} does not go with --folds.",
                where=option,
                fix="leave it out: each fold is held out once, and measured after each epoch.",
            )
    return count


def train_folds(
    experiment: Experiment, out: Path | None, count: int, groups: str | None, output: Output
) -> None:
    """Train once for each fold on all others, measure what comes of it on that fold, and sum up.

    Args:
        experiment: what to train.
        out: the folder of all runs.
        count: how many folds.
        groups: a column; samples that share its cell are in one fold.
        output: where messages go.

    Raises:
        UsageError: the folder is taken, or there is no such column.
        DataError: there are too few samples, or they follow each other.
    """
    from bigmodel_core.data.folds import folds
    from bigmodel_core.train.history import plain

    if out is not None and (out / FOLDS).exists():
        raise UsageError("the folder holds the runs of folds.", where=str(out), fix="name another folder.")
    ready = Ready.of(experiment, output)
    try:
        parts = folds(ready.data, count, experiment.train.seed, groups=groups)
    except ConfigError as error:
        option = "--groups" if error.where == "groups" else "--folds"
        raise UsageError(error.message, where=option, fix=error.fix) from error
    ready.check_monitor(validated=True)
    done: list[dict[str, Any]] = []
    with folder_for(out, ready.title) as folder:
        for number, part in enumerate(parts, 1):
            assert part.validation is not None
            output.say(f"\nfold {number} of {count}, {len(part.validation):,} samples held out", "bold")
            place = {"number": number, "count": count, "groups": groups}
            run = folder / f"fold-{number}"
            trainer = ready.train(part, run, output, record={"fold": place})
            if trainer.history.interrupted:
                break
            found = plain(trainer.evaluate(part.validation))
            best = trainer.state.best.epoch if trainer.state.best else None
            if trainer.record is not None:
                trainer.record.note(results={"best_epoch": best, "test": None, "fold": found})
            done.append({"fold": number, "run": str(run), "samples": len(part.validation), **found})
            summary = {"folds": done, **summed_up(done)}
            _write(folder, {"count": count, "groups": groups, "seed": experiment.train.seed, **summary})
    if len(done) < count:
        output.line(f"Stopped after {len(done)} of {count} folds, in {folder}.")
        output.result({"folder": str(folder), "folds": done, **summed_up(done)})
        raise typer.Exit(STOPPED)
    _show(done, output)
    output.say(f"\nSaved in {folder}, a run for each fold. Next:")
    output.say(f"  bigmodel runs list {shlex.quote(str(folder))}")
    output.result({"folder": str(folder), "folds": done, **summed_up(done)})


def fold_of(data: Data, manifest: Mapping[str, Any]) -> Data:
    """The fold of a data set that a run was trained without.

    Args:
        data: the data set.
        manifest: the configuration of the run.
    """
    from bigmodel_core.data.folds import folds

    place = manifest["fold"]
    parts = folds(data, place["count"], manifest["seed"], groups=place["groups"])
    return parts[place["number"] - 1]


def summed_up(done: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """The mean of each measure over folds, and the deviation between folds (of a sample: n - 1).

    >>> summed_up([{"fold": 1, "accuracy": 0.5}, {"fold": 2, "accuracy": 1.0}])["mean"]
    {'accuracy': 0.75}
    """
    import numpy as np

    names = [name for name, value in (done[0] if done else {}).items() if isinstance(value, float)]
    columns = {
        name: [one[name] for one in done] for name in names if all(one[name] is not None for one in done)
    }
    return {
        "mean": {name: float(np.mean(values)) for name, values in columns.items()},
        "deviation": {
            name: float(np.std(values, ddof=1)) if len(values) > 1 else None
            for name, values in columns.items()
        },
    }


def _write(folder: Path, about: Mapping[str, Any]) -> None:
    from bigmodel_core.train.atomic import write_atomically

    text = json.dumps(about, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(folder / FOLDS, [text.encode(), b"\n"])


def _show(done: Sequence[Mapping[str, Any]], output: Output) -> None:
    if output.as_json:
        return
    found = summed_up(done)
    names = list(found["mean"])
    rows = [(one["fold"], f"{one['samples']:,}", *(metric(one[name]) for name in names)) for one in done]
    rows += [(title, "", *(metric(found[title][name]) for name in names)) for title in ("mean", "deviation")]
    output.line()
    output.table(["Fold", "Samples", *names], rows, ["Samples", *names])
