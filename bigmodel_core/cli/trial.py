"""A trial of a search, once it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bigmodel_core.cli.terminal import metric


@dataclass(frozen=True)
class Trial:
    """A trial that is done.

    Args:
        number: from 1.
        folder: of its run.
        values: its options, as typed.
        score: the monitored measure in its best epoch; None if it failed.
        epochs: how many it trained.
        is_pruned: whether it was ended early.
        is_given: whether it is the experiment as it was given.
        error: why it failed.
    """

    number: int
    folder: Path
    values: Mapping[str, str]
    score: float | None
    epochs: int
    is_pruned: bool = False
    is_given: bool = False
    error: str = ""

    @property
    def outcome(self) -> str:
        """How it ended, in a few words."""
        if self.error:
            return f"failed: {self.error}"
        return f"pruned after {self.epochs} epochs" if self.is_pruned else ""

    def to_dict(self) -> dict[str, Any]:
        """The trial as plain values."""
        return {
            "number": self.number,
            "folder": str(self.folder),
            "values": dict(self.values),
            "score": self.score,
            "epochs": self.epochs,
            "pruned": self.is_pruned,
            "as_given": self.is_given,
            "error": self.error or None,
        }


def told(trial: Trial, monitor: str | None) -> str:
    """A trial in a line."""
    values = "  ".join(f"{name.removeprefix('train.')}={text}" for name, text in trial.values.items())
    score = "" if trial.score is None else f"{monitor} {metric(trial.score)}"
    return "  ".join(part for part in (score, values, trial.outcome) if part)
