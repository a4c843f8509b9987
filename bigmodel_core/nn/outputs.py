"""What a model returns: one value, a tuple, a named tuple or a dict; taken apart, and put together again."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bigmodel_core.errors import GraphError
from bigmodel_core.graph import Value

Kind = Literal["single", "tuple", "named", "dict"]


@dataclass(frozen=True)
class Form:
    """The form of a model's outputs.

    Args:
        kind: "single" (one value), "tuple", "named" (a named tuple) or "dict".
        names: those of the fields or keys; none of a single value or a plain tuple.
        cls: the class of a named tuple.
    """

    kind: Kind = "single"
    names: tuple[str, ...] = ()
    cls: Any = None

    @classmethod
    def named(cls, kind: Kind, names: Sequence[str]) -> Form:
        """A form known from a file; a named tuple gets its own class."""
        made = namedtuple("Outputs", names) if kind == "named" else None
        return cls(kind, tuple(names), made)

    def pack(self, items: Sequence[Any]) -> Any:
        """Items, one an output, in this form.

        >>> Form("dict", ("mean", "deviation")).pack([1.0, 0.5])
        {'mean': 1.0, 'deviation': 0.5}
        """
        if self.kind == "single":
            return items[0]
        if self.kind == "dict":
            return dict(zip(self.names, items, strict=True))
        return tuple(items) if self.cls is None else self.cls(*items)

    def names_of(self, count: int) -> tuple[str, ...]:
        """A name for each output: its own, else "y", or "y_1", "y_2" if there are several."""
        if self.names:
            return self.names
        return ("y",) if self.kind == "single" else tuple(f"y_{number + 1}" for number in range(count))


def taken_apart(result: Any, where: str) -> tuple[Form, tuple[Value, ...]]:
    """The form and the values of what a model's `__call__` returned.

    Raises:
        GraphError: it is no Value, nor a tuple or dict of some.
    """
    if isinstance(result, Value):
        return Form(), (result,)
    if isinstance(result, Mapping):
        odd = [key for key in result if not isinstance(key, str) or not key]
        if odd:
            raise GraphError(
                f"the model returned a dict with the key {odd[0]!r}.",
                fix="use strings as keys: they name the outputs.",
                where=where,
            )
        form, values = Form("dict", tuple(result)), tuple(result.values())
    elif isinstance(result, (tuple, list)):
        names = getattr(result, "_fields", None)
        form = Form("named", tuple(names), type(result)) if names else Form("tuple")
        values = tuple(result)
    else:
        values = (result,)
        form = Form()
    wrong = [type(value).__name__ for value in values if not isinstance(value, Value)]
    if wrong or not values:
        raise GraphError(
            f"the model returned a {wrong[0]}." if wrong else "the model returned nothing.",
            fix="return a Value, or a tuple or dict of Values.",
            where=where,
        )
    return form, values


def listed(outputs: Any) -> list[Any]:
    """The outputs of a model one after the other, whatever their form."""
    if isinstance(outputs, Mapping):
        return list(outputs.values())
    return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
