"""What `with_preprocessing` adds before a model of tables: the cells of a row, as they are, become inputs.

A column of numbers is an input (N, 1) of float64, NaN where there is none; each other column one of texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigmodel_core.data.cells import DAY, GAPS, TRUTHS
from bigmodel_core.data.columns import Column, Columns
from bigmodel_core.errors import ConfigError, ExportError
from bigmodel_onnx.emit import Emitter
from bigmodel_onnx.operations import Operation

OPSET = 20
"""The first operator set that splits texts."""
TEXT = "object"
COUNTS = (1, 200)
"""Rows in the batches that are compared."""


def check_opset(columns: Columns, opset: int | None, target: str | None) -> int | None:
    """The operator set to ask for.

    Raises:
        ConfigError: the one that was asked for does not split texts.
    """
    if all(column.kind == "number" for column in columns.columns):
        return opset
    if opset is None and target is None:
        return OPSET
    from bigmodel_onnx.versions import chosen

    if chosen(opset, target)[0] < OPSET:
        raise ConfigError(
            f"cells with texts take opset {OPSET}, which ONNX Runtime has from 1.17 on.",
            where="Onnx.opset",
            fix="leave with_preprocessing out, or ask for a newer one.",
        )
    return opset


def write_front(emitter: Emitter, columns: Columns, taken: Sequence[str]) -> dict[str, str]:
    """The file takes the cells of each column; returns the names of the model's inputs made from them.

    Args:
        emitter: the file under construction.
        columns: how cells become inputs.
        taken: what else is called something in the file.

    Raises:
        ExportError: a column is called as something else is.
    """
    same = sorted({*columns.names} & {*taken})
    if same:
        raise ExportError(
            f"a column is called {same[0]}, as something of the file is.",
            where="preprocessing",
            fix="rename the column, or leave with_preprocessing out.",
        )
    emitter.reserve(columns.names)
    emitter.path = "preprocessing"
    write = _Front(emitter)
    numbers, codes = [], []
    for column in columns.columns:
        is_number = column.kind == "number"
        cells = emitter.port(column.name, "float64" if is_number else TEXT, ("N", 1))
        if columns.form == "embed" and column.is_coded:
            codes.append(write.code(column, cells))
        else:
            numbers.append(write.numbers(column, cells))
    found = {}
    if numbers:
        found["numbers"] = write("Concat", *numbers, axis=1)
    if codes:
        found["categories"] = write("Concat", *codes, axis=1)
    return found


def drawn_cells(columns: Columns, count: int) -> dict[str, np.ndarray]:
    """Rows to compare on: what training saw and what it did not, and gaps."""
    generator = np.random.default_rng(count)
    cells: dict[str, list[str]] = {}
    for column in columns.columns:
        some: list[str] = [""]
        if column.kind in ("number", "date"):
            drawn = column.mean + column.std * generator.normal(size=4)
            drawn = np.append(drawn, generator.choice(column.knots, 4)) if column.knots else drawn
            days = np.array(np.round(drawn), "datetime64[s]") if column.kind == "date" else drawn
            some += [repr(float(value)) if column.kind == "number" else str(value) for value in days]
            some += [str(value)[:10] for value in days] if column.kind == "date" else []
        elif column.kind == "bool":
            some += ["yes", "False", "1", "0"]
        elif column.kind == "text":
            forms = [form for form, _ in column.forms]
            some += [" ".join(generator.choice([*forms, "never-seen"], 3)) for _ in range(4)]
        else:
            some += [*column.values[:50], "never seen", "NA"]
        cells[column.name] = [str(item) for item in generator.choice(np.array(some, object), count)]
    return columns.raw(cells)


def to_inputs(columns: Columns, raw: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
    """The model's inputs for cells as the file takes them."""
    cells = {name: [_written(cell) for cell in raw[name][:, 0]] for name in columns.names}
    x = columns.apply(cells)
    return x if isinstance(x, dict) else {names[0]: x}


def _written(cell: Any) -> str:
    return cell if isinstance(cell, str) else "" if np.isnan(cell) else repr(float(cell))


