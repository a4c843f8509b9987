"""Blocks of memory in which the plans of one program have their temporaries, one plan at a time."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from bigmodel_core.plan.program import Program


class Sized(Protocol):
    """A piece of memory of any device."""

    nbytes: int


Block = TypeVar("Block", bound=Sized)


class Arenas(Generic[Block]):
    """A block for each program, as long as the program lives.

    Args:
        make: makes a block of so many bytes, and is given the one that it replaces, if there is one.
    """

    def __init__(self, make: Callable[[int, Block | None], Block]) -> None:
        self._make = make
        self._blocks: weakref.WeakKeyDictionary[Program, Block] = weakref.WeakKeyDictionary()

    def of(self, program: Program, nbytes: int) -> Block:
        """A block of at least so many bytes for a plan of a program: that of its other plans where it is
        large enough. One that grows does so by a quarter, so that growing sizes do not pile up."""
        found = self._blocks.get(program)
        if found is None or found.nbytes < nbytes:
            found = self._make(nbytes if found is None else max(nbytes, found.nbytes * 5 // 4), found)
            self._blocks[program] = found
        return found
