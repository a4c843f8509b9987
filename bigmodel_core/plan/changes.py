"""When arrays were last written: what is computed of parameters alone is kept as long as they stay.

Every writer of arrays has a number, that of its last change; no two changes have the same one. An array knows
its writers, so a training step that overwrites hundreds of arrays notes one number.
"""

from __future__ import annotations

import itertools
import weakref

_numbers = itertools.count(1)


class _Latest:
    """The number of the last change anywhere."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


LATEST = _Latest()
"""While its number stays, no array of any device has changed."""


class Writer:
    """What writes arrays: a program, or whoever calls `StoredArray.write`.

    Args:
        owner: the program; once it is gone, nothing is written any more.
    """

    __slots__ = ("_owner", "number")

    def __init__(self, owner: object | None = None) -> None:
        self.number = 0
        self._owner = None if owner is None else weakref.ref(owner)

    @property
    def is_gone(self) -> bool:
        """Whether it will never write again."""
        return self._owner is not None and self._owner() is None

    def has_written(self) -> None:
        """Note a change; to be called after it, whatever came of it."""
        self.number = number = next(_numbers)
        LATEST.number = number
