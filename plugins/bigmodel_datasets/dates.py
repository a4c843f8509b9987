"""Dates of the rows of a series: one step apart, and what a calendar says of each."""

from __future__ import annotations

import calendar
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from bigmodel_core.errors import DataError

KINDS = ("hour", "weekday", "month")
"""What a calendar says that comes round again."""
DAY = 86400


@dataclass(frozen=True)
class Dates:
    """Dates with a constant step, from the first on.

    Args:
        first: the first date.
        months: months in a step; 0 if a step is a span of time.
        seconds: of a step, if it is one.
        style: how the file writes them: "year", "quarter", "month", "day" or "time".
        ends: whether each is the last day of a month.

    >>> Dates(datetime(1960, 11, 1), months=1, style="month").text(2)
    '1961-01'
    """

    first: datetime
    months: int = 0
    seconds: float = 0.0
    style: str = "day"
    ends: bool = False

    @property
    def step(self) -> str:
        """The step in words."""
        if self.months:
            whole, unit = (self.months // 12, "year") if self.months % 12 == 0 else (self.months, "month")
        elif self.seconds % DAY == 0:
            whole, unit = int(self.seconds // DAY), "day"
        else:
            return f"{self.seconds:g} seconds"
        return f"{whole} {unit}{'' if whole == 1 else 's'}"

    def at(self, row: int) -> datetime:
        """The date of a row, which may be beyond the file."""
        if not self.months:
            return self.first + timedelta(seconds=self.seconds * row)
        years, month = divmod(self.first.month - 1 + self.months * row, 12)
        year = self.first.year + years
        last = calendar.monthrange(year, month + 1)[1]
        return self.first.replace(
            year=year, month=month + 1, day=last if self.ends else min(self.first.day, last)
        )

    def text(self, row: int) -> str:
        """The date of a row as the file writes dates."""
        found = self.at(row)
        if self.style == "quarter":
            return f"{found.year} Q{(found.month + 2) // 3}"
        if self.style == "time":
            return found.isoformat(" ")
        return found.date().isoformat()[: {"year": 4, "month": 7}.get(self.style, 10)]

    def usual_kinds(self) -> tuple[str, ...]:
        """What differs between rows and comes round again."""
        if self.months:
            return ("month",) if self.months % 12 else ()
        return KINDS if self.seconds < DAY else KINDS[1:] if self.seconds < 7 * DAY else KINDS[2:]

    def features(self, kinds: Sequence[str], rows: np.ndarray) -> np.ndarray:
        """Sine and cosine of each kind, (rows, 2 * kinds)."""
        dates = [self.at(int(row)) for row in rows]
        shares = {
            "hour": lambda date: (date.hour + date.minute / 60 + date.second / 3600) / 24,
            "weekday": lambda date: date.weekday() / 7,
            "month": lambda date: (date.month - 1) / 12,
        }
        angles = np.array([[2 * np.pi * shares[kind](date) for kind in kinds] for date in dates])
        angles = angles.reshape(len(dates), len(kinds))
        return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(len(dates), -1)


def read_dates(cells: Sequence[tuple[str, str]]) -> Dates:
    """The dates in a column.

    Args:
        cells: the place of each cell, for messages, and its text.

    Raises:
        DataError: a text is no date, dates are not in order, one is there twice, or the step is not constant.
    """
    found = [(place, text, *parsed_date(text, place)) for place, text in cells]
    dates, style = [item[2] for item in found], found[0][3]
    for (_, before, earlier, _), (place, text, date, _) in itertools.pairwise(found):
        if date <= earlier:
            what = f"{text!r} is there twice" if date == earlier else f"{text!r} comes after {before!r}"
            raise DataError(
                f"{what}; dates have to grow.",
                where=place,
                fix="sort the rows by date, each once; if there are several series, name their column: by=.",
            )
    ends = all(date.day == calendar.monthrange(date.year, date.month)[1] for date in dates)
    is_monthly = len({(date.day, date.time()) for date in dates}) == 1
    is_monthly |= ends and len({date.time() for date in dates}) == 1
    months = [12 * date.year + date.month for date in dates]
    pairs = list(itertools.pairwise(dates))
    steps = (
        [float(later - earlier) for earlier, later in itertools.pairwise(months)]
        if is_monthly
        else [(later - earlier).total_seconds() for earlier, later in pairs]
    )
    usual = Counter(steps).most_common(1)[0][0] if steps else 1.0
    made = Dates(
        dates[0],
        int(usual) if is_monthly else 0,
        0.0 if is_monthly else usual,
        style,
        ends and any(date.day != dates[0].day for date in dates),
    )
    wrong = next((number for number, step in enumerate(steps, 1) if step != usual), None)
    if wrong is not None:
        raise DataError(
            f"{found[wrong][1]!r} follows {found[wrong - 1][1]!r}, and most dates are {made.step} apart.",
            where=found[wrong][0],
            fix="add the rows that are missing (with empty cells and gaps=fill), or leave out date=.",
        )
    return made


def parsed_date(text: str, place: str) -> tuple[datetime, str]:
    """The date in a text, and how it is written.

    Raises:
        DataError: it is none.

    >>> parsed_date("1970 Q2", "")
    (datetime.datetime(1970, 4, 1, 0, 0), 'quarter')
    """
    written = text.strip().replace("/", "-")
    if match := re.fullmatch(r"(\d{4})[- ]?[Qq]([1-4])", written):
        return datetime(int(match[1]), 3 * int(match[2]) - 2, 1), "quarter"
    try:
        if re.fullmatch(r"\d{4}", written):
            return datetime(int(written), 1, 1), "year"
        if match := re.fullmatch(r"(\d{4})-(\d{1,2})", written):
            return datetime(int(match[1]), int(match[2]), 1), "month"
        date = datetime.fromisoformat(written)
    except ValueError:
        raise DataError(
            f"{text[:40]!r} is no date.",
            where=place,
            fix="write dates as 2024-01-31, 2024-01-31 18:00, 2024-01, 2024 Q1 or 2024.",
        ) from None
    if date.tzinfo is not None:
        date = date.astimezone(UTC).replace(tzinfo=None)
    return date, "time" if len(written) > 10 else "day"
