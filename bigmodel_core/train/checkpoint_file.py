"""The file of a checkpoint: arrays in the safetensors format, with strings and a digest of all in its header.

Reading checks every size against the length of the file before anything of that size is made, and the digest
before anything is believed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bigmodel_core.errors import CheckpointError
from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.registry.plain_values import strict_json
from bigmodel_core.train.atomic import write_atomically

FORMAT, VERSION = "bigmodel checkpoint", "1"
_MOST_HEADER = 100_000_000
_KEYS = {"format", "version", "sha256"}


def write_file(path: Path | BinaryIO, texts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write a checkpoint file, whole or not at all; the same content gives the same bytes.

    Raises:
        CheckpointError: it cannot be written, or its header would be too long to be read.
    """
    from safetensors.numpy import save

    plain = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in arrays.items()}
    header = {"format": FORMAT, "version": VERSION, "sha256": _digest(texts, plain), **texts}
    raw = memoryview(save(plain, header))
    end = 8 + int.from_bytes(raw[:8], "little")
    # The library writes the header's keys in any order; sorted, the same content gives the same bytes.
    text = json.dumps(json.loads(bytes(raw[8:end])), sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _MOST_HEADER:
        raise CheckpointError("the model's graph is too large for a checkpoint.", where=str(path))
    pieces: list[bytes | memoryview] = [len(text).to_bytes(8, "little"), text, raw[end:]]
    if isinstance(path, Path):
        write_atomically(path, pieces)
    else:
        for piece in pieces:
            path.write(piece)


def read_file(path: Path | BinaryIO) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The strings and arrays of a checkpoint file.

    Raises:
        CheckpointError: the file is missing, no checkpoint, damaged, or of another version.
    """
    try:
        return _read(path)
    except OSError as error:
        raise CheckpointError(
            f"cannot read the checkpoint: {error.strerror or error}.", where=str(path)
        ) from error
    except _Damage as damage:
        raise CheckpointError(
            f"{damage}.", where=str(path), fix="use another checkpoint, such as the run's other one."
        ) from None


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of any file in the safetensors format.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        if len(content) < 10 or length > min(len(content) - 8, _MOST_HEADER):
            raise _Damage(f"its header says {length} bytes, the file has {len(content)}")
        header = _header(content[8 : 8 + length])
        header.pop("__metadata__", None)
        _check_entries(header, len(content) - 8 - length)
        return _arrays(content)
    except OSError as error:
        raise CheckpointError(f"cannot read it: {error.strerror or error}.", where=str(path)) from error
    except _Damage as damage:
        raise CheckpointError(f"{damage}.", where=str(path), fix="fetch the file again.") from None


class _Damage(Exception):
    """What is wrong with a file, in words."""


def _read(path: Path | BinaryIO) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    if not isinstance(path, Path):
        content = path.read()
        return _content(io.BytesIO(content), len(content))
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _Damage("this file cannot be a checkpoint")
        return _content(file, status.st_size)


def _content(file: BinaryIO, size: int) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if size < 10 or length > min(size - 8, _MOST_HEADER):
        raise _Damage(
            f"the file is damaged or no checkpoint: its header says {length} bytes, the file has {size}"
        )
    start += file.read(length)
    header = _header(start[8:])
    texts = _texts(header)
    _check_entries(header, size - 8 - length)
    arrays = _arrays(start + file.read(size - 8 - length))
    if _digest({key: text for key, text in texts.items() if key not in _KEYS}, arrays) != texts["sha256"]:
        raise _Damage("the file was changed since it was written: its digest does not match its content")
    return {key: text for key, text in texts.items() if key not in _KEYS}, arrays


def _header(raw: bytes) -> dict[str, Any]:
    try:
        header = strict_json(raw)
    except (ValueError, UnicodeDecodeError) as error:
        raise _Damage(f"the header cannot be read: {error}") from None
    if not isinstance(header, dict):
        raise _Damage("the header is not a mapping")
    return header


def _texts(header: dict[str, Any]) -> dict[str, str]:
    texts = header.pop("__metadata__", {})
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise _Damage("the header's metadata is not a mapping of strings")
    if texts.get("format") != FORMAT:
        raise _Damage("the file holds arrays, but it is not a bigmodel checkpoint")
    if texts.get("version") != VERSION:
        raise _Damage(
            f"the checkpoint has the format {texts.get('version')!r}, this version of bigmodel reads"
            f" {VERSION!r}; another version of bigmodel wrote it"
        )
    if "sha256" not in texts:
        raise _Damage("the digest is missing")
    return texts


def _check_entries(header: dict[str, Any], size: int) -> None:
    """Every array is within the file, has the bytes that its shape needs, and no byte belongs to nobody."""
    pieces = []
    for name, entry in header.items():
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise _Damage(f"the entry of the array {name!r} is malformed")
        shape, offsets = entry["shape"], entry["data_offsets"]
        known = isinstance(entry["dtype"], str) and entry["dtype"] in _TYPES
        if not known or not _whole(shape) or not _whole(offsets) or len(offsets) != 2:
            raise _Damage(f"the entry of the array {name!r} is malformed")
        needed = _TYPES[entry["dtype"]].nbytes
        for dim in shape:
            needed *= dim
        if offsets[1] - offsets[0] != needed or len(shape) > 32:
            raise _Damage(f"the array {name!r} does not have the bytes that its shape needs")
        pieces.append(offsets)
    end = 0
    for begin, stop in sorted(pieces):
        if begin != end:
            raise _Damage("the arrays overlap or leave gaps")
        end = stop
    if end != size:
        raise _Damage(f"the file is damaged: its arrays take {end} bytes, there are {size}")


_TYPES = {dtype.safetensors: dtype for dtype in DTYPES.values()}
"""The number types, by their names in files."""


def _whole(values: object) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


def _arrays(raw: bytes) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, deserialize

    try:  # not its `numpy.load`, which knows no bfloat16
        return {
            name: np.frombuffer(found["data"], _TYPES[found["dtype"]].numpy).reshape(found["shape"]).copy()
            for name, found in deserialize(raw)
        }
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _Damage(f"the arrays cannot be read: {error}") from None


def _digest(texts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of all strings, names, types, shapes and bytes, each with its length before it."""
    digest = hashlib.sha256()

    def add(part: bytes | memoryview) -> None:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)

    for key in sorted(texts):
        add(key.encode())
        add(texts[key].encode())
    for name in sorted(arrays):
        array = arrays[name]
        add(f"{name}\x1f{array.dtype.name}\x1f{array.shape}".encode())
        add(array.tobytes())
    return digest.hexdigest()
