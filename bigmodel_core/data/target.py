"""What a data set read a column of targets as."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bigmodel_core.data.encoding import Task


@dataclass(frozen=True)
class Target:
    """What a column of targets was read as: classes or numbers.

    Args:
        y: (n,) int64 class numbers, or (n, 1) float64 values.
        task: "classification", "binary" or "regression".
        labels: the names of the classes; None for numbers.
        why: what led to this reading, and how to have the other one.
    """

    y: np.ndarray
    task: Task
    labels: tuple[str, ...] | None
    why: str = ""

    @property
    def what(self) -> str:
        """What it was read as, in a few words."""
        if self.labels is None:
            return "numbers"
        some = ", ".join(self.labels[:5]) + (", ..." if len(self.labels) > 5 else "")
        return f"{len(self.labels)} classes ({some})"

    @property
    def reading(self) -> str:
        """The same, with the reason."""
        return f"{self.what}{self.why and ': '}{self.why}"
