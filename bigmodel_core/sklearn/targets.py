"""What an estimator learns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import train_test_split

from bigmodel_core.data.encoding import Task
from bigmodel_core.errors import ConfigError, EstimatorError


@dataclass(frozen=True)
class Targets:
    """What is to be learned.

    Args:
        y: (n,) numbers of classes, or (n, k) numbers.
        task: as a data set says it.
        labels: the names of the classes.
    """

    y: np.ndarray
    task: Task
    labels: tuple[str, ...] | None = None

    def parted(self, fraction: float, seed: int, where: str) -> tuple[np.ndarray, np.ndarray]:
        """Which samples are trained on and which are held out; classes keep their shares, if they can.

        Args:
            fraction: the share to hold out.
            seed: decides which.
            where: the estimator, for messages.

        Raises:
            ConfigError: it is no share.
            EstimatorError: there are too few samples.
        """
        count = len(self.y)
        if not 0 < fraction < 1:
            raise ConfigError(
                f"validation_fraction is {fraction!r}, expected more than 0 and less than 1.",
                where=where,
            )
        held_out = int(np.ceil(fraction * count))
        if count - held_out < 1 or held_out < 1:
            raise EstimatorError(
                f"{count} samples are too few to hold {fraction} of them out.",
                where="fit",
                fix="pass more samples, or early_stopping=False.",
            )
        by = None
        if self.labels is not None:
            counts = np.bincount(self.y)
            known = int((counts > 0).sum())
            if counts[counts > 0].min() > 1 and known <= min(held_out, count - held_out):
                by = self.y
        kept, rest = train_test_split(np.arange(count), test_size=held_out, random_state=seed, stratify=by)
        return kept, rest
