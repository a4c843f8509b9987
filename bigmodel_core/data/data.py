"""Data that are ready for a model: splits, and what was decided while they were loaded."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from bigmodel_core.data.arrays import cast
from bigmodel_core.data.columns import Columns
from bigmodel_core.data.encoding import Encoding, Task
from bigmodel_core.data.like import encoding_of
from bigmodel_core.data.preprocessing import Preprocessing
from bigmodel_core.data.ragged import free_axis
from bigmodel_core.data.sampling import split_indices
from bigmodel_core.data.source import Source
from bigmodel_core.data.split import Split
from bigmodel_core.data.tokenizer import Tokenizer
from bigmodel_core.data.tree import mapped
from bigmodel_core.errors import BigmodelError, ConfigError, DataError

if TYPE_CHECKING:
    from bigmodel_core.data.dataset import Dataset


@dataclass(frozen=True, eq=False)
class Data:
    """A data set ready for a model, in memory or read on demand.

    x of every split is made C-contiguous float32 (integers, such as token ids, become int64); images are
    (n, C, H, W). A `Source` stays one, and a tuple or dict of inputs too. Class labels become int64;
    regression targets become float32 (n, k), where a vector of n becomes (n, 1). Several labels
    a sample are 0 and 1 for each label, (n, k) float32.

    Args:
        name: what the data set is called.
        train, test, validation: the splits; all have samples of one shape.
        labels: class names by label; None if classes have none, and for regression.
        task: "classification", "binary" (two classes, labels 0 and 1), "multilabel" (any number of labels a
            sample) or "regression".
        preprocessing: how x was made from raw input; None if x is raw.
        input_meaning: one phrase for people: what one sample is.
        source: where the data came from, with its licence.
        target_preprocessing: how y was made from the recorded targets, for regression; None if y is raw.
        features: the names of the columns of x, if it has some.
        target: the name of the column of targets.
        tokenizer: what made tokens of texts; x is then tokens, -1 where there is none.
        target_tokenizer: what made tokens of targets that are texts.
        ignore: a label that counts nothing in losses and metrics, such as -1 where a text has ended.
        category_sizes: how many codes each column of categories has, of a table that has some.
        columns: how the cells of a table became x, where not all of it are plain numbers.
        notes: decisions that a user may want to change, one sentence each.
        made_by: the data set, with all options as decided; that which loads it if None.
        data_dir: the file or folder it was read from, if one was named.

    Raises:
        DataError: empty splits, splits that do not fit together, or labels out of range.
    """

    name: str
    train: Split
    test: Split
    validation: Split | None = None
    labels: tuple[str, ...] | None = None
    task: Task = "classification"
    preprocessing: Preprocessing | None = None
    input_meaning: str = ""
    source: str = ""
    target_preprocessing: Preprocessing | None = None
    features: tuple[str, ...] | None = None
    target: str = ""
    notes: tuple[str, ...] = ()
    made_by: Dataset | None = None
    data_dir: Path | None = None
    tokenizer: Tokenizer | None = None
    target_tokenizer: Tokenizer | None = None
    ignore: int | None = None
    category_sizes: tuple[int, ...] | None = None
    columns: Columns | None = None

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise ConfigError(
                f"task is {self.task!r}, expected one of {', '.join(get_args(Task))}.", where=self.name
            )
        for part, split in self.splits().items():
            where = f"{self.name}/{part}"
            if len(split) == 0:
                raise DataError(
                    "there are no samples.", where=where, fix="give every split at least one sample."
                )
            if (found := _sample_shape(split.x)) != self.input_shape:
                raise DataError(f"samples have shape {found}, but {self.input_shape} in train.", where=where)
            x = mapped(functools.partial(_model_input, where=where), split.x)
            y = self._targets(split.y, where)
            object.__setattr__(
                self, part, Split(x, y, split.reach, self.encoding, split.weight, split.columns)
            )

    def _targets(self, y: Any, where: str) -> Any:
        if not isinstance(y, np.ndarray):  # none, several, or read when they are needed
            return y
        if self.task == "regression":
            if y.dtype.kind not in "fiu":
                raise DataError(f"targets are {y.dtype}, expected real numbers.", where=where)
            return _cast(y.reshape(-1, 1) if y.ndim == 1 else y, np.float32, "target", where)
        if self.task == "multilabel":
            return self._flags(y, where)
        if y.dtype.kind not in "iub":
            raise DataError(
                f"class labels are {y.dtype}, expected integers.",
                where=where,
                fix='convert the labels to integers, or use task="regression".',
            )
        classes = 2 if self.task == "binary" else len(self.labels) if self.labels else None
        counted = y if self.ignore is None else y[y != self.ignore]
        if counted.size and (counted.min() < 0 or (classes is not None and counted.max() >= classes)):
            expected = f"0 to {classes - 1}" if classes is not None else "0 and up"
            raise DataError(
                f"labels run from {counted.min()} to {counted.max()}, expected {expected}.",
                where=where,
                fix="number the classes from 0.",
            )
        return _cast(y, np.int64, "target", where)

    def _flags(self, y: np.ndarray, where: str) -> np.ndarray:
        """Several labels a sample, as 0 and 1."""
        width = len(self.labels) if self.labels is not None else y.shape[-1]
        if y.ndim != 2 or y.shape[1] != width or not np.isin(y, (0, 1)).all():
            raise DataError(
                f"targets {y.shape} are not 0 and 1 for each of {width} labels, ({len(y)}, {width}).",
                where=where,
                fix="give a column for each label, 1 where a sample has it.",
            )
        return np.ascontiguousarray(y, np.float32)

    @functools.cached_property
    def encoding(self) -> Encoding:
        """Everything that was decided or fitted while the data were loaded; what a model keeps of them."""
        from bigmodel_core.registry import config

        try:
            dataset = None if self.made_by is None else config.to_config(self.made_by)
        except BigmodelError:  # no plugin offers it, so that nobody could make it again
            dataset = None
        return Encoding(
            self.name,
            self.task,
            self.labels,
            self.preprocessing,
            self.target_preprocessing,
            self.features,
            self.target,
            self.input_meaning,
            dataset,
            tokenizer=self.tokenizer,
            target_tokenizer=self.target_tokenizer,
            ignore=self.ignore,
            columns=self.columns,
        )

    def like(self, known: Any) -> Data:
        """The same data as a trained model met its own: classes and columns by name, nothing fitted again.

        Args:
            known: data, a run, a model or whatever else `encoding_of` takes.

        Raises:
            DataError: a class or column is unknown or missing, or samples or targets are of another form.
        """
        wanted = encoding_of(known).filled(self.encoding)
        if self.encoding.numbers == wanted.numbers:
            return self
        parts: dict[str, Any] = {part: split.like(wanted) for part, split in self.splits().items()}
        return replace(
            self,
            **parts,
            labels=wanted.labels or self.labels,
            task=wanted.task or self.task,
            preprocessing=wanted.preprocessing,
            target_preprocessing=wanted.target_preprocessing,
            features=wanted.features or self.features,
        )

    def __repr__(self) -> str:
        parts = ", ".join(f"{len(split):,} {part}" for part, split in self.splits().items())
        sample = f"samples {self.input_shape} {self.input_dtype}"
        task = self.task if self.classes is None else f"{self.task} of {self.classes:,} classes"
        return f"<Data {self.name}: {parts}, {sample}, {task}>"

    def splits(self) -> dict[str, Split]:
        """The splits that exist, by name."""
        parts = {"train": self.train, "test": self.test, "validation": self.validation}
        return {part: split for part, split in parts.items() if split is not None}

    @property
    def input_shape(self) -> Any:
        """Shape of one sample, without the sample axis; of several inputs a tuple or a dict of shapes."""
        return _sample_shape(self.train.x)

    @property
    def input_dtype(self) -> str:
        """The number type of x; of several inputs those of all, separated by commas."""
        return ", ".join(str(array.dtype) for array in self.train.inputs)

    @property
    def classes(self) -> int | None:
        """How many classes there are; None for regression and if there are no targets."""
        if self.task == "regression":
            return None
        if self.task == "binary":
            return 2
        if self.labels is not None:
            return len(self.labels)
        if self.target_tokenizer is not None:
            return self.target_tokenizer.size
        if self.task == "multilabel":
            return None if self.train.y is None else int(self.train.y.shape[1])
        tops = [
            int(split.y.max())
            for split in self.splits().values()
            if isinstance(split.y, np.ndarray) and split.y.size
        ]
        return max(tops) + 1 if tops else None

    @property
    def vocabulary(self) -> int | None:
        """How many different tokens the samples have; None if they are no tokens."""
        if self.tokenizer is not None:
            return self.tokenizer.size
        arrays = [array for split in self.splits().values() for array in split.inputs]
        whole = [array for array in arrays if isinstance(array, np.ndarray) and array.dtype.kind == "i"]
        if len(whole) < len(arrays):
            return None
        return max((int(array.max()) for array in whole if array.size), default=-1) + 1 or None

    @property
    def target_vocabulary(self) -> int | None:
        """How many different tokens targets that are texts have."""
        return None if self.target_tokenizer is None else self.target_tokenizer.size

    @property
    def categories(self) -> tuple[int, ...] | None:
        """How many codes each column of categories has; None if the samples have none."""
        return self.category_sizes if self.columns is None else self.columns.sizes or None

    def split_validation(self, fraction: float = 0.1, seed: int = 0) -> Data:
        """The same data with `fraction` of the training samples moved to a validation split.

        The choice depends on `seed` alone and keeps the proportions of the classes; of a time series or text
        it is the end, and the windows that overlap it are left out.

        Raises:
            ConfigError: there is a validation split already, or `fraction` is not between 0 and 1.
            DataError: too few samples.
        """
        if self.validation is not None:
            raise ConfigError("there is a validation split already.", where=self.name)
        y = self.train.y
        classes = y if isinstance(y, np.ndarray) and y.ndim == 1 and self.task != "regression" else None
        kept, held_out = split_indices(
            len(self.train), fraction, seed, classes=classes, reach=self.train.reach
        )
        return replace(self, train=self.train.take(kept), validation=self.train.take(held_out))

    def summary(self) -> dict[str, Any]:
        """The facts about the data as JSON-able values: sizes, shapes, classes, meaning and source."""
        target = self.train.y
        return {
            "name": self.name,
            "task": self.task,
            "samples": {part: len(split) for part, split in self.splits().items()},
            "input_shape": mapped(lambda array: list(_shape_of(array)), self.train.x),
            "input_dtype": self.input_dtype,
            "target_shape": mapped(lambda array: list(_shape_of(array)), target),
            "classes": self.classes,
            "labels": None if self.labels is None else list(self.labels),
            "preprocessing": None if self.preprocessing is None else self.preprocessing.to_dict(),
            "tokenizer": None if self.tokenizer is None else repr(self.tokenizer),
            "target_tokenizer": None if self.target_tokenizer is None else repr(self.target_tokenizer),
            "target_preprocessing": None
            if self.target_preprocessing is None
            else self.target_preprocessing.to_dict(),
            "features": None if self.features is None else list(self.features),
            "input_meaning": self.input_meaning,
            "source": self.source,
            "notes": list(self.notes),
        }


def _sample_shape(x: Any) -> Any:
    return mapped(_shape_of, x)


def _shape_of(samples: np.ndarray | Source) -> tuple[int | str, ...]:
    """The shape of a sample, with the name of an axis on which samples differ in length."""
    axis = free_axis(samples)
    return tuple(samples.shape[1:]) if axis is None else (axis, *samples.shape[2:])


def _model_input(x: np.ndarray | Source, where: str) -> np.ndarray | Source:
    if x.dtype.kind not in "fiub":
        raise DataError(f"samples are {x.dtype}, expected numbers.", where=where)
    dtype = np.dtype(np.float32 if x.dtype.kind == "f" else np.int64)
    if isinstance(x, Source):
        return x if x.dtype == dtype else x.astype(dtype)
    return _cast(x, dtype, "input", where)


def _cast(array: np.ndarray, dtype: Any, what: str, where: str) -> np.ndarray:
    """The array in a number type; a number that does not fit it is an error that says where."""
    try:
        return cast(array, dtype, what)
    except DataError as error:
        error.where = where
        raise
