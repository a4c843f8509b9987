"""Files to predict, as batches of input: arrays, images, rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.cli.port import Port, converted
from bigmodel_core.cli.rows import read_cells, read_rows
from bigmodel_core.data import images
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.files import reading
from bigmodel_core.errors import DataError, UsageError

ARRAYS = (".npy", ".npz")
TABLES = (".csv", ".tsv")
_SOME_IMAGES = ", ".join(images.SUFFIXES[:3])


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


def read_table(path: Path, encoding: Encoding, is_raw: bool = False) -> tuple[list[str], Any]:
    """The samples in a table whose columns are of several kinds, with a name for each: x of a split.

    Args:
        path: the table.
        encoding: of the training data.
        is_raw: whether the cells of each column are wanted as they are.

    Raises:
        DataError: the file is missing or damaged, lacks a column, or a cell is not of its kind.
    """
    if not path.is_file():
        raise DataError("there is no such file.", where=str(path), fix="check the path.")
    columns = encoding.columns
    assert columns is not None
    usual = getattr(encoding.made_by(), "delimiter", ",")
    lines, cells = read_cells(path, columns, usual)
    where = [f"{path}, line {line}" for line in lines]
    x = columns.raw(cells, where) if is_raw else columns.apply(cells, where)
    return [f"{path.name}:{line}" for line in lines], x


def is_file(what: str) -> bool:
    """Whether an argument that may be a text is the name of a text file.

    Raises:
        DataError: it looks like one, and there is none.
    """
    try:
        found = Path(what).is_file()
    except (OSError, ValueError):  # a text that is too long for the name of a file
        return False
    if not found and what.lower().endswith(".txt") and " " not in what:
        raise DataError("there is no such file.", where=what, fix="check the path.")
    return found


def read_lines(path: Path) -> tuple[list[str], list[str]]:
    """The texts in a file, one a line, with a name for each; blank lines count for nothing.

    Raises:
        DataError: it cannot be read, or has no text.
    """
    with reading(path):
        lines = path.read_text("utf-8-sig").splitlines()
    found = [(f"{path.name}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise DataError("there is no text in it.", where=str(path), fix="write a text a line.")
    return [name for name, _ in found], [line for _, line in found]


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
            fix="save the same number of samples for each input.",
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
        raise DataError("it contains no array.", where=str(path), fix="save one with numpy.savez.")
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
            f"the model takes samples of shape {shape}, which is not the shape of an image.",
            where=str(path),
            fix="pass arrays or table rows instead.",
        )
    if steps is None:
        raise DataError(
            "the model does not say how to convert images to its input.",
            where=str(path),
            fix="pass preprocessed arrays, or train on a data set of images.",
        )
    white = getattr(port.encoding.made_by(), "white", None)
    pixels = images.read_image(path, shape, white).astype(np.float64)
    pixels = 255 - pixels if invert else pixels
    raw = pixels / (255 * steps.scale)
    if np.dtype(steps.raw_dtype).kind in "iu":
        raw = np.rint(raw)
    return np.asarray(raw, steps.raw_dtype)
