"""Files that somebody wants predictions for, as batches of input: arrays, images, rows of a table."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.data import images
from bigmodel_core.data.conforming import columns_in_order
from bigmodel_core.data.encoding import UNKNOWN, Encoding
from bigmodel_core.data.preprocessing import Preprocessing
from bigmodel_core.errors import DataError, DtypeError, UsageError

ARRAYS = (".npy", ".npz")
TABLES = (".csv", ".tsv")
_SOME_IMAGES = ", ".join(images.SUFFIXES[:3])


@dataclass(frozen=True)
class Port:
    """What a model takes as an input.

    Args:
        shape: of one sample; 1 for sizes that are free.
        dtype: the number type.
        encoding: how the data it was trained on became numbers.
        is_raw: whether the model itself starts with the preprocessing, and so takes raw values.
        free: which axes of a sample have a free size.
        is_batched: whether there is an axis of samples in front.
    """

    shape: tuple[int, ...]
    dtype: str
    encoding: Encoding = UNKNOWN
    is_raw: bool = False
    free: tuple[bool, ...] = ()
    is_batched: bool = True

    @classmethod
    def of(
        cls, dims: Sequence[Any], dtype: str, encoding: Encoding = UNKNOWN, *, is_raw: bool = False
    ) -> Port:
        """The port of an input whose shape, samples included, has names or None where a size is free."""
        shape = tuple(dim if isinstance(dim, int) else 1 for dim in dims[1:])
        free = tuple(not isinstance(dim, int) for dim in dims[1:])
        return cls(shape, dtype, encoding, is_raw, free, bool(dims))

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether a sample may have a shape."""
        free = self.free or (False,) * len(self.shape)
        return len(shape) == len(self.shape) and all(
            is_free or size == wanted for is_free, size, wanted in zip(free, shape, self.shape, strict=True)
        )

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
    arrays = _loaded(path)
    if len(arrays) != 1 and "x" not in arrays:
        raise DataError(
            f"it holds {len(arrays)} arrays ({', '.join(list(arrays)[:5])}).",
            where=str(path),
            fix="save one array, or name it x.",
        )
    array = arrays.get("x", next(iter(arrays.values())))
    batch = _batched(array, port, str(path))
    if array.dtype.kind in "iub" and np.dtype(port.dtype).kind == "f" and port.preprocessing is not None:
        return port.from_raw(batch)
    return batch


def read_arrays(path: Path, ports: Mapping[str, Port]) -> tuple[list[str], list[np.ndarray]]:
    """A batch for a model of several inputs from one archive, with a name for each sample.

    Args:
        path: a .npz with an array for each input: by their names, or unnamed in their order.
        ports: what the model takes, by name.

    Raises:
        DataError: the file is damaged, lacks an input or does not fit the model.
        UsageError: it is a file of another kind.
    """
    if path.suffix.lower() != ".npz":
        raise UsageError(
            f"the model takes {len(ports)} inputs: {', '.join(ports)}.",
            where=str(path),
            fix=f"pass a .npz: numpy.savez('inputs.npz', {', '.join(f'{name}=...' for name in ports)}).",
        )
    if not path.is_file():
        raise DataError("there is no such file.", where=str(path), fix="check the path.")
    arrays = _loaded(path)
    if set(arrays) == {f"arr_{number}" for number in range(len(ports))}:
        arrays = {name: arrays[f"arr_{number}"] for number, name in enumerate(ports)}
    if set(arrays) != set(ports):
        raise DataError(
            f"it holds the arrays {', '.join(list(arrays)[:8])}; the model takes {', '.join(ports)}.",
            where=str(path),
            fix="save one array for each input, by its name.",
        )
    batches = [
        converted(_batched(arrays[name], port, f"{path}: {name}"), port, f"{path}: {name}")
        for name, port in ports.items()
    ]
    counts = {len(batch) for batch, port in zip(batches, ports.values(), strict=True) if port.is_batched}
    if len(counts) > 1:
        raise DataError(
            f"the inputs differ in length: {', '.join(map(str, sorted(counts)))}.",
            where=str(path),
            fix="save as many samples for each input.",
        )
    count = next(iter(counts), 1)
    return [path.name] if count == 1 else [f"{path.name}[{row}]" for row in range(count)], batches


def _loaded(path: Path) -> dict[str, np.ndarray]:
    """The arrays of numbers in a file, by name; that of a .npy has none."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded:
                found = {name: np.asarray(loaded[name]) for name in loaded.files}
        else:
            found = {"": np.asarray(loaded)}
    except Exception as error:  # NumPy, zipfile and zlib each have their own
        raise DataError(
            f"cannot read the array: {error}.",
            where=str(path),
            fix="save it with numpy.save, without objects.",
        ) from error
    if not found:
        raise DataError("it holds no array.", where=str(path), fix="save one with numpy.savez.")
    for array in found.values():
        if array.dtype.kind not in "fiub":
            raise DataError(f"the array holds {array.dtype}.", where=str(path), fix="save numbers.")
    return found


def _batched(array: np.ndarray, port: Port, where: str) -> np.ndarray:
    """The array as a batch: with an axis of samples in front, and one of channels for grey images."""
    if not port.is_batched and array.ndim == 0:
        return array
    if array.ndim and port.takes(array.shape[1:]):
        return array
    if port.takes(array.shape):
        return array[np.newaxis]
    size = int(np.prod(port.shape))
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
