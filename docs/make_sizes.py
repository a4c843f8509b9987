"""Writes the table of file sizes into CONTRIBUTING.md: limits a little above what each room's files measure.

Run it when a test says that a room has outgrown its limits, or that it is much smaller than they say:
`python docs/make_sizes.py`.
"""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "CONTRIBUTING.md"
STEP = 100
"""Limits are multiples of this many lines."""

SLACK = 250
"""A limit that lies further above what it limits says too little."""

ROW = r"^\| `([\w/]+)/` \| (\d+) \| (\d+) \|\n"


def measured() -> dict[str, tuple[int, int]]:
    """The median and the maximum of the lines of a room's files: a folder of the core or of its kernels, a
    plugin, an exporter."""
    counts: dict[str, list[int]] = {}
    for top in ("bigmodel_core", "plugins", "exporters"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).parent.parts
            lines = len(path.read_text("utf-8").splitlines())
            if lines and "templates" not in parts:
                room = "/".join(parts[: 3 if "kernels" in parts else 2])
                counts.setdefault(room, []).append(lines)
    return {room: (round(median(lines)), max(lines)) for room, lines in sorted(counts.items())}


def stated() -> dict[str, tuple[int, int]]:
    """The limits of each room in the table."""
    rows = re.findall(ROW, TARGET.read_text("utf-8"), re.MULTILINE)
    return {room: (int(middle), int(longest)) for room, middle, longest in rows}


def limit(lines: int) -> int:
    """The next multiple of STEP that leaves room for a few more lines."""
    return -(-(lines + 5) // STEP) * STEP


def text() -> str:
    """The page with its table made anew."""
    rows = [
        f"| `{room}/` | {limit(middle)} | {limit(longest)} |\n"
        for room, (middle, longest) in measured().items()
    ]
    return re.sub(f"(?:{ROW})+", "".join(rows), TARGET.read_text("utf-8"), count=1, flags=re.MULTILINE)


if __name__ == "__main__":
    TARGET.write_text(text(), "utf-8")
