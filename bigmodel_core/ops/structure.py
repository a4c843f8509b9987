"""Tuples, lists and dicts of Values, inside each other: taken apart, and put together again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import GraphError
from bigmodel_core.graph import Value
from bigmodel_core.graph.operands import CONSTANTS


@dataclass(frozen=True)
class Structure:
    """The form of a value, or of a collection of them.

    Args:
        kind: "value", "none" (nothing at all), "tuple", "list" or "dict".
        keys: those of a dict.
        parts: the structures inside.
        cls: the class of a named tuple.
    """

    kind: str
    keys: tuple[Any, ...] = ()
    parts: tuple[Structure, ...] = ()
    cls: Any = None

    @classmethod
    def of(cls, item: Any, name: str) -> Structure:
        """The structure of an item.

        Raises:
            GraphError: something in it is no Value, array or number.
        """
        if item is None:
            return cls("none")
        if isinstance(item, (Value, *CONSTANTS)):
            return cls("value")
        if isinstance(item, Mapping):
            return cls("dict", tuple(item), tuple(cls.of(item[key], f"{name}[{key!r}]") for key in item))
        if isinstance(item, (tuple, list)):
            parts = tuple(cls.of(part, f"{name}[{number}]") for number, part in enumerate(item))
            named = type(item) if hasattr(item, "_fields") else None
            return cls("list" if isinstance(item, list) else "tuple", (), parts, named)
        raise GraphError(
            f"{name} is a {type(item).__name__}.", fix="use Values, arrays and numbers, in tuples or dicts."
        )

    def __repr__(self) -> str:
        inner = [repr(part) for part in self.parts]
        if self.kind == "dict":
            pairs = zip(self.keys, inner, strict=True)
            return f"{{{', '.join(f'{key!r}: {part}' for key, part in pairs)}}}"
        if self.kind in ("tuple", "list"):
            first, last = "[]" if self.kind == "list" else "()"
            return f"{first}{', '.join(inner)}{',' * (self.kind == 'tuple' and len(inner) == 1)}{last}"
        return "a value" if self.kind == "value" else "None"

    def names(self, name: str) -> list[str]:
        """What each value is called in messages, given what all of it is."""
        if self.kind == "value":
            return [name]
        keys: Sequence[Any] = self.keys if self.kind == "dict" else range(len(self.parts))
        return [
            found
            for key, part in zip(keys, self.parts, strict=True)
            for found in part.names(f"{name}[{key!r}]")
        ]

    def values(self, item: Any) -> list[Any]:
        """The values of an item of this structure, one after the other."""
        if self.kind == "value":
            return [item]
        parts = [item[key] for key in self.keys] if self.kind == "dict" else item or ()
        return [value for part, inner in zip(self.parts, parts, strict=True) for value in part.values(inner)]

    def pack(self, values: Iterator[Any]) -> Any:
        """Values, one after the other, in this structure."""
        if self.kind == "value":
            return next(values)
        parts = [part.pack(values) for part in self.parts]
        if self.kind == "none":
            return None
        if self.kind == "dict":
            return dict(zip(self.keys, parts, strict=True))
        if self.cls is not None:
            return self.cls(*parts)
        return parts if self.kind == "list" else tuple(parts)

    def fits(self, other: Structure) -> bool:
        """Whether another one is the same, whatever the order of its keys and the kind of its sequences."""
        kinds = {"list": "tuple"}
        if kinds.get(self.kind, self.kind) != kinds.get(other.kind, other.kind):
            return False
        if self.kind == "dict":
            theirs = dict(zip(other.keys, other.parts, strict=True))
            return set(self.keys) == set(theirs) and all(
                part.fits(theirs[key]) for key, part in zip(self.keys, self.parts, strict=True)
            )
        return len(self.parts) == len(other.parts) and all(
            mine.fits(its) for mine, its in zip(self.parts, other.parts, strict=True)
        )
