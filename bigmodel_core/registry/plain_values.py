"""Values of JSON and TOML files as they come from anywhere: how deep they are and which strings they hold."""

from __future__ import annotations

import json
from typing import Any

DEEPEST = 200
"""Levels of lists and mappings in each other that a file may have; what walks over values later recurses."""


def check_plain(value: Any) -> Any:
    """The value, after checking that it is neither too deep nor to hold half a character.

    Raises:
        ValueError: it is nested too deeply, or a text cannot be written as UTF-8.

    >>> check_plain({"a": [1, 2]})
    {'a': [1, 2]}
    """
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item
                below += item.values()
            elif isinstance(item, list):
                below += item
            elif isinstance(item, str) and not item.isascii():
                try:
                    item.encode()
                except UnicodeEncodeError:
                    raise ValueError("a string contains half of a surrogate pair") from None
        level = below
    return value


def strict_json(text: str | bytes) -> Any:
    """A value of JSON; refuses numbers that are not finite, keys given twice and what `check_plain` does.

    Raises:
        ValueError: the text is not JSON of this kind.
    """
    try:
        return check_plain(
            json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_distinct)
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is too large")
    return number


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found
