"""The epochs of a run as a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel_core.callback import Callback
from bigmodel_core.errors import DataError

if TYPE_CHECKING:
    from bigmodel_core.train.trainer import Trainer


@dataclass(frozen=True)
class CsvLogger(Callback):
    """Writes the logs of each epoch as a row of a CSV file; a resumed run writes the rows of before, too.

    Args:
        path: the file, in the run's folder where training has one (`out=`) and the path is relative; what is
            there is replaced when training begins.
    """

    path: str = "metrics.csv"

    def on_train_begin(self, trainer: Trainer) -> None:
        """Write the epochs that are done already."""
        self._write(self._place(trainer), trainer.state.history, trainer.state.history, "w")

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: Mapping[str, Any]) -> None:
        """Write the epoch."""
        before: Sequence[Mapping[str, Any]] = trainer.state.history
        self._write(self._place(trainer), [logs], before or [logs], "a" if before else "w")

    def _place(self, trainer: Trainer) -> Path:
        if trainer.out is None:
            return Path(self.path)
        trainer.out.mkdir(parents=True, exist_ok=True)
        return trainer.out / self.path

    @staticmethod
    def _write(
        path: Path, rows: Sequence[Mapping[str, Any]], every: Sequence[Mapping[str, Any]], mode: str
    ) -> None:
        names = list(every[0]) if every else []
        try:
            with open(path, mode, newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                if mode == "w" and rows:
                    writer.writerow(names)
                writer.writerows([row.get(name, "") for name in names] for row in rows)
        except OSError as error:
            raise DataError(
                f"cannot write the table of epochs: {error.strerror or error}.",
                where=str(path),
                fix="choose a place that can be written to.",
            ) from error
