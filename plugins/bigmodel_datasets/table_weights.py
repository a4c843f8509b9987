"""What the rows of a table count in the loss."""

from __future__ import annotations

import numpy as np

from bigmodel_core.errors import ConfigError, DataError
from bigmodel_datasets.csv_file import Table


def row_weights(
    table: Table, column: int | None, class_weights: str | None, labels: np.ndarray | None, kept: np.ndarray
) -> np.ndarray | None:
    """What each row counts, (n,); None if all count alike.

    Args:
        table: the table.
        column: the number of the column that says it.
        class_weights: "balanced" lets the classes of the rows that are trained on count alike.
        labels: the class of each row; None for numbers.
        kept: the rows that are trained on.

    Raises:
        DataError: a cell is no number, or negative.
        ConfigError: there are no classes to balance.
    """
    weight = None if column is None else _cells(table, column)
    if class_weights is None:
        return weight
    if labels is None:
        raise ConfigError(
            "class_weights is set, and the target holds numbers.",
            where=str(table.path),
            fix="leave it out, or set task=classification.",
        )
    counts = np.bincount(labels[kept], minlength=int(labels.max()) + 1)
    each = len(kept) / ((counts > 0).sum() * np.maximum(counts, 1))
    balanced = each[labels].astype(np.float32)
    return balanced if weight is None else weight * balanced


def _cells(table: Table, column: int) -> np.ndarray:
    found = np.array([table.number(row, column) for row in table.rows], np.float32)
    if (found < 0).any():
        line, cells = table.rows[int((found < 0).argmax())]
        raise DataError(
            f"the weight is {cells[column].strip()}, expected at least 0.",
            where=f"{table.path}, line {line}, column {column + 1} ({table.names[column]})",
            fix="write how much the row counts, 0 for nothing.",
        )
    return found
