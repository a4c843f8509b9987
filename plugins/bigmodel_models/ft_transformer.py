"""A Transformer over the columns of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_models.sizes import check_heads
from bigmodel_models.table_columns import TableModel, vectors_of


@dataclass(frozen=True)
class FtTransformer(TableModel):
    """The FT-Transformer (Gorishniy et al., 2021): each column becomes a vector, the vectors attend to each
    other, and a first one, which belongs to no column, gives the scores.

    Takes numbers (N, k), codes of categories (N, m), or both, and gives scores (N, classes), or numbers
    (N, outputs). Numbers are to be standardised. A step takes time in proportion to the square of how many
    columns there are.

    Args:
        classes: how many classes there are.
        outputs: how many numbers are predicted; None for classes.
        categories: how many codes each column of categories has.
        layers: how many blocks are stacked.
        heads: how many heads attend side by side.
        width: of the vector of a column.
        hidden: the width inside of the feed-forward networks; twice `width` if None.
        dropout: in training, the probability that a number that a block adds is dropped.

    >>> import bigmodel_core as bm
    >>> model = FtTransformer(classes=3, categories=(4, 9))
    >>> model(bm.Spec(("N", 5)), bm.Spec(("N", 2), "int64"))
    Spec((N, 3), float32)
    """

    name: ClassVar[str] = "ft-transformer"
    layers: int = 2
    heads: int = 4
    width: int = 64
    hidden: int | None = None
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("layers", "heads", "width"):
            bm.check_number(self, field, whole=True, at_least=1)
        if self.hidden is not None:
            bm.check_number(self, "hidden", whole=True, at_least=1)
        bm.check_number(self, "dropout", at_least=0, below=1)
        check_heads(self)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[Any]]]:
        """What the conformance kit runs."""
        small: dict[str, Any] = {"layers": 1, "heads": 2, "width": 4, "dropout": 0.0, "categories": (2, 3)}
        return [(small, [bm.Spec(("N", 2)), bm.Spec(("N", 2), "int64")])]

    def __call__(self, numbers: Any = None, categories: Any = None) -> Any:
        numbers, categories = self.columns(numbers, categories)
        vectors = []
        if numbers is not None:
            vectors.append(ops.expand_dims(numbers, 2) * self._vectors("slopes", int(numbers.shape[1])))
        if categories is not None:
            widths = (self.width,) * len(self.categories)
            vectors.append(ops.stack(vectors_of(categories, self.categories, widths), 1))
        x = vectors[0] if len(vectors) == 1 else ops.concatenate(vectors, 1)
        x = x + self._vectors("shifts", int(x.shape[1]))
        first = ops.broadcast_to(self._vectors("first", 1), (x.shape[0], 1, self.width))
        x = ops.concatenate([first, x], 1)
        hidden = self.hidden or 2 * self.width
        for _ in range(self.layers):
            x = bm.layers.TransformerBlock(self.heads, hidden, dropout=self.dropout)(x)
        x = bm.layers.Relu()(bm.layers.LayerNorm()(x[:, 0]))
        return bm.layers.Dense(self.scores)(x)

    def _vectors(self, name: str, count: int) -> Any:
        limit = self.width**-0.5
        return self.parameter(
            name, (count, self.width), lambda generator, shape: generator.uniform(-limit, limit, shape)
        )
