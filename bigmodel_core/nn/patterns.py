"""Patterns of paths: which parameters somebody means by `encoder/*`."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from bigmodel_core.errors import ConfigError, UnknownNameError, close_matches, short

Patterns = str | Sequence[str]
"""One pattern of `fnmatch`, or several."""


def patterns_of(given: Any, option: str) -> tuple[str, ...]:
    """What a user passed for patterns, as a tuple of them.

    Raises:
        ConfigError: it is neither a text nor a sequence of texts.
    """
    listed = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else [None]
    if any(not isinstance(item, str) for item in listed):
        raise ConfigError(
            f"{option} is {short(given)}, expected patterns of parameters.",
            fix=f'pass {option}=("encoder/*",), for instance.',
        )
    return tuple(listed)


def matching(patterns: Patterns, paths: Collection[str], option: str) -> list[str]:
    """The paths that one of the patterns matches, in their order.

    Patterns are those of `fnmatch`: `*` stands for any text, `/` included, `?` for one character, `[ab]` for
    one of some; upper and lower case differ.

    Args:
        patterns: one or several.
        paths: of the parameters of a model.
        option: what the patterns are for, in messages.

    Raises:
        UnknownNameError: a pattern matches nothing; the message names the nearest path.

    >>> matching("encoder/*", ["encoder/dense_1/weight", "head/weight"], "freeze")
    ['encoder/dense_1/weight']
    """
    found: set[str] = set()
    for pattern in patterns_of(patterns, option):
        matched = [path for path in paths if fnmatch.fnmatchcase(path, pattern)]
        if not matched:
            raise _no_match(pattern, paths, option)
        found.update(matched)
    return [path for path in paths if path in found]


def matching_each(patterns: Iterable[str], path: str) -> tuple[str, ...]:
    """The patterns that match a path, in their order."""
    return tuple(pattern for pattern in patterns if fnmatch.fnmatchcase(path, pattern))


def layers_within(chosen: Collection[str], paths: Collection[str]) -> frozenset[str]:
    """The paths of the layers all of whose parameters, those of layers inside included, are chosen.

    >>> sorted(layers_within({"a/b/weight"}, ["a/b/weight", "a/b/bias", "c/weight"]))
    []
    >>> sorted(layers_within({"a/b/weight", "a/b/bias"}, ["a/b/weight", "a/b/bias", "c/weight"]))
    ['a', 'a/b']
    """
    above: dict[str, bool] = {}
    for path in paths:
        parts = path.split("/")[:-1]
        for count in range(len(parts) + 1):
            layer = "/".join(parts[:count])
            above[layer] = above.get(layer, True) and path in chosen
    return frozenset(layer for layer, whole in above.items() if whole)


def _no_match(pattern: str, paths: Collection[str], option: str) -> UnknownNameError:
    near = close_matches(pattern, paths, 1, 0.0)
    return UnknownNameError(
        f"{option}: no parameter matches '{pattern}'.",
        fix=f"the nearest is '{near[0]}'; `*` stands for any text, '/' included."
        if near
        else "the model has no parameters.",
    )
