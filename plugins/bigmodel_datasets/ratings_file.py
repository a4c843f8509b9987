"""The lines of a table of users, items and ratings."""

from __future__ import annotations

import csv
import math
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.errors import DataError

TIMES = ("time", "timestamp", "date")
"""What columns of times are usually called."""


class Rows:
    """The columns of a file of ratings, as they are written there.

    Args:
        path: the file.
        wanted: the names of the columns of users, items and ratings.
        time: that of times; if it is empty, "time", "timestamp" or "date" if there is such a column.
        delimiter: character between two cells; if it is empty, a tab in `.tsv` files, else a comma.

    Raises:
        DataError: a column is missing, or a line cannot be used.
    """

    def __init__(self, path: Path, wanted: tuple[str, str, str], time: str, delimiter: str) -> None:
        self.path = path
        is_tabbed = path.name.lower().endswith(".tsv")
        delimiter = delimiter or ("\t" if is_tabbed else ",")
        style: Any = {"quoting": csv.QUOTE_NONE} if is_tabbed else {}
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                lines = [row for row in csv.reader(file, delimiter=delimiter, **style) if row]
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(
                f"it cannot be read: {error}.", where=str(path), fix="save it as UTF-8."
            ) from None
        header = [name.strip() for name in lines[0]] if lines else []
        time = time or next((name for name in TIMES if name in header), "")
        for field, name in zip(("user", "item", "rating", "time"), [*wanted, time], strict=True):
            if name and name not in header:
                raise DataError(
                    f"there is no column '{name}'; the first line has {', '.join(header[:10]) or 'nothing'}.",
                    where=str(path),
                    fix=f"name the column: {field}=NAME.",
                )
        self.users: list[str] = []
        self.items: list[str] = []
        self.times: list[float] = []
        ratings: list[float] = []
        places = [header.index(name) for name in wanted]
        seen: set[tuple[str, str]] = set()
        for number, row in enumerate(lines[1:], 2):
            where = f"{path}, line {number}"
            if len(row) != len(header):
                raise DataError(
                    f"it has {len(row)} cells, expected {len(header)}.", where=where, fix="mend the line."
                )
            user, item = row[places[0]].strip(), row[places[1]].strip()
            if not user or not item:
                raise DataError(
                    "the user or the item is empty.", where=where, fix="fill it, or drop the line."
                )
            if (user, item) in seen:
                raise DataError(
                    f"user '{user}' has rated item '{item}' before.",
                    where=where,
                    fix="keep one of the lines.",
                )
            seen.add((user, item))
            self.users.append(user)
            self.items.append(item)
            ratings.append(_number(row[places[2]], wanted[2], where))
            if time:
                self.times.append(_moment(row[header.index(time)], time, where))
        if not ratings:
            raise DataError("it has no ratings.", where=str(path), fix="give it lines below the first.")
        self.ratings = np.array(ratings)


def _number(cell: str, column: str, where: str) -> float:
    with suppress(ValueError):
        if math.isfinite(found := float(cell)):
            return found
    raise DataError(
        f"{cell!r} in the column '{column}' is no number.",
        where=where,
        fix="write a number, or drop the line.",
    )


def _moment(cell: str, column: str, where: str) -> float:
    with suppress(ValueError):
        if math.isfinite(found := float(cell)):
            return found
    with suppress(ValueError):
        moment = datetime.fromisoformat(cell.strip())
        return (moment - datetime.min.replace(tzinfo=moment.tzinfo)).total_seconds()
    raise DataError(
        f"{cell!r} in the column '{column}' is no time.",
        where=where,
        fix="write numbers, such as seconds, or dates such as 2024-05-31.",
    )
