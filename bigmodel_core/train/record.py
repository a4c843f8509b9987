"""The folder of a run while it is trained: configuration, metrics and checkpoints as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bigmodel_core.errors import CheckpointError
from bigmodel_core.train.atomic import remove_remains, write_atomically
from bigmodel_core.train.checkpoint import Checkpoint, Snapshot
from bigmodel_core.train.history import json_line
from bigmodel_core.train.run_state import RunState
from bigmodel_core.train.runs import BEST, LAST, METRICS, is_run, write_manifest
from bigmodel_core.train.step import TrainStep


class Record:
    """Writes the folder of a run.

    Args:
        folder: where; made if it is missing.
        snapshot: what of the model stays the same.
        plan: the options of the run, which a resumed run has to agree with.
    """

    def __init__(self, folder: Path, snapshot: Snapshot, plan: Mapping[str, Any]) -> None:
        self.folder, self.snapshot, self.plan = folder, snapshot, plan

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.folder / LAST

    @property
    def best(self) -> Path:
        """The checkpoint with the best monitored value."""
        return self.folder / BEST

    def begin(self, manifest: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
        """Make the folder, write the configuration and the metrics of epochs done before.

        Raises:
            CheckpointError: it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"cannot make the run's folder: {error.strerror or error}.",
                where=str(self.folder),
                fix="choose a folder that can be written to.",
            ) from error
        remove_remains(self.folder)
        write_manifest(self.folder, manifest)
        write_atomically(self.folder / METRICS, [json_line(logs).encode() for logs in history])

    def keep_best_of(self, resumed: Checkpoint) -> None:
        """Take over the best checkpoint of the run that is resumed, where that is another folder's.

        Raises:
            CheckpointError: it cannot be written.
        """
        before = resumed.path.parent / BEST
        if not self.best.exists() and before.is_file():
            write_atomically(self.best, [before.read_bytes()])

    def measured(self, logs: Mapping[str, Any]) -> None:
        """Add the logs of an epoch.

        Raises:
            CheckpointError: they cannot be written.
        """
        path = self.folder / METRICS
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json_line(logs))
        except OSError as error:
            raise CheckpointError(
                f"cannot write the metrics: {error.strerror or error}.",
                where=str(path),
                fix="free some space; the last checkpoint is whole.",
            ) from error

    def save(self, step: TrainStep, state: RunState, *, is_best: bool = False) -> None:
        """Write the last checkpoint, and the best one before it if this is it.

        In this order a crash between the two costs an epoch, never the best checkpoint.

        Raises:
            CheckpointError: it cannot be written; the one before stays.
        """
        arrays = step.state()
        parameters = {path: arrays[path] for path in self.snapshot.network.parameters}
        optimizer = {path: arrays[path] for path in optimizer_paths(step)}
        measured = state.history[-1] if state.history else {}
        training = {"plan": self.plan, "state": state.to_plain()}
        for path in (self.best, self.last) if is_best else (self.last,):
            self.snapshot.write(path, parameters, optimizer, metrics=_finite(measured), training=training)


def optimizer_paths(step: TrainStep) -> list[str]:
    """The paths of the optimizer's state in a built step."""
    assert step.network is not None
    ours = tuple(f"optimizer/{name}/" for name in step.optimizer.init())
    return [path for path in step.network.variables if path.startswith(ours)] if ours else []


def _finite(logs: Mapping[str, Any]) -> dict[str, Any]:
    from bigmodel_core.train.history import plain

    found: dict[str, Any] = plain(logs)
    return found


def check_free(folder: Path, *, ours: bool) -> None:
    """Refuse to overwrite another run.

    Raises:
        CheckpointError: the folder holds one.
    """
    if is_run(folder) and not ours:
        raise CheckpointError(
            "the folder holds another run.",
            where=str(folder),
            fix="choose another folder, or resume that run.",
        )
