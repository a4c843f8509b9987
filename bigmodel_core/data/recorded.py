"""What runs, checkpoints and exported files recorded of the data of their training.

The packages that write and read such files are above this one; `bigmodel_core/__init__.py` knows both, and
says who reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from bigmodel_core.data.encoding import Encoding

Reader = Callable[["Path"], "Encoding | None"]
"""Gives the encoding that the file at a path, or the best checkpoint of the run there, holds; None if it
holds none.

Raises:
    CheckpointError, ExportError: the file is missing or damaged.
"""

_readers: list[Reader] = []


def read_with(reader: Reader) -> None:
    """Have the encodings in files read by this function."""
    _readers[:] = [reader]


def encoding_at(path: Path) -> Encoding | None:
    """The encoding that is recorded at a path; see `Reader`."""
    (reader,) = _readers
    return reader(path)
