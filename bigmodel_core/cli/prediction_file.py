"""Predictions as a file: a table (.csv) or a JSON document a line (.jsonl)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bigmodel_core.errors import UsageError
from bigmodel_core.nn.predictions import shown

SUFFIXES = (".csv", ".jsonl")


def check_target(path: Path) -> None:
    """Raise unless predictions can be written to a path.

    Raises:
        UsageError: the ending is none of those, or there is no such folder.
    """
    if is_folder(path):
        return
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"predictions cannot be written as '{path.suffix}'.",
            where=f"--out {path}",
            fix=f"use one of these endings: {', '.join(SUFFIXES)}.",
        )
    if not path.parent.is_dir():
        raise UsageError(
            f"there is no folder {path.parent}.",
            where=f"--out {path}",
            fix="name a file in a folder that exists.",
        )


def is_folder(path: Path) -> bool:
    """Whether a path names a folder of masks: it is one, or has no ending and is in a folder that exists."""
    return path.is_dir() or (not path.suffix and not path.exists() and path.parent.is_dir())


def write_predictions(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write predictions, whole or not at all; an older file of this name is replaced.

    Args:
        path: where to; its ending chooses the form.
        records: each sample's prediction, as `Prediction.to_dict` gives it, with its "input" and "truth".

    Raises:
        CheckpointError: the file cannot be written.
    """
    from bigmodel_core.train.atomic import write_atomically

    text = _table(records) if path.suffix.lower() == ".csv" else _lines(records)
    write_atomically(path, [text.encode()])


def _lines(records: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _table(records: Sequence[Mapping[str, Any]]) -> str:
    """One row per sample; nested values become columns of their own."""
    rows = [dict(_cells(record)) for record in records]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _cells(record: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The cells of a row: `probability of CLASS` for each class, `value` or `value 1`, `value 2` for numbers,
    `OUTPUT` or `OUTPUT 1`, ... for the outputs of a model with several."""
    from bigmodel_core.cli.odd import in_words

    found: list[tuple[str, Any]] = []
    for name, value in record.items():
        if name == "probabilities":
            found += [(f"probability of {label}", chance) for label, chance in value.items()]
        elif name == "outputs":
            for key, numbers in value.items():
                found += _numbered(key, numbers)
        elif name == "columns":
            found.append((name, in_words(value)))
        elif name == "spans":
            found.append((name, shown(value)))
        elif name == "index" and isinstance(value, list):
            found.append((name, " ".join(map(str, _flat(value)))))
        else:
            found += _numbered("value" if name == "values" else name, value)
    return found


def _numbered(name: str, value: Any) -> list[tuple[str, Any]]:
    flat = list(_flat(value))
    return [(name, flat[0])] if len(flat) == 1 else [(f"{name} {n}", item) for n, item in enumerate(flat, 1)]


def _flat(value: Any) -> Any:
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    else:
        yield value
