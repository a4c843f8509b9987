"""What is computed of variables alone, and kept as long as they stay: packed and transformed weights, tables.

A program that keeps (`Program.keeps`) says which values are the same in each run. Their steps, and launches
of other steps that only arrange such values (`CpuLaunch.makes`), run before the first run, and again before
the next one whenever a variable has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from bigmodel_core.kernels.cpu.engine.launch import CpuBuffer, CpuLaunch, buffers_of
from bigmodel_core.plan.placement import Lifetime

if TYPE_CHECKING:
    from bigmodel_core.plan.steps import Step


Rows = list[tuple[int, CpuLaunch]]
"""Launches, each with the number of its step."""


@dataclass
class Kept:
    """The launches of a program at some sizes that run only after a variable has changed.

    Args:
        rows: they, each with the number of its step, in an order in which they can run.
        buffers: the memory that they write and other launches, or readers of outputs, need.
        temporaries: the other memory that they write, and between which of the rows each is needed.
    """

    rows: Rows = field(default_factory=list)
    buffers: list[CpuBuffer] = field(default_factory=list)
    temporaries: list[tuple[CpuBuffer, Lifetime]] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept."""
        return sum(buffer.nbytes for buffer in self.buffers)


def separated(
    rows: Rows, steps: Sequence[Step], loops: Set[int], leaves: Set[int], results: Sequence[CpuBuffer]
) -> tuple[Rows, Kept]:
    """The rows of a table that run each time, and what is kept.

    Args:
        rows: all of them, in order, each with the number of its step.
        steps: the steps.
        loops: the numbers of those whose rows stay together, since the run goes back among them.
        leaves: the ids of buffers of variables and constants that stay, and of the status.
        results: the buffers of outputs.
    """
    settled: set[int] = set()
    once: Rows = []
    each: Rows = []
    for number, launch in rows:
        used, made = _used(launch) - leaves, {id(buffer.piece) for buffer in launch.makes}
        if steps[number].is_unchanging:
            once.append((number, launch))
        elif made and number not in loops and used - made <= settled:
            at = max((n for n, (_, row) in enumerate(once) if not used.isdisjoint(_used(row))), default=-1)
            once.insert(at + 1, (number, launch))  # soon after what it needs, which may then be dropped
        else:
            each.append((number, launch))
            continue
        settled |= used
    needed = {id(buffer) for _, launch in each for buffer in buffers_of(launch)}
    needed.update(id(buffer) for buffer in results)
    kept: dict[int, CpuBuffer] = {}
    lives: dict[int, tuple[CpuBuffer, Lifetime]] = {}
    for number, (_, launch) in enumerate(once):
        for buffer in buffers_of(launch):
            if id(buffer) in leaves:
                continue
            if id(buffer) in needed:
                kept[id(buffer)] = buffer
            else:
                life = lives.setdefault(id(buffer), (buffer, Lifetime(buffer.nbytes, number, number)))[1]
                life.last = number
    return each, Kept(once, list(kept.values()), list(lives.values()))


def _used(launch: CpuLaunch) -> set[int]:
    return {id(buffer) for buffer in buffers_of(launch)}


class KeptMemory:
    """The memory that plans of one program keep: what they compute alike, whatever the batch, they share.

    Args:
        make: makes a piece of memory of so many bytes.
    """

    def __init__(self, make: Callable[[int], Any]) -> None:
        self._make = make
        self._numbers: dict[Any, int] = {}
        self._memory: WeakValueDictionary[Any, Any] = WeakValueDictionary()

    def names(self, kept: Kept, leaves: dict[int, Any]) -> dict[int, Any]:
        """A name for each buffer that is written, by its id: the same in two plans if they compute the same.

        Args:
            kept: what a plan keeps.
            leaves: names of variables, constants and the status, by the ids of their buffers.
        """
        known = dict(leaves)
        for _, launch in kept.rows:
            touched: list[CpuBuffer] = []
            number = self._number(self._described(launch, known, touched))
            for position, buffer in enumerate(touched):
                if (
                    id(buffer) not in leaves
                ):  # it may have been written: its name says all that was done to it
                    known[id(buffer)] = number, position
        return known

    def _described(self, launch: CpuLaunch, known: dict[int, Any], touched: list[CpuBuffer]) -> Any:
        """What a launch computes of what: memory that has no name yet, and so is written, counts as new."""
        parts: list[Any] = []
        for part in launch.linked():
            items: list[Any] = [part.kernel, part.chunks]
            for item in part.context:
                if isinstance(item, CpuBuffer):
                    if item.piece not in touched:
                        touched.append(item.piece)
                    items.append((touched.index(item.piece), known.get(id(item.piece)), item.start))
                elif isinstance(item, CpuLaunch):
                    items.append(self._described(item, known, touched))
                else:
                    items.append(item)
            parts.append(tuple(items))
        return tuple(parts)

    def _number(self, described: Any) -> int:
        return self._numbers.setdefault(described, len(self._numbers))

    def of(self, name: Any, nbytes: int) -> Any:
        """The memory of a name; made where no plan has it."""
        found = self._memory.get(name)
        if found is None:
            found = self._memory[name] = self._make(nbytes)
        return found
