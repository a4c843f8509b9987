"""A trained model on the samples of a split: what it predicts, and of which kind the samples are."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from bigmodel_core.data.data import Data
from bigmodel_core.data.split import Split
from bigmodel_core.data.tree import leaves
from bigmodel_core.nn.predictions import class_names
from bigmodel_core.reporting.page import Picture
from bigmodel_core.train.curves import as_number
from bigmodel_core.train.history import number
from bigmodel_core.train.samples import Samples
from bigmodel_core.train.trainer import Trainer

MOST = 10_000
"""Samples that are looked at one by one; of more, as many in even distances."""

Kind = Literal["image", "text", "row", "series", "other"]


@dataclass(frozen=True, eq=False)
class Tested:
    """A trained model and the samples it is tested with.

    Args:
        trainer: with the model.
        data: the samples come from.
        part: the name of the split.
        measures: loss and metrics on all its samples.
    """

    trainer: Trainer
    data: Data
    part: str
    measures: Mapping[str, Any]

    @functools.cached_property
    def whole(self) -> Split:
        """The split."""
        return self.data.splits()[self.part]

    @functools.cached_property
    def split(self) -> Split:
        """The samples that are looked at one by one."""
        return self.some(MOST)

    def some(self, most: int) -> Split:
        """At most some samples, in even distances."""
        if len(self.whole) <= most:
            return self.whole
        kept = np.linspace(0, len(self.whole) - 1, most).astype(np.int64)
        return replace(self.whole.take(kept), reach=None)

    @property
    def target(self) -> Any:
        """The targets as one array; None if there are several."""
        found = leaves(self.split.y)
        if set(found) != {""} or len(self.trainer.network.output_names) > 1:
            return None
        return np.asarray(found[""][np.arange(len(self.split))])

    @functools.cached_property
    def names(self) -> list[str]:
        """What the classes are called."""
        return class_names(self.data.labels, self.data.classes or 0)

    def name(self, number: int) -> str:
        """What a class is called."""
        return self.names[number] if 0 <= number < len(self.names) else str(number)

    def inputs(self, places: Sequence[int] | np.ndarray) -> tuple[np.ndarray, ...]:
        """Some samples as the model takes them."""
        split = self.split.take(np.asarray(places, np.int64))
        samples = Samples.of(split, model=self.trainer.network)
        return tuple(map(np.asarray, next(iter(samples.parts(len(samples), 0))).inputs))

    @functools.cached_property
    def kind(self) -> Kind:
        """How a sample can be shown."""
        arrays = list(self.split.inputs)
        shapes = [array.shape[1:] for array in arrays]
        if all(array.dtype.kind == "i" for array in arrays) and self.data.tokenizer is not None:
            return "text"
        if len(arrays) > 1:
            return "other"
        if len(shapes[0]) == 3 and shapes[0][0] in (1, 3):
            return "image"
        if len(shapes[0]) == 1 and arrays[0].dtype.kind == "f":
            return "row"
        return "series" if len(shapes[0]) == 2 and shapes[0][1] == 1 else "other"

    def raw(self, x: np.ndarray) -> np.ndarray:
        """Samples as they were recorded, if it is known how they were prepared."""
        steps = self.data.preprocessing
        return x if steps is None or steps.raw_shape != x.shape[1:] else steps.invert(x)

    def image(self, x: np.ndarray) -> np.ndarray:
        """One sample, (C, H, W), as pixels."""
        steps = self.data.preprocessing
        if steps is None or steps.raw_shape != x.shape:
            return x
        shares = np.asarray(self.raw(x[None])[0], np.float64) * steps.scale
        is_known = shares.min() >= -0.01 and shares.max() <= 1.01
        return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8) if is_known else x

    def text(self, place: int) -> str:
        """One sample as its text."""
        tokenizer = self.data.tokenizer
        assert tokenizer is not None
        found = [tokenizer.decode(array[0][array[0] >= 0]) for array in self.inputs([place])]
        return " | ".join(found)

    def shown(self, places: Sequence[int], lines: Sequence[Sequence[str]]) -> list[Picture]:
        """Samples that are images, each with lines below."""
        from bigmodel_core.charts.colours import photo

        (x,) = self.inputs(places)
        is_small = max(x.shape[2:]) <= 64
        return [
            Picture(
                photo(self.image(item), 96 if is_small else 128),
                f"sample {place}: {', '.join(text)}",
                text,
                is_small,
            )
            for item, place, text in zip(x, places, lines, strict=True)
        ]

    def row(self, x: np.ndarray, most: int) -> list[str]:
        """The numbers of a sample that is a row of a table, as they were recorded."""
        values = self.raw(x[None])[0].reshape(-1)[:most]
        return [short(value) for value in values]

    def columns(self, most: int) -> list[str]:
        """The names of a sample's numbers."""
        wide = int(np.prod(self.split.inputs[0].shape[1:]))
        names = self.data.features or [f"column {number}" for number in range(1, wide + 1)]
        return list(names[:most])


def short(value: Any) -> str:
    """A number of a sample in few digits."""
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else f"{value}"


def scalar(values: Mapping[str, Any]) -> dict[str, str]:
    """The measures that are numbers, as texts."""
    found = {key: as_number(value) for key, value in values.items()}
    return {key: number(value) for key, value in found.items() if value is not None}
