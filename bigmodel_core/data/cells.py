"""What the cells of a table say: gaps, numbers, truth values, dates, words; and what a column holds."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, get_args

import numpy as np

from bigmodel_core.errors import DataError

Kind = Literal["number", "bool", "category", "date", "text", "id"]

KINDS: tuple[str, ...] = get_args(Kind)
_WORDS = ("na", "n/a", "nan", "null", "none")
GAPS = ("", "?", "-", "NaN", *(form for word in _WORDS for form in (word, word.upper(), word.capitalize())))
"""Cells that say nothing."""
TRUTHS = tuple(form for word in ("true", "yes", "t", "y") for form in (word, word.upper(), word.capitalize()))
UNTRUTHS = tuple(
    form for word in ("false", "no", "f", "n") for form in (word, word.upper(), word.capitalize())
)
"""Cells of truth values; 1 and 0 are, too."""
DAY = 86400.0
_GAPS = frozenset(GAPS)
_TRUE = {**dict.fromkeys((*TRUTHS, "1"), 1.0), **dict.fromkeys((*UNTRUTHS, "0"), 0.0)}
_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?)?")


def is_gap(cell: str) -> bool:
    """Whether a cell says nothing.

    >>> [is_gap(cell) for cell in ("", "NaN", "?", "0")]
    [True, True, True, False]
    """
    return cell in _GAPS


def plain(form: str) -> str:
    """A word in small letters and without punctuation around.

    >>> plain("GOOD!")
    'good'
    """
    return form.lower().strip(".,;:!?\"'()[]")


def instant(cell: str) -> float | None:
    """The seconds since 1970 of a date, as in 2024-01-31 or 2024-01-31 12:30:00; None if it is none.

    >>> instant("1970-01-02"), instant("1970-01-01 00:01"), instant("2 Jan")
    (86400.0, 60.0, None)
    """
    found = _DATE.fullmatch(cell)
    if found is None:
        return None
    year, month, day, hour, minute = (int(part or 0) for part in found.groups()[:5])
    try:
        start = datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()
    except ValueError:
        return None
    return start + float(found[6] or 0)


def number(cell: str) -> float | None:
    """The finite number in a cell; None if there is none."""
    try:
        value = math.nan if "_" in cell else float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def kind_of(name: str, cells: Sequence[str]) -> Kind | None:
    """What a column holds; None if it says nothing: all gaps, or one value alone.

    >>> kind_of("size", ["1", "2.5", ""]), kind_of("day", ["2024-01-05", "2024-02-05"])
    ('number', 'date')
    """
    known = [cell for cell in cells if not is_gap(cell)]
    counts = Counter(known)
    if not known or (len(counts) == 1 and len(known) == len(cells) and number(known[0]) is None):
        return None
    if counts.keys() <= _TRUE.keys() and not counts.keys() <= {"0", "1"}:
        return "bool"
    numeric = sum(count for cell, count in counts.items() if number(cell) is not None)
    if 2 * numeric >= len(known):  # words among them are an error that names the cell
        names_one = name.lower() == "id" or name.lower().endswith(("_id", " id"))
        return "id" if names_one and len(counts) == len(cells) > 2 else "number"
    if all(instant(cell) is not None for cell in counts):
        return "date"
    spaces = statistics.fmean(len(cell.split()) for cell in known)
    if spaces >= 3 and len(counts) > 0.1 * len(known):
        return "text"
    return "id" if len(counts) > max(20, 0.5 * len(known)) else "category"


def numbers_in(name: str, kind: Kind, cells: Sequence[str], where: Sequence[str] | None = None) -> np.ndarray:
    """What cells of numbers, truth values or dates say, NaN for gaps."""
    known: dict[str, float | None] = {}
    found = np.empty(len(cells))
    for row, cell in enumerate(cells):
        if cell in known:
            value = known[cell]
        elif is_gap(cell):
            value = known[cell] = math.nan
        elif kind == "bool":
            value = known[cell] = _TRUE.get(cell)
        else:
            value = known[cell] = instant(cell) if kind == "date" else number(cell)
        if value is None or abs(value) > 3.4028235e38:
            what = {"bool": "neither true nor false", "date": "no date as in 2024-01-31 or 2024-01-31 12:00"}
            raise DataError(
                f"{cell[:40]!r} is {what.get(kind, 'not a finite number')}.",
                where=f"{where[row]}, column {name}" if where else f"column {name}",
                fix=f"write it so, leave it empty, leave the column out (drop={name}), or say what it holds"
                f" (kinds={name}:category).",
            )
        found[row] = value
    return found
