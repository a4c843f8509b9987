"""Files that somebody wants predictions for, as batches of input: arrays, images, rows of a table."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bigmodel_core import images
from bigmodel_core.conforming import columns_in_order
from bigmodel_core.encoding import UNKNOWN, Encoding
from bigmodel_core.errors import DataError, DtypeError, UsageError
from bigmodel_core.preprocessing import Preprocessing

ARRAYS = (".npy", ".npz")
TABLES = (".csv", ".tsv")
_SOME_IMAGES = ", ".join(images.SUFFIXES[:3])


@dataclass(frozen=True)
class Port:
    """What a model takes as its one input.

    Args:
        shape: of one sample.
        dtype: the number type.
        encoding: how the data it was trained on became numbers.
        is_raw: whether the model itself starts with the preprocessing, and so takes raw values.
    """

    shape: tuple[int, ...]
    dtype: str
    encoding: Encoding = UNKNOWN
    is_raw: bool = False

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How raw values become input; None where nothing is known."""
        return self.encoding.preprocessing

    def from_raw(self, raw: np.ndarray) -> np.ndarray:
        """Input for the model from a batch of raw values."""
        if self.is_raw or self.preprocessing is None:
            return raw
        if self.preprocessing.raw_shape != self.shape:
            raw = raw.reshape(len(raw), *self.preprocessing.raw_shape)
        return self.preprocessing.apply(raw).reshape(len(raw), *self.shape)

    def from_prepared(self, x: np.ndarray) -> np.ndarray:
        """Input for the model from samples of a data set, which are preprocessed already."""
        if not self.is_raw:
            return x.reshape(len(x), *self.shape)
        steps = self.preprocessing
        assert steps is not None
        return steps.invert(x.reshape(len(x), *steps.raw_shape)).astype(steps.raw_dtype)


def read(path: Path, port: Port, *, invert: bool = False) -> tuple[list[str], np.ndarray]:
    """The samples in a file, with a name for each.

    Args:
        path: an array (.npy, .npz), an image, or a table (.csv, .tsv).
        port: what the model takes.
        invert: whether black and white of images change places.

    Raises:
        DataError: the file is missing, damaged or does not fit the model.
        UsageError: it is a file of another kind.
    """
    kind = path.suffix.lower()
    if kind not in (*ARRAYS, *images.SUFFIXES, *TABLES):
        raise UsageError(
            f"files that end in '{kind}' cannot be read.",
            where=str(path),
            fix=f"pass arrays ({', '.join(ARRAYS)}), images ({_SOME_IMAGES}, ...) or tables (.csv).",
        )
    if not path.is_file():
        raise DataError("there is no such file.", where=str(path), fix="check the path.")
    if kind in images.SUFFIXES:
        return [path.name], port.from_raw(read_image(path, port, invert=invert)[np.newaxis])
    if kind in TABLES:
        usual = getattr(port.encoding.made_by(), "delimiter", ",")
        lines, rows = read_rows(path, port, "\t" if kind == ".tsv" else usual)
        return [f"{path.name}:{line}" for line in lines], port.from_raw(rows)
    batch = read_array(path, port)
    return [path.name] if len(batch) == 1 else [f"{path.name}[{row}]" for row in range(len(batch))], batch


# Arrays ---------------------------------------------------------------------------------------------------


