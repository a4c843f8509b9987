"""Two towers: vectors of users and of items, whose product says which item a user takes next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ShapeError
from bigmodel_models.matrix_factorization import check_users_and_items
from bigmodel_models.table_columns import whole_numbers


@dataclass(frozen=True)
class TwoTower(bm.Model):
    """A network for users and one for items, whose vectors are multiplied: the score of each item for each
    user (Covington, Adams and Sargin, 2016; Yi et al., 2019).

    Takes the code of a user (N, 1), and gives scores of all items (N, codes of items), that of item 0, which
    is unknown, below all others. It is trained by the cross-entropy of the item that the user took, against
    all items. A user of code 0 gets what is usual for items.

    Args:
        categories: how many codes users have, and items.
        width: of the vector of a user and of an item before their networks.
        widths: the width of each layer of either network; the last is that of the vectors multiplied.
        dropout: in training, the probability of zeroing each number of the first vectors.

    >>> import bigmodel_core as bm
    >>> TwoTower((11, 21))(bm.Spec(("N", 1), "int64"))
    Spec((N, 21), float32)
    """

    name: ClassVar[str] = "two-tower"
    optimizer: ClassVar[str] = "adamw"
    learning_rate: ClassVar[float | None] = 2e-3
    metrics: ClassVar[tuple[str, ...]] = ()
    categories: tuple[int, ...] = (2, 2)
    width: int = 32
    widths: tuple[int, ...] = (64, 32)
    dropout: float = 0.3

    def __post_init__(self) -> None:
        check_users_and_items(self)
        bm.check_number(self, "width", whole=True, at_least=1)
        object.__setattr__(self, "widths", whole_numbers(self, "widths"))
        bm.check_number(self, "dropout", at_least=0, below=1)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[bm.Spec]]]:
        """What the conformance kit runs."""
        small: dict[str, Any] = {"categories": (3, 3), "width": 2, "widths": (2,), "dropout": 0.0}
        return [(small, [bm.Spec(("N", 1), "int64")])]

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", 1), "int64")

    def __call__(self, user: Any) -> Any:
        if user.ndim != 2 or user.shape[1] != 1:
            raise ShapeError(
                f"the input is {bm.format_shape(user.shape)}, expected (N, 1): a user.",
                fix='load the data with bm.datasets.load("ratings", file, target="item").',
            )
        users, items = (size - 1 for size in self.categories)
        table = bm.layers.Embedding(users, self.width, padded=True, deviation=0.1).named("user")
        mine = self._tower("user", table(user[:, 0] - 1), use_bias=False)
        wide = self.parameter(
            "item/weight", (items, self.width), lambda generator, shape: generator.normal(0, 0.1, shape)
        )
        theirs = self._tower("item", wide)
        usual = self.parameter("usual", (items,), 0.0)
        scores = ops.affine(mine, ops.transpose(theirs), usual)
        unknown = ops.min(scores, axis=-1, keepdims=True) - 1.0
        return ops.concatenate([unknown, scores])

    def _tower(self, name: str, x: Any, use_bias: bool = True) -> Any:
        x = bm.layers.Dropout(self.dropout)(x) if self.dropout else x
        for place, units in enumerate(self.widths, 1):
            x = bm.layers.Dense(units, use_bias=use_bias).named(f"{name}_{place}")(x)
            x = bm.layers.Relu()(x) if place < len(self.widths) else x
        return x
