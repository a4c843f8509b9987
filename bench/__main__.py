"""`python -m bench [WORKLOAD ...]`: run workloads beside the peers that are installed, print one table."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from statistics import median

from bench import schedule, workload
from bench.table import Row, render, verdicts
from bench.workload import Target


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of a command line; ends the process with 2 where they make no sense."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="names; all by default")
    parser.add_argument("--list", action="store_true", help="say what there is, run nothing")
    parser.add_argument("--rounds", type=int, default=5, help="processes of each peer (default 5)")
    parser.add_argument("--threads", type=int, default=schedule.cores(), help="default: the cores there are")
    parser.add_argument(
        "--steps", type=int, default=None, help="few training steps: a quick look, no figures"
    )
    parser.add_argument("--peers", default=None, help=f"comma-separated: {','.join(workload.PEERS)}")
    parser.add_argument(
        "--torch-compile", action="store_true", help="run torch.compile too (it starts slowly)"
    )
    parser.add_argument("--json", type=Path, default=None, metavar="OUT", help="write all figures to a file")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.workloads if not workload.expanded(name)]
    if unknown:
        parser.error(f"unknown workload {', '.join(unknown)}; there are {', '.join(workload.names())}")
    options.workloads = [name for given in options.workloads for name in workload.expanded(given)]
    if options.rounds < 1 or options.threads < 1 or (options.steps is not None and options.steps < 1):
        parser.error("--rounds, --threads and --steps are at least 1")
    if options.threads > schedule.cores():
        parser.error(f"--threads is {options.threads}, but there are {schedule.cores()} cores")
    wanted = None if options.peers is None else options.peers.split(",")
    if wanted is not None and set(wanted) - set(workload.PEERS):
        parser.error(f"--peers: there are {', '.join(workload.PEERS)}")
    options.peers = wanted
    return options


def listing() -> str:
    """All workloads, those of several rows with the rows below."""
    lines = []
    for stem in workload.stems():
        names = workload.expanded(stem)
        about, runners = workload.module(stem).WORKLOAD, workload.load(names[0]).runners
        lines.append(f"{stem:18} {about.title} [{about.unit}]; {', '.join(runners)}")
        if names != [stem]:
            lines.append(f"{'':18} rows: {', '.join(names)}")
    return "\n".join(lines)


def chosen_peers(name: str, options: argparse.Namespace) -> list[str]:
    """The runners of a workload that the options ask for."""
    found = list(workload.load(name).runners)
    if options.peers is not None:
        return [peer for peer in found if peer in options.peers or peer == "together"]
    return [peer for peer in found if peer != "torch_compile" or options.torch_compile]


def machine(threads: int) -> dict[str, object]:
    """What the figures were taken on."""
    versions = {}
    for package in ("bigmodel", "numpy", "numba", "torch", "jax", "onnxruntime"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": schedule.cores(),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            return next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def report(found: Mapping[str, schedule.Figures], facts: Mapping[str, object]) -> str:
    """Everything that is printed at the end."""
    rows = [row for name, figures in found.items() for row in rows_of(name, figures)]
    lines = [f"{key}: {_plain(value)}" for key, value in facts.items()]
    lines += ["", render(rows) if rows else "nothing ran", ""]
    for name, figures in found.items():
        lines += [
            f"{name}: {workload.PEERS.get(p, (p,))[0]} skipped: {why}" for p, why in figures.skipped.items()
        ]
        lines += [
            f"{name}: {workload.PEERS.get(p, (p,))[0]} FAILED: {why}" for p, why in figures.failed.items()
        ]
    if "note" not in facts:  # a quick look keeps and misses nothing
        lines += [text for row in rows for _, text in verdicts(row)]
    for name, figures in found.items():
        for peer, notes in figures.notes.items():
            said = ", ".join(f"{key} {value:.4g}" for key, value in notes.items())
            if said:
                lines.append(f"{name}: {workload.PEERS[peer][0]}: {said}")
    return "\n".join(lines)


def rows_of(name: str, figures: schedule.Figures) -> list[Row]:
    """The lines of a workload: one for each label, and for a training step one for its peak memory."""
    loaded = workload.load(name)
    machine = median(figures.machine_peaks) if figures.machine_peaks else None
    rows = [Row(loaded.workload, label, medians, machine) for label, medians in figures.medians().items()]
    if loaded.is_step and figures.peaks:
        targets = (Target(ratio=loaded.workload.memory, against="torch"),)
        memory = replace(loaded.workload, unit="MiB", words=("less", "more"), targets=targets)
        peaks = {peer: median(rounds) for peer, rounds in figures.peaks.items()}
        rows.append(Row(memory, "peak memory", peaks))
    return rows


def _plain(value: object) -> str:
    return ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; returns the exit code."""
    options = parse(arguments)
    if options.list:
        print(listing())
        return 0
    figures: dict[str, schedule.Figures] = {}
    for name in options.workloads or workload.names():
        figures[name] = schedule.run_workload(
            name,
            chosen_peers(name, options),
            rounds=options.rounds,
            threads=options.threads,
            steps=options.steps,
            progress=lambda text: print(text, file=sys.stderr, flush=True),
        )
    facts = machine(options.threads)
    if options.steps is not None:
        facts["note"] = "a quick look with few steps: these are no figures"
    print(report(figures, facts))
    if options.json is not None:
        document = {
            "machine": facts,
            "rounds": options.rounds,
            "workloads": {
                name: {
                    "unit": workload.load(name).workload.unit,
                    "figures": each.values,
                    "medians": each.medians(),
                    "peak_mib": each.peaks,
                    "notes": each.notes,
                    "skipped": each.skipped,
                    "failed": each.failed,
                }
                for name, each in figures.items()
            },
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 1 if any(each.failed for each in figures.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
