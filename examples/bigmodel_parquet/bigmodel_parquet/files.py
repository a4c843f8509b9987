"""Parquet files: which are meant, what they say of themselves, and their rows, some at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import bigmodel_core as bm

from .columns import Misfit, plain_type, unusable

SUFFIXES = (".parquet", ".parq", ".pq")
PIECE = 4 << 20
"""Bytes of numbers that are read at a time."""


@dataclass(frozen=True)
class File:
    """A Parquet file.

    Args:
        path: where it is.
        metadata: what its footer says.
        schema: its columns.
    """

    path: Path
    metadata: pq.FileMetaData
    schema: pa.Schema

    @property
    def groups(self) -> list[int]:
        """How many rows each row group has."""
        return [self.metadata.row_group(number).num_rows for number in range(self.metadata.num_row_groups)]

    def batches(
        self, columns: Sequence[str], groups: Sequence[int] | None = None, rows: int = 1 << 16
    ) -> Iterator[pa.RecordBatch]:
        """Some columns of some row groups, a few rows at a time.

        Args:
            columns: their names.
            groups: the numbers of the row groups; None for all.
            rows: how many at a time, at most.

        Raises:
            DataError: the file is damaged.
        """
        chosen = range(self.metadata.num_row_groups) if groups is None else groups
        with reading(self.path), pq.ParquetFile(self.path, metadata=self.metadata, pre_buffer=False) as file:
            yield from file.iter_batches(rows, row_groups=list(chosen), columns=list(columns))

    def refusal(self, misfit: Misfit, advice: str = "") -> bm.errors.DataError:
        """The error about rows of a column that cannot be used: how many there are, and the first.

        Args:
            misfit: says the column, and what each row was expected to hold.
            advice: what else would do, besides mending the rows.
        """
        count, row, first, value = 0, 0, 0, None
        for batch in self.batches([misfit.column]):
            array = batch.column(misfit.column)
            wrong = unusable(array, misfit.shape).nonzero()[0]
            if len(wrong) and not count:
                first, value = row + int(wrong[0]), array[int(wrong[0])].as_py()
            count, row = count + len(wrong), row + batch.num_rows
        wanted = "a value" if misfit.shape == () else f"a list of {misfit.shape[0]} finite numbers"
        if len(misfit.shape) > 1:
            wanted = f"lists of shape {misfit.shape} of finite numbers"
        elif isinstance(value, float):
            wanted = "a finite number that float32 can hold"
        found = f"a list of {len(value)}" if isinstance(value, list) else "null" if value is None else value
        return bm.errors.DataError(
            f"{count:,} of {row:,} rows of column {misfit.column!r} {'do' if count != 1 else 'does'} not hold"
            f" {wanted}; the first is row {first} (from 0): {found}.",
            where=str(self.path),
            fix=f"fill them, or write the file without these rows{advice}.",
        )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Inside, what cannot be read is an error that names the file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).partition("\n")[0].rstrip(".")
        raise bm.errors.DataError(
            f"cannot read it as a Parquet file: {reason}.",
            where=str(path),
            fix="write or copy it again, or move it out of the folder.",
        ) from error


def opened(path: Path) -> File:
    """A file, of which the footer was read.

    Raises:
        DataError: it cannot be read, or two of its columns have one name.
    """
    with reading(path), pq.ParquetFile(path) as file:
        found = File(path, file.metadata, file.schema_arrow)
    names = found.schema.names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise bm.errors.DataError(
            f"two columns are called {twice[0]!r}.", where=str(path), fix="give each a name of its own."
        )
    return found


def all_files(name: str, data_dir: Path | None) -> list[File]:
    """The files of a data set, in the order of their paths.

    Args:
        name: of the data set; its folder in `BIGMODEL_DATA_DIR` is used if no place is named.
        data_dir: a file, or a folder of which all Parquet files are taken, those in its folders, too.

    Raises:
        DataError: there is none, or one cannot be read.
    """
    folders = (
        [bm.files.existing(Path(data_dir))] if data_dir is not None else bm.files.environment_folders(name)
    )
    if not folders:
        raise bm.errors.DataError(
            f"{name} needs a file or a folder to read.", where=name, fix="name it with --data-dir PLACE."
        )
    place = folders[0]
    if place.is_file():
        return [opened(place)]
    paths = sorted(
        path
        for path in place.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part[0] in "._" for part in path.relative_to(place).parts)
    )
    if not paths:
        raise bm.errors.DataError(
            "there is no Parquet file in it.",
            where=str(place),
            fix=f"name a folder with files that end in {', '.join(SUFFIXES)}, or a file.",
        )
    for path in paths:
        for part in path.relative_to(place).parts[:-1]:
            if "=" in part:
                raise bm.errors.DataError(
                    f"the folder {part} holds the values of a column that the files lack.",
                    where=str(path),
                    fix="write the files with this column, in folders without '=' in their names.",
                )
    return [opened(path) for path in paths]


def check_schemas(files: Sequence[File], columns: Sequence[str], others: bool) -> None:
    """Check that all files have the same columns, of the same types.

    Args:
        files: the first says what is expected of the others.
        columns: those that are read.
        others: whether a column beside them is an error, for it would be read.

    Raises:
        DataError: one lacks a column, has one more, or one of another type; names file and column.
    """
    first = files[0]
    for file in files[1:]:
        names = file.schema.names
        for column in columns:
            if column not in names:
                raise bm.errors.DataError(
                    f"there is no column {column!r}, which {first.path.name} has; there are"
                    f" {', '.join(names[:20])}.",
                    where=str(file.path),
                    fix="write all files with the same columns, or choose others with columns and target.",
                )
            wanted, found = (each.schema.field(column).type for each in (first, file))
            if plain_type(wanted) != plain_type(found):
                raise bm.errors.DataError(
                    f"column {column!r} is {found}, but {wanted} in {first.path.name}.",
                    where=str(file.path),
                    fix="write the column with one type in all files.",
                )
        more = [name for name in names if name not in columns]
        if others and more:
            raise bm.errors.DataError(
                f"there is a column {more[0]!r}, which {first.path.name} lacks.",
                where=str(file.path),
                fix=f"write all files with the same columns, or say which to read: columns={columns[0]},...",
            )
