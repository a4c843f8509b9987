"""What users think of items: a table of user, item and rating."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_datasets.one_file import one_file
from bigmodel_datasets.ratings_file import Rows
from bigmodel_datasets.standard import standardising

UNKNOWN = "(unknown)"
"""What an item is called that training has not seen."""


@dataclass(frozen=True)
class Ratings(bm.Dataset):
    """Ratings in a table with a header: columns of user, item and rating, and of the time if there is one.

    A sample is the code of a user and that of an item, (2,) int64, the target the rating, standardised in
    float64. Code 0 is a user or an item that training has not seen. Of each user, the last ratings by time,
    or random ones if there is no time, are the test split.

    Args:
        user, item, rating: names of these columns.
        time: name of the column of times, numbers or dates as 2024-05-31; if it is empty, "time",
            "timestamp" or "date" if there is such a column.
        target: "rating", or "item": then a sample is a user, the target the item, and a model learns which
            items a user takes next, whatever the rating.
        test_fraction: share of the ratings of each user in the test split.
        delimiter: character between two cells; if it is empty, a tab in `.tsv` files, else a comma.
        seed: chooses the test samples where there is no time.
        users, items: names of those in training, as decided there; code 1 is the first.

    `data_dir` is the file, or a folder with `ratings.csv`, `ratings.tsv` or one `.csv` file in it.
    """

    name: ClassVar[str] = "ratings"
    user: str = "user"
    item: str = "item"
    rating: str = "rating"
    time: str = ""
    target: Literal["rating", "item"] = "rating"
    test_fraction: float = 0.2
    delimiter: str = ""
    seed: int = 0
    users: tuple[str, ...] = ()
    items: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        bm.check_number(self, "test_fraction", above=0, below=1)
        bm.check_number(self, "seed", whole=True, at_least=0)
        if len(self.delimiter) > 1 or self.delimiter in ('"', "\r", "\n"):
            raise ConfigError(
                f"delimiter is {self.delimiter!r}, expected one character.",
                where=self.name,
                fix='leave it out for tabs in .tsv files and commas in others, or use delimiter=";".',
            )
        if self.target not in ("rating", "item"):
            raise ConfigError(
                f"target is {self.target!r}, expected rating or item.",
                where=self.name,
                fix="use one of them.",
            )
        for field in ("users", "items"):
            object.__setattr__(self, field, tuple(getattr(self, field)))

    @classmethod
    def example(cls, folder: Path) -> None:
        """Ten users who rate most of eight items."""
        draw = random.Random(0)
        rows = [
            f"{user},{item},{1 + (number + place) % 5},{draw.randrange(10**6)}"
            for number, user in enumerate("abcdefghij")
            for place, item in enumerate(("tea", "coffee", "milk", "juice", "water", "cola", "soup", "wine"))
            if (number + place) % 7
        ]
        (folder / "ratings.csv").write_text("\n".join(["user,item,rating,time", *rows]) + "\n", "utf-8")

    def load(self, data_dir: Path | None = None, like: bm.Encoding | None = None) -> bm.Data:
        """The data; x is (n, 2) int64, y is (n, 1) float32; or x (n, 1) and y (n,), both int64.

        Raises:
            DataError: no file, a column that is missing, a rating or time that cannot be used (names file,
                line and column), a user and an item twice, or no user with two ratings.
        """
        path = _place(data_dir)
        rows = Rows(path, (self.user, self.item, self.rating), self.time, self.delimiter)
        test = self._held_out(rows)
        made: Any = None if like is None else like.made_by()
        known = made if isinstance(made, Ratings) else self
        users = known.users or tuple(sorted({rows.users[place] for place in np.flatnonzero(~test)}))
        items = known.items or tuple(sorted({rows.items[place] for place in np.flatnonzero(~test)}))
        x = np.stack([_codes(rows.users, users), _codes(rows.items, items)], 1)
        sizes = (len(users) + 1, len(items) + 1)
        notes = [
            f"{len(users):,} users and {len(items):,} items; the {'last' if rows.times else 'random'}"
            f" {self.test_fraction:.0%} of each user's ratings are the test split."
        ]
        common: dict[str, Any] = {
            "name": self.name,
            "category_sizes": sizes,
            "source": f"{path.name}, {len(rows.users)} ratings",
            "made_by": replace(self, users=users, items=items),
        }
        if self.target == "item":
            known_item = x[:, 1] > 0
            if lost := int((test & ~known_item).sum()):
                notes.append(f"{lost:,} test samples of items that training has not seen are left out.")
            if not (test & known_item).any():
                raise DataError(
                    "no rating of the test split is of an item that training has seen.",
                    where=str(path),
                    fix="give items more ratings, or test on a larger share: test_fraction=0.4.",
                )
            parts = [bm.Split(x[chosen, :1], x[chosen, 1]) for chosen in (~test, test & known_item)]
            return bm.Data(
                train=parts[0],
                test=parts[1],
                labels=(UNKNOWN, *items),
                features=(self.user,),
                target=self.item,
                input_meaning=f"the code of a {self.user}",
                notes=tuple(notes),
                **common,
            )
        y = rows.ratings[:, None]
        scaling = None if like is None else like.target_preprocessing
        scaling = scaling or standardising(y[~test], (1,))
        parts = [bm.Split(x[chosen], scaling.apply(y[chosen])) for chosen in (~test, test)]
        return bm.Data(
            train=parts[0],
            test=parts[1],
            task="regression",
            target_preprocessing=scaling,
            features=(self.user, self.item),
            target=self.rating,
            input_meaning=f"the code of a {self.user} and that of a {self.item}",
            notes=tuple(notes),
            **common,
        )

    def _held_out(self, rows: Rows) -> np.ndarray:
        """Which ratings are the test split: of each user with two ratings or more, at least one."""
        by_user: dict[str, list[int]] = {}
        for place, user in enumerate(rows.users):
            by_user.setdefault(user, []).append(place)
        draw = random.Random(self.seed)
        found = np.zeros(len(rows.users), bool)
        for user in sorted(by_user):
            places = by_user[user]
            if rows.times:
                places.sort(key=lambda place: (rows.times[place], rows.items[place]))
            else:
                draw.shuffle(places)
            count = min(len(places) - 1, max(1, round(len(places) * self.test_fraction)))
            found[places[len(places) - count :]] = True
        if not found.any():
            raise DataError(
                "every user has one rating only, which leaves none to test.",
                where=str(rows.path),
                fix="give some users two ratings or more.",
            )
        return found


def _place(data_dir: Path | None) -> Path:
    """The file: of a folder, `ratings.csv` or `ratings.tsv`, else the one `.csv` file in it."""
    folders = [data_dir] if data_dir is not None else bm.files.environment_folders(Ratings.name)
    for folder in map(Path, folders[:1]):
        for name in ("ratings.csv", "ratings.tsv"):
            if (folder / name).is_file():
                return folder / name
    return one_file(Ratings.name, ".csv", data_dir)


def _codes(names: list[str], known: tuple[str, ...]) -> np.ndarray:
    """The code of each name, from 1 on; 0 for those that are not known."""
    codes = {name: code for code, name in enumerate(known, 1)}
    return np.array([codes.get(name, 0) for name in names], np.int64)
