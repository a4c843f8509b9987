"""The data set: options, columns by name, splits, and what is kept with a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, get_args

import numpy as np

import bigmodel_core as bm

if TYPE_CHECKING:  # pyarrow is imported when a file is read
    from .columns import Layout
    from .files import File
    from .row_groups import Reader, RowGroups


@dataclass(frozen=True)
class Parquet(bm.Dataset):
    """A table in Parquet files: each row a sample, one column the target, the others its features.

    Features are numbers, booleans and lists of one length; they are read by row group when a batch needs
    them, and never all at once. The target column is held in memory. Features, and the targets of regression,
    are standardised with the mean and deviation of the training rows, which are computed while loading.

    Args:
        target: name or number of the target column; numbers count from 0, negative ones from the end.
        columns: names of the features; None for all columns but the target.
        task: "classification", "binary" or "regression". None decides by the target: texts and booleans are
            classes, and so are at most 20 different integers; all else is regression.
        test_fraction: share of the rows to hold out as test split; classes keep their proportions.
        seed: key of the choice of test rows.
        standardise: whether features are; if not, they come as they are, integers as int64 if all are.
        cache: MiB of decoded samples that are held. The larger it is beside a row group, the better training
            samples are mixed.

    `data_dir` is a file, or a folder of which all Parquet files are read.
    """

    name: ClassVar[str] = "parquet"
    target: int | str = -1
    columns: tuple[str, ...] | None = None
    task: str | None = None
    test_fraction: float = 0.2
    seed: int = 0
    standardise: bool = True
    cache: int = 512

    def __post_init__(self) -> None:
        if self.task is not None and self.task not in get_args(bm.Task):
            raise bm.errors.ConfigError(
                f"task is {self.task!r}, expected one of {', '.join(get_args(bm.Task))}.", where="parquet"
            )
        if self.columns is not None and (not self.columns or len(set(self.columns)) < len(self.columns)):
            raise bm.errors.ConfigError(
                f"columns are {', '.join(self.columns) or 'none'}, expected different names.", where="parquet"
            )
        bm.check_number(self, "test_fraction", above=0, below=1)
        bm.check_number(self, "cache", whole=True, at_least=1)

    def load(self, data_dir: Path | None = None, like: bm.Encoding | None = None) -> bm.Data:
        """The data; x is (n, ...) float32 that is read on demand, y is (n,) int64 labels or (n, 1) float32.

        Where the files lack the target of the model that `like` tells of, the splits have no targets.

        Raises:
            DataError: no file, one that cannot be read, files that differ, or values that cannot be used;
                names file and column. Columns or classes that `like` does not know; names them.
            ConfigError: a column that is not there.
        """
        from .files import all_files
        from .row_groups import RowGroups
        from .targets import read_target

        files = all_files(self.name, data_dir)
        where = files[0].path if len(files) == 1 or data_dir is None else Path(data_dir)
        target = self._target(files[0], like)
        reader = self._reader(files, target, like)
        count = sum(file.metadata.num_rows for file in files)
        if count < 2:
            raise bm.errors.DataError(
                f"there is {count} row of data, expected at least two.",
                where=str(where),
                fix="training and testing need one row each.",
            )
        found = None if target is None else read_target(files, target, self.task, like)
        classes = None if found is None or found.labels is None else found.y
        kept, held_out = bm.split_indices(count, self.test_fraction, self.seed, classes=classes)
        steps, scaling = self._steps(files, reader, kept, found, like)
        y = None if found is None else found.y
        if scaling is not None and y is not None:
            y = scaling.apply(y)
        source = RowGroups(files, reader, steps, self.cache << 20)
        everything = bm.Split(source, y)
        known = found or like
        assert known is not None  # without a target column there is a model that predicts it
        title = target or ("" if like is None else like.target)
        task = known.task or "regression"
        reading = "" if found is None else f"target {title} read as {found.reading}"
        return bm.Data(
            name=self.name,
            train=everything.take(kept),
            test=everything.take(held_out),
            labels=known.labels,
            task=task,
            preprocessing=steps,
            target_preprocessing=scaling,
            features=reader.features,
            target=title,
            input_meaning=f"columns: {', '.join(reader.layout.columns)}",
            source=f"{where.name}, {len(files)} Parquet file{'s' * (len(files) > 1)}, {count} rows",
            notes=tuple(note for note in (reading, _mixing(source, self.cache)) if note),
            made_by=replace(self, task=task, target=title),
        )

    @classmethod
    def example(cls, folder: Path) -> None:
        """Write two files of small row groups: three classes, which two numbers tell apart."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        random = np.random.default_rng(0)
        for part in range(2):
            kind = random.integers(0, 3, 60)
            size = random.normal(size=(60, 2)) + 3 * np.eye(3)[kind][:, :2]
            columns = {
                "width": size[:, 0],
                "height": size[:, 1].astype("float32"),
                "is_new": kind > 0,
                "kind": pa.array(np.array(["a", "b", "c"])[kind]).dictionary_encode(),
            }
            pq.write_table(pa.table(columns), folder / f"part-{part}.parquet", row_group_size=16)

    def _steps(
        self,
        files: Sequence[File],
        reader: Reader,
        kept: np.ndarray,
        found: bm.Target | None,
        like: bm.Encoding | None,
    ) -> tuple[bm.Preprocessing | None, bm.Preprocessing | None]:
        """What is done to samples and to targets that are numbers: as in training, or fitted to those kept.

        Raises:
            DataError: samples are of another shape than in training.
        """
        from .fitting import standardising

        if like is not None:
            steps = like.preprocessing
            if steps is not None and steps.raw_shape != reader.shape:
                raise bm.errors.DataError(
                    f"samples have shape {reader.shape}, the model was trained with {steps.raw_shape}.",
                    where=str(files[0].path),
                    fix="name the columns of the training data, with lists of the same length.",
                )
            return steps, like.target_preprocessing
        scaling = None
        if found is not None and found.labels is None:
            scaling = standardising([found.y[kept]], (1,))
        if not self.standardise:
            return None, scaling
        is_kept = np.zeros(sum(file.metadata.num_rows for file in files), bool)
        is_kept[kept] = True
        return standardising(_kept(files, reader, is_kept), reader.shape), scaling

    def _target(self, first: File, like: bm.Encoding | None) -> str | None:
        """The name of the target column; None if a model is to predict it.

        Raises:
            ConfigError: there is no such column.
        """
        names = first.schema.names
        if isinstance(self.target, str) and self.target in names:
            return self.target
        if like is not None and like.target:
            if like.target in names:
                return like.target
            if self.target in (like.target, type(self).target):
                return None
        number = self.target
        if isinstance(number, str):
            if not number.removeprefix("-").isdecimal():
                raise bm.errors.ConfigError(
                    f"no column is called {number!r}; there are {', '.join(names[:20])}.",
                    where=str(first.path),
                    fix="set target to the name or number of one column.",
                )
            number = int(number)
        if not -len(names) <= number < len(names):
            raise bm.errors.ConfigError(
                f"target is column {number}, expected {-len(names)} to {len(names) - 1}.",
                where=str(first.path),
                fix="columns count from 0; -1 is the last.",
            )
        return names[number]

    def _reader(self, files: Sequence[File], target: str | None, like: bm.Encoding | None) -> Reader:
        """What makes samples of rows, in the order of a model's features if it is known.

        Raises:
            DataError: columns are missing or unknown, hold no numbers, or files differ.
            ConfigError: a column that is not there, or is the target.
        """
        from .columns import is_whole
        from .files import check_schemas
        from .row_groups import Reader

        first, schema = files[0], files[0].schema
        columns = self.columns or tuple(name for name in schema.names if name != target)
        missing = [name for name in columns if name not in schema.names]
        if missing or target in columns or not columns:
            problem = f"no column is called {missing[0]!r}" if missing else "there is no column of features"
            if target in columns:
                problem = f"the target {target} is among the features"
            raise bm.errors.ConfigError(
                f"{problem}; there are {', '.join(schema.names[:20])}.",
                where=str(first.path),
                fix="set columns to the names of features, and target to another column.",
            )
        read = columns if target is None else (*columns, target)
        check_schemas(files, read, others=self.columns is None)
        layout, order = _layout(files, columns), None
        names, wanted = layout.features, None if like is None else like.features
        if names is not None and wanted is not None:
            order = bm.conforming.columns_in_order(names, wanted, str(first.path))
        is_standard = like.preprocessing is not None if like is not None else self.standardise
        whole = all(is_whole(schema.field(column).type) for column in columns)
        return Reader(
            layout,
            None if order is None else tuple(order),
            np.float64 if is_standard else np.int64 if whole else np.float32,
            "" if len(columns) == 1 else ", or leave the column out with columns=NAME,NAME",
        )


