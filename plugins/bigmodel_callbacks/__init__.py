"""Callbacks: early stopping, a learning rate that follows the plateau, a table of the epochs."""

from __future__ import annotations

from bigmodel_callbacks.csv_logger import CsvLogger
from bigmodel_callbacks.early_stopping import EarlyStopping
from bigmodel_callbacks.reduce_on_plateau import ReduceOnPlateau
from bigmodel_core.registry.hookspecs import hookimpl
from bigmodel_core.train.callback import Callback

__all__ = ["CsvLogger", "EarlyStopping", "ReduceOnPlateau"]


@hookimpl
def bigmodel_callbacks() -> list[type[Callback]]:
    """The callbacks of this package."""
    return [CsvLogger, EarlyStopping, ReduceOnPlateau]
