"""Wide and deep: a linear model of columns and their pairs beside a perceptron."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_models.table_columns import TableModel, vectors_of, whole_numbers


@dataclass(frozen=True)
class WideAndDeep(TableModel):
    """A linear model and a perceptron trained together (Cheng et al., 2016): the first keeps what holds for
    single categories and pairs of them, the second what goes beyond.

    Takes numbers (N, k), codes of categories (N, m), or both, and gives scores (N, classes), or numbers
    (N, outputs). Numbers are to be standardised.

    Args:
        classes: how many classes there are.
        outputs: how many numbers are predicted; None for classes.
        categories: how many codes each column of categories has.
        widths: the width of each hidden layer of the perceptron.
        embedding: of the vector that the perceptron has of each category.
        dropout: in training, the probability of zeroing each hidden number.
        crossed: two columns of categories are crossed, so that each pair of their codes has a weight of its
            own, where there are no more pairs than this; 0 crosses none.

    >>> import bigmodel_core as bm
    >>> model = WideAndDeep(classes=3, categories=(4, 9))
    >>> model(bm.Spec(("N", 5)), bm.Spec(("N", 2), "int64"))
    Spec((N, 3), float32)
    """

    name: ClassVar[str] = "wide-and-deep"
    widths: tuple[int, ...] = (128, 64)
    embedding: int = 16
    dropout: float = 0.1
    crossed: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "widths", whole_numbers(self, "widths"))
        bm.check_number(self, "embedding", whole=True, at_least=1)
        bm.check_number(self, "dropout", at_least=0, below=1)
        bm.check_number(self, "crossed", whole=True, at_least=0)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[Any]]]:
        """What the conformance kit runs."""
        small: dict[str, Any] = {"widths": (3,), "embedding": 2, "dropout": 0.0, "categories": (2, 3)}
        return [(small, [bm.Spec(("N", 3)), bm.Spec(("N", 2), "int64")])]

    def __call__(self, numbers: Any = None, categories: Any = None) -> Any:
        numbers, categories = self.columns(numbers, categories)
        found, deep = [], []
        if numbers is not None:
            found.append(bm.layers.Dense(self.scores).named("wide")(numbers))
            deep.append(numbers)
        if categories is not None:
            found.append(self._weights(categories))
            deep += vectors_of(categories, self.categories, (self.embedding,) * len(self.categories))
        x = deep[0] if len(deep) == 1 else ops.concatenate(deep)
        for width in self.widths:
            x = bm.layers.Dense(width, "relu")(x)
            x = bm.layers.Dropout(self.dropout)(x) if self.dropout else x
        total = bm.layers.Dense(self.scores)(x)
        for part in found:
            total = total + part
        return total

    def _weights(self, categories: Any) -> Any:
        """The sum of the weights of the codes of a row, and of its pairs of codes: (N, scores)."""
        sizes = self.categories
        pairs = [(a, b) for a, b in combinations(range(len(sizes)), 2) if sizes[a] * sizes[b] <= self.crossed]
        columns = [categories]
        columns += [categories[:, a : a + 1] * sizes[b] + categories[:, b : b + 1] for a, b in pairs]
        codes = categories if not pairs else ops.concatenate(columns)
        every = (*sizes, *(sizes[a] * sizes[b] for a, b in pairs))
        table = bm.layers.Embedding(sum(every), self.scores, deviation=0.0).named("weights")
        first = np.cumsum((0, *every[:-1]))  # of each column, in the one table of all
        return ops.sum(table(codes + ops.constant(first.astype(codes.dtype))), axis=1)
