"""How the cells of a table become numbers: each column by its kind, with what was fitted on training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from bigmodel_core.data.cells import DAY, KINDS, Kind, is_gap, numbers_in, plain
from bigmodel_core.errors import ConfigError, DataError

Form = Literal["one-hot", "embed"]
Scaling = Literal["standard", "quantile"]

LEAST_ROWS = 2
"""Training rows that a category needs to be told apart."""
MOST_VALUES = {"one-hot": 100, "embed": 2000}
"""The most frequent categories of a column, which are told apart."""
PIECES = 64
"""Parts of about equally many training rows between which quantile scaling is a line."""
MOST_WORDS = 300
"""The most frequent words of a column of texts, each of which is a feature."""


@dataclass(frozen=True)
class Column:
    """How a column becomes features.

    Args:
        name: of the column.
        kind: what it holds: numbers, truth values, categories, dates or texts.
        fill: the number that stands where there is none: the median of the training rows.
        gaps: whether training rows had gaps, which are a feature of their own.
        mean, std: what numbers, or the days of dates, are standardised with.
        values: the categories from code 1 on; or the words of texts.
        forms: how the words of texts are written, with the number of the word of each.
        knots: of quantile scaling, values in ascending order, and `ranks`, what each becomes: from -1 to 1;
            a line in between, and constant beyond.
        parts: the cyclic parts of dates that are features: "month", "weekday", "hour".
    """

    name: str
    kind: Kind
    fill: float = 0.0
    gaps: bool = False
    mean: float = 0.0
    std: float = 1.0
    values: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    forms: tuple[tuple[str, int], ...] = ()
    knots: tuple[float, ...] = ()
    ranks: tuple[float, ...] = ()

    @classmethod
    def fitted(
        cls, name: str, kind: Kind, cells: Sequence[str], form: Form, scaling: Scaling = "standard"
    ) -> Column:
        """How a column becomes features, from its cells in the training rows."""
        if kind == "category":
            return cls(name, kind, values=_frequent(Counter(cells), LEAST_ROWS, MOST_VALUES[form]))
        if kind == "text":
            written = [set(cell.split()) for cell in cells]
            seen = Counter(word for some in written for word in {plain(form) for form in some})
            few, most = max(3, len(cells) // 500), 0.9 * len(cells)
            found = Counter({word: count for word, count in seen.items() if word and count <= most})
            values = _frequent(found, few, MOST_WORDS)
            place = {word: number for number, word in enumerate(values)}
            forms = sorted({form for some in written for form in some if plain(form) in place})
            return cls(name, kind, values=values, forms=tuple((form, place[plain(form)]) for form in forms))
        numbers = numbers_in(name, kind, cells)
        known = numbers[~np.isnan(numbers)]
        if not len(known):
            raise DataError(
                "no training row has a value in this column.",
                where=name,
                fix="leave it out: drop=" + name + ".",
            )
        gaps = len(known) < len(numbers)
        if kind == "bool":
            return cls(name, kind, float(known.mean() >= 0.5), gaps)
        filled = np.where(np.isnan(numbers), np.median(known), numbers)
        centred = filled - filled[0]
        mean, std = float(filled[0] + centred.mean()), float(centred.std())
        std = std if std > 1e-13 * abs(mean) and std > np.finfo(np.float32).tiny else 1.0
        parts = _telling(known) if kind == "date" else ()
        if scaling == "quantile" and kind == "number":
            knots, ranks = _quantiles(known)
            return cls(name, kind, float(np.median(known)), gaps, mean, std, knots=knots, ranks=ranks)
        return cls(name, kind, float(np.median(known)), gaps, mean, std, parts=parts)

    @property
    def is_coded(self) -> bool:
        """Whether it is a category, which may be a code in place of numbers."""
        return self.kind == "category"

    def features(self) -> list[str]:
        """The names of the features as numbers."""
        if self.kind == "category":
            return [f"{self.name}={value or 'none'}" for value in self.values]
        if self.kind == "text":
            return [f"{self.name}: {word}" for word in self.values]
        cyclic = [f"{self.name} {part} {wave}" for part in self.parts for wave in ("sine", "cosine")]
        return [self.name, *cyclic, *([f"{self.name} is missing"] if self.gaps else [])]

    def codes(self, cells: Sequence[str]) -> np.ndarray:
        """(n,) int64: the code of the category in each cell, 0 for those that training did not tell apart."""
        known = {value: code for code, value in enumerate(self.values, 1)}
        return np.array([known.get("" if is_gap(cell) else cell, 0) for cell in cells], np.int64)

    def numbers(self, cells: Sequence[str], where: Sequence[str] | None = None) -> np.ndarray:
        """(n, features) float64, or float32 of what is 0 or 1.

        Args:
            cells: of each row, without spaces around.
            where: the place of each row, for messages.

        Raises:
            DataError: a cell is not of the kind of the column; names its place.
        """
        if self.kind == "category":
            codes = self.codes(cells)
            return np.asarray(codes[:, np.newaxis] == np.arange(1, len(self.values) + 1), np.float32)
        if self.kind == "text":
            place = dict(self.forms)
            found = np.zeros((len(cells), len(self.values)), np.float32)
            for row, cell in enumerate(cells):
                found[row, [place[form] for form in cell.split() if form in place]] = 1.0
            return found
        raw = numbers_in(self.name, self.kind, cells, where)
        missing = np.isnan(raw)
        filled = np.where(missing, self.fill, raw)
        made = [filled if self.kind == "bool" else self._scaled(filled)]
        for part in self.parts:
            angle = 2 * np.pi * _PARTS[part](filled)
            made += [np.where(missing, 0.0, wave(angle)) for wave in (np.sin, np.cos)]
        return np.stack([*made, missing] if self.gaps else made, axis=1)

    def _scaled(self, values: np.ndarray) -> np.ndarray:
        """Numbers, or the seconds of dates, as they are features: float64."""
        if self.knots:
            return np.interp(values, self.knots, self.ranks)
        return np.asarray((values - self.mean) / self.std)

    def cell(self, numbers: np.ndarray) -> str:
        """What features (k,) of a row, or the code (1,) of its category, say of the cell; "" for a gap.

        >>> Column("size", "number", mean=10.0, std=2.0).cell(np.array([1.5]))
        '13'
        """
        if self.kind in ("category", "text"):
            if numbers.dtype.kind in "iu":
                numbers = numbers[0] == np.arange(1, len(self.values) + 1)
            here = [
                value for value, number in zip(self.values, numbers.tolist(), strict=True) if number > 0.5
            ]
            return " ".join(here) if here or self.kind == "text" else "(unknown)"
        if self.gaps and numbers[-1] > 0.5:
            return ""
        first = float(numbers[0])
        if self.kind == "bool":
            return "yes" if first > 0.5 else "no"
        value = np.interp(first, self.ranks, self.knots) if self.knots else self.mean + self.std * first
        if self.kind == "number":
            return f"{value:.6g}"
        return str(np.array(round(value / 60) * 60, "datetime64[s]")).replace("T00:00:00", "")

    def told(self) -> str:
        """The column in a few words."""
        more = {
            "category": f"{len(self.values)} values",
            "text": f"{len(self.values)} words",
            "date": ", ".join(("days", *self.parts)),
        }.get(self.kind, "")
        gaps = f"gaps filled with {self.fill:.6g}" if self.gaps and self.kind in ("number", "bool") else ""
        if self.gaps and not gaps:
            gaps = "gaps"
        scaled = "by quantiles" if self.knots else ""
        about = "; ".join(item for item in (more, scaled, gaps) if item)
        return f"{self.name} ({about})" if about else self.name


@dataclass(frozen=True)
class Columns:
    """How the rows of a table become samples.

    Args:
        columns: each column that is a feature.
        form: "one-hot": all features are numbers, x is (n, features) float32; or "embed": categories are
            codes, x is a dict of `numbers` (n, k) float32 and `categories` (n, m) int64, of those there are.

    >>> height = Column("height", "number", mean=1.7, std=0.1)
    >>> columns = Columns((height, Column("kind", "category", values=("a",))))
    >>> columns.apply({"height": ["1.8", "1.7"], "kind": ["a", "b"]}).round(1).tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """

    columns: tuple[Column, ...]
    form: Form = "one-hot"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the features that are numbers."""
        return tuple(name for column in self._numeric() for name in column.features())

    @property
    def origins(self) -> tuple[str, ...]:
        """The name of the column that each of `features` came from."""
        return tuple(column.name for column in self._numeric() for _ in column.features())

    @property
    def coded(self) -> tuple[str, ...]:
        """The names of the columns of categories, where they are codes."""
        return tuple(column.name for column in self._coded())

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many codes each column of categories has, where they are codes."""
        return tuple(len(column.values) + 1 for column in self._coded())

    def apply(self, cells: Mapping[str, Sequence[str]], where: Sequence[str] | None = None) -> Any:
        """Samples from the cells of each column.

        Args:
            cells: of all rows, by the name of the column.
            where: the place of each row, for messages.

        Raises:
            DataError: a column is missing, or a cell is not of the kind of its column.
        """
        missing = [name for name in self.names if name not in cells]
        if missing:
            raise DataError(
                f"there is no column {', '.join(missing[:10])}; the model was trained with"
                f" {', '.join(self.names[:20])}.",
                where="table",
                fix="give it the columns of the training data, in any order.",
            )
        cleaned = {name: [cell.strip() for cell in cells[name]] for name in self.names}
        numbers = [column.numbers(cleaned[column.name], where) for column in self._numeric()]
        x = np.concatenate(numbers, axis=1, dtype=np.float32, casting="same_kind") if numbers else None
        if self.form == "one-hot":
            return x
        codes = [column.codes(cleaned[column.name]) for column in self._coded()]
        found = {} if x is None else {"numbers": x}
        return found | ({"categories": np.stack(codes, axis=1)} if codes else {})

    def cell(self, name: str, *inputs: np.ndarray) -> str:
        """What the first sample says of the cell of a column; see `Column.cell`.

        Args:
            name: of the column.
            inputs: what `apply` gave: the features, or numbers and codes in this order.
        """
        column = self.columns[self.names.index(name)]
        if name in self.coded:
            return column.cell(inputs[-1][0, [self.coded.index(name)]])
        return column.cell(inputs[0][0, [origin == name for origin in self.origins]])

    def raw(
        self, cells: Mapping[str, Sequence[str]], where: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """The cells as an exported file takes them: (n, 1) float64 of numbers, NaN for gaps, else (n, 1)
        texts."""
        found = {}
        for column in self.columns:
            some = [cell.strip() for cell in cells[column.name]]
            if column.kind == "number":
                found[column.name] = numbers_in(column.name, "number", some, where)[:, np.newaxis]
            else:
                found[column.name] = np.array(some, object)[:, np.newaxis]
        return found

    def told(self) -> list[str]:
        """A sentence for each kind of column."""
        lines = []
        for kind in KINDS:
            some = [column.told() for column in self.columns if column.kind == kind]
            if some:
                plural = {"category": "categories", "bool": "truth values"}.get(kind, f"{kind}s")
                lines.append(f"{len(some)} {plural if len(some) > 1 else kind}: {', '.join(some)}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-able values; `from_dict` reverses it."""
        return {"form": self.form, "columns": [_said(column) for column in self.columns]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Columns:
        """The object that `to_dict` described.

        Raises:
            ConfigError: an unknown field or a value of the wrong kind.
        """
        try:
            columns = tuple(_made(one) for one in values["columns"])
            if values["form"] in get_args(Form) and all(column.kind in KINDS for column in columns):
                return cls(columns, values["form"])
        except (TypeError, ValueError, KeyError, AttributeError):
            pass
        raise ConfigError(
            "cannot read the description of the columns.",
            where="Columns",
            fix="use what Columns.to_dict() returned.",
        )

    def _numeric(self) -> list[Column]:
        return [column for column in self.columns if self.form == "one-hot" or not column.is_coded]

    def _coded(self) -> list[Column]:
        return [column for column in self.columns if self.form == "embed" and column.is_coded]


def _frequent(counts: Counter[str], least: int, most: int) -> tuple[str, ...]:
    """The most frequent of some texts, in the order of the alphabet."""
    gaps = sum(count for cell, count in counts.items() if is_gap(cell))
    found = Counter({cell: count for cell, count in counts.items() if not is_gap(cell)})
    if gaps:
        found[""] = gaps
    chosen = sorted(found, key=lambda cell: (-found[cell], cell))[:most]
    return tuple(sorted(cell for cell in chosen if found[cell] >= least))


def _quantiles(known: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The knots and ranks of quantile scaling: a value that comes often has the middle of its places."""
    ordered = np.sort(known)
    knots = np.unique(np.quantile(ordered, np.linspace(0, 1, PIECES + 1), method="nearest"))
    if len(knots) < 2:
        return (), ()
    places = (np.searchsorted(ordered, knots, "left") + np.searchsorted(ordered, knots, "right") - 1) / 2
    ranks = 2 * places / max(len(ordered) - 1, 1) - 1
    return tuple(knots.tolist()), tuple(ranks.tolist())


def _made(values: Mapping[str, Any]) -> Column:
    fields: dict[str, Any] = {
        key: tuple(item) if isinstance(item, list) else item for key, item in values.items()
    }
    fields["forms"] = tuple((str(form), int(place)) for form, place in fields.get("forms", ()))
    return Column(**fields)


def _said(column: Column) -> dict[str, Any]:
    """The fields of a column that are not the usual."""
    usual = asdict(replace(Column("", column.kind), name=column.name))
    found = {key: value for key, value in asdict(column).items() if value != usual[key]}
    named = {"name": column.name, "kind": column.kind, **found}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in named.items()}


def _month(seconds: np.ndarray) -> np.ndarray:
    """How much of the year has passed, by month."""
    months = np.array(seconds * 1e3, "datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    return np.asarray((months % 12) / 12.0)


_PARTS = {
    "month": _month,
    "weekday": lambda seconds: np.floor(seconds / DAY + 3) % 7 / 7.0,  # the first of 1970 was a Thursday
    "hour": lambda seconds: seconds % DAY / DAY,
}


def _telling(seconds: np.ndarray) -> tuple[str, ...]:
    """The cyclic parts that dates have more than one of."""
    return tuple(part for part, of in _PARTS.items() if len(np.unique(of(seconds))) > 1)
