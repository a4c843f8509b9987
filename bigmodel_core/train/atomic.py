"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bigmodel_core.errors import CheckpointError

SUFFIX = ".part"
"""How the name of a file that is being written ends."""


def write_atomically(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file such that a crash at any moment leaves either the old or the new one, complete.

    The parts go to a file beside the target, which reaches the disk before it takes the target's name.

    Raises:
        CheckpointError: the place cannot be written to, or the disk is full; the old file stays as it was.
    """
    if "\0" in str(path):
        raise CheckpointError("a file name cannot hold NUL.", where=str(path), fix="choose another name.")
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}{SUFFIX}")
    try:
        with open(beside, "xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _settle(path.parent)
    except OSError as error:
        raise CheckpointError(
            f"cannot write the file: {error.strerror or error}.",
            where=str(path),
            fix="free some space, or choose a writable folder.",
        ) from error
    finally:
        with suppress(OSError):
            os.unlink(beside)


def remove_remains(folder: Path) -> None:
    """Remove what a killed process had begun to write."""
    with suppress(OSError):
        for item in folder.glob(f".*{SUFFIX}"):
            item.unlink()


def _settle(folder: Path) -> None:
    """Have a rename reach the disk; not every system can open a folder."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
