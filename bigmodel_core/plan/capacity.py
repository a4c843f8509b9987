"""How much memory there is: what cannot fit is refused before any of it is taken."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bigmodel_core.errors import OutOfMemoryError

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@functools.cache
def capacity() -> int:
    """Bytes that this process may take at most: the machine's memory, or what its container or `ulimit`
    leaves of it; a number too large to matter if nothing says how much there is."""
    limits = [sys.maxsize]
    if hasattr(os, "sysconf"):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for file in _CGROUP_LIMITS:
        try:
            limits.append(int(Path(file).read_text("ascii")))
        except (OSError, ValueError):  # another system, or "max"
            continue
    try:
        import resource
    except ImportError:  # Windows
        return min(limit for limit in limits if limit > 0)
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    return min(limit for limit in limits if limit > 0)


def check_capacity(nbytes: int, what: str, fix: str, where: str | None = None) -> None:
    """Refuse what the memory cannot hold.

    Args:
        nbytes: what it needs.
        what: it, as in "the parameters of the model need".
        fix: what to do.
        where: the layer that needs the most of it.

    Raises:
        OutOfMemoryError: it needs more than there is.
    """
    if nbytes > capacity():
        raise OutOfMemoryError(
            f"{what} {gibibytes(nbytes)} of memory, but there are only {gibibytes(capacity())}.",
            fix=fix,
            where=where,
        )


@contextmanager
def refused_politely(nbytes: int, what: str, fix: str, where: str | None = None) -> Iterator[None]:
    """Check the capacity, then turn the refusal of the system, which may have less to give, into our own.

    Raises:
        OutOfMemoryError: there is not that much memory.
    """
    check_capacity(nbytes, what, fix, where)
    try:
        yield
    except MemoryError:
        raise OutOfMemoryError(
            f"{what} {gibibytes(nbytes)} of memory, which the system does not provide.", fix=fix, where=where
        ) from None


def gibibytes(nbytes: int) -> str:
    """A number of bytes for people.

    >>> gibibytes(3 * 2**29), gibibytes(10**20)
    ('1.5 GiB', '93,132,257,462 GiB')
    """
    found = nbytes / 2**30
    return f"{found:,.1f} GiB" if found < 1000 else f"{found:,.0f} GiB"