def read_array(path: Path, port: Port) -> np.ndarray:
    """A batch from an array file: one sample or many.

    Whole numbers for a model of floats are raw values and are preprocessed; floats are taken as they are.

    Raises:
        DataError: the file is damaged, holds several arrays, or does not fit the model.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                names = loaded.files
                if len(names) != 1 and "x" not in names:
                    raise DataError(
                        f"it holds {len(names)} arrays ({', '.join(names[:5])}).",
                        where=str(path),
                        fix="save one array, or name it x.",
                    )
                loaded = loaded["x" if "x" in names else names[0]]
    except DataError:
        raise
    except Exception as error:  # NumPy, zipfile and zlib each have their own
        raise DataError(
            f"cannot read the array: {error}.",
            where=str(path),
            fix="save it with numpy.save, without objects.",
        ) from error
    array = np.asarray(loaded)
    if array.dtype.kind not in "fiub":
        raise DataError(f"the array holds {array.dtype}.", where=str(path), fix="save numbers.")
    batch = _batched(array, port, str(path))
    if array.dtype.kind in "iub" and np.dtype(port.dtype).kind == "f" and port.preprocessing is not None:
        return port.from_raw(batch)
    return batch


def _batched(array: np.ndarray, port: Port, where: str) -> np.ndarray:
    """The array as a batch: with an axis of samples in front, and one of channels for grey images."""
    size = int(np.prod(port.shape))
    if array.shape[1:] == port.shape:
        return array
    if array.shape == port.shape or (array.size == size and array.ndim <= len(port.shape)):
        return array.reshape(1, *port.shape)
    if array.ndim >= 1 and len(array) and array.size == len(array) * size:
        return array.reshape(len(array), *port.shape)
    wanted = ", ".join(map(str, port.shape))
    raise DataError(
        f"the array has shape {array.shape}, expected ({wanted}) or (n, {wanted}).",
        where=where,
        fix="save samples of the size the model takes.",
    )


# Images ---------------------------------------------------------------------------------------------------


def read_image(path: Path, port: Port, *, invert: bool = False) -> np.ndarray:
    """An image as one raw sample: the model's size and channels, and its range of values.

    Full brightness becomes 1 / scale of the preprocessing: 255 for most data sets, 16 for digits.

    Raises:
        DataError: the image cannot be read, or the model takes none.
    """
    steps = port.preprocessing
    shape = steps.raw_shape if steps is not None else port.shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise DataError(
            f"the model takes samples of shape {shape}, which no image is.",
            where=str(path),
            fix="pass arrays or table rows instead.",
        )
    if steps is None:
        raise DataError(
            "the model does not say how images become its input.",
            where=str(path),
            fix="pass arrays that are ready, or train on a data set of images.",
        )
    white = getattr(port.encoding.made_by(), "white", None)
    pixels = images.read_image(path, shape, white).astype(np.float64)
    pixels = 255 - pixels if invert else pixels
    raw = pixels / (255 * steps.scale)
    if np.dtype(steps.raw_dtype).kind in "iu":
        raw = np.rint(raw)
    return np.asarray(raw, steps.raw_dtype)


# Tables ---------------------------------------------------------------------------------------------------


def read_rows(path: Path, port: Port, delimiter: str) -> tuple[list[int], np.ndarray]:
    """The rows of a table as raw samples, with the line each comes from.

    Where the first row names the columns, they are taken by name in any order, and the column of targets is
    passed over; else by position.

    Raises:
        DataError: columns are missing or unknown, a cell is no number, or a row has another length.
    """
    steps = port.preprocessing
    shape = steps.raw_shape if steps is not None else port.shape
    count = int(np.prod(shape))
    rows: list[list[float]] = []
    lines: list[int] = []
    columns: list[int] | None = None
    width = count
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=delimiter)
            is_first = True
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if is_first and _is_header(cells, port.encoding.features):
                    columns = _columns(cells, port.encoding, str(path))
                    width = len(cells) if columns is not None else count
                    is_first = False
                    continue
                is_first = False
                where = f"{path}, line {reader.line_num}"
                if len(cells) != width:
                    more = " (leave the target column out)" if len(cells) == count + 1 else ""
                    raise DataError(
                        f"{len(cells)} cells, expected {width}{more}.",
                        where=where,
                        fix="give every row the features the model was trained on, in the same order, or name"
                        " the columns in the first row.",
                    )
                rows.append([_number(cells, column, where) for column in columns or range(width)])
                lines.append(reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"cannot read the table: {error}.", where=str(path), fix="save it as UTF-8 text."
        ) from error
    if not rows:
        raise DataError("the table has no row.", where=str(path), fix="pass at least one row of features.")
    raw = np.array(rows, np.float64).reshape(-1, *shape)
    kind = np.dtype(steps.raw_dtype if steps is not None else port.dtype)
    if kind.kind in "iu":
        if not np.array_equal(raw, np.rint(raw)):
            raise DataError(
                "a cell holds no whole number.", where=str(path), fix="pass the values as they were recorded."
            )
        return lines, raw.astype(np.int64)
    return lines, raw


def _is_header(cells: list[str], features: tuple[str, ...] | None) -> bool:
    names = {cell.strip() for cell in cells}
    return (features is not None and set(features) <= names) or all(parsed(cell) is None for cell in cells)


def _columns(cells: list[str], encoding: Encoding, where: str) -> list[int] | None:
    """The position of each feature among the columns that the first row of a table names; None where the
    model does not know its columns by name."""
    if encoding.features is None:
        return None
    names = [cell.strip() for cell in cells]
    places = [
        place for place, name in enumerate(names) if name in encoding.features or name != encoding.target
    ]
    order = columns_in_order(tuple(names[place] for place in places), encoding.features, where)
    return places if order is None else [places[position] for position in order]


def parsed(cell: str) -> float | None:
    """The number in a cell; None where there is none."""
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _number(cells: list[str], column: int, where: str) -> float:
    value = parsed(cells[column])
    if value is None:
        raise DataError(
            f"{cells[column][:40]!r} is no number.",
            where=f"{where}, column {column + 1}",
            fix="write numbers alone, with a decimal point and nothing between thousands.",
        )
    return value


def converted(x: np.ndarray, port: Port, where: str) -> np.ndarray:
    """The batch in the number type the model takes.

    Raises:
        DtypeError: the values are of a kind that it does not take.
    """
    wanted = np.dtype(port.dtype)
    if x.dtype.kind in "fiub" and (wanted.kind == "f" or (wanted.kind in "iu" and x.dtype.kind in "iub")):
        with np.errstate(over="ignore"):
            made = x.astype(wanted)
        if wanted.kind == "f" and np.isinf(made).any() and np.isfinite(x).all():
            raise DtypeError(
                f"the values go beyond {port.dtype}: {np.abs(x).max():.3g}.",
                where=where,
                fix="scale them down.",
            )
        if wanted.kind == "f" or np.array_equal(made, x):
            return made
    raise DtypeError(
        f"the values are {x.dtype}, expected {port.dtype}.",
        where=where,
        fix="pass the values as they were recorded.",
    )
