"""The epochs of a run as a table."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bigmodel_core as bm
from bigmodel_core.errors import CheckpointError, DataError


@dataclass(frozen=True)
class CsvLogger(bm.Callback):
    """Writes the logs of all epochs to a CSV file, one row each, at the end of every epoch.

    Args:
        path: the file, in the run's folder if training has one (`out=`) and the path is relative. What is
            there is replaced when the first epoch is done.
    """

    path: str = "metrics.csv"

    def on_train_begin(self, trainer: bm.Trainer) -> None:
        """Say now, not after the first epoch, that the file cannot be written."""
        path = self._place(trainer)
        is_ours = trainer.out is not None and not Path(self.path).is_absolute()
        if not is_ours and not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
            raise _unwritable(path, "its folder is missing, or cannot be written to")

    def on_epoch_end(self, trainer: bm.Trainer, epoch: int, logs: Mapping[str, Any]) -> None:
        """Write the epochs, whole or not at all."""
        rows = [*trainer.state.history, logs]
        names = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(names)
        writer.writerows([row.get(name, "") for name in names] for row in rows)
        path = self._place(trainer)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            bm.write_atomically(path, [text.getvalue().encode()])
        except CheckpointError as error:
            raise _unwritable(path, error.message.rpartition(": ")[2].rstrip(".")) from error
        except OSError as error:
            raise _unwritable(path, error.strerror or str(error)) from error

    def _place(self, trainer: bm.Trainer) -> Path:
        return Path(self.path) if trainer.out is None else trainer.out / self.path


def _unwritable(path: Path, reason: str) -> DataError:
    return DataError(
        f"cannot write the table of epochs: {reason}.",
        where=str(path),
        fix="choose a writable place.",
    )
