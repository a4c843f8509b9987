"""Arrays that belong together: one alone, a tuple, or a dict by name; targets and weights are such trees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from bigmodel_core.data.arrays import as_array
from bigmodel_core.data.source import Source
from bigmodel_core.errors import DataError


def leaves(tree: Any) -> dict[str, Any]:
    """What a tree holds, by its path: "" of one alone, "/0" in a tuple, "/name" in a dict.

    >>> leaves({"class": 1, "box": 2}), leaves((1, 2)), leaves(1)
    ({'/class': 1, '/box': 2}, {'/0': 1, '/1': 2}, {'': 1})
    """
    if isinstance(tree, Mapping):
        return {f"/{name}": item for name, item in tree.items()}
    if isinstance(tree, tuple):
        return {f"/{number}": item for number, item in enumerate(tree)}
    return {} if tree is None else {"": tree}


def filled(tree: Any, items: Iterable[Any]) -> Any:
    """The same tree with other items, in the order of `leaves`."""
    found = list(items)
    if isinstance(tree, Mapping):
        return dict(zip(tree, found, strict=True))
    if isinstance(tree, tuple):
        return tuple(found)
    return None if tree is None else found[0]


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """A tree of what a function makes of each item."""
    return filled(tree, [function(item) for item in leaves(tree).values()])


def arrays_of(tree: Any, what: str) -> Any:
    """A tree of arrays, or sources, from whatever a user passed: arrays, lists, a dict or a tuple of some.

    Args:
        tree: what was passed; a named tuple counts as a dict, a tuple of numbers as an array.
        what: what it is for, in messages.

    Raises:
        DataError, DtypeError: an item is no array of numbers, or a single number.
    """
    if hasattr(tree, "_asdict"):
        tree = tree._asdict()
    if isinstance(tree, tuple) and all(isinstance(item, (int, float, np.number, np.bool_)) for item in tree):
        tree = np.asarray(tree)
    if isinstance(tree, (Mapping, tuple)):
        if not tree:
            raise DataError(f"the {what} is an empty {type(tree).__name__}.", fix="pass an array.")
        return filled(tree, [_array_of(item, f"{what} '{path[1:]}'") for path, item in leaves(tree).items()])
    return _array_of(tree, what)


def _array_of(item: Any, what: str) -> Any:
    found = item if isinstance(item, Source) else as_array(item, what)
    if found.ndim == 0:
        raise DataError(f"the {what} is a single number.", fix="pass an array with one for each sample.")
    return found
