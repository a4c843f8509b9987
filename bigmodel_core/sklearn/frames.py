"""DataFrames whose columns are of several kinds: words, dates, truth values, numbers with gaps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np

from bigmodel_core.data.cells import Kind, kind_of
from bigmodel_core.data.columns import Column, Columns, Form
from bigmodel_core.data.table_files import GAPS_OF_FRAMES, frame_cells
from bigmodel_core.errors import DataError, EstimatorError

_KINDS: tuple[tuple[str, Kind], ...] = (
    ("int", "number"),
    ("uint", "number"),
    ("float", "number"),
    ("decimal", "number"),
    ("bool", "bool"),
    ("date", "date"),
    ("categor", "category"),
    ("enum", "category"),
)
"""What columns hold, by how their types begin."""


def kinds_of(frame: Any) -> dict[str, Kind | None] | None:
    """What the columns of a DataFrame hold, None where their cells say it; None if it is no DataFrame, or all
    are numbers without gaps.

    Args:
        frame: what was passed as samples.
    """
    if not hasattr(frame, "columns") or not hasattr(frame, "shape") or frame.shape[0] == 0:
        return None
    names = list(frame.columns)
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        return None
    found = {name: _kind(frame[name].dtype) for name in names}
    is_plain = all(kind in ("number", "bool") for kind in found.values())
    return None if is_plain and not any(_has_gaps(frame[name]) for name in names) else found


def _has_gaps(column: Any) -> bool:
    values = np.asarray(column)
    if values.dtype.kind == "f":
        return bool(np.isnan(values).any())
    return values.dtype == object and any(str(value) in GAPS_OF_FRAMES for value in values)


def _kind(dtype: Any) -> Kind | None:
    name = str(dtype).lower()
    return next((kind for start, kind in _KINDS if name.startswith(start)), None)


def check_frame(frame: Any, names: Sequence[str]) -> None:
    """Raise unless samples are in a DataFrame, as those of the training were.

    Raises:
        EstimatorError: they are not.
    """
    if not hasattr(frame, "columns"):
        raise EstimatorError(
            f"X is {type(frame).__name__}, expected a DataFrame, as in training.",
            where="X",
            fix=f"pass one with the columns {', '.join(names[:20])}.",
        )


def cells_of(frame: Any, names: Sequence[str]) -> np.ndarray:
    """The cells of columns as texts, (n, columns); gaps are empty."""
    found = np.empty((frame.shape[0], len(names)), object)
    for place, name in enumerate(names):
        found[:, place] = frame_cells(frame, name)
    return found


def fitted_columns(cells: np.ndarray, kinds: Mapping[str, Kind | None], form: str) -> Columns:
    """How the columns become samples.

    Args:
        cells: of the rows that are trained on.
        kinds: what the columns hold, in their order; None where the cells are to say it.
        form: how categories are seen, as `Columns` says it.

    Raises:
        EstimatorError: no column tells anything, or a cell is not of the kind of its column.
    """
    made = []
    for place, (name, said) in enumerate(kinds.items()):
        column = [cell.strip() for cell in cells[:, place]]
        kind = said if said not in (None, "number") else kind_of(name, column)
        if kind is not None and kind != "id":
            with _as_value_error():
                made.append(Column.fitted(name, kind, column, cast(Form, form)))
    found = tuple(column for column in made if column.features())
    if not found:
        raise EstimatorError("no column tells one row from another.", where="X", fix="pass other columns.")
    return Columns(found, cast(Form, form))


def samples(cells: np.ndarray, names: Sequence[str], columns: Columns) -> Any:
    """Samples as the model sees them.

    Args:
        cells: of all rows.
        names: of the columns of the cells.
        columns: how they become samples.

    Raises:
        EstimatorError: a cell is not of the kind of its column.
    """
    with _as_value_error():
        return columns.apply({name: cells[:, place].tolist() for place, name in enumerate(names)})


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Errors of cells become those that callers of scikit-learn expect."""
    try:
        yield
    except DataError as error:
        fix = "write it so, leave it empty, or leave the column out."
        raise EstimatorError(error.message, where=error.where, fix=fix) from error
