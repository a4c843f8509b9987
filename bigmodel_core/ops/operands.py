"""Arrays and numbers in the place of Values: every public function takes them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from types import FunctionType
from typing import Any

from bigmodel_core.errors import BigmodelError, ConfigError, GraphError, short
from bigmodel_core.graph import Value, graph_of

_VALUES = ("Value", "Value | None")
_NUMBERS = ("float", "float | None")
_MOST = 64
"""Values that a function of any number of them takes as arrays."""


def as_values(values: Iterable[Any], name: str, beside: Sequence[Any] = ()) -> list[Value]:
    """Values, arrays and numbers as values of the graph that the first Value among them, or beside them,
    belongs to; else of the one that is built."""
    if not isinstance(values, Iterable):
        raise GraphError(f"{name} takes several values, not {short(values)}.", fix="pass a list or tuple.")
    items = list(values)
    given = (value for value in (*items, *beside) if isinstance(value, Value))
    return graph_of(given).values(items, name) if items else []


def public(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A function as it is offered under a name, which errors tell: those of its arguments that are annotated
    as Values may be arrays and numbers, too, which become constants of the graph. What is neither is refused,
    as is what is no number and is annotated as a float.

    What is annotated otherwise, such as an axis or a bound, is passed on as it is; so are operands of
    arithmetic, which takes them itself. Ops are left as they are.
    """
    if not isinstance(function, FunctionType):
        return function
    kinds = function.__annotations__
    wanted = {key for key, kind in kinds.items() if kind in _VALUES and key != "return"}
    optional = {key for key in wanted if kinds[key] != "Value"}
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    places = [(place, key in optional) for place, key in enumerate(names) if key in wanted]
    if wanted - set(names):  # *values
        places += [(place, False) for place in range(len(names), _MOST)]
    numbers = [key for key, kind in kinds.items() if kind in _NUMBERS and key != "return"]

    def check_numbers(given: tuple[Any, ...], named: dict[str, Any]) -> None:
        passed = dict(zip(names, given, strict=False)) | named
        for key in numbers:
            item = passed.get(key, 0.0)
            if not hasattr(item, "__float__") and not (item is None and kinds[key] != "float"):
                raise ConfigError(f"{key} of {name} is {short(item)}.", fix="pass a number.")

    @functools.wraps(function)
    def apply(*given: Any, **named: Any) -> Any:
        try:
            count = len(given)
            found = any(
                key in wanted and item.__class__ is not Value and not (item is None and key in optional)
                for key, item in named.items()
            )
            for place, may_lack in places:
                if place >= count:
                    break
                item = given[place]
                if item.__class__ is not Value and not (item is None and may_lack):
                    found = True
                    break
            if found:
                given, named = converted(given, named)
            if numbers:
                check_numbers(given, named)
            return function(*given, **named)
        except BigmodelError as error:
            _put_name(error, name)
            raise

    def converted(given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with constants of the graph that one of them belongs to."""
        own: dict[Any, Any] = {place: given[place] for place, _ in places if place < len(given)}
        own |= {key: item for key, item in named.items() if key in wanted}
        may_lack = optional | {place for place, lacks in places if lacks}
        own = {key: item for key, item in own.items() if item is not None or key not in may_lack}
        beside = (*given, *named.values())
        values = dict(zip(own, as_values(list(own.values()), name, beside), strict=True))
        return (
            tuple(values.get(place, item) for place, item in enumerate(given)),
            {key: values.get(key, item) for key, item in named.items()},
        )

    return apply


def _put_name(error: BigmodelError, name: str) -> None:
    """Put the name of a function in front of what went wrong in it, if nothing tells yet: what functions
    share, such as the check of an axis, does not know it, and of a layer only the place is known."""
    told = f"{error.where or ''} {error.message}".lower().replace("_", "")
    if error.where is None and name.lower().replace("_", "") not in told:
        error.message = f"{name}: {error.message}"
