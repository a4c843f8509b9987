"""A time series as it was recorded: windows of it are samples, and a forecast goes on from its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from bigmodel_core.errors import ConfigError, DataError, UsageError


@dataclass(frozen=True, eq=False)
class Timeline:
    """One series in recorded units, a row for each point in time.

    A window is `length` rows of all columns: those that are forecast, others, those that are known in advance
    (as they are in that row, and `horizon` rows later), and the calendar's. What it is followed by, `horizon`
    rows of the columns that are forecast, is its target.

    Args:
        values: (n, k) float64, the columns that are forecast.
        others: (n, m), columns that are observed, but not forecast.
        known: (n or more, j), columns that are known in advance, perhaps beyond the end of `values`.
        calendar: (row numbers) -> (rows, c), what a calendar says of any rows.
        length: rows in a window.
        horizon: rows that are forecast at once.
        name: which series it is, where there are several.
        targets: the names of the columns that are forecast.
        date: what a row is called, such as "1960-12"; None if rows have no dates.
        place: the file, for messages.
        notes: what was decided while it was read, one sentence each.

    >>> line = Timeline(np.arange(5.0)[:, None], length=2, horizon=2)
    >>> x, y = line.windows()
    >>> x[..., 0].tolist(), y[..., 0].tolist()
    ([[0.0, 1.0], [1.0, 2.0]], [[2.0, 3.0], [3.0, 4.0]])
    """

    values: np.ndarray
    others: np.ndarray | None = None
    known: np.ndarray | None = None
    calendar: Callable[[np.ndarray], np.ndarray] | None = None
    length: int = 20
    horizon: int = 1
    name: str = ""
    targets: tuple[str, ...] = ()
    date: Callable[[int], str] | None = None
    place: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("length", "horizon"):
            if getattr(self, field) < 1:
                raise ConfigError(f"{field} is {getattr(self, field)}, expected 1 or more.", where="Timeline")
        if self.known is not None and self.length < self.horizon:
            raise ConfigError(
                f"windows of {self.length} cannot show what is known of {self.horizon} steps ahead.",
                where="Timeline",
                fix=f"use a length of at least {self.horizon}.",
            )

    def __len__(self) -> int:
        return len(self.values)

    def columns(self, start: int, stop: int) -> np.ndarray:
        """All columns of some rows, (stop - start, F).

        Raises:
            DataError: what is known in advance does not reach far enough.
        """
        parts = [self.values[start:stop]]
        if self.others is not None:
            parts.append(self.others[start:stop])
        if self.known is not None:
            if len(self.known) < stop + self.horizon:
                raise DataError(
                    f"the columns that are known in advance end {len(self.known) - len(self)} rows after the"
                    f" others, and a forecast needs them for {stop + self.horizon - len(self)}.",
                    where=self._where(),
                    fix="add rows in which only these columns are filled, or ask for fewer steps.",
                )
            parts += [self.known[start:stop], self.known[start + self.horizon : stop + self.horizon]]
        if self.calendar is not None:
            parts.append(self.calendar(np.arange(start, stop)))
        return np.concatenate(parts, 1)

    def windows(self) -> tuple[np.ndarray, np.ndarray]:
        """All windows that have a target, (w, length, F), and the targets, (w, horizon, k)."""
        count = max(len(self) - self.length - self.horizon + 1, 0)
        if count == 0:
            wide = self.columns(0, 0).shape[1] if self.known is None else 0
            return np.zeros((0, self.length, wide)), np.zeros((0, self.horizon, self.values.shape[1]))
        columns = self.columns(0, count + self.length - 1)
        x = np.lib.stride_tricks.sliding_window_view(columns, self.length, 0).transpose(0, 2, 1)
        y = np.lib.stride_tricks.sliding_window_view(self.values[self.length :], self.horizon, 0)
        return np.ascontiguousarray(x), np.ascontiguousarray(y.transpose(0, 2, 1))

    def last(self) -> np.ndarray:
        """The window that ends with the series, (length, F).

        Raises:
            DataError: the series is shorter than a window.
        """
        if len(self) < self.length:
            raise DataError(
                f"there are {len(self)} values, and the model looks at {self.length} before each forecast.",
                where=self._where(),
                fix="give it more of the past.",
            )
        return self.columns(len(self) - self.length, len(self))

    def extended(self, values: np.ndarray) -> Timeline:
        """The series with forecast values at its end.

        Raises:
            UsageError: there are columns that nothing says more of.
        """
        if self.others is not None:
            raise UsageError(
                f"a forecast of more than {self.horizon} steps goes on from what was forecast, and there are"
                " columns that are not.",
                where=self._where(),
                fix=f"ask for at most {self.horizon} steps, or train with these columns as targets or known.",
            )
        return replace(self, values=np.concatenate([self.values, values]))

    def _where(self) -> str:
        return ": ".join(part for part in (self.place, self.name) if part) or "Timeline"
