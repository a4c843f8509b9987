"""What models for tables have in common: the columns they take, and the tasks they are for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DtypeError, ShapeError, short

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class TableModel(bm.Model):
    """What the models for tables share; see those."""

    categories_as: ClassVar[str] = "embed"
    optimizer: ClassVar[str] = "adamw"
    learning_rate: ClassVar[float | None] = 1e-3
    classes: int = 2
    outputs: int | None = None
    categories: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        bm.check_number(self, "classes", whole=True, at_least=1)
        if self.outputs is not None:
            bm.check_number(self, "outputs", whole=True, at_least=1)
        object.__setattr__(self, "categories", whole_numbers(self, "categories", may_be_empty=True))

    @property
    def usual_loss(self) -> Any:
        """Cross-entropy; the squared error where numbers are predicted."""
        return super().usual_loss if self.outputs is None else "mean_squared_error"

    @property
    def usual_metrics(self) -> tuple[str, ...] | Mapping[str, Any]:
        """Accuracy; the absolute error and R2 where numbers are predicted."""
        return super().usual_metrics if self.outputs is None else ("mean_absolute_error", "r2")

    def usual_epochs(self, samples: int) -> int:
        """Between 10 and 100, so that few rows are seen more often: 300,000 rows in all."""
        return min(100, max(10, 300_000 // samples))

    def fitted(self, data: bm.Data, loss: bm.Loss | None = None) -> Self:
        """The same model for the columns and targets of a data set."""
        model = super().fitted(data, loss)
        return model if data.task == "regression" else replace(model, outputs=None)

    @property
    def scores(self) -> int:
        """How many numbers the model gives for a row."""
        return self.classes if self.outputs is None else self.outputs

    def input_spec(self) -> bm.Spec | tuple[bm.Spec, ...]:
        numbers = bm.Spec(("N", 8))
        codes = bm.Spec(("N", len(self.categories)), "int64")
        return (numbers, codes) if self.categories else numbers

    def _argument_names(self, count: int) -> tuple[str, ...]:
        return ("categories",) if count == 1 and self.categories else super()._argument_names(count)

    def columns(self, numbers: Any, categories: Any) -> tuple[Any, Any]:
        """The columns of numbers and those of codes, None for those that are not there.

        A model of categories alone gets them as its only input.

        Raises:
            DtypeError: they are not numbers, or not codes.
            ShapeError: there is no column, or not as many as the model was made for.
        """
        if categories is None and self.categories:
            numbers, categories = None, numbers
        if numbers is not None and (numbers.ndim < 2 or numbers.dtype not in bm.dtypes.FLOATS):
            raise DtypeError(
                f"the numbers are {numbers.dtype} of shape {bm.format_shape(numbers.shape)}, expected real"
                " numbers (N, columns).",
                fix="pass codes as the second input, and how many each column has: categories=(5, 12).",
            )
        if numbers is not None and numbers.ndim > 2:
            numbers = bm.ops.flatten(numbers)
        found = 0 if categories is None else categories.shape[-1]
        if found != len(self.categories):
            raise ShapeError(
                f"there are {found} columns of categories, expected {len(self.categories)}.",
                fix="say how many codes each column has: categories=(5, 12) for two columns.",
            )
        if categories is not None and categories.dtype not in bm.dtypes.INDICES:
            raise DtypeError(
                f"the categories are {categories.dtype}, expected {' or '.join(bm.dtypes.INDICES)} codes.",
                fix="give a model of numbers and categories both: model(numbers, categories).",
            )
        return numbers, categories


def whole_numbers(model: Any, field: str, may_be_empty: bool = False) -> tuple[int, ...]:
    """A field that holds integers of at least 1, as a tuple.

    Raises:
        ConfigError: it holds something else.
    """
    given = getattr(model, field)
    found = (given,) if isinstance(given, int) else given
    is_list = isinstance(found, (tuple, list)) and (may_be_empty or len(found) > 0)
    if not is_list or any(not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in found):
        raise ConfigError(
            f"{field} is {short(given)}, expected integers of at least 1.",
            where=type(model).__name__,
            fix=f"pass {field}=(16, 8).",
            shell=f"set {field}=16,8.",
        )
    return tuple(found)


def vectors_of(categories: Any, sizes: tuple[int, ...], widths: tuple[int, ...]) -> list[Any]:
    """A vector for the code in each column, from a table for each, inside a `__call__`."""
    return [
        bm.layers.Embedding(size, width, deviation=width**-0.5).named(f"category_{column + 1}")(
            categories[:, column]
        )
        for column, (size, width) in enumerate(zip(sizes, widths, strict=True))
    ]
