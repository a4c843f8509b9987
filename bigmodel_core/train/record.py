"""The folder of a run while it is trained: configuration, metrics and checkpoints as they come."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bigmodel_core.errors import CheckpointError, RunInUseError
from bigmodel_core.nn.network import Network
from bigmodel_core.train.atomic import remove_remains, write_atomically
from bigmodel_core.train.checkpoint import Checkpoint
from bigmodel_core.train.energy import Energy, Meter
from bigmodel_core.train.history import History, json_line, plain
from bigmodel_core.train.job import Job
from bigmodel_core.train.lock import RunLock
from bigmodel_core.train.private_sampling import spent
from bigmodel_core.train.run_state import RunState
from bigmodel_core.train.runs import (
    BEST,
    DIVERGED,
    FAILED,
    FINISHED,
    INTERRUPTED,
    LAST,
    METRICS,
    PROFILE,
    RUNNING,
    is_blank,
    is_run,
    read_manifest,
    write_manifest,
)
from bigmodel_core.train.snapshot import Snapshot, versions
from bigmodel_core.train.step import TrainStep


class Record:
    """Writes the folder of a run.

    Args:
        folder: where; made if it is missing.
        snapshot: what of the model stays the same.
        options: of the run, which a resumed run has to agree with.
    """

    def __init__(self, folder: Path, snapshot: Snapshot, options: Mapping[str, Any]) -> None:
        self.folder, self.snapshot, self.options = folder, snapshot, options
        self.lock = RunLock(folder)

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.folder / LAST

    @property
    def best(self) -> Path:
        """The checkpoint with the best monitored value."""
        return self.folder / BEST

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, and have it for oneself as long as this lasts.

        A folder in which nothing was written is removed again.

        Raises:
            RunInUseError: another process writes it.
            CheckpointError: it cannot be made.
        """
        made = not self.folder.exists()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"cannot create the run folder: {error.strerror or error}.",
                where=str(self.folder),
                fix="choose a writable folder.",
            ) from error
        self.lock.acquire()
        try:
            yield
        finally:
            self.lock.release()
            if made:
                with contextlib.suppress(OSError):  # it holds a run by now
                    self.folder.rmdir()

    def begin(self, manifest: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
        """Write the configuration, and the metrics of epochs done before.

        Raises:
            CheckpointError: they cannot be written.
        """
        remove_remains(self.folder)
        started = datetime.now(UTC).isoformat(timespec="microseconds")
        write_manifest(self.folder, {"started": started, **manifest, "status": RUNNING, "error": None})
        write_atomically(self.folder / METRICS, [json_line(logs).encode() for logs in history])

    def note(self, **facts: Any) -> None:
        """Add to the configuration of a run that has ended, unless it has been resumed since.

        Raises:
            CheckpointError: it cannot be written.
        """
        with contextlib.suppress(RunInUseError), self.locked():
            write_manifest(self.folder, {**read_manifest(self.folder), **facts})

    def end(self, status: str, error: str | None = None, **facts: Any) -> None:
        """Note in the configuration how training ended, and what it came to.

        Raises:
            CheckpointError: it cannot be written.
        """
        self.lock.check()
        ended = {"status": status, "error": error, **facts}
        write_manifest(self.folder, {**read_manifest(self.folder), **ended})

    def keep_best_of(self, resumed: Checkpoint) -> None:
        """Take over the best checkpoint of the resumed run, if that is in another folder.

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
        self.lock.check()
        path = self.folder / METRICS
        try:
            with open(path, "a", encoding="utf-8") as file:
                file.write(json_line(logs))
        except OSError as error:
            raise CheckpointError(
                f"cannot write the metrics: {error.strerror or error}.",
                where=str(path),
                fix="free some space; the last checkpoint is intact.",
            ) from error

    def save(self, step: TrainStep, state: RunState, *, is_best: bool = False) -> None:
        """Write the last checkpoint, and the best one before it if this is it.

        In this order a crash between the two costs an epoch, never the best checkpoint.

        Raises:
            CheckpointError: it cannot be written; the one before stays.
        """
        self.lock.check()
        arrays = step.state()
        parameters = {path: arrays[path] for path in self.snapshot.network.parameters}
        optimizer = {path: arrays[path] for path in optimizer_paths(step)}
        measured = plain(state.history[-1] if state.history else {})
        training = {"plan": self.options, "state": state.to_plain()}
        for path in (self.best, self.last) if is_best else (self.last,):
            self.snapshot.write(path, parameters, optimizer, metrics=measured, training=training)

    def profiled(self, found: Mapping[str, Any]) -> None:
        """Write where the time of a step went.

        Raises:
            CheckpointError: it cannot be written.
        """
        self.lock.check()
        write_atomically(self.folder / PROFILE, [json.dumps(plain(found), indent=2).encode(), b"\n"])

    def keep(self, name: str, network: Network) -> None:
        """Write the parameters as they are now to their own file.

        Raises:
            CheckpointError: they cannot be written.
        """
        self.lock.check()
        self.snapshot.write(self.folder / name, network.state(), {})


@contextlib.contextmanager
def recorded(job: Job, history: History, energy: Energy | None = None) -> Iterator[Record | None]:
    """The folder of a run, if it has one: from here on, this process alone writes files.

    Args:
        job: what is trained.
        history: says, when training has ended, how it did.
        energy: how the energy is counted.
    """
    if job.folder is None or job.snapshot is None:
        yield None
        return
    record = Record(job.folder, job.snapshot, job.options)
    meter = Meter(energy or Energy(), on_gpu=job.snapshot.network.device.name != "cpu")
    with record.locked():
        check_free(job.folder, ours=job.is_own_folder)
        before = read_manifest(job.folder) if job.is_own_folder and is_run(job.folder) else {}
        record.begin(
            {**before, **job.options, **job.facts, "versions": versions(), "format": 1}, job.state.history
        )
        if job.resumed is not None:
            record.keep_best_of(job.resumed)

        def came_to() -> dict[str, Any]:
            return {**spent(job.sampling, job.state), "energy": meter.read(before.get("energy"))}

        try:
            yield record
        except BaseException as error:
            with contextlib.suppress(CheckpointError):
                reason = str(getattr(error, "message", "") or error or type(error).__name__)
                record.end(FAILED, reason, **came_to())
            raise
        ended = INTERRUPTED if history.interrupted else FINISHED
        record.end(DIVERGED if history.diverged else ended, **came_to())


def optimizer_paths(step: TrainStep) -> list[str]:
    """The paths of the optimizer's state in a built step."""
    assert step.network is not None and step.variables is not None
    return [path for path in step.variables if path not in step.network.variables]


def check_free(folder: Path, *, ours: bool) -> None:
    """Refuse to overwrite another run.

    Raises:
        CheckpointError: the folder holds one that has more than a configuration.
    """
    if is_run(folder) and not ours and not is_blank(folder):
        raise CheckpointError(
            "the folder holds another run.",
            where=str(folder),
            fix="choose another folder, or resume that run.",
        )
