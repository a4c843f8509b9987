"""What a workload is: what is measured, in which unit, what is promised; and what a runner is given."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType

PEERS = {
    "ours": ("bigmodel", "bigmodel_core"),
    "torch": ("PyTorch eager", "torch"),
    "torch_compile": ("torch.compile", "torch"),
    "jax": ("JAX jit", "jax"),
    "numpy": ("NumPy", "numpy"),
}
"""Those that are compared: a workload's runner, its title, the module that has to be there."""


@dataclass(frozen=True)
class Target:
    """A promise that the table checks: a limit of our own figure, or a ratio to a peer.

    Args:
        limit: our figure is at most this (at least, where higher is better).
        ratio: how many times better than the peer we are, at least.
        against: the peer of `ratio`: a runner's name, or "best" for the best one that ran.
    """

    limit: float | None = None
    ratio: float | None = None
    against: str = "best"


@dataclass(frozen=True)
class Workload:
    """A row of the table (or several: one for each label that its runners return).

    Args:
        name: what the command line calls it; the module in `bench/workloads` has the same name.
        title: what is measured, in a few words.
        unit: of the figures: "ms", "s", "MiB", "GFLOP/s".
        higher_is_better: whether more of the unit is better.
        words: how the ratio is put, better and worse.
        targets: what is promised.
        warm_up: runners that run once before the rounds, unmeasured, so that caches on disk are filled.
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool = False
    words: tuple[str, str] = ("faster", "slower")
    targets: tuple[Target, ...] = ()
    warm_up: tuple[str, ...] = ("ours",)


@dataclass
class Run:
    """What a runner is given, and where it leaves remarks.

    Args:
        threads: how many threads to use.
        started: `time.time()` just before the process was started.
        steps: how many training steps to take instead of the workload's own number, for a quick look.
    """

    threads: int
    started: float
    steps: int | None = None
    notes: dict[str, float] = field(default_factory=dict)

    def since_start(self) -> float:
        """Seconds since just before this process was started, the interpreter's own start included."""
        return time.time() - self.started

    def median_step(self, step: Callable[[], float], *, warm_up: int = 50, seconds: float = 3.0) -> float:
        """Milliseconds of a step: the median of single steps over some seconds, but at least 20 steps."""
        loss = 0.0
        for _ in range(warm_up if self.steps is None else min(warm_up, self.steps)):
            loss = step()
        times: list[float] = []
        deadline = time.perf_counter() + seconds
        while len(times) < (self.steps or 20) or (self.steps is None and time.perf_counter() < deadline):
            start = time.perf_counter()
            loss = step()
            times.append(time.perf_counter() - start)
        self.notes["loss"] = float(loss)  # a step that computes nothing would show here
        return statistics.median(times) * 1e3


def names() -> list[str]:
    """The names of all workloads."""
    package = importlib.import_module("bench.workloads")
    return sorted(found.name for found in pkgutil.iter_modules(package.__path__))


def module(name: str) -> ModuleType:
    """The module of a workload: `WORKLOAD`, a function for each peer, perhaps `unavailable()`."""
    return importlib.import_module(f"bench.workloads.{name}")


def runners(name: str) -> list[str]:
    """The peers that a workload has a runner for; `together` runs several in one process."""
    found = module(name)
    return [peer for peer in (*PEERS, "together") if callable(getattr(found, peer, None))]


def missing(peer: str) -> str | None:
    """Why a peer cannot run here, or None."""
    if peer not in PEERS or importlib.util.find_spec(PEERS[peer][1]) is not None:
        return None
    return f"{PEERS[peer][1]} is not installed"
