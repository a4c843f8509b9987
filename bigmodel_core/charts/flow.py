"""Boxes from top to bottom and what leads from one to another: the layers of a model, the steps of a sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bigmodel_core.charts.chart import WIDTH, Chart, chart, place, text, told
from bigmodel_core.charts.frame import TICK, heading, nothing
from bigmodel_core.charts.texts import shortened, width
from bigmodel_core.errors import UsageError

HEIGHT, GAP, LANE, LANES = 40.0, 18.0, 14.0, 5
"""Of a box, between two of them, and of the ways around boxes."""


@dataclass(frozen=True)
class Box:
    """A box of a `flow`.

    Args:
        name, about: its two lines.
        share: how much of it is filled, from 0 to 1.
        note: what is written at its right.
    """

    name: str
    about: str = ""
    share: float = 0.0
    note: str = ""


def flow(boxes: Sequence[Box], edges: Sequence[tuple[int, int]] | None = None, *, title: str = "") -> Chart:
    """Boxes from top to bottom.

    Args:
        boxes: in their order.
        edges: from which to which later one something goes; None for each to the next. Those that pass boxes
            by are drawn at the left.
        title: of the chart.

    Raises:
        UsageError: an edge leads nowhere, or back.

    >>> flow([Box("dense"), Box("relu"), Box("add")], [(0, 1), (1, 2), (0, 2)], title="Layers").description
    '3 boxes: dense, relu, add; past others: dense to add.'
    """
    pairs = [(at, at + 1) for at in range(len(boxes) - 1)] if edges is None else sorted(set(edges))
    for start, end in pairs:
        if not 0 <= start < end < len(boxes):
            raise UsageError(
                f"an edge leads from box {start} to box {end} of {len(boxes)}.",
                where="flow",
                fix="name boxes by their numbers from 0, the earlier one first.",
            )
    if not boxes:
        parts, height = nothing(title)
        return chart(parts, title, "No boxes.", height=height)
    long = [(start, end) for start, end in pairs if end > start + 1]
    by_name = "; ".join(f"{boxes[start].name} to {boxes[end].name}" for start, end in long)
    counted = f"{len(boxes)} box{'es' * (len(boxes) != 1)}: {', '.join(box.name for box in boxes)}"
    words = f"{counted}{f'; past others: {by_name}' if long else ''}."
    parts, top = heading(title, (), "")
    lanes = _lanes(long)
    left = 8 + LANE * (1 + max(lanes.values())) + 6 if lanes else 8.0
    for start, end in pairs:
        y1, y2 = top + start * (HEIGHT + GAP) + HEIGHT, top + end * (HEIGHT + GAP)
        if end == start + 1:
            x = (left + WIDTH - 8) / 2
            parts.append(f'<path class="axis" d="M{place(x)} {place(y1)}V{place(y2)}"/>')
            parts.append(_tip(x, y2))
            continue
        x, y1, y2 = left - LANE * (1 + lanes[start, end]), y1 - 10, y2 + 10
        parts.append(
            f'<path class="axis" d="M{place(left)} {place(y1)}H{place(x)}V{place(y2)}H{place(left)}"/>'
        )
        parts.append(f'<circle style="fill:var(--faint)" cx="{place(left)}" cy="{place(y2)}" r="3"/>')
    for number, box in enumerate(boxes):
        parts += _box(box, left, top + number * (HEIGHT + GAP), WIDTH - 8 - left)
    return chart(parts, title, words, height=top + len(boxes) * (HEIGHT + GAP) - GAP + 8)


def _lanes(edges: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """Ways around boxes, those that overlap side by side, as far as there is room."""
    found: dict[tuple[int, int], int] = {}
    for edge in sorted(edges, key=lambda edge: edge[1] - edge[0]):
        taken = {lane for other, lane in found.items() if other[0] < edge[1] and edge[0] < other[1]}
        found[edge] = min(min(lane for lane in range(len(taken) + 1) if lane not in taken), LANES - 1)
    return found


def _tip(x: float, y: float) -> str:
    ends = f"M{place(x - 4)} {place(y - 6)}L{place(x)} {place(y)}L{place(x + 4)} {place(y - 6)}"
    return f'<path class="axis" d="{ends}"/>'


def _box(box: Box, x: float, y: float, wide: float) -> list[str]:
    size = f'y="{place(y)}" height="{place(HEIGHT)}" rx="5"'
    at = f'x="{place(x)}" {size}'
    edge = f'<rect class="axis" {at} width="{place(wide)}"/>'
    share = min(1.0, max(0.0, box.share))
    parts = [f'<rect style="fill:var(--paper)" {at} width="{place(wide)}"/>']
    if share > 0:
        parts.append(f'<rect class="heat" fill-opacity="0.3" {at} width="{place(max(wide * share, 3))}"/>')
    parts.append(told(edge, ", ".join(part for part in (box.name, box.about, box.note) if part)))
    room = wide - 16
    name = shortened(box.name, room * 0.7)
    parts.append(text(x + 8, y + 16, name, kind="bold"))
    parts.append(text(x + 8, y + 32, shortened(box.about, room, TICK), size=TICK))
    if box.note:
        note = shortened(box.note, room - 1.08 * width(name), TICK)
        parts.append(text(x + wide - 8, y + 16, note, anchor="end", size=TICK))
    return parts
