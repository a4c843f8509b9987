"""What `bigmodel predict` says of rows by a model that gives them back: which are odd, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.auditing.anomalies import Anomalies, of_errors
from bigmodel_core.charts.texts import number
from bigmodel_core.cli.port import converted
from bigmodel_core.cli.terminal import Output, count, visible
from bigmodel_core.data.tree import leaves
from bigmodel_core.train.odd_rows import squared_differences

if TYPE_CHECKING:
    from bigmodel_core.cli.predictor import Predictor


def judges(predictor: Predictor) -> bool:
    """Whether a model knows above which score a row is odd."""
    return predictor.known.encoding.odd_above is not None


def judged_file(predictor: Predictor, path: Path) -> tuple[list[str], Anomalies]:
    """How odd the rows of a file are, with a name for each.

    Raises:
        DataError: the file is missing, damaged or does not fit the model.
    """
    names, inputs = predictor.read(path)
    given = inputs
    encoding = predictor.known.encoding
    if predictor.takes_cells:
        from bigmodel_core.cli.inputs import read_table

        given = list(leaves(read_table(path, encoding)[1]).values())
    elif predictor.port.is_raw and encoding.preprocessing is not None:
        given = [encoding.preprocessing.apply(inputs[0])]
    return names, judged(predictor, inputs, given[0])


def judged(predictor: Predictor, inputs: list[np.ndarray], x: np.ndarray) -> Anomalies:
    """How odd rows are.

    Args:
        predictor: a model that gives back its input.
        inputs: a batch for each of its inputs.
        x: the same rows as numbers, preprocessed.
    """
    encoding = predictor.known.encoding
    assert encoding.odd_above is not None
    if predictor.model is not None:
        return of_errors(squared_differences(predictor.model, x), encoding.odd_above, encoding)
    ports = predictor.ports.values()
    given = [converted(array, port, "input") for array, port in zip(inputs, ports, strict=True)]
    back = next(iter(predictor.run(*given).values()))
    if encoding.target_preprocessing is not None:
        back = encoding.target_preprocessing.apply(back)
    errors = np.square(back.astype(np.float64) - x).reshape(len(x), -1)
    return of_errors(errors, encoding.odd_above, encoding)


def records(names: list[str], found: Anomalies) -> list[dict[str, Any]]:
    """What is said of each row, as JSON-able values."""
    return [
        {
            "input": name,
            "score": float(found.scores[row]),
            "threshold": found.threshold,
            "is_odd": bool(found.is_odd[row]),
            "columns": dict(found.columns(row)),
        }
        for row, name in enumerate(names)
    ]


def show(output: Output, rows: Sequence[Mapping[str, Any]], most: int | None = None) -> None:
    """The odd rows, the oddest first, and how many there are."""
    odd = sorted((row for row in rows if row["is_odd"]), key=lambda row: -row["score"])
    if odd:
        lines = [
            [row["input"], number(row["score"]), visible(in_words(row["columns"]))] for row in odd[:most]
        ]
        output.table(["Input", "Score", "Because of"], lines, numbers=["Score"])
        output.say("")
    above = f" above {number(rows[0]['threshold'])}" if rows else ""
    output.say(f"{count(len(odd))} of {count(len(rows))} rows are odd: their score is{above}")


def in_words(columns: Mapping[str, float]) -> str:
    """The columns that make up most of a score, with the share of each.

    >>> in_words({"age": 0.9, "job": 0.06, "city": 0.001})
    'age 90 %, job 6 %'
    """
    return ", ".join(
        f"{name} {share:.0%}".replace("%", " %") for name, share in columns.items() if share >= 0.01
    )
