"""Run folders: where a training run keeps its configuration, its metrics and its checkpoints.

runs/mlp-001/run.json             the configuration that alone reproduces the run
runs/mlp-001/metrics.jsonl        one line per epoch
runs/mlp-001/best.safetensors     the checkpoint with the best monitored metric
runs/mlp-001/last.safetensors     the checkpoint to resume from
runs/mlp-001/averaged.safetensors the model with averaged parameters, if training keeps averages
runs/mlp-001/profile.json         where the time of a step went, if that was measured
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from bigmodel_core.errors import CheckpointError, ConfigError
from bigmodel_core.registry.plain_values import strict_json
from bigmodel_core.train.atomic import write_atomically

MANIFEST, METRICS, PROFILE = "run.json", "metrics.jsonl", "profile.json"
BEST, LAST, AVERAGED = "best.safetensors", "last.safetensors", "averaged.safetensors"

RUNNING, FINISHED, INTERRUPTED, FAILED, DIVERGED = "running", "finished", "interrupted", "failed", "diverged"
"""How a run ended, as its configuration says; "running" while it runs, and after its process was killed."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_MOST = 16 * 1024 * 1024
"""Bytes of a manifest beyond which it is none of ours."""


def new_run_folder(base: str | Path = "runs", name: str = "run") -> Path:
    """Make the next free folder `base/name-001`, `base/name-002`, ... and return it.

    Two processes that ask at once get two folders.

    Raises:
        ConfigError: the name is not a plain file name.
        CheckpointError: the folder cannot be made.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name a run.",
            fix="use letters, digits, '-', '_' and '.', a letter or digit first.",
        )
    base = Path(base)
    try:
        base.mkdir(parents=True, exist_ok=True)
        taken = [int(match[1]) for item in base.iterdir() if (match := _numbered(name, item.name))]
        number = max(taken, default=0) + 1
        while True:
            folder = base / f"{name}-{number:03}"
            try:
                folder.mkdir()
                return folder
            except FileExistsError:  # another process was faster
                number += 1
    except OSError as error:
        raise CheckpointError(
            f"cannot create a run folder: {error.strerror or error}.",
            where=str(base),
            fix="choose a writable folder, with out=...",
            shell="choose a writable folder with --out.",
        ) from error


def _numbered(name: str, found: str) -> re.Match[str] | None:
    return re.fullmatch(rf"{re.escape(name)}-(\d{{3,9}})", found)


def is_run(path: str | Path) -> bool:
    """Whether a path is the folder of a run."""
    return (Path(path) / MANIFEST).is_file()


def is_blank(run: str | Path) -> bool:
    """Whether a run left nothing but its configuration: no checkpoint, no epoch."""
    run = Path(run)
    if (run / BEST).exists() or (run / LAST).exists():
        return False
    try:
        return (run / METRICS).stat().st_size == 0
    except OSError:
        return True


def has_learnt(run: str | Path) -> bool:
    """Whether a run has finished an epoch, so that there is something to use."""
    run = Path(run)
    try:
        return (run / BEST).is_file() or (run / METRICS).stat().st_size > 0
    except OSError:
        return False


def epochs_done(run: str | Path) -> int:
    """How many epochs a run has finished."""
    try:
        return len((Path(run) / METRICS).read_text("utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return 0


def started_at(run: str | Path) -> float:
    """When a run was started, in seconds since 1970.

    Runs of earlier versions do not say; the time their configuration was written last stands for it.
    """
    try:
        return datetime.fromisoformat(read_manifest(run)["started"]).timestamp()
    except (CheckpointError, KeyError, TypeError, ValueError, OverflowError, OSError):
        try:
            return (Path(run) / MANIFEST).stat().st_mtime
        except OSError:
            return 0.0


def by_start(base: str | Path = "runs", name: str | None = None) -> list[Path]:
    """The runs in a folder, the one that was started last first.

    Args:
        base: where the runs are.
        name: only runs that `new_run_folder` named so.
    """
    base = Path(base)
    found = [
        item
        for item in (base.iterdir() if base.is_dir() else ())
        if is_run(item) and (name is None or _numbered(name, item.name))
    ]
    return sorted(found, key=lambda run: (started_at(run), run.name), reverse=True)


def newest(base: str | Path = "runs") -> Path:
    """The run folder that was started last.

    Raises:
        CheckpointError: there is none.
    """
    found = by_start(base)
    if not found:
        raise CheckpointError(
            "there is no run here.",
            where=str(base),
            fix="train a model first: bigmodel train mlp --data digits",
        )
    return found[0]


def newest_to_use(base: str | Path = "runs") -> tuple[Path, list[Path]]:
    """The run that was started last among those that finished an epoch, and the newer ones that did not.

    Raises:
        CheckpointError: there is no run, or none of them finished an epoch.
    """
    first = newest(base)
    newer: list[Path] = []
    for run in by_start(base):
        if has_learnt(run):
            return run, newer
        newer.append(run)
    raise without_epoch(first)


def without_epoch(run: Path) -> CheckpointError:
    """The error that a run has no epoch to show for itself."""
    last = f" or name its checkpoint, {run / LAST}" if (run / LAST).is_file() else ""
    return CheckpointError(
        f"the run finished no epoch{how_it_ended(run)}, so it has no trained model.",
        where=str(run),
        fix=f"resume it: bigmodel train --resume {run}{',' if last else ''}{last}.",
    )


def how_it_ended(run: Path) -> str:
    """How a run that did not reach its end came to one, as ", it failed: ..."; empty if it did."""
    try:
        manifest = read_manifest(run)
    except CheckpointError:
        return ""
    status, error = manifest.get("status"), manifest.get("error")
    if status == RUNNING:
        from bigmodel_core.train.lock import is_used

        return ", it is being trained now" if is_used(run) else ", its process was killed"
    words = {FAILED: "it failed", INTERRUPTED: "it was interrupted", DIVERGED: "it diverged"}
    if status not in words:
        return ""
    reason = f" ({error.partition(chr(10))[0].rstrip('.')})" if isinstance(error, str) and error else ""
    return f", {words[status]}{reason}"


def checkpoint_of(path: str | Path) -> Path:
    """The checkpoint file that a path means: itself, or a run's best one, or its last one without a best.

    A run that finished no epoch has no model to give, though it may have a checkpoint; name that to get it.

    The ending may be left out: `runs/mlp-001/last`.

    Raises:
        CheckpointError: there is none, or the run finished no epoch.
    """
    path = Path(path)
    if not path.is_dir():
        for file in (path, path.with_name(f"{path.name}.safetensors")):
            if file.exists():
                return file
        raise CheckpointError(
            "there is no such file or run.", where=str(path), fix="pass a run folder or a checkpoint file."
        )
    if is_run(path) and not has_learnt(path):
        raise without_epoch(path)
    for name in (BEST, LAST):
        if (path / name).is_file():
            return path / name
    raise CheckpointError(
        f"the folder holds neither {BEST} nor {LAST}.",
        where=str(path),
        fix="pass a run folder, or train the run again.",
    )


def resume_points(path: str | Path) -> list[Path]:
    """The checkpoint files to resume from, the latest first: those of a run, or the file itself.

    Raises:
        CheckpointError: there is no such file or folder.
    """
    path = Path(path)
    if not path.is_dir():
        return [checkpoint_of(path)]
    return [path / name for name in (LAST, BEST) if (path / name).is_file()]


def path_from(run: str | Path, path: str | Path) -> str:
    """A path as a run's configuration has it: relative to the run's folder, with "/", if possible."""
    absolute = Path(path).absolute()
    try:
        return Path(os.path.relpath(absolute, Path(run).absolute())).as_posix()
    except ValueError:  # on another drive
        return absolute.as_posix()


def data_dir_of(run: str | Path, manifest: Mapping[str, Any]) -> Path | None:
    """Where the data of a run were read from, seen from the current folder; None if none was named."""
    found = manifest.get("data_dir")
    if not isinstance(found, str) or "\0" in found:
        return None
    path = Path(run) / found
    return Path(os.path.relpath(path)) if not Path(found).is_absolute() else path


def write_manifest(run: str | Path, manifest: Mapping[str, Any]) -> None:
    """Write a run's configuration, whole or not at all.

    Raises:
        CheckpointError: it cannot be written.
    """
    text = json.dumps(manifest, indent=2, sort_keys=True, allow_nan=False)
    write_atomically(Path(run) / MANIFEST, [text.encode(), b"\n"])


def read_manifest(run: str | Path) -> dict[str, Any]:
    """A run's configuration.

    Raises:
        CheckpointError: the folder holds no run, or its manifest cannot be read.
    """
    path = Path(run) / MANIFEST
    try:
        if path.stat().st_size > _MOST:
            raise ValueError("it is larger than a manifest can be")
        found = strict_json(path.read_text("utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is not a mapping")
    except OSError as error:
        raise CheckpointError(
            f"cannot read the run's configuration: {error.strerror or error}.",
            where=str(path),
            fix="pass the folder of a run, such as runs/mlp-001.",
        ) from error
    except ValueError as error:
        raise CheckpointError(
            f"the run's configuration is damaged: {error}.", where=str(path), fix="train the run again."
        ) from error
    return found
