"""The table: medians, ratios in words, and whether promises were kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.workload import PEERS, Target, Workload


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        workload: what was measured.
        label: which of its figures.
        medians: by peer.
        machine_peak: what the machine could do in the same unit; None if that was not measured.
    """

    workload: Workload
    label: str
    medians: Mapping[str, float]
    machine_peak: float | None = None

    @property
    def title(self) -> str:
        """How the line starts."""
        return f"{self.workload.name} {self.label}".strip()

    def ratio(self, peer: str) -> float | None:
        """How many times better than a peer we are; None if one of the two did not run."""
        ours, theirs = self.medians.get("ours"), self.medians.get(peer)
        if not ours or not theirs:
            return None
        return ours / theirs if self.workload.higher_is_better else theirs / ours

    def share_of_machine(self) -> str:
        """Our figure in percent of what the machine could do."""
        ours = self.medians.get("ours")
        return f"{ours / self.machine_peak:.0%}" if ours and self.machine_peak else "-"

    def best_peer(self) -> str | None:
        """The best of the others."""
        peers = [peer for peer in self.medians if peer != "ours"]
        choose = max if self.workload.higher_is_better else min
        return choose(peers, key=lambda peer: self.medians[peer]) if peers else None


def significant(value: float) -> str:
    """A figure with three digits.

    >>> [significant(value) for value in (0.01234, 1.2345, 123.45, 98765.0)]
    ['0.0123', '1.23', '123', '98765']
    """
    if value == 0:
        return "0"
    text = f"{value:.3g}"
    return f"{value:.0f}" if "e" in text and abs(value) >= 1 else text


def in_words(ratio: float, words: tuple[str, str] = ("faster", "slower")) -> str:
    """A ratio as one says it.

    >>> in_words(3.14), in_words(0.5), in_words(1.001)
    ('3.1x faster', '2.0x slower', 'level')
    """
    factor = max(ratio, 1 / ratio)
    if factor < 1.005:
        return "level"
    digits = 2 if factor < 1.5 else 1
    return f"{factor:.{digits}f}x {words[0] if ratio > 1 else words[1]}"


def render(rows: Sequence[Row]) -> str:
    """The table as text, with a column for each peer that ran anywhere, and one for the share of the machine
    where that was measured."""
    ran = [peer for peer in PEERS if any(peer in row.medians for row in rows)]
    shares = ["of the machine"] if any(row.machine_peak for row in rows) else []
    lines = [["workload", "unit", *(PEERS[peer][0] for peer in ran), *shares, "against the best peer"]]
    for row in rows:
        figures = [significant(row.medians[peer]) if peer in row.medians else "-" for peer in ran]
        best = row.best_peer()
        ratio = row.ratio(best) if best else None
        verdict = f"{in_words(ratio, row.workload.words)} ({PEERS[best][0]})" if best and ratio else "-"
        share = [row.share_of_machine() for _ in shares]
        lines.append([row.title, row.workload.unit, *figures, *share, verdict])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def text(line: Sequence[str]) -> str:
        cells = [
            cell.rjust(width) if 2 <= column < len(line) - 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([text(lines[0]), "  ".join("-" * width for width in widths), *map(text, lines[1:])])


def verdicts(row: Row) -> list[tuple[bool | None, str]]:
    """For each promise of a row: whether it was kept (None if that cannot be told), and the words."""
    return [_verdict(row, target) for target in row.workload.targets]


def _verdict(row: Row, target: Target) -> tuple[bool | None, str]:
    ours = row.medians.get("ours")
    if ours is None:
        return None, f"{row.title}: not checked, it did not run"
    higher, unit = row.workload.higher_is_better, row.workload.unit
    if target.limit is not None:
        kept = ours >= target.limit if higher else ours <= target.limit
        side = "at least" if higher else "at most"
        said = f"{significant(ours)} {unit}, stated {side} {significant(target.limit)} {unit}"
        return kept, f"{row.title}: {'kept' if kept else 'MISSED'}, {said}"
    peer = row.best_peer() if target.against == "best" else target.against
    ratio = row.ratio(peer) if peer else None
    name = "the best peer" if target.against == "best" else PEERS[target.against][0]
    if ratio is None or target.ratio is None:
        return None, f"{row.title}: not checked, no figure of {name}"
    kept = ratio >= target.ratio
    said = f"{ratio:.2f} times {name}, stated {target.ratio:g}"
    return kept, f"{row.title}: {'kept' if kept else 'MISSED'}, {said}"