class _Front:
    """Nodes, of whatever number type: texts are none that the rest of a file has."""

    def __init__(self, emitter: Emitter) -> None:
        self.emitter, self.count = emitter, 0

    def __call__(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        self.count += 1
        name = f"preprocessing/{self.count}_{operator}"
        names = [name] if outputs == 1 else [f"{name}.{number}" for number in range(outputs)]
        self.emitter.reserve(names)
        operation = Operation(operator, name, list(inputs), names, attributes)
        self.emitter.operations.append(operation)
        return names[0] if outputs == 1 else names

    def texts(self, values: Sequence[str], shape: Sequence[int]) -> str:
        return self.emitter.weight("preprocessing/texts", np.array(values, object).reshape(shape))

    def number(self, value: Any, dtype: str = "float64") -> str:
        return self.emitter.array(np.asarray(value, dtype))

    def cast(self, x: str, dtype: str) -> str:
        from bigmodel_onnx.emit import tensor_type

        return str(self("Cast", x, to=tensor_type(dtype)))

    def is_one(self, cells: str, values: Sequence[str]) -> str:
        """(N, 1) float32: whether a cell is one of some texts."""
        found = self.cast(self("Equal", cells, self.texts(values, (1, -1))), "float32")
        return str(self("ReduceMax", found, self.emitter.ints((1,)), keepdims=1))

    def numbers(self, column: Column, cells: str) -> str:
        """(N, features) float32: what the column is as numbers."""
        if column.kind == "category":
            return self.cast(self.matches(column, cells), "float32")
        if column.kind == "text":
            return self.words(column, cells)
        if column.kind == "bool":
            gap, truth = self.is_one(cells, GAPS), self.is_one(cells, (*TRUTHS, "1"))
            filled = self("Add", truth, self("Mul", gap, self.number(column.fill, "float32")))
            return str(self("Concat", filled, gap, axis=1)) if column.gaps else str(filled)
        if column.kind == "number":
            missing = self("IsNaN", cells)
            days: str = cells
        else:
            gap = self.is_one(cells, GAPS)
            missing = self.cast(gap, "bool")
            days = self.seconds(self("Where", missing, self.texts(["1970-01-01"], (1,)), cells))
        filled = self("Where", missing, self.number(column.fill), days)
        if column.knots:
            scaled = self.between(column, filled)
        else:
            scaled = self("Div", self("Sub", filled, self.number(column.mean)), self.number(column.std))
        made = [self.cast(scaled, "float32")]
        for part in column.parts:
            turn = self.number(2 * np.pi)
            angle = self.cast(self("Mul", self.part(part, filled), turn), "float32")
            zero = self.number(0.0, "float32")
            made += [self("Where", missing, zero, self(wave, angle)) for wave in ("Sin", "Cos")]
        made += [self.cast(missing, "float32")] if column.gaps else []
        return str(self("Concat", *made, axis=1)) if len(made) > 1 else made[0]

    def between(self, column: Column, numbers: str) -> str:
        """(N, 1) float64: on the line between the knots around each number, the first or last rank beyond."""
        ends = [self.number(column.knots[0]), self.number(column.knots[-1])]
        inside = self("Min", self("Max", numbers, ends[0]), ends[1])
        knots, ranks = np.array(column.knots), np.array(column.ranks)
        # The sum over pieces of what lies below the number, times the slope of the piece.
        run = self("Sub", inside, self.number(knots[:-1]))
        within = self("Min", self("Max", run, self.number(0.0)), self.number(np.diff(knots)))
        risen = self("Mul", within, self.number(np.diff(ranks) / np.diff(knots)))
        total = self("ReduceSum", risen, self.emitter.ints((1,)), keepdims=1)
        return str(self("Add", total, self.number(ranks[0])))

    def code(self, column: Column, cells: str) -> str:
        """(N, 1) int64: the code of the category."""
        codes = self.emitter.ints(range(1, len(column.values) + 1))
        weighed = self("Mul", self.cast(self.matches(column, cells), "int64"), codes)
        return str(self("ReduceSum", weighed, self.emitter.ints((1,)), keepdims=1))

    def matches(self, column: Column, cells: str) -> str:
        """(N, values): whether the cell is each category."""
        if "" in column.values:
            gap = self.cast(self.is_one(cells, GAPS), "bool")
            cells = self("Where", gap, self.texts([""], (1,)), cells)
        return str(self("Equal", cells, self.texts(column.values, (1, -1))))

    def words(self, column: Column, cells: str) -> str:
        """(N, words) float32: whether the text has each word."""
        ended = self("StringConcat", self("Reshape", cells, self.emitter.ints((-1,))), self.texts([" ."], ()))
        parts, _ = self("StringSplit", ended, outputs=2)
        forms = self.texts([form for form, _ in column.forms], (1, 1, -1))
        equal = self.cast(self("Equal", self("Unsqueeze", parts, self.emitter.ints((2,))), forms), "float32")
        found = self("ReduceMax", equal, self.emitter.ints((1,)), keepdims=0)
        place = np.zeros((len(column.forms), len(column.values)), np.float32)
        place[np.arange(len(column.forms)), [number for _, number in column.forms]] = 1
        count = self("MatMul", found, self.emitter.array(place))
        return str(self("Min", count, self.number(1.0, "float32")))

    def split(self, texts: str, ending: str, by: str | None, count: int) -> list[str]:
        """The first parts of texts (N,), as (N,) each; the ending makes sure that there are so many."""
        whole = self("StringConcat", texts, self.texts([ending], ()))
        parts, _ = self("StringSplit", whole, outputs=2, **({} if by is None else {"delimiter": by}))
        return [self("Gather", parts, self.number(place, "int64"), axis=1) for place in range(count)]

    def seconds(self, cells: str) -> str:
        """(N, 1) float64: the seconds since 1970 of dates; the count of days is Hinnant's (2013)."""
        flat = self("Reshape", cells, self.emitter.ints((-1,)))
        day, time = self.split(flat, "T", "T", 2)
        spaced = self("StringConcat", self("StringConcat", day, self.texts([" "], ())), time)
        day, time = self.split(spaced, " 0:0:0", None, 2)
        year, month, date = (self.cast(part, "int64") for part in self.split(day, "-", "-", 3))
        hour, minute, second = (self.cast(part, "float64") for part in self.split(time, ":0:0", ":", 3))

        def whole(value: int) -> str:
            return self.number(value, "int64")

        early = self.cast(self("Less", month, whole(3)), "int64")
        year = self("Sub", year, early)
        turned = self("Add", self("Sub", month, whole(3)), self("Mul", early, whole(12)))
        in_year = self("Div", self("Add", self("Mul", turned, whole(153)), whole(2)), whole(5))
        days = self("Add", self("Mul", year, whole(365)), self("Div", year, whole(4)))
        days = self("Add", self("Sub", days, self("Div", year, whole(100))), self("Div", year, whole(400)))
        days = self("Add", self("Add", days, in_year), self("Sub", date, whole(719469)))
        found = self("Mul", self.cast(days, "float64"), self.number(DAY))
        for part, worth in ((hour, 3600.0), (minute, 60.0), (second, 1.0)):
            found = self("Add", found, self("Mul", part, self.number(worth)))
        return str(self("Unsqueeze", found, self.emitter.ints((1,))))

    def part(self, part: str, seconds: str) -> str:
        """(N, 1) float64: how much of the year, the week or the day has passed."""
        days = self("Div", seconds, self.number(DAY))
        if part == "hour":
            return str(self("Sub", days, self("Floor", days)))
        if part == "weekday":
            day = self("Add", self("Floor", days), self.number(3.0))
            week = self("Floor", self("Div", day, self.number(7.0)))
            return str(self("Div", self("Sub", day, self("Mul", week, self.number(7.0))), self.number(7.0)))
        # The month of a count of days, as Hinnant has it.
        shifted = self("Add", self.cast(self("Floor", days), "int64"), self.number(719468, "int64"))
        era = self("Div", shifted, self.number(146097, "int64"))
        of_era = self("Sub", shifted, self("Mul", era, self.number(146097, "int64")))

        def over(x: str, divisor: int) -> str:
            return str(self("Div", x, self.number(divisor, "int64")))

        years = self("Add", self("Sub", of_era, over(of_era, 1460)), over(of_era, 36524))
        years = over(self("Sub", years, over(of_era, 146096)), 365)
        passed = self("Add", self("Mul", years, self.number(365, "int64")), over(years, 4))
        of_year = self("Sub", of_era, self("Sub", passed, over(years, 100)))
        turned = over(
            self("Add", self("Mul", of_year, self.number(5, "int64")), self.number(2, "int64")), 153
        )
        month = self("Mod", self("Add", turned, self.number(2, "int64")), self.number(12, "int64"))
        return str(self("Div", self.cast(month, "float64"), self.number(12.0)))
