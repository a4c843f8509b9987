"""Reads IDX files, the format of MNIST: a magic number, the sizes, then the values, all big-endian."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from bigmodel_core.errors import DataError

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CHUNK = 1 << 20
_DEFLATE_MOST = 1032  # no deflate stream unpacks to more than this many times its length


def read_idx(path: Path) -> np.ndarray:
    """The array in an IDX file, gzipped or not, in native byte order.

    The sizes it states are checked against the length of the file before memory is taken.

    Raises:
        DataError: no IDX file, an unknown number type, or more or fewer bytes than its sizes say.
    """
    try:
        length = path.stat().st_size
        with path.open("rb") as file:
            is_gzipped = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not is_gzipped:
                return _read(file, path, length, exact=True)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read(unpacked, path, length * _DEFLATE_MOST, exact=False)
    except (zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"the gzip stream is damaged: {error}.", where=str(path), fix=_FIX) from error
    except OSError as error:
        raise DataError(f"cannot read it: {error.strerror or error}.", where=str(path)) from error


_FIX = "get the file again; it is truncated or damaged."


def _read(stream: IO[bytes] | gzip.GzipFile, path: Path, most: int, *, exact: bool) -> np.ndarray:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or not 1 <= magic[3] <= 32:
        raise DataError(
            f"the first four bytes are {magic.hex(' ') or 'missing'}, expected an IDX magic number "
            "such as 00 00 08 03.",
            where=str(path),
            fix="name an IDX file, gzipped or not.",
        )
    dtype, rank = np.dtype(_DTYPES[magic[2]]), magic[3]
    header = stream.read(4 * rank)
    if len(header) < 4 * rank:
        raise DataError(
            f"it ends after {4 + len(header)} bytes, expected {rank} sizes in {4 + 4 * rank} bytes.",
            where=str(path),
            fix=_FIX,
        )
    shape = struct.unpack(f">{rank}I", header)
    if 0 in shape:
        raise DataError(f"it declares the shape {shape}, so it is empty.", where=str(path), fix=_FIX)
    expected = 4 + 4 * rank + math.prod(shape) * dtype.itemsize
    stated = f"expected {expected} bytes for {dtype.name} {shape}"
    if exact and most != expected:
        raise DataError(f"it has {most} bytes, {stated}.", where=str(path), fix=_FIX)
    if most < expected:
        raise DataError(f"it unpacks to at most {most} bytes, {stated}.", where=str(path), fix=_FIX)
    wanted = math.prod(shape) * dtype.itemsize
    content = bytearray()
    while len(content) < wanted and (chunk := stream.read(min(_CHUNK, wanted - len(content)))):
        content += chunk
    if len(content) < wanted:
        raise DataError(
            f"it unpacks to {4 + 4 * rank + len(content)} bytes, {stated}.", where=str(path), fix=_FIX
        )
    if stream.read(1):
        raise DataError(f"it continues after the last value, {stated}.", where=str(path), fix=_FIX)
    values = np.frombuffer(content, dtype).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)
