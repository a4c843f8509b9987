"""Ratings as products of vectors of users and items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class MatrixFactorization(bm.Model):
    """A rating is a mean, plus what is usual for the user and for the item, plus the product of a vector of
    each (Koren, Bell and Volinsky, 2009).

    Takes codes of a user and an item (N, 2), and gives ratings (N, 1). Code 0, a user or an item that
    training has not seen, adds nothing: such a rating is what is usual for the other.

    Args:
        categories: how many codes users have, and items.
        factors: how many numbers a vector has.
        dropout: in training, the probability of zeroing each number of a vector.

    >>> import bigmodel_core as bm
    >>> MatrixFactorization((11, 21))(bm.Spec(("N", 2), "int64"))
    Spec((N, 1), float32)
    """

    name: ClassVar[str] = "matrix-factorization"
    loss: ClassVar[str] = "mean_squared_error"
    metrics: ClassVar[tuple[str, ...]] = ("root_mean_squared_error", "mean_absolute_error")
    optimizer: ClassVar[str] = "adam"
    learning_rate: ClassVar[float | None] = 2e-3
    categories: tuple[int, ...] = (2, 2)
    factors: int = 16
    dropout: float = 0.5

    def __post_init__(self) -> None:
        check_users_and_items(self)
        bm.check_number(self, "factors", whole=True, at_least=1)
        bm.check_number(self, "dropout", at_least=0, below=1)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[bm.Spec]]]:
        """What the conformance kit runs."""
        return [({"categories": (3, 3), "factors": 2, "dropout": 0.0}, [bm.Spec(("N", 2), "int64")])]

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 2), "int64")

    def __call__(self, x: Any) -> Any:
        if x.ndim != 2 or x.shape[1] != 2:
            raise ShapeError(
                f"the input is {bm.format_shape(x.shape)}, expected (N, 2): a user and an item.",
                fix='load the data with bm.datasets.load("ratings", file).',
            )
        rating = self.parameter("mean", (1,), 0.0)
        vectors = []
        for column, (name, size) in enumerate(zip(("user", "item"), self.categories, strict=True)):
            code = x[:, column] - 1  # -1, who is unknown, has zeros
            usual = bm.layers.Embedding(size - 1, 1, padded=True, deviation=0.0).named(f"{name}_usual")
            vector = bm.layers.Embedding(size - 1, self.factors, padded=True, deviation=0.1).named(name)(code)
            rating = rating + usual(code)
            vectors.append(bm.layers.Dropout(self.dropout)(vector) if self.dropout else vector)
        return rating + ops.sum(vectors[0] * vectors[1], axis=-1, keepdims=True)


def check_users_and_items(model: Any) -> None:
    """Raise ConfigError unless `categories` says how many codes users and items have, 2 each or more."""
    given = model.categories
    found = tuple(given) if isinstance(given, (tuple, list)) else ()
    if len(found) != 2 or any(not isinstance(n, int) or isinstance(n, bool) or n < 2 for n in found):
        raise ConfigError(
            f"categories is {given!r}, expected how many codes users have, and items, 2 each or more.",
            where=type(model).__name__,
            fix="fit the model to data of ratings: model.fitted(data).",
        )
    object.__setattr__(model, "categories", found)
