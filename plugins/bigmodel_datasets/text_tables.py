"""Tables of texts: CSV, TSV and JSON lines, with the line of each row; and which files are which split."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError
from bigmodel_datasets.csv_file import column_of, parsed

JSON = (".jsonl", ".ndjson")
TABLES = (".csv", ".tsv", *JSON)
PARTS = {
    "train": "train",
    "test": "test",
    "validation": "validation",
    "valid": "validation",
    "dev": "validation",
}
ABOUT = ("licence", "license", "note", "notes", "readme")
"""Files of such names tell something about the data beside them."""
OF_MODELS = ("tokenizer", "config")
"""JSON files of such names, or `NAME.tokenizer.json`, belong to a model beside them."""


@dataclass(frozen=True)
class Texts:
    """Some columns of a table of texts.

    Args:
        places: the file and line of each row.
        columns: the texts of each column that was asked for, by the name of the option.
    """

    places: list[tuple[Path, int]]
    columns: dict[str, list[str]]

    def __len__(self) -> int:
        return len(self.places)

    def where(self, row: int) -> str:
        """The place of a row, for messages."""
        path, line = self.places[row]
        return f"{path}, line {line}"


def joined(tables: Sequence[Texts]) -> Texts:
    """The rows of several tables, one after the other."""
    names = tables[0].columns
    return Texts(
        [place for table in tables for place in table.places],
        {name: [text for table in tables for text in table.columns[name]] for name in names},
    )


def files_of(name: str, data_dir: Path | None, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    """The files of each split: one file, or a folder with files `train`, `test`, `validation` (or
    `train-v1.1`, `train-00000-of-00002`, ...); else all files of the folder are of the split "train".

    Args:
        name: of the data set; its folder in `BIGMODEL_DATA_DIR` is used if no place is named.
        data_dir: the file or the folder.
        suffixes: what the files may end in.

    Raises:
        DataError: there is none.
    """
    folders = (
        [bm.files.existing(Path(data_dir))] if data_dir is not None else bm.files.environment_folders(name)
    )
    kinds = ", ".join(suffixes)
    if not folders:
        raise DataError(
            f"{name} needs a file or folder to read.",
            where=name,
            fix=f"name it with --data-dir FILE{suffixes[0]}, or a folder; files end in {kinds}.",
        )
    place = folders[0]
    if place.is_file():
        return {"train": [place]}
    found = [
        path
        for path in sorted(place.iterdir())
        if path.is_file()
        and bm.table_files.suffix_of(path) in suffixes
        and not (path.suffix.lower() == ".json" and path.stem.lower().split(".")[-1] in OF_MODELS)
    ]
    parts: dict[str, list[Path]] = {}
    for path in found:
        if (part := PARTS.get(_stem(path).partition("-")[0])) is not None:
            parts.setdefault(part, []).append(path)
    if "train" in parts:
        return parts
    plain = [path for path in found if _stem(path) not in ABOUT]
    if not plain:
        raise DataError(f"there is no file that ends in {kinds}.", where=str(place), fix="name a file.")
    return {"train": plain}


def _stem(path: Path) -> str:
    """The name of a file in small letters, without what it ends in, as in `train` of `train.csv.gz`."""
    return path.name.lower().partition(".")[0]


def read_texts(
    path: Path, wanted: Mapping[str, int | str], header: bool | None, may_be_empty: Sequence[str] = ()
) -> Texts:
    """Some columns of a table of texts.

    Args:
        path: a CSV file; a TSV file, in which quotes are text; or JSON lines, with an object in each.
        wanted: the name or number of a column, by the name of the option.
        header: whether the first row names the columns; if None, it does where a column is wanted by name.
        may_be_empty: options whose cells may be empty.

    Raises:
        DataError, ConfigError: it cannot be read, a column is missing, or a text is empty; names the line.
    """
    rows = (
        list(_json_rows(path, wanted)) if path.suffix.lower() in JSON else _table_rows(path, wanted, header)
    )
    found = Texts([(path, line) for line, _ in rows], {name: [] for name in wanted})
    if not rows:
        raise DataError("the file has no rows.", where=str(path), fix="name a file with texts.")
    for row, (_, cells) in enumerate(rows):
        for (option, column), cell in zip(wanted.items(), cells, strict=True):
            if not cell.strip() and option not in may_be_empty:
                raise DataError(
                    f"the {option} is empty (column {column}).",
                    where=found.where(row),
                    fix="fill it, or remove the row.",
                )
            found.columns[option].append(cell)
    return found


def _table_rows(
    path: Path, wanted: Mapping[str, int | str], header: bool | None
) -> list[tuple[int, list[str]]]:
    is_tab = path.suffix.lower() == ".tsv"
    rows = bm.table_files.read_rows(path, "\t" if is_tab else ",", quoted=not is_tab)
    first = [cell.strip() for cell in rows[0][1]]
    names = [column for column in wanted.values() if isinstance(column, str) and parsed(column, int) is None]
    header = bool(names) if header is None else header
    numbers = [
        column_of(column, first if header else None, len(first), path, option)
        for option, column in wanted.items()
    ]
    return [(line, [cells[number] for number in numbers]) for line, cells in rows[bool(header) :]]


def _json_rows(path: Path, wanted: Mapping[str, int | str]) -> Iterator[tuple[int, list[str]]]:
    for line, text in enumerate(read_text(path).splitlines(), 1):
        if not text.strip():
            continue
        place = f"{path}, line {line}"
        try:
            item = json.loads(text)
        except ValueError as error:
            raise DataError(f"it is no JSON: {error}.", where=place, fix="write an object a line.") from None
        if not isinstance(item, dict):
            raise DataError(f"it is a {type(item).__name__}, expected an object.", where=place)
        keys = [list(item)[column] if isinstance(column, int) and column < len(item) else column
                for column in wanted.values()]  # fmt: skip
        missing = [str(key) for key in keys if key not in item]
        if missing:
            raise DataError(
                f"it has no '{missing[0]}'; there are {', '.join(map(str, item))}.",
                where=place,
                fix="name the keys with the options of the data set.",
            )
        yield line, [_as_text(item[key], place) for key in keys]


def _as_text(value: object, place: str) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return " ".join(value)
    if isinstance(value, (dict, list)) or value is None:
        raise DataError(f"a value is {value!r}, expected a text.", where=place)
    return str(value)


def read_text(path: Path) -> str:
    """The content of a text file.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    with bm.files.reading(path):
        return path.read_text("utf-8-sig")


def check_options(dataset: object, *counts: str) -> None:
    """Raise ConfigError unless options that count something are whole numbers from 1, and `test_fraction` is
    between 0 and 1."""
    for name in counts:
        if getattr(dataset, name) is not None:
            bm.check_number(dataset, name, whole=True, at_least=1)
    bm.check_number(dataset, "test_fraction", above=0, below=1)


def column_option(value: object) -> int | str:
    """A column as an option names it: a number, or a name.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        return value
    raise ConfigError(f"a column is {value!r}, expected its name or number.")
