"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bigmodel_core.errors import CheckpointError


def write_atomically(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file so that a crash at any moment leaves the old one or the new one, complete.

    The parts go to a file beside the target, which reaches the disk before it takes the target's name.

    Raises:
        CheckpointError: the place cannot be written to, or the disk is full; the old file stays as it was.
    """
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
        _settle(path.parent)
    except OSError as error:
        raise CheckpointError(
            f"cannot write the file: {error.strerror or error}.",
            where=str(path),
            fix="free some space, or choose a folder that can be written to.",
        ) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                os.unlink(temporary)


def _umask() -> int:
    """The permissions that new files go without; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _settle(folder: Path) -> None:
    """Have a rename reach the disk; not every system can open a folder."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
