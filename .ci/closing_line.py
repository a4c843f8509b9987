"""Prints the closing lines of pytest's runs as one: `python closing_line.py LOG...`.

A later run does what the first one skipped for want of PyTorch, so those tests count as what became of them.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

CLOSING = re.compile(r"^(?:=+ )?((?:\d+ [a-z]+(?:, )?)+) in ([\d.]+)s.*$", re.MULTILINE)
WAITED = re.compile(r"^SKIPPED \[(\d+)\] .*: PyTorch is not installed$", re.MULTILINE)
OUTCOMES = ("failed", "passed", "skipped", "xfailed", "xpassed", "warning", "error")


def closing_line(logs: list[str]) -> str:
    """The closing line of one log as pytest wrote it, that of several with each test counted once."""
    runs = [(log, match) for log in logs for match in list(CLOSING.finditer(log))[-1:]]
    if len(runs) < 2:
        return runs[0][1][0] if runs else ""
    counts: Counter[str] = Counter()
    for _, match in runs:
        for number, outcome in re.findall(r"(\d+) ([a-z]+?)s?\b", match[1]):
            counts[outcome] += int(number)
    counts["skipped"] -= sum(int(number) for number in WAITED.findall(runs[0][0]))
    parts = [
        f"{counts[name]} {name}{'s' if name in OUTCOMES[-2:] and counts[name] > 1 else ''}"
        for name in OUTCOMES
        if counts[name] > 0
    ]
    seconds = sum(float(match[2]) for _, match in runs)
    return f"===== {', '.join(parts)} in {seconds:.2f}s ({len(runs)} runs) ====="


if __name__ == "__main__":
    print(closing_line([Path(path).read_text("utf-8", "replace") for path in sys.argv[1:]]))