def _layout(files: Sequence[File], columns: tuple[str, ...]) -> Layout:
    """How columns make a sample.

    Raises:
        DataError: a column holds no numbers, or arrays beside other columns; says what could be read.
    """
    from .columns import Layout, holds_numbers

    first = files[0]
    usable = [name for name in columns if holds_numbers(first.schema.field(name).type)]
    if len(usable) < len(columns):
        name = next(name for name in columns if name not in usable)
        others = f"leave it out: columns={','.join(usable)}" if usable else "write columns of numbers"
        raise bm.errors.DataError(
            f"column {name!r} is {first.schema.field(name).type}, expected numbers, booleans or lists of"
            " them.",
            where=str(first.path),
            fix=f"{others}; or write what a model shall see of it as numbers.",
        )
    layout = Layout(columns, tuple(_shape(files, name) for name in columns))
    arrays = [name for name, shape in zip(columns, layout.shapes, strict=True) if len(shape) > 1]
    if arrays and len(columns) > 1:
        raise bm.errors.DataError(
            f"column {arrays[0]!r} holds arrays of shape {layout.shapes[columns.index(arrays[0])]}, beside"
            " which no other can be read.",
            where=str(first.path),
            fix=f"read it alone, with columns={arrays[0]}, or leave it out.",
        )
    if 0 in layout.shape:
        raise bm.errors.DataError(
            "its lists are empty.", where=str(first.path), fix="write lists of at least one number."
        )
    return layout


