"""What a data set is: its splits, the data as a whole, and the base class that loads it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from bigmodel_core.errors import ConfigError, DataError
from bigmodel_core.preprocessing import Preprocessing
from bigmodel_core.sampling import Loader, batches, permutation, split_indices
from bigmodel_core.source import Source

__all__ = [
    "Data",
    "Dataset",
    "Loader",
    "Preprocessing",
    "Source",
    "Split",
    "Task",
    "batches",
    "permutation",
    "split_indices",
]

Task = Literal["classification", "binary", "regression"]


@dataclass(frozen=True, eq=False)
class Split:
    """Samples and their targets.

    Args:
        x: (n, ...) array, one sample a row; or a `Source`, whose samples are read when they are needed.
        y: (n,) class labels or (n, k) targets; None where there are none.

    Raises:
        DataError: x has no sample axis, or x and y differ in length.

    >>> split = Split(np.zeros((3, 2), np.float32), np.array([0, 1, 1]))
    >>> len(split), split.take(np.array([2, 0])).y.tolist()
    (3, [1, 0])
    """

    x: np.ndarray | Source
    y: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.x, Source):
            object.__setattr__(self, "x", np.asarray(self.x))
        if self.x.ndim == 0:
            raise DataError(
                "x is a single number, expected an array with one sample a row.",
                where="Split",
                fix="give x a first axis that counts samples.",
            )
        if self.y is None:
            return
        object.__setattr__(self, "y", np.asarray(self.y))
        if self.y.ndim == 0 or len(self.y) != len(self.x):
            found = "a single number" if self.y.ndim == 0 else f"{len(self.y)} targets"
            raise DataError(
                f"{len(self.x)} samples but {found}, expected one target a sample.",
                where="Split",
                fix="pass x and y of the same length.",
            )

    def __len__(self) -> int:
        return len(self.x)

    def take(self, indices: np.ndarray) -> Split:
        """The samples at `indices`, in that order: copied, or read when they are needed."""
        x = self.x.take(indices) if isinstance(self.x, Source) else self.x[indices]
        return Split(x, None if self.y is None else self.y[indices])


@dataclass(frozen=True, eq=False)
class Data:
    """A data set ready for a model, in memory or read when it is needed.

    x of every split is made C-contiguous float32 (integers, such as token ids, become int64); images are
    (n, C, H, W). A `Source` stays one. Class labels become int64; regression targets become float32 (n, k),
    where a vector of n becomes (n, 1).

    Args:
        name: what the data set is called.
        train, test, validation: the splits; all have samples of one shape.
        labels: class names by label; None where classes have none, and for regression.
        task: "classification", "binary" (two classes, labels 0 and 1) or "regression".
        preprocessing: how x was made from raw input; None where x is raw.
        input_meaning: one phrase for people: what one sample is.
        source: where the data came from, with its licence.

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

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise ConfigError(
                f"task is {self.task!r}, expected one of {', '.join(get_args(Task))}.", where=self.name
            )
        for part, split in self.splits().items():
            where = f"{self.name}/{part}"
            if len(split) == 0:
                raise DataError(
                    "there is no sample.", where=where, fix="give every split at least one sample."
                )
            if split.x.shape[1:] != self.input_shape:
                raise DataError(
                    f"samples have shape {split.x.shape[1:]}, but {self.input_shape} in train.", where=where
                )
            object.__setattr__(self, part, Split(_model_input(split.x, where), self._targets(split.y, where)))

    def _targets(self, y: np.ndarray | None, where: str) -> np.ndarray | None:
        if y is None:
            return None
        if self.task == "regression":
            if y.dtype.kind not in "fiu":
                raise DataError(f"targets are {y.dtype}, expected real numbers.", where=where)
            return np.ascontiguousarray(y.reshape(-1, 1) if y.ndim == 1 else y, np.float32)
        if y.dtype.kind not in "iub":
            raise DataError(
                f"class labels are {y.dtype}, expected integers.",
                where=where,
                fix='convert the labels to integers, or use task="regression".',
            )
        classes = 2 if self.task == "binary" else len(self.labels) if self.labels else None
        if y.size and (y.min() < 0 or (classes is not None and y.max() >= classes)):
            expected = f"0 to {classes - 1}" if classes is not None else "0 and up"
            raise DataError(
                f"labels run from {y.min()} to {y.max()}, expected {expected}.",
                where=where,
                fix="number the classes from 0.",
            )
        return np.ascontiguousarray(y, np.int64)

    def splits(self) -> dict[str, Split]:
        """The splits that exist, by name."""
        parts = {"train": self.train, "test": self.test, "validation": self.validation}
        return {part: split for part, split in parts.items() if split is not None}

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the sample axis."""
        return self.train.x.shape[1:]

    @property
    def classes(self) -> int | None:
        """How many classes there are; None for regression and where there are no targets."""
        if self.task == "regression":
            return None
        if self.task == "binary":
            return 2
        if self.labels is not None:
            return len(self.labels)
        tops = [
            int(split.y.max()) for split in self.splits().values() if split.y is not None and split.y.size
        ]
        return max(tops) + 1 if tops else None

    def split_validation(self, fraction: float = 0.1, seed: int = 0) -> Data:
        """The same data with `fraction` of the training samples moved to a validation split.

        The choice depends on `seed` alone and keeps the proportions of the classes.

        Raises:
            ConfigError: there is a validation split already, or `fraction` is not between 0 and 1.
        """
        if self.validation is not None:
            raise ConfigError("there is a validation split already.", where=self.name)
        y = self.train.y
        classes = y if y is not None and y.ndim == 1 and self.task != "regression" else None
        kept, held_out = split_indices(len(self.train), fraction, seed, classes=classes)
        return replace(self, train=self.train.take(kept), validation=self.train.take(held_out))

    def summary(self) -> dict[str, Any]:
        """The facts about the data as JSON-able values: sizes, shapes, classes, meaning and source."""
        target = self.train.y
        return {
            "name": self.name,
            "task": self.task,
            "samples": {part: len(split) for part, split in self.splits().items()},
            "input_shape": list(self.input_shape),
            "input_dtype": str(self.train.x.dtype),
            "target_shape": None if target is None else list(target.shape[1:]),
            "classes": self.classes,
            "labels": None if self.labels is None else list(self.labels),
            "preprocessing": None if self.preprocessing is None else self.preprocessing.to_dict(),
            "input_meaning": self.input_meaning,
            "source": self.source,
        }


class Dataset(ABC):
    """Base class of data sets: a frozen dataclass whose fields are the options, and `load`.

    `name` is what the registry and the command line call it.
    """

    name: ClassVar[str]

    @abstractmethod
    def load(self, data_dir: Path | None = None) -> Data:
        """The data, read from `data_dir`, the folder or file that holds the set, or from its usual place.

        Raises:
            DataError: files that are missing or corrupt.
        """


def _model_input(x: np.ndarray | Source, where: str) -> np.ndarray | Source:
    if x.dtype.kind not in "fiub":
        raise DataError(f"samples are {x.dtype}, expected numbers.", where=where)
    dtype = np.dtype(np.float32 if x.dtype.kind == "f" else np.int64)
    if isinstance(x, Source):
        return x if x.dtype == dtype else x.astype(dtype)
    return np.ascontiguousarray(x, dtype)
