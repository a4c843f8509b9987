"""Arrays and numbers in the place of Values: every public function takes them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from bigmodel_core.graph import Value, graph_of

_VALUES = ("Value", "Value | None")
_MOST = 64
"""Values that a function of any number of them takes as arrays."""


def as_values(values: Sequence[Any], name: str, beside: Sequence[Any] = ()) -> list[Value]:
    """Values, arrays and numbers as values of the graph that the first Value among them, or beside them,
    belongs to; else of the one that is built."""
    given = (value for value in (*values, *beside) if isinstance(value, Value))
    return graph_of(given).values(values, name) if values else []


def taking_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose arguments annotated as Values may be arrays and numbers, too: constants of the graph.
    What is neither is refused under its name.

    What is annotated otherwise, such as an axis or a bound, is passed on as it is; so are operands of
    arithmetic, which takes them itself.
    """
    kinds = getattr(function, "__annotations__", {})
    wanted = {name for name, kind in kinds.items() if kind in _VALUES and name != "return"}
    if not wanted:
        return function
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    places = [place for place, name in enumerate(names) if name in wanted]
    if wanted - set(names):  # *values
        places += range(len(names), _MOST)

    @functools.wraps(function)
    def apply(*given: Any, **named: Any) -> Any:
        count = len(given)
        found = any(
            name in wanted and item.__class__ is not Value and item is not None
            for name, item in named.items()
        )
        for place in places:
            if place >= count:
                break
            item = given[place]
            if item.__class__ is not Value and item is not None:
                found = True
                break
        if found:
            given, named = converted(given, named)
        return function(*given, **named)

    def converted(given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with constants of the graph that one of them belongs to."""
        own: dict[Any, Any] = {place: given[place] for place in places if place < len(given)}
        own |= {name: item for name, item in named.items() if name in wanted}
        own = {key: item for key, item in own.items() if item is not None}
        beside = (*given, *named.values())
        values = dict(zip(own, as_values(list(own.values()), function.__name__, beside), strict=True))
        return (
            tuple(values.get(place, item) for place, item in enumerate(given)),
            {name: values.get(name, item) for name, item in named.items()},
        )

    return apply