def _shape(files: Sequence[File], column: str) -> tuple[int, ...]:
    """What the first row holds in a column.

    Raises:
        DataError: nothing, or lists that differ in length.
    """
    import pyarrow as pa

    from .columns import Misfit, numbers

    kind = files[0].schema.field(column).type
    if not pa.types.is_nested(kind) and not isinstance(kind, pa.BaseExtensionType):
        return ()
    for file in files:
        for batch in file.batches([column], rows=1):
            try:
                return numbers(batch.column(column)).shape[1:]
            except ValueError:
                raise file.refusal(Misfit(column, (1,))) from None
    return ()


def _kept(files: Sequence[File], reader: Reader, is_kept: np.ndarray) -> Iterator[np.ndarray]:
    """The raw samples that training sees, some at a time."""
    start = 0
    for file in files:
        for piece in reader.pieces(file):
            yield piece[is_kept[start : start + len(piece)]]
            start += len(piece)


def _mixing(source: RowGroups, cache: int) -> str:
    """What a user may want to know of how samples are mixed; nothing if all of them are at hand."""
    count, held = len(source.parts), source.held
    if held >= count:
        return ""
    size = source.block_bytes / 2**20
    note = f"samples are shuffled within {held} of {count} blocks of rows at a time (cache={cache} MiB)"
    if held < 4:
        note += f"; a row group takes up to {size:.0f} MiB: smaller ones, or a larger cache, mix better"
    return note
