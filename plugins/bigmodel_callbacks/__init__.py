"""Callbacks: early stopping, rates that follow the plateau, pruning, a table of epochs, TensorBoard."""

from __future__ import annotations

import bigmodel_core as bm
from bigmodel_callbacks.csv_logger import CsvLogger
from bigmodel_callbacks.early_stopping import EarlyStopping
from bigmodel_callbacks.prune import Prune
from bigmodel_callbacks.reduce_on_plateau import ReduceOnPlateau
from bigmodel_callbacks.tensor_board import TensorBoard

__all__ = ["CsvLogger", "EarlyStopping", "Prune", "ReduceOnPlateau", "TensorBoard"]


@bm.hookimpl
def bigmodel_callbacks() -> list[type[bm.Callback]]:
    """The callbacks of this package."""
    return [CsvLogger, EarlyStopping, Prune, ReduceOnPlateau, TensorBoard]
