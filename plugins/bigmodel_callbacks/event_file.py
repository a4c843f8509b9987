"""A file of TensorBoard's events: records that are added one by one, and taken out again by a resumed run."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bigmodel_core as bm
from bigmodel_core.errors import CheckpointError, DataError

MARK = "bigmodel"
"""How the names of these files end: others in the folder stay as they are."""
SECONDS = 1.0
"""After this time at the latest, an event is in the file."""


class EventFile:
    """The events of one run, in one file.

    What an earlier process wrote goes on in it, as far as it is kept; a record that a crash cut off is not.
    Events reach the file within a second, several at once, and in any case when training ends by an error.

    Args:
        folder: where; made if it is missing.
        is_kept: which of the events that are there stay.

    Raises:
        DataError: it cannot be written.
    """

    def __init__(self, folder: Path, is_kept: Callable[[Any], bool]) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._event = Event
        now = time.time()
        name = f"events.out.tfevents.{int(now):010}.{socket.gethostname()}.{os.getpid()}.{MARK}"
        self.path = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            before = sorted(folder.glob(f"events.out.tfevents.*.{MARK}"))
            found = (record for path in before for record in records_in(path))
            kept = [record for record in found if is_kept(Event.FromString(record))]
            begins = [
                Event(wall_time=now, file_version="brain.Event:2"),
                # A TensorBoard that is open drops what it has read of the older file.
                Event(wall_time=now, session_log=SessionLog(status=SessionLog.START)),
            ]
            records = [*(event.SerializeToString() for event in begins), *kept]
            bm.write_atomically(self.path, [_framed(record) for record in records])
            for old in before:
                if old != self.path:
                    old.unlink()
            self._handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        except CheckpointError as error:
            raise unwritable(folder, error.message.rpartition(": ")[2]) from error
        except OSError as error:
            raise unwritable(folder, error.strerror or str(error)) from error
        self._waiting: list[Any] = []
        self._written = time.monotonic()
        self._end = weakref.finalize(self, _end, self._handle, self._waiting)

    def add(self, step: int, **content: Any) -> None:
        """Add an event.

        Args:
            step: after which training step.
            content: what it holds: `summary`, a message of tensorboardX, or `graph_def`, bytes.

        Raises:
            DataError: the disk is full, say.
        """
        self._waiting.append(self._event(wall_time=time.time(), step=step, **content))
        if time.monotonic() - self._written > SECONDS:
            self.flush()

    def flush(self) -> None:
        """Hand all events to the system: they survive the process.

        Raises:
            DataError: the disk is full, say.
        """
        try:
            _write(self._handle, self._waiting)
        except OSError as error:
            raise unwritable(self.path, error.strerror or str(error)) from error
        self._written = time.monotonic()

    def close(self) -> None:
        """Nothing more is added.

        Raises:
            DataError: the disk is full, say.
        """
        self.flush()
        self._end()


def _write(handle: int, waiting: list[Any]) -> None:
    """Write events, and forget them."""
    left = memoryview(b"".join(_framed(event.SerializeToString()) for event in waiting))
    waiting.clear()
    while left:
        left = left[os.write(handle, left) :]


def _end(handle: int, waiting: list[Any]) -> None:
    """Write what is left, if training ended by an error, and close the file."""
    with contextlib.suppress(OSError):
        _write(handle, waiting)
    os.close(handle)


def _framed(record: bytes) -> bytes:
    """A record as files hold it: its length and itself, each with a checksum."""
    from tensorboardX.record_writer import masked_crc32c

    length = struct.pack("<Q", len(record))
    ends = [struct.pack("<I", masked_crc32c(part)) for part in (length, record)]
    return b"".join((length, ends[0], record, ends[1]))


def records_in(path: Path) -> Iterator[bytes]:
    """The records of a file, up to one that is not whole."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while len(head := file.read(12)) == 12:
            (length,) = struct.unpack("<Q", head[:8])
            if file.tell() + length + 4 > size:
                return
            yield file.read(length)
            file.seek(4, os.SEEK_CUR)


def unwritable(path: Path, reason: str) -> DataError:
    """The error that TensorBoard's files cannot be written."""
    return DataError(
        f"cannot write what TensorBoard shows: {reason.rstrip('.')}.",
        where=str(path),
        fix="free some space, or choose a writable place.",
    )
