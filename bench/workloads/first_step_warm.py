"""From the start of the process to the end of the first training step, as in every run but the first."""

from __future__ import annotations

from bench.workload import TRAINED, Run, Target, Workload, module, training_rows

WORKLOAD = Workload("first_step_warm", "process start to first step, caches filled", "s", warm_up=TRAINED)
PEERS = TRAINED
LIMIT, LIMITS = 2.0, {"mlp_b64": 1.5}
"""Seconds that are promised, and of what takes less."""


def rows() -> dict[str, tuple[Target, ...]]:
    return {row: (Target(limit=LIMITS.get(row, LIMIT)),) for row in training_rows()}


def measure(row: str, peer: str, run: Run) -> float:
    run.notes["loss"] = module(row).step(peer, run)()
    return run.since_start()
