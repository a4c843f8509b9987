"""Run folders: where a training run keeps its configuration, its metrics and its checkpoints.

runs/mlp-001/run.json             the configuration that alone reproduces the run
runs/mlp-001/metrics.jsonl        one line an epoch
runs/mlp-001/best.safetensors     the checkpoint with the best monitored metric
runs/mlp-001/last.safetensors     the checkpoint to resume from
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bigmodel_core.errors import CheckpointError, ConfigError
from bigmodel_core.train.atomic import write_atomically

MANIFEST, METRICS = "run.json", "metrics.jsonl"
BEST, LAST = "best.safetensors", "last.safetensors"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_MOST = 16 * 1024 * 1024
"""Bytes of a manifest beyond which it is none of ours."""


def new_run_folder(base: str | Path = "runs", name: str = "run") -> Path:
    """Make the next free folder `base/name-001`, `base/name-002`, ... and return it.

    Two processes that ask at once get two folders.

    Raises:
        ConfigError: the name is no plain file name.
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
            f"cannot make a run folder: {error.strerror or error}.",
            where=str(base),
            fix="choose a folder that can be written to, with --out or out=...",
        ) from error


def _numbered(name: str, found: str) -> re.Match[str] | None:
    return re.fullmatch(rf"{re.escape(name)}-(\d{{3,9}})", found)


def is_run(path: str | Path) -> bool:
    """Whether a path is the folder of a run."""
    return (Path(path) / MANIFEST).is_file()


def newest(base: str | Path = "runs") -> Path:
    """The run folder that was started last.

    Raises:
        CheckpointError: there is none.
    """
    base = Path(base)
    found = [item for item in base.iterdir() if is_run(item)] if base.is_dir() else []
    if not found:
        raise CheckpointError(
            "there is no run here.",
            where=str(base),
            fix="train a model first: bigmodel train mlp --data digits",
        )
    return max(found, key=lambda run: ((run / MANIFEST).stat().st_mtime_ns, run.name))


def checkpoint_of(path: str | Path) -> Path:
    """The checkpoint file that a path means: itself, or a run's best one, or its last one without a best.

    The ending may be left out: `runs/mlp-001/last`.

    Raises:
        CheckpointError: there is none.
    """
    path = Path(path)
    if not path.is_dir():
        for file in (path, path.with_name(f"{path.name}.safetensors")):
            if file.exists():
                return file
        raise CheckpointError(
            "there is no such file or run.", where=str(path), fix="pass a run folder or a checkpoint file."
        )
    for name in (BEST, LAST):
        if (path / name).is_file():
            return path / name
    raise CheckpointError(
        f"the folder holds neither {BEST} nor {LAST}.",
        where=str(path),
        fix="pass a run folder, or train the run again.",
    )


def resume_point(path: str | Path) -> Path:
    """The checkpoint file to resume from: a run's last one, or the file itself.

    Raises:
        CheckpointError: there is none.
    """
    path = Path(path)
    if path.is_dir() and not (path / LAST).is_file():
        raise CheckpointError(
            f"the folder holds no {LAST}.",
            where=str(path),
            fix="pass the folder of a run, such as runs/mlp-001.",
        )
    return path / LAST if path.is_dir() else checkpoint_of(path)


def path_from(run: str | Path, path: str | Path) -> str:
    """A path as a run's configuration has it: seen from the run's folder, with "/", where there is a way."""
    absolute = Path(path).absolute()
    try:
        return Path(os.path.relpath(absolute, Path(run).absolute())).as_posix()
    except ValueError:  # on another drive
        return absolute.as_posix()


def data_dir_of(run: str | Path, manifest: Mapping[str, Any]) -> Path | None:
    """Where the data of a run were read from, seen from the current folder; None where none was named."""
    found = manifest.get("data_dir")
    if not isinstance(found, str):
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
        found = json.loads(path.read_text("utf-8"), parse_constant=_refused)
        if not isinstance(found, dict):
            raise ValueError("it holds no mapping")
    except OSError as error:
        raise CheckpointError(
            f"cannot read the run's configuration: {error.strerror or error}.",
            where=str(path),
            fix="pass the folder of a run, such as runs/mlp-001.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"the run's configuration is damaged: {error}.", where=str(path), fix="train the run again."
        ) from error
    return found


def _refused(text: str) -> Any:
    raise ValueError(f"{text} is no number")
