"""Where the time of a step goes: by part, by layer, by kernel."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bigmodel_core.plan.clock import Clock, LaunchTime
from bigmodel_core.plan.listing import shortened

DATA, KERNELS, PYTHON, REST = "data", "kernels", "python", "rest"
TITLES = {
    DATA: "waiting for the batch",
    KERNELS: "kernels",
    PYTHON: "Python around the kernels",
    REST: "callbacks, progress, checkpoints",
}
"""The parts of a training step, and what tables call them."""
MOST_KERNELS = 12
"""Kernels that tables show."""

Table = tuple[list[str], list[list[str]]]
"""Columns and rows."""


@dataclass
class Profile:
    """Where the time of a step went; `print` shows tables.

    Args:
        steps: how many steps were measured.
        timed: of these, how many kernel by kernel.
        batch_size: samples of a step, where that is known.
        parts: seconds of a step by part: "data" (waiting for the batch), "kernels", "python" (around the
            kernels), "rest" (callbacks, progress, checkpoints); of `bm.profile` "kernels" and "rest".
        kernels: the kernels of a step in their order, each with its seconds and its layer. Together they take
            what the shortest quarter of the runs does, which the system did not interrupt, each in the share
            of its median.
    """

    steps: int = 0
    timed: int = 0
    batch_size: int | None = None
    parts: dict[str, float] = field(default_factory=dict)
    kernels: tuple[LaunchTime, ...] = ()

    @property
    def seconds(self) -> float:
        """Those of a step, with all of its parts."""
        return sum(self.parts.values())

    def by_layer(self) -> dict[str, tuple[float, float]]:
        """The seconds of the kernels of each layer up to the loss, and after it, by the layer's path."""
        found: dict[str, tuple[float, float]] = {}
        for kernel in self.kernels:
            forward, backward = found.get(kernel.path, (0.0, 0.0))
            if kernel.is_backward:
                backward += kernel.seconds
            else:
                forward += kernel.seconds
            found[kernel.path] = forward, backward
        return found

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values; times in seconds."""
        layers = [
            {"path": path, "forward": forward, "backward": backward}
            for path, (forward, backward) in self.by_layer().items()
        ]
        kernels = [asdict(kernel) for kernel in self.kernels]
        return {**asdict(self), "kernels": kernels, "seconds": self.seconds, "layers": layers}

    def tables(self) -> dict[str, Table]:
        """The tables for people, by title: times in milliseconds, and shares of a step."""
        samples = f" of {self.batch_size:,} samples" if self.batch_size else ""
        title = f"A step{samples} ({self.steps:,} measured, {self.timed:,} kernel by kernel)"
        parts = [[TITLES[name], *self._cells(seconds)] for name, seconds in self.parts.items()]
        layers = sorted(self.by_layer().items(), key=lambda item: -sum(item[1]))
        kernels = sorted(self.kernels, key=lambda kernel: -kernel.seconds)
        return {
            title: (["Part", "ms", "Share"], [*parts, ["Total", *self._cells(self.seconds)]]),
            "Kernels by layer": (
                ["Layer", "Forward ms", "Backward ms", "Share"],
                [
                    [path or "(model)", _ms(forward), _ms(backward), self._cells(forward + backward)[1]]
                    for path, (forward, backward) in layers
                ],
            ),
            "The longest kernels": (
                ["Layer", "ms", "Share", "Kernel", "Step"],
                [
                    [
                        kernel.path or "(model)",
                        *self._cells(kernel.seconds),
                        shortened(kernel.kernel),
                        shortened(kernel.op),
                    ]
                    for kernel in kernels[:MOST_KERNELS]
                ],
            ),
        }

    def _cells(self, seconds: float) -> list[str]:
        return [_ms(seconds), f"{seconds / (self.seconds or 1):.1%}"]

    def to_markdown(self) -> str:
        """The tables in Markdown."""
        lines = []
        for title, (columns, rows) in self.tables().items():
            lines += [f"**{title}**", ""]
            for row in (columns, ["---"] * len(columns), *rows):
                lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
            lines.append("")
        return "\n".join(lines)

    def __str__(self) -> str:
        return "\n\n".join(f"{title}\n{_aligned(table)}" for title, table in self.tables().items())


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.4f}"


def _aligned(table: Table) -> str:
    columns, rows = table
    widths = [max(len(row[number]) for row in (columns, *rows)) for number in range(len(columns))]
    lines = (zip(row, widths, strict=True) for row in (columns, *rows))
    return "\n".join("  ".join(cell.ljust(width) for cell, width in line).rstrip() for line in lines)


def kernels_of(clock: Clock, steps: int) -> tuple[LaunchTime, ...]:
    """The launches that a clock timed in so many steps, each with its time in a step."""
    return tuple(
        replace(launch, seconds=launch.seconds * runs / steps)
        for runs, launches in clock.plans()
        for launch in launches
    )


@contextmanager
def profile() -> Iterator[Profile]:
    """What the kernels take that this thread runs inside, on the CPU: training steps, predictions, functions.

    Launches run one by one, with the same results; run some steps before, so that nothing is compiled inside.
    A step is a run of the program that runs most often.

    Yields:
        A `Profile`, which is filled when the block ends. Its part "rest" is all that is no kernel: the
        Python around them, that of the block itself, and the clock, which takes a microsecond a launch.

    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> step = bm.compile(bm.layers.Dense(2), "cross_entropy", bm.optimizers.SGD(0.1))
    >>> x, y = np.eye(4, dtype="float32"), np.array([0, 1, 1, 0])
    >>> first = step(x, y)
    >>> with bm.profile() as found:
    ...     for _ in range(20):
    ...         loss = step(x, y)
    >>> found.steps, list(found.parts), found.kernels[0].seconds < found.seconds
    (20, ['kernels', 'rest'], True)
    """
    found, clock = Profile(), Clock()
    begun = time.perf_counter()
    with clock.running():
        yield found
    seconds = time.perf_counter() - begun
    steps = max((runs for runs, _ in clock.plans()), default=0)
    if steps:
        found.steps = found.timed = steps
        found.kernels = kernels_of(clock, steps)
        inside = sum(kernel.seconds for kernel in found.kernels)
        found.parts = {KERNELS: inside, REST: max(seconds / steps - inside, 0.0)}
