"""A training run as its folder tells it: what was trained on what, how it ended, what it measured."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from bigmodel_core.errors import CheckpointError, ConfigError, short
from bigmodel_core.registry.discovery import snake_case
from bigmodel_core.registry.plain_values import strict_json
from bigmodel_core.train.atomic import write_atomically
from bigmodel_core.train.curves import ABOUT_TIME
from bigmodel_core.train.history import History
from bigmodel_core.train.runs import (
    DIVERGED,
    INTERRUPTED,
    METRICS,
    RUNNING,
    by_start,
    read_manifest,
    started_at,
)

TAGS = "tags.json"
"""The file of a run that holds its tags: no part of the configuration, so that a run can be tagged while it
trains."""
KILLED = "killed"
"""What a run is whose configuration says that it runs, and whose process is gone."""
_LONGEST_TAG = 60


def runs(folder: str | Path = "runs") -> list[Run]:
    """The runs in a folder, the one that was started last first. What is damaged is left out.

    Args:
        folder: where they are.

    >>> import bigmodel_core as bm
    >>> [run.name for run in bm.runs("no/such/folder")]
    []
    """
    found = []
    for path in by_start(folder):
        try:
            found.append(Run.read(path))
        except CheckpointError:
            continue
    return found


@dataclass(frozen=True)
class Run:
    """A training run, as `bm.runs()` finds it.

    Args:
        folder: where it is.
        config: its configuration, run.json.
        history: what each epoch measured.
        tags: what a user has marked it with.
    """

    folder: Path
    config: Mapping[str, Any] = field(repr=False)
    history: History = field(repr=False)
    tags: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: str | Path) -> Run:
        """The run in a folder.

        Raises:
            CheckpointError: it holds none, or one that is damaged.
        """
        folder = Path(folder)
        config = read_manifest(folder)
        history = History(
            epochs_of(folder),
            interrupted=config.get("status") == INTERRUPTED,
            run=folder,
            diverged=config.get("status") == DIVERGED,
        )
        return cls(folder, config, history, _tags(folder))

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.resolve().name

    @cached_property
    def status(self) -> str:
        """finished, interrupted, failed, diverged; running, or killed if the process is gone."""
        from bigmodel_core.train.lock import is_used

        said = str(self.config.get("status", ""))
        return KILLED if said == RUNNING and not is_used(self.folder) else said

    @property
    def model(self) -> str:
        """The name of the model, as the command line takes it."""
        return _plain_name(self.config.get("model"))

    @property
    def data(self) -> str:
        """The name of the data set."""
        found = self.config.get("data")
        return str(found.get("name", "")) if isinstance(found, dict) else ""

    @property
    def started(self) -> datetime:
        """When it was started."""
        return datetime.fromtimestamp(started_at(self.folder), UTC)

    @property
    def seconds(self) -> float:
        """How long its epochs took."""
        return sum(_number(logs.get("seconds")) or 0.0 for logs in self.history)

    @property
    def progress(self) -> str:
        """How many epochs are done, of how many: "5/20"."""
        whole = self.config.get("epochs")
        return f"{len(self.history)}/{whole}" if isinstance(whole, int) else str(len(self.history))

    @property
    def reached(self) -> float | None:
        """The monitored measure in the best epoch; None before an epoch is done."""
        return self.measures.get(self.monitor)

    @property
    def monitor(self) -> str:
        """The measure that decides which epoch is its best."""
        found = self.config.get("monitor")
        if isinstance(found, str) and found:
            return found
        return "val_loss" if "val_loss" in self.history.last else "loss"

    @cached_property
    def best(self) -> dict[str, Any]:
        """What the best epoch measured, and `test_` with what was measured of it on the test samples.

        Without an epoch it is empty.
        """
        if not len(self.history) or self.monitor not in self.history.last:
            found = dict(self.history.last)
        else:
            found = dict(self.history.best(self.monitor))
        results = self.config.get("results")
        test = results.get("test") if isinstance(results, dict) else None
        found.update({f"test_{name}": value for name, value in (test or {}).items()})
        return found

    @cached_property
    def measures(self) -> dict[str, float]:
        """The numbers among them that say how good it is, by name."""
        found = {name: _number(value) for name, value in self.best.items() if name not in _NO_MEASURES}
        return {name: value for name, value in found.items() if value is not None}

    @cached_property
    def options(self) -> dict[str, Any]:
        """What it was started with, by dotted names: {"model": "mlp", "model.widths": [128], "seed": 0}."""
        kept = {key: value for key, value in self.config.items() if key not in _NO_OPTIONS}
        found = dict(_flat("", kept))
        return {**found, "data": self.data}

    def add_tags(self, *tags: str) -> Run:
        """The run with more tags, which its folder keeps.

        Raises:
            ConfigError: a tag is empty, too long, or has characters that cannot be shown.
            CheckpointError: they cannot be written.
        """
        return self._with_tags({*self.tags, *map(_checked_tag, tags)})

    def remove_tags(self, *tags: str) -> Run:
        """The run without some of its tags; those that it lacks are no error.

        Raises:
            CheckpointError: they cannot be written.
        """
        return self._with_tags(set(self.tags) - set(tags))

    def _with_tags(self, tags: Iterable[str]) -> Run:
        wanted = tuple(sorted(tags))
        if wanted != self.tags:
            write_atomically(self.folder / TAGS, [json.dumps(wanted, ensure_ascii=False).encode(), b"\n"])
        return Run(self.folder, self.config, self.history, wanted)

    def to_dict(self) -> dict[str, Any]:
        """What is told of a run in lists, as plain values."""
        return {
            "name": self.name,
            "folder": str(self.folder),
            "status": self.status,
            "model": self.model,
            "data": self.data,
            "epochs": len(self.history),
            "of_epochs": self.config.get("epochs"),
            "best_epoch": self.best.get("epoch"),
            "monitor": self.monitor,
            "measures": self.measures,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": self.seconds,
            "tags": list(self.tags),
        }


_NO_OPTIONS = (
    "status",
    "error",
    "started",
    "results",
    "versions",
    "format",
    "data",
    "validation",
    "data_dir",
    "energy",
)
"""Entries of a configuration that no user chose."""
_NO_MEASURES = ("epoch", *ABOUT_TIME)


def epochs_of(folder: str | Path) -> list[dict[str, Any]]:
    """What a run logged in each epoch. A last line that is being written, or was cut off, is left out.

    Raises:
        CheckpointError: a line before it is damaged.
    """
    path = Path(folder) / METRICS
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise CheckpointError(
            f"cannot read what was measured: {reason}.", where=str(path), fix="train the run again."
        ) from error
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            logs = strict_json(line)
            if not isinstance(logs, dict):
                raise ValueError("it is not a mapping")
        except ValueError as error:
            if number == len(lines):
                break
            raise CheckpointError(
                f"line {number} is damaged: {error}.", where=str(path), fix="delete the line."
            ) from error
        found.append({name: None if _is_beyond(value) else value for name, value in logs.items()})
    return found


def _tags(folder: Path) -> tuple[str, ...]:
    """The tags of a run; none if they cannot be read."""
    try:
        found = strict_json((folder / TAGS).read_text("utf-8"))
    except (OSError, ValueError):
        return ()
    return tuple(sorted({tag for tag in found if isinstance(tag, str)})) if isinstance(found, list) else ()


def _checked_tag(tag: str) -> str:
    if not tag.strip() or len(tag) > _LONGEST_TAG or not tag.isprintable() or "," in tag:
        raise ConfigError(
            f"{short(tag)} cannot be a tag.",
            fix=f"use 1 to {_LONGEST_TAG} characters that can be shown, without a comma.",
        )
    return tag.strip()


def _plain_name(described: Any) -> str:
    """What a user types for a described object."""
    if not isinstance(described, dict):
        return "" if described is None else str(described)
    name = str(described.get("name") or described.get("class") or "")
    return snake_case(name.rpartition(":")[2]).replace("_", "-")


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The entries of a configuration by dotted names."""
    if isinstance(value, dict) and "fields" in value:
        yield name, _plain_name(value)
        value = value["fields"]
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        names = [_plain_name(item) for item in value]
        if all(names):
            yield name, names
        value = {str(place): item for place, item in enumerate(value)} if not all(names) else {}
    elif not isinstance(value, dict):
        yield name, value
        return
    for key, item in value.items() if isinstance(value, dict) else ():
        yield from _flat(f"{name}.{key}" if name else str(key), item)


def _is_beyond(value: Any) -> bool:
    """Whether a value is a whole number larger than any that can be measured."""
    return isinstance(value, int) and abs(value) > sys.float_info.max


def _number(value: Any) -> float | None:
    """A number that was logged; None for what is none."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
