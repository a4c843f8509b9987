"""What Numba does while it compiles and a kernel has no use for, left out meanwhile."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
    """Numba makes millions of objects that live for one kernel; to look for cycles among them and all others
    meanwhile takes a tenth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def no_rules_of_arrays() -> Iterator[None]:
    """Numba looks for a loop of NumPy only where an operand is an array.

    It looks for one first for all operators on numbers, too, and drops what it finds: a twentieth of the time
    that kernels take. What it compiles is the same; where a version of Numba has no such rules, nothing is
    changed.
    """
    try:
        from numba.core.types.abstract import ArrayCompatible
        from numba.core.types.misc import Optional
        from numba.core.typing.npydecl import NumpyRulesArrayOperator as Rules

        whole = Rules.generic
    except (ImportError, AttributeError):
        yield
        return

    def generic(self: Any, args: Any, kws: Any) -> Any:
        plain = (arg.type if isinstance(arg, Optional) else arg for arg in args)
        if not any(isinstance(arg, ArrayCompatible) for arg in plain):
            return None
        return whole(self, args, kws)

    Rules.generic = generic
    try:
        yield
    finally:
        Rules.generic = whole
