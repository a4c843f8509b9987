"""The files of a search: what it is of, and what Optuna knows of its trials, also after a kill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel_core.errors import CheckpointError
from bigmodel_core.train.atomic import write_atomically

if TYPE_CHECKING:
    from bigmodel_core.cli.experiment import Experiment

STUDY, TRIALS, REPORT = "study.json", "trials.log", "report.html"


def keep(folder: Path, about: Mapping[str, Any]) -> None:
    """Write what a search is of, so that it can be resumed.

    Raises:
        CheckpointError: it cannot be written.
    """
    text = json.dumps(about, indent=2, sort_keys=True, ensure_ascii=False)
    write_atomically(folder / STUDY, [text.encode(), b"\n"])


def kept(folder: Path) -> dict[str, Any]:
    """What a search in a folder is of.

    Raises:
        CheckpointError: the folder holds none, or it is damaged.
    """
    from bigmodel_core.registry.plain_values import strict_json

    path = folder / STUDY
    try:
        found = strict_json(path.read_text("utf-8"))
    except OSError as error:
        raise CheckpointError(
            "there is no search to resume here.",
            where=str(folder),
            fix="name the folder of one, such as runs/tune-001.",
        ) from error
    except ValueError as error:
        raise CheckpointError(
            f"the search is damaged: {error}.", where=str(path), fix="begin a new one."
        ) from error
    if not isinstance(found, dict) or not isinstance(found.get("asked"), dict):
        raise CheckpointError("the search is damaged.", where=str(path), fix="begin a new one.")
    return found


def mend(path: Path) -> None:
    """Cut off a last line that a killed process had begun, and free the file; only its owner does this.

    Raises:
        CheckpointError: a line before it is damaged.
    """
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        try:
            json.loads(line)
            if not line.endswith(b"\n"):
                raise ValueError("it is cut off")
        except ValueError as error:
            if number < len(lines):
                raise CheckpointError(
                    f"line {number} is damaged: {error}.", where=str(path), fix="begin a new search."
                ) from error
            write_atomically(path, lines[:-1])


def experiment_asked(said: Mapping[str, Any]) -> Experiment:
    """The experiment that was asked for."""
    from bigmodel_core.cli.experiment import with_changes
    from bigmodel_core.cli.train import experiment_of, with_names

    made = with_names(
        experiment_of([said["what"]]),
        said.get("set"),
        said.get("data"),
        Path(said["data_dir"]) if "data_dir" in said else None,
        said.get("optimizer"),
        said.get("schedule"),
        None,
    )
    of_train = (
        "epochs", "batch_size", "learning_rate", "validation", "monitor", "seed", "device",
    )  # fmt: skip
    made = with_changes(made, {name: said.get(name) for name in of_train})
    made.make_optimizer(made.model.make(), 1)
    return made
