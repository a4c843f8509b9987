"""What an op is given to write itself: lines of the function that computes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from bigmodel_c.arrays import Array, literal


@dataclass
class Emit:
    """The body of a C function that computes one op.

    An op says its own C by a method `c(self, emit, *inputs)`, which writes `emit.outputs` of the inputs: each
    is an `Array`, whose text is the name of a pointer, with `shape`, `size`, `dtype` and `ctype`.

    Args:
        outputs: what to write; None for an output that nothing reads.
        helpers: functions that the file has once, by name.
    """

    outputs: list[Any]
    helpers: dict[str, str]
    take: Callable[[int, str], str]
    lines: list[str] = field(default_factory=list)
    may_fail: bool = False
    _depth: int = 1
    _loops: int = 0

    def line(self, text: str) -> None:
        """A line of the function."""
        self.lines.append("    " * self._depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """Lines inside belong to what the head begins, such as `if (x[0] > 0)`."""
        self.line(f"{head} {{".lstrip())
        self._depth += 1
        yield
        self._depth -= 1
        self.line("}")

    @contextmanager
    def loop(self, name: str, stop: int | str, start: int | str = 0) -> Iterator[str]:
        """A loop from `start` to before `stop`, over an int of this name."""
        with self.block(f"for (int {name} = {start}; {name} < {stop}; {name}++)"):
            yield name

    @contextmanager
    def loops(self, sizes: Sequence[int]) -> Iterator[list[str]]:
        """Loops inside each other; gives the names of their ints."""
        with ExitStack() as stack:
            names = []
            for size in sizes:
                self._loops += 1
                names.append(stack.enter_context(self.loop(f"i{self._loops}", size)))
            if not sizes:
                stack.enter_context(self.block(""))
            yield names

    def fail_if(self, condition: str) -> None:
        """The prediction ends here and returns 1 where this is true, as of an index that is out of range."""
        self.may_fail = True
        self.line(f"if ({condition})")
        self.line("    return 1;")

    def scratch(self, size: int, dtype: str) -> str:
        """Memory for so many numbers while the op runs; gives the name of the pointer."""
        return self.take(size, dtype)

    def helper(self, name: str, source: str) -> None:
        """A static function that the file has once, however many ops ask for it."""
        self.helpers.setdefault(name, source)

    def number(self, value: float, dtype: str) -> str:
        """A number as C source, with all its bits."""
        return literal(value, dtype)

    def copy(self, target: str, source: str, count: int, ctype: str) -> None:
        """Numbers from one place to another."""
        if count:
            self.line(f"memcpy({target}, {source}, {count} * sizeof({ctype}));")


def table(emit: Emit, name: str, values: Sequence[int]) -> None:
    """Fixed integers by name, such as where windows begin."""
    emit.line(f"static const int {name}[{len(values)}] = {{{', '.join(map(str, values))}}};")


def outer_inner(array: Array, axes: Sequence[int]) -> tuple[int, int, int]:
    """An array as (what is before neighbouring axes, along them, behind them)."""
    first, last = min(axes), max(axes)
    return (
        math.prod(array.shape[:first]),
        math.prod(array.shape[first : last + 1]),
        math.prod(array.shape[last + 1 :]),
    )


__all__ = ["Emit", "outer_inner", "table"]
