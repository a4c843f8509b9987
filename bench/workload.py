"""What a workload is: what is measured, in which unit, what is promised; and what a runner is given."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import ModuleType

PEERS = {
    "ours": ("bigmodel", "bigmodel_core"),
    "torch": ("PyTorch eager", "torch"),
    "torch_compile": ("torch.compile", "torch"),
    "jax": ("JAX jit", "jax"),
    "numpy": ("NumPy", "numpy"),
    "onnxruntime": ("ONNX Runtime", "onnxruntime"),
}
"""Those that are compared: a workload's runner, its title, the module that must be there."""
TRAINED = ("ours", "torch", "torch_compile", "jax")
"""The peers of a training step."""

MACHINE_PEAK = "machine peak"
"""The remark that says what the machine could do, in the unit of a workload, measured in the same process."""

Step = Callable[[], float]
"""Takes one training step and returns the loss."""


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
        name: what the command line calls it; the module in `bench/workloads` has the same name. One that is
            measured on several rows has them behind a colon: "first_step_cold:lenet_b64".
        title: what is measured, in a few words.
        unit: of the figures: "ms", "s", "MiB", "GFLOP/s".
        higher_is_better: whether more of the unit is better.
        words: how the ratio is put, better and worse.
        targets: what is promised.
        warm_up: runners that run once before the rounds, unmeasured, so that caches on disk are filled.
        memory: how many times the peak memory of ours that of PyTorch is, at least, for a training step.
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool = False
    words: tuple[str, str] = ("faster", "slower")
    targets: tuple[Target, ...] = ()
    warm_up: tuple[str, ...] = ("ours",)
    memory: float = 1.0


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

    @property
    def is_quick(self) -> bool:
        """Whether this is a quick look, whose figures are none."""
        return self.steps is not None

    def since_start(self) -> float:
        """Seconds since just before this process was started, the interpreter's own start included."""
        return time.time() - self.started

    def median_step(self, step: Step, *, seconds: float = 3.0) -> float:
        """Milliseconds of a training step; its last loss is remarked, where a step that computes nothing
        would show."""
        loss = 0.0

        def call() -> None:
            nonlocal loss
            loss = step()

        found = self.median_call(call, seconds=seconds)
        self.notes["loss"] = float(loss)
        return found

    def median_call(self, call: Callable[[], object], *, seconds: float) -> float:
        """Milliseconds of a call: the median of single calls over some seconds, but at least 20 calls.

        Before them come fifty that do not count; after a third of the time, five are enough.
        """
        taken, begin = 0, time.perf_counter()
        enough = self.steps or 50
        while taken < enough and (taken < 5 or time.perf_counter() < begin + seconds / 3):
            call()
            taken += 1
        times: list[float] = []
        deadline = time.perf_counter() + seconds
        while len(times) < (self.steps or 20) or (self.steps is None and time.perf_counter() < deadline):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return statistics.median(times) * 1e3


@dataclass(frozen=True)
class Loaded:
    """A workload with what runs it.

    Args:
        workload: what is measured.
        runners: by peer; `together` runs several in one process.
        unavailable: why it cannot run, or None.
        is_step: whether it is a training step, whose process tells its peak memory, too.
    """

    workload: Workload
    runners: Mapping[str, Callable[[Run], object]]
    unavailable: Callable[[], str | None] = lambda: None
    is_step: bool = False


def names() -> list[str]:
    """The names of all workloads, those of several rows once for each row."""
    return [name for stem in stems() for name in expanded(stem)]


def stems() -> list[str]:
    """The names of all modules of workloads."""
    package = importlib.import_module("bench.workloads")
    return sorted(found.name for found in pkgutil.iter_modules(package.__path__))


def expanded(name: str) -> list[str]:
    """A name, or where it stands for several rows, the name of each; nothing if there is no such workload."""
    stem, colon, row = name.partition(":")
    if stem not in stems():
        return []
    rows: Mapping[str, object] = getattr(module(stem), "rows", dict)()
    if colon:
        return [name] if row in rows else []
    return [f"{stem}:{each}" for each in rows] or [stem]


def training_rows() -> list[str]:
    """The names of the workloads that are training steps."""
    return [stem for stem in stems() if hasattr(module(stem), "step")]


def module(stem: str) -> ModuleType:
    """The module of a workload: `WORKLOAD`, and how it is measured, in one of three ways.

    A training step has `step(peer, run)`, which returns a function that takes a step. What is measured on
    several rows has `rows()`, which gives the promises of each, and `measure(row, peer, run)` for its
    `PEERS`. Anything else has a function of the run for each peer, or `together` for several.
    """
    return importlib.import_module(f"bench.workloads.{stem}")


def load(name: str) -> Loaded:
    """A workload by its name."""
    stem, _, row = name.partition(":")
    found = module(stem)
    unavailable = getattr(found, "unavailable", lambda: None)
    if row:
        described = replace(
            found.WORKLOAD,
            name=name,
            title=f"{found.WORKLOAD.title}: {row}",
            targets=found.rows()[row],
        )
        runners = {peer: partial(found.measure, row, peer) for peer in found.PEERS}
        return Loaded(described, runners, unavailable)
    if hasattr(found, "step"):

        def runner(peer: str, run: Run) -> float:
            return run.median_step(found.step(peer, run))

        runners = {peer: partial(runner, peer) for peer in TRAINED}
        return Loaded(found.WORKLOAD, runners, unavailable, is_step=True)
    present = {peer: getattr(found, peer, None) for peer in (*PEERS, "together")}
    runners = {peer: function for peer, function in present.items() if callable(function)}
    return Loaded(found.WORKLOAD, runners, unavailable)


def missing(peer: str) -> str | None:
    """Why a peer cannot run here, or None."""
    if peer not in PEERS or importlib.util.find_spec(PEERS[peer][1]) is not None:
        return None
    return f"{PEERS[peer][1]} is not installed"
