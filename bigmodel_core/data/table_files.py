"""Tables in files, as rows of cells: CSV and TSV, JSON lines and Parquet, gzipped or not."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from bigmodel_core.data.files import reading
from bigmodel_core.errors import DataError
from bigmodel_core.extras import optional

JSON = (".jsonl", ".ndjson")
SUFFIXES = (".csv", ".tsv", *JSON, ".parquet")
"""What the names of such files end in, before ".gz" if they are gzipped."""
Rows = list[tuple[int, list[str]]]


def suffix_of(path: Path) -> str:
    """What the name of a file ends in, without ".gz".

    >>> suffix_of(Path("people.CSV.gz"))
    '.csv'
    """
    return Path(path.stem if path.suffix.lower() == ".gz" else path.name).suffix.lower()


def names_columns(path: Path) -> bool:
    """Whether files of the kind always name their columns."""
    return suffix_of(path) in (*JSON, ".parquet")


def read_rows(path: Path, delimiter: str, quoted: bool = True) -> Rows:
    """The rows of a table that are not blank, with their line numbers; all have as many cells.

    Of JSON lines, an object in each, and Parquet, the first row names the columns. What they lack is an empty
    cell.

    Args:
        path: the file.
        delimiter: between cells; of a `.tsv` it is a tab.
        quoted: whether quotes around a cell are no part of it.

    Raises:
        DataError: it cannot be read, has no row, or rows differ in length; names the line.
        MissingPackageError: it is Parquet, and pyarrow is not installed.
    """
    suffix = suffix_of(path)
    if suffix == ".parquet":
        rows = list(_parquet_rows(path))
    elif suffix in JSON:
        rows = _json_rows(path)
    else:
        rows = _csv_rows(path, "\t" if suffix == ".tsv" and delimiter == "," else delimiter, quoted)
    if not rows:
        raise DataError("the file has no rows.", where=str(path), fix="name a file with data.")
    width = len(rows[0][1])
    for line, cells in rows:
        if len(cells) != width:
            raise DataError(
                f"{len(cells)} cells, expected {width} as in the first row.",
                where=f"{path}, line {line}",
                fix="give every row the same cells; quote cells that hold the delimiter.",
            )
    return rows


GAPS_OF_FRAMES = frozenset(("nan", "NaN", "NaT", "None", "<NA>"))
"""How gaps of DataFrames are written as texts."""


def is_frame(what: object) -> bool:
    """Whether something is a DataFrame, of pandas, polars or their kin: rows under names."""
    return all(hasattr(what, name) for name in ("columns", "shape", "__getitem__"))


def frame_cells(frame: Any, name: str) -> list[str]:
    """The cells of a column of a DataFrame as texts; gaps are empty."""
    return ["" if (text := str(value)) in GAPS_OF_FRAMES else text for value in frame[name]]


def frame_rows(frame: Any) -> Rows:
    """The rows of a DataFrame as those of a file that names its columns.

    Raises:
        DataError: columns have no names, or there are two of a name.
    """
    names = list(frame.columns)
    if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise DataError(
            f"its columns are {', '.join(map(repr, names[:10]))}, expected a text for each, no two the same.",
            where="DataFrame",
            fix="name its columns.",
        )
    columns = [frame_cells(frame, name) for name in names]
    return [(0, names), *((row, list(cells)) for row, cells in enumerate(zip(*columns, strict=True)))]


def _opened(path: Path) -> TextIO:
    if path.suffix.lower() == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _csv_rows(path: Path, delimiter: str, quoted: bool) -> Rows:
    rows: Rows = []
    with reading(path), _opened(path) as stream:
        quoting: Any = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        reader = csv.reader(stream, delimiter=delimiter, strict=True, quoting=quoting)
        try:
            rows.extend((reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells))
        except csv.Error as error:
            raise DataError(
                f"cannot read the row: {error}.",
                where=f"{path}, line {reader.line_num}",
                fix="check the quotes of this row.",
            ) from error
    return rows


def _json_rows(path: Path) -> Rows:
    objects: list[tuple[int, dict[str, Any]]] = []
    with reading(path), _opened(path) as stream:
        for line, text in enumerate(stream, 1):
            if not text.strip():
                continue
            try:
                item = json.loads(text)
            except ValueError as error:
                raise DataError(
                    f"it is no JSON: {error}.", where=f"{path}, line {line}", fix="write an object a line."
                ) from None
            if not isinstance(item, dict):
                raise DataError(
                    f"it is a {type(item).__name__}, expected an object.", where=f"{path}, line {line}"
                )
            objects.append((line, item))
    names = list(dict.fromkeys(name for _, item in objects for name in item))
    rows: Rows = [(0, names)]
    for line, item in objects:
        rows.append((line, [_cell(item.get(name), name, f"{path}, line {line}") for name in names]))
    return rows if objects else []


def _parquet_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    optional("pyarrow", "table", "Parquet files")
    parquet = optional("pyarrow.parquet", "table", "Parquet files")
    with reading(path):
        try:
            file = parquet.ParquetFile(path)
        except (ValueError, RuntimeError) as error:
            raise DataError(
                f"it is no Parquet: {error}.", where=str(path), fix="name another file."
            ) from error
    names = list(file.schema_arrow.names)
    yield 0, names
    line = 0
    for batch in file.iter_batches():
        for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            line += 1
            yield (
                line,
                [_cell(cell, name, f"{path}, row {line}") for cell, name in zip(cells, names, strict=True)],
            )


def _cell(value: Any, name: str, where: str) -> str:
    """A value as a cell has it."""
    if isinstance(value, (dict, list)):
        raise DataError(
            f"'{name}' is a {type(value).__name__}, expected a number, a text, a date or nothing.",
            where=where,
            fix="give each of its parts a column of its own.",
        )
    if value is None:
        return ""
    return value if isinstance(value, str) else str(value)
