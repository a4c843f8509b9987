"""Rows of a table that belong together, such as those of one customer, and stay in one split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError
from bigmodel_datasets.csv_file import Table


def parted_by_groups(
    table: Table,
    column: int,
    parts: Mapping[str, np.ndarray],
    test_fraction: float,
    validation_fraction: float,
    seed: int,
) -> dict[str, np.ndarray]:
    """The rows of each split, so that those with one cell in a column are all in one.

    Args:
        table: the rows.
        column: the number of the column; each gap is a group of its own.
        parts: the rows of the splits that files are.
        test_fraction: share of the rows to test on.
        validation_fraction: share of the others to validate with.
        seed: key of the choice.

    Raises:
        DataError: there are fewer groups than splits, or files of several splits share a group.
    """
    cells, title = _cells(table, column), table.names[column]
    found = dict(parts)
    for name, fraction in (("test", test_fraction), ("validation", validation_fraction)):
        if name not in found:
            rows = found["train"]
            if len(np.unique(cells[rows])) < 2:
                raise DataError(
                    f"the column {title} has {len(np.unique(cells))} groups, too few for all splits.",
                    where=str(table.path),
                    fix="name another column with groups, or leave it out.",
                )
            kept, held_out = bm.split_groups(cells[rows], fraction, seed)
            found |= {"train": rows[kept], name: rows[held_out]}
    for name in ("test", "validation"):
        if len(same := np.intersect1d(cells[found["train"]], cells[found[name]])):
            raise DataError(
                f"rows of {title} {str(same[0])[1:]!r} are in the files of training and of {name}.",
                where=str(table.path),
                fix="put all rows of a group into one of the files.",
            )
    return found


def groups_told(table: Table, column: int, parts: Mapping[str, np.ndarray]) -> str:
    """How many groups each split has, in a sentence."""
    cells = _cells(table, column)
    counts = [f"{len(np.unique(cells[rows]))} for {part}" for part, rows in parts.items()]
    return f"kept together by {table.names[column]}: {', '.join(counts)}"


def _cells(table: Table, column: int) -> np.ndarray:
    cells = [(row[column].strip(), number) for number, (_, row) in enumerate(table.rows)]
    return np.array([f"row {number}" if bm.cells.is_gap(cell) else f"={cell}" for cell, number in cells])
