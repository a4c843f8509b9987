"""A finished chart, and what all charts have: colours, a title, a description, a place for text."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from bigmodel_core.charts.texts import SIZE, escaped

WIDTH, HEIGHT = 420.0, 270.0
SERIES = 8
"""Colours of series; the ninth has that of the first, dashed otherwise."""


def _numbered(codes: str) -> dict[str, str]:
    return {str(number): f"#{code}" for number, code in enumerate(codes.split())}


LIGHT = {
    "paper": "#ffffff",
    "ink": "#1f2328",
    "faint": "#59636e",
    "grid": "#d8dee4",
    "heat": "#0969da",
    "cold": "#bc4c00",
    **_numbered("0969da bc4c00 1a7f37 8250df bf3989 7d4e00 136061 57606a"),
}
DARK = {
    "paper": "#0d1117",
    "ink": "#e6edf3",
    "faint": "#9198a1",
    "grid": "#30363d",
    "heat": "#1f6feb",
    "cold": "#bd561d",
    **_numbered("58a6ff f0883e 3fb950 bc8cff f778ba d4a72c 39c5cf adbac7"),
}
"""Colours by the names of the CSS variables, without "--bm-"; a page around charts uses them, too."""
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "5 2 1 2 1 2", "12 4", "1 4", "4 4")


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:var(--bm-{name},{colour});" for name, colour in colours.items())


_STYLE = (
    f"svg.bm-chart{{{_variables(LIGHT)}background:var(--paper);max-width:100%;height:auto;"
    f"font:{SIZE}px system-ui,'DejaVu Sans',sans-serif}}"
    f"@media(prefers-color-scheme:dark){{svg.bm-chart{{{_variables(DARK)}}}}}"
    ".bm-chart text{fill:var(--ink)}.bm-chart .faint{fill:var(--faint)}"
    ".bm-chart .grid{stroke:var(--grid);fill:none}.bm-chart .axis{stroke:var(--faint);fill:none}"
    ".bm-chart .diagonal{stroke:var(--faint);stroke-dasharray:3 4;fill:none}"
    ".bm-chart .heat{fill:var(--heat)}.bm-chart .cold{fill:var(--cold)}.bm-chart .bold{font-weight:600}"
    + "".join(
        f".bm-chart .l{place}{{stroke:var(--{place});fill:none;stroke-width:2;stroke-linejoin:round;"
        f"stroke-linecap:round;stroke-dasharray:{_DASHES[place] or 'none'}}}"
        f".bm-chart .p{place}{{fill:var(--{place});stroke:none}}"
        f".bm-chart .o{place}{{stroke:var(--{place});fill:none;stroke-width:1.5}}"
        for place in range(SERIES)
    )
)


@dataclass(frozen=True)
class Chart:
    """A chart, which shows itself in a notebook.

    Args:
        svg: the chart, as a page or a file `.svg` holds it.
        title: what it is called.
        description: what it shows, in words.
    """

    svg: str
    title: str
    description: str

    def _repr_html_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<Chart {self.title!r}: {self.description}>"


def chart(
    parts: Sequence[str], title: str, description: str, width: float = WIDTH, height: float = HEIGHT
) -> Chart:
    """The chart of some elements."""
    body = "".join(parts)
    name = "bm" + hashlib.blake2b(f"{title}{description}{body}".encode(), digest_size=6).hexdigest()
    wide, high = place(width), place(height)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="bm-chart" viewBox="0 0 {wide} {high}"'
        f' width="{wide}" height="{high}" role="img" aria-labelledby="{name}t {name}d">'
        f'<title id="{name}t">{escaped(title)}</title><desc id="{name}d">{escaped(description)}</desc>'
        f"<style>{_STYLE}</style>{body}</svg>"
    )
    return Chart(svg, title, description)


def place(value: float) -> str:
    """A coordinate, in tenths.

    >>> place(12.0), place(3.14159)
    ('12', '3.1')
    """
    return f"{value:.1f}".removesuffix(".0")


def text(
    x: float, y: float, content: str, *, anchor: str = "start", kind: str = "", size: float = SIZE
) -> str:
    """A line of text; `anchor` says which part of it is at x: start, middle or end."""
    kinds = f' class="{kind}"' if kind else ""
    sized = "" if size == SIZE else f' font-size="{place(size)}"'
    at = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{place(x)}" y="{place(y)}"{at}{kinds}{sized}>{escaped(content)}</text>'


def rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line."""
    return f'<path class="{kind}" d="M{place(x1)} {place(y1)}L{place(x2)} {place(y2)}"/>'


def told(shape: str, content: str) -> str:
    """A shape (its opening tag up to "/>") that says something where a pointer rests on it."""
    return f"{shape.removesuffix('/>')}><title>{escaped(content)}</title></{shape[1:].split()[0]}>"
