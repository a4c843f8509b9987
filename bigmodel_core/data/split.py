"""Samples and their targets: the training samples of a data set, its test samples, or any others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bigmodel_core.data.arrays import as_array
from bigmodel_core.data.conforming import conformed_inputs, conformed_targets
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.like import encoding_of
from bigmodel_core.data.source import Source
from bigmodel_core.data.tree import arrays_of, leaves, mapped
from bigmodel_core.errors import DataError


@dataclass(frozen=True, eq=False)
class Split:
    """Samples and their targets.

    Args:
        x: (n, ...) array, one sample per row; or a `Source`, whose samples are read when they are needed; a
            tuple or a dict of such for a model with several inputs, in their order or by their names.
        y: (n,) class labels or (n, k) targets, an array or a `Source`; a tuple or a dict of such for a model
            with several outputs; None if there are none.
        reach: how many of the following samples overlap with a sample, if samples are ordered,
            as windows of a time series do; None if they are not ordered.
        encoding: how x and y were made; None if they are simply what a model sees.
        weight: what each sample counts in losses, (n,), or each entry of a loss; likewise.
        columns: what is recorded of each sample in words, (n,) by the name of a column, whether or not x has
            it: by these, samples fall into groups.

    Raises:
        DataError: x has no sample axis, or x and y differ in length.

    >>> split = Split(np.zeros((3, 2), np.float32), np.array([0, 1, 1]))
    >>> len(split), split.take(np.array([2, 0])).y.tolist()
    (3, [1, 0])
    """

    x: Any
    y: Any = None
    reach: int | None = None
    encoding: Encoding | None = None
    weight: Any = None
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", _inputs(self.x))
        for path, array in leaves(self.x).items():
            if array.ndim == 0:
                raise DataError(
                    f"x{_titled(path)} is a single number, expected an array with one sample per row.",
                    where="Split",
                    fix="give x a first axis that counts samples.",
                )
            if len(array) != len(self):
                raise DataError(
                    f"the inputs differ in length: {len(self)} samples, and {len(array)} in{_titled(path)}.",
                    where="Split",
                    fix="pass as many samples for each input.",
                )
        if self.reach is not None and not isinstance(self.reach, (int, np.integer)):
            raise DataError(
                f"reach is a {type(self.reach).__name__}, expected a number of samples.",
                where="Split",
                fix="pass weights by name: Split(x, y, weight=weights).",
            )
        for title, column in self.columns.items():
            if len(column) != len(self):
                raise DataError(
                    f"{len(self)} samples but {len(column)} cells in the column '{title}'.",
                    where="Split",
                    fix="pass one cell for each sample.",
                )
        for name, what in (("y", "target"), ("weight", "weight")):
            given = getattr(self, name)
            if given is None:
                continue
            object.__setattr__(self, name, given if isinstance(given, np.ndarray) else arrays_of(given, what))
            for array in leaves(getattr(self, name)).values():
                if array.ndim == 0 or len(array) != len(self):
                    found = "a single number" if array.ndim == 0 else f"{len(array)} {what}s"
                    raise DataError(
                        f"{len(self)} samples but {found}, expected one {what} per sample.",
                        where="Split",
                        fix=f"pass x and {name} of the same length.",
                    )

    def __repr__(self) -> str:
        items = [("x", self.x), ("y", self.y), ("weight", self.weight)]
        parts = [
            f"{name}{path.replace('/', ' ')} {array.shape} {array.dtype}"
            for name, tree in items
            for path, array in leaves(tree).items()
        ]
        return f"<Split: {', '.join(parts)}>"

    def __len__(self) -> int:
        return len(self.inputs[0])

    @property
    def inputs(self) -> tuple[np.ndarray | Source, ...]:
        """x as one array, or source, for each input."""
        return tuple(leaves(self.x).values())

    def take(self, indices: np.ndarray) -> Split:
        """The samples at `indices`, in that order: copied, or read when they are needed."""

        def taken(item: Any) -> Any:
            return item.take(indices) if isinstance(item, Source) else item[indices]

        positions = np.arange(len(self))[indices]
        is_in_order = bool((np.diff(positions) > 0).all())
        return replace(
            self,
            x=mapped(taken, self.x),
            y=mapped(taken, self.y),
            weight=mapped(taken, self.weight),
            columns={name: np.asarray(column)[indices] for name, column in self.columns.items()},
            reach=self.reach if is_in_order else None,
        )

    def like(self, known: Any) -> Split:
        """The same samples as a trained model met its own: classes and columns by name, nothing fitted again.

        Args:
            known: data, a run, a model or whatever else `encoding_of` takes.

        Raises:
            DataError: a class or column is unknown or missing, or samples or targets are of another form.
        """
        own = self.encoding
        if own is None:
            return self
        wanted = encoding_of(known).filled(own)
        if own.numbers == wanted.numbers:
            return self
        x, y = conformed_inputs(self.x, own, wanted), conformed_targets(self.y, own, wanted)
        return replace(self, x=x, y=y, encoding=wanted)

    @property
    def truth(self) -> Any:
        """The targets in the units in which they were recorded: what `Trainer.predict` is to be compared
        with. Class labels are the same as in y."""
        steps = None if self.encoding is None else self.encoding.target_preprocessing
        return self.y if steps is None or self.y is None else steps.invert(self.y)


def _inputs(x: Any) -> Any:
    """x as arrays or sources: one, a tuple or a dict."""
    if isinstance(x, (np.ndarray, Source)):
        return x
    is_tree = hasattr(x, "_asdict") or isinstance(x, (Mapping, tuple))
    return arrays_of(x, "input") if is_tree else as_array(x, "samples")


def _titled(path: str) -> str:
    return f" '{path[1:]}'" if path else ""
