"""Who runs when: one process at a time, peers in turn, the same threads for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import workload

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_SECONDS = 1800

THREAD_VARIABLES = (
    "BIGMODEL_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NPROC",  # what XLA's CPU client sizes its thread pool by
    "NUMBA_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)


@dataclass
class Figures:
    """What one workload gave.

    Attributes:
        values: the figures of all rounds, by label and peer.
        peaks: peak memory of the processes in MiB, by peer.
        notes: remarks of the last round, by peer.
        machine_peaks: what the machine could do, in the workload's unit, where our runner measures that.
        skipped: why a peer did not run.
        failed: the last words of a peer that failed.
    """

    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    peaks: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, dict[str, float]] = field(default_factory=dict)
    machine_peaks: list[float] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, result: Mapping[str, Mapping[str, Mapping[str, float]]], peak: float) -> None:
        """Take in what a worker printed."""
        if workload.MACHINE_PEAK in result["notes"]:
            self.machine_peaks.append(float(result["notes"][workload.MACHINE_PEAK]))
        for peer, by_label in result["values"].items():
            for label, figure in by_label.items():
                self.values.setdefault(label, {}).setdefault(peer, []).append(figure)
            self.peaks.setdefault(peer, []).append(peak)
            self.notes[peer] = dict(result["notes"])

    def medians(self) -> dict[str, dict[str, float]]:
        """The median over rounds, by label and peer."""
        return {
            label: {peer: median(rounds) for peer, rounds in by_peer.items()}
            for label, by_peer in self.values.items()
        }


class WorkerError(Exception):
    """A worker that ended badly; the text is the end of what it wrote."""


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment(threads: int, base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of a worker: every library gets the same number of threads, no BLAS is held back."""
    made = {
        name: text for name, text in base.items() if name not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
    }
    made.update({name: str(threads) for name in THREAD_VARIABLES})
    made["JAX_PLATFORMS"] = "cpu"
    return made


def run_worker(name: str, peer: str, threads: int, steps: int | None) -> dict[str, object]:
    """Run one worker to its end and read its line.

    Raises:
        WorkerError: it failed, printed no result or took too long.
    """
    command = [sys.executable, "-m", "bench.worker", name, peer, "--threads", str(threads)]
    command += [] if steps is None else ["--steps", str(steps)]
    narrow = threads < cores() and hasattr(os, "sched_setaffinity")
    chosen = sorted(os.sched_getaffinity(0))[:threads] if narrow else []
    before = os.sched_getaffinity(0) if narrow else set()
    try:
        if narrow:  # inherited by the worker: some thread pools look at the cores and at nothing else
            os.sched_setaffinity(0, chosen)
        done = subprocess.run(
            [*command, "--started", repr(time.time())],
            cwd=ROOT,
            env=environment(threads),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise WorkerError(f"no result within {TIMEOUT_SECONDS} s") from None
    finally:
        if narrow:
            os.sched_setaffinity(0, before)
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        raise WorkerError("\n".join(done.stderr.strip().splitlines()[-8:]) or f"exit code {done.returncode}")
    result: dict[str, object] = json.loads(lines[-1])
    return result


def run_workload(
    name: str,
    peers: Sequence[str],
    *,
    rounds: int,
    threads: int,
    steps: int | None = None,
    progress: Callable[[str], None] = lambda text: None,
    worker: Callable[[str, str, int, int | None], dict[str, object]] = run_worker,
) -> Figures:
    """All rounds of a workload: each round runs every peer once, one process after the other."""
    figures = Figures()
    loaded = workload.load(name)
    reason = loaded.unavailable()
    for peer in peers:
        why = reason or workload.missing(peer)
        if why:
            figures.skipped[peer] = why
    active = [peer for peer in peers if peer not in figures.skipped]

    def once(peer: str, title: str) -> dict[str, object] | None:
        if peer in figures.failed:
            return None
        progress(f"{name}: {title}, {workload.PEERS.get(peer, (peer,))[0]}")
        try:
            return worker(name, peer, threads, steps)
        except WorkerError as error:
            figures.failed[peer] = str(error)
            return None

    for peer in active:
        if peer in loaded.workload.warm_up:
            once(peer, "warm-up")
    for number in range(rounds):
        for peer in active:
            result = once(peer, f"round {number + 1} of {rounds}")
            if result is not None:
                figures.add(result, float(result["peak_mib"]))
    return figures
