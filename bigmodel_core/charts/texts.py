"""Texts in charts: how wide they are, how they are cut, and how numbers are written."""

from __future__ import annotations

import html
import math
import unicodedata

from bigmodel_core.errors import visible

SIZE = 13
"""Of letters, in units of a chart; on a narrow phone they are shown as about 10 pixels."""


def escaped(text: str) -> str:
    """A text as SVG and HTML hold it.

    >>> escaped("<b> & co")
    '&lt;b&gt; &amp; co'
    """
    return html.escape(visible(str(text)))


def width(text: str, size: float = SIZE) -> float:
    """About how wide a text is, on the safe side."""
    return size * sum(_letter(letter) for letter in text)


def _letter(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    if letter in "ijl.,:;'|!()[] ":
        return 0.36
    return 0.86 if letter in "mwMW@%" else 0.7 if letter.isupper() else 0.62


def shortened(text: str, room: float, size: float = SIZE, *, middle: bool = False) -> str:
    """A text that fits into some room, cut at its end if it must be, or in its middle.

    >>> shortened("a class with a very long name", 60), shortened("class number 17", 60, middle=True)
    ('a class…', 'clas… 17')
    """
    if width(text, size) <= room:
        return text
    kept = len(text)
    while kept and width(_cut(text, kept, middle), size) > room:
        kept -= 1
    return _cut(text, kept, middle)


def _cut(text: str, kept: int, middle: bool) -> str:
    """A text with an ellipsis in the place of all but some letters."""
    end = kept // 2 if middle else 0
    return f"{text[: kept - end].rstrip()}…{text[len(text) - end :]}"


def wrapped(text: str, room: float, size: float = SIZE, most: int = 2) -> list[str]:
    """A text in lines that fit, at most some."""
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < most:
        taken = 1
        while taken < len(words) and width(" ".join(words[: taken + 1]), size) <= room:
            taken += 1
        taken = len(words) if len(lines) == most - 1 else taken
        lines.append(shortened(" ".join(words[:taken]), room, size))
        words = words[taken:]
    return lines


def number(value: float, digits: int = 4) -> str:
    """A number in few digits.

    >>> number(0.97218), number(12345.678), number(3.4e-7), number(1.5e9), number(float("nan"))
    ('0.9722', '12,346', '3.4e-7', '1.5e9', 'no number')
    """
    if not math.isfinite(value):
        return "no number" if math.isnan(value) else "infinity" if value > 0 else "-infinity"
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    if 1e-4 <= abs(value) < 1e6:
        whole = len(str(int(abs(value)))) if abs(value) >= 1 else 1 + math.floor(math.log10(abs(value)))
        return _plain(f"{value:,.{max(0, digits - whole)}f}")
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{_plain(mantissa)}e{int(exponent)}"


def _plain(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
