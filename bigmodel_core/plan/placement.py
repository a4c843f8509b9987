"""Where the buffers of a plan are: each lives from the step that writes it to the last that reads it, and
places are used again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT = 64


@dataclass
class Lifetime:
    """A buffer's size and the steps between which it has to keep its place (both included)."""

    nbytes: int
    first: int
    last: int


def offsets_of(lifetimes: Sequence[Lifetime], padding: int = 0) -> tuple[list[int], int]:
    """Offsets for buffers so that those alive together never overlap, and the total size.

    The largest come first, each at the lowest place free during its life (Pisarchyk and Lee, 2020).

    >>> offsets_of([Lifetime(64, 0, 1), Lifetime(128, 1, 2), Lifetime(64, 2, 3)])
    ([128, 0, 128], 192)
    """
    offsets = [0] * len(lifetimes)
    placed: list[tuple[int, int, Lifetime]] = []
    total = 0
    for number in sorted(range(len(lifetimes)), key=lambda n: (-lifetimes[n].nbytes, lifetimes[n].first, n)):
        life = lifetimes[number]
        size = -(-(life.nbytes + padding) // ALIGNMENT) * ALIGNMENT
        at = 0
        for start, end, _ in sorted(
            (p for p in placed if p[2].first <= life.last and life.first <= p[2].last), key=lambda p: p[0]
        ):
            if at + size <= start:
                break
            at = max(at, end)
        offsets[number] = at
        placed.append((at, at + size, life))
        total = max(total, at + size)
    return offsets, total
