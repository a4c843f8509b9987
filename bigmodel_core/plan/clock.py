"""A clock on plans: what each launch of their runs takes.

Without one, plans run as one native call. Under one, each launch is a call of its own, with the same results.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from bigmodel_core.kernels.cpu.engine.table import Table
    from bigmodel_core.plan.cpu_plan import CpuPlan

MOST_RUNS = 1000
"""Runs of one plan whose times are kept; those of later ones are not."""
current: Clock | None = None
"""The clock that runs."""


@dataclass(frozen=True)
class LaunchTime:
    """One kernel of a plan, and the time it took.

    Args:
        path: the layer that it belongs to; "" for the model itself.
        layer: the class of that layer.
        op: what it computes, or the ops of a fused chain.
        kernel: its name, with what runs on its chunks.
        is_backward: whether it comes after the loss.
        seconds: of one run of the plan.
        multiply_adds: of the step of the plan that it is the largest kernel of, else 0.
    """

    path: str
    layer: str
    op: str
    kernel: str
    is_backward: bool
    seconds: float
    multiply_adds: int


@dataclass
class _Runs:
    """The runs of a plan: how many, and what each launch took in the first ones, in nanoseconds."""

    plan: CpuPlan
    count: int = 0
    times: list[list[int]] = field(default_factory=list)

    def add(self, times: list[int]) -> None:
        self.count += 1
        if self.count <= MOST_RUNS:
            self.times.append(times)


class Clock:
    """Times the launches of plans on the CPU that this thread runs while it is `running`."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._runs: dict[int, _Runs] = {}
        self._empty: int | None = None
        """Nanoseconds of a native call that runs nothing."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside, launches are timed."""
        global current
        before, current = current, self
        try:
            yield
        finally:
            current = before

    def run(self, plan: CpuPlan, table: Table) -> int:
        """Run a plan's table, launch by launch; returns what `Table.run` does."""
        if threading.get_ident() != self._thread:
            return table.run()
        if self._empty is None:
            self._empty = min(table.empty_call() for _ in range(200))
        times = [0] * len(table.rows)
        row = table.run_timed(times, self._empty)
        runs = self._runs.setdefault(id(plan), _Runs(plan))
        if row < 0:
            runs.add(times)
        return row

    def plans(self) -> list[tuple[int, list[LaunchTime]]]:
        """The plans that ran: how often, and the launches of one run: together they take
        what the shortest quarter of the runs does, each in the share of its median."""
        return [(runs.count, _launches(runs)) for runs in self._runs.values() if runs.count]


def undisturbed(durations: Any) -> np.ndarray:
    """Which of some durations are the shortest quarter: what the system interrupted says nothing.

    >>> undisturbed([3.0, 1.0, 90.0, 2.0, 4.0]).tolist()
    [1, 3]
    """
    order = np.argsort(np.asarray(durations), kind="stable")
    return order[: -(-len(order) // 4)]


def _launches(runs: _Runs) -> list[LaunchTime]:
    times, plan = np.maximum(np.asarray(runs.times, np.float64) / 1e9, 0.0), runs.plan
    each, whole = np.median(times, 0), times.sum(1)
    if each.any():
        each *= whole[undisturbed(whole)].mean() / each.sum()
    steps = plan.device.listing(plan.program, plan.sizes)
    rows = [(step, kernel) for step in steps for kernel in step.kernels if not kernel.is_kept]
    first_of_loss = next((n for n, (step, _) in enumerate(rows) if step.path == "loss"), len(rows))
    found = []
    for number, (step, kernel) in enumerate(rows):
        own = [each[n] for n, (other, _) in enumerate(rows) if other is step]
        found.append(
            LaunchTime(
                path=step.path,
                layer=step.layer,
                op=step.op,
                kernel=kernel.name + (f", then {kernel.epilogue}" if kernel.epilogue else ""),
                is_backward=number > first_of_loss,
                seconds=float(each[number]),
                multiply_adds=step.multiply_adds if each[number] == max(own) else 0,
            )
        )
    return found
