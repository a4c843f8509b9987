"""One measurement in its own process: `python -m bench.worker WORKLOAD PEER --threads N`.

Prints one line of JSON: the figures by label, the peak memory of the process, remarks.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from bench.workload import Run, load


def peak_memory() -> float:
    """The most memory this process ever held, in MiB.

    Linux counts a process's `ru_maxrss` from before it became this program, so its own high-water mark is
    read if there is one.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            line = next(line for line in status if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def measure(name: str, peer: str, run: Run) -> dict[str, object]:
    """Run one workload for one peer.

    Runners return a figure, or figures by label; `together` returns either by peer.
    """
    found: Any = load(name).runners[peer](run)
    by_peer = found if peer == "together" else {peer: found}
    values = {who: _labelled(figures) for who, figures in by_peer.items()}
    return {"values": values, "peak_mib": peak_memory(), "notes": run.notes}


def _labelled(figures: Any) -> dict[str, float]:
    labelled = figures if isinstance(figures, dict) else {"": figures}
    return {label: float(figure) for label, figure in labelled.items()}


def main(arguments: list[str] | None = None) -> None:
    """Measure what the command line names and print the result."""
    parser = argparse.ArgumentParser(prog="python -m bench.worker", description=__doc__)
    parser.add_argument("workload")
    parser.add_argument("peer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--started", type=float, default=None, help="time.time() before the process began")
    options = parser.parse_args(arguments)
    started = time.time() if options.started is None else options.started
    result = measure(options.workload, options.peer, Run(options.threads, started, options.steps))
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
