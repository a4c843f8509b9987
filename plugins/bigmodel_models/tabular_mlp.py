"""The multi-layer perceptron for tables of numbers and categories."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, get_args

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, short
from bigmodel_models.table_columns import TableModel, vectors_of, whole_numbers

Norm = Literal["batch", "layer", "none"]
MANY_ROWS = 4000
"""From here on, rows are enough to learn which waves of a number matter."""


@dataclass(frozen=True)
class TabularMlp(TableModel):
    """A multi-layer perceptron for tables: columns of numbers as they are and as waves (Gorishniy, Rubachev
    and Babenko, 2022), those of categories as vectors (Guo and Berkhahn, 2016), then dense layers.

    Takes numbers (N, k), codes of categories (N, m), or both, and gives scores (N, classes), or numbers
    (N, outputs). Numbers are to be standardised. A column of c codes has vectors of 1 + c // 2 numbers, or
    `embedding` if that is less.

    Args:
        classes: how many classes there are.
        outputs: how many numbers are predicted; None for classes.
        categories: how many codes each column of categories has.
        widths: the width of each hidden layer.
        dropout: in training, the probability of zeroing each hidden number.
        norm: what normalises hidden numbers: "batch", "layer" or "none".
        embedding: the most numbers that the vector of a category has.
        waves: as how many sines and cosines a number is seen, whose frequencies are learned; 0 for none. If
            None, `fitted` chooses 16 where data have 4,000 rows or more, and there are none otherwise.
        wave_width: how many numbers a dense layer, one for all columns, makes of these.
        frequency: the deviation of the first frequencies, in waves for each unit of a number.

    >>> import bigmodel_core as bm
    >>> model = TabularMlp(classes=3, categories=(4, 9))
    >>> model(bm.Spec(("N", 5)), bm.Spec(("N", 2), "int64"))
    Spec((N, 3), float32)
    """

    name: ClassVar[str] = "tabular-mlp"
    learning_rate: ClassVar[float | None] = 2e-3
    widths: tuple[int, ...] = (256, 128)
    dropout: float = 0.4
    norm: Norm = "batch"
    embedding: int = 50
    waves: int | None = None
    wave_width: int = 8
    frequency: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "widths", whole_numbers(self, "widths"))
        bm.check_number(self, "dropout", at_least=0, below=1)
        if self.norm not in get_args(Norm):
            raise ConfigError(
                f"norm is {short(self.norm)}, expected one of {', '.join(get_args(Norm))}.",
                where="TabularMlp",
                fix='pass norm="batch".',
                shell="set norm=batch.",
            )
        bm.check_number(self, "embedding", whole=True, at_least=1)
        bm.check_number(self, "wave_width", whole=True, at_least=1)
        bm.check_number(self, "frequency", above=0)
        if self.waves is not None:
            bm.check_number(self, "waves", whole=True, at_least=0)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[Any]]]:
        """What the conformance kit runs."""
        small: dict[str, Any] = {"widths": (3,), "waves": 2, "wave_width": 2, "dropout": 0.0, "norm": "layer"}
        codes = bm.Spec(("N", 2), "int64")
        return [({**small, "categories": (2, 3)}, [bm.Spec(("N", 3)), codes])]

    def fitted(self, data: bm.Data, loss: bm.Loss | None = None) -> Self:
        model = super().fitted(data, loss)
        return replace(model, waves=16 * (len(data.train) >= MANY_ROWS)) if model.waves is None else model

    def __call__(self, numbers: Any = None, categories: Any = None) -> Any:
        numbers, categories = self.columns(numbers, categories)
        parts = [] if numbers is None else [numbers, *self._waves(numbers)]
        if categories is not None:
            widths = tuple(min(self.embedding, 1 + size // 2) for size in self.categories)
            parts += vectors_of(categories, self.categories, widths)
        x = parts[0] if len(parts) == 1 else bm.ops.concatenate(parts)
        for width in self.widths:
            x = bm.layers.Dense(width)(x)
            if self.norm != "none":
                x = (bm.layers.BatchNorm() if self.norm == "batch" else bm.layers.LayerNorm())(x)
            x = bm.layers.Relu()(x)
            x = bm.layers.Dropout(self.dropout)(x) if self.dropout else x
        return bm.layers.Dense(self.scores)(x)

    def _waves(self, numbers: Any) -> list[Any]:
        """Each number as waves of its own frequencies, through a dense layer: (N, k * wave_width)."""
        if not self.waves:
            return []
        deviation = 2 * math.pi * self.frequency
        frequencies = self.parameter(
            "frequencies",
            (numbers.shape[1], self.waves),
            lambda generator, shape: generator.normal(0, deviation, shape),
        )
        angles = bm.ops.expand_dims(numbers, 2) * frequencies
        waves = bm.ops.concatenate([bm.ops.sin(angles), bm.ops.cos(angles)])
        return [bm.ops.flatten(bm.layers.Dense(self.wave_width, "relu").named("wave")(waves))]
