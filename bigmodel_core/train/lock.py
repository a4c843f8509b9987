"""One process at a time writes the folder of a run: a lock file that says who does.

The file holds the process, when it started, and the machine. Making it is one step on every file system; the
system's own advisory locks are missing on some. A lock whose process is gone is stale and is taken over. Of a
process that cannot be looked up (on another machine, in another container) the file's time tells: whoever
writes the folder touches it every minute.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import subprocess
import time
from pathlib import Path
from typing import Any

from bigmodel_core.errors import CheckpointError, RunInUseError

LOCK = "run.lock"
_SIGN_OF_LIFE = 60.0
"""Seconds between two touches of the lock file."""
_SILENCE = 900.0
"""Seconds without a touch after which a process that cannot be looked up counts as gone."""

_BREAKING = 10.0
"""Seconds after which nobody can still be removing a stale lock."""


class RunLock:
    """The right to write the folder of a run.

    Args:
        folder: the folder; it must be there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / LOCK
        self._token = secrets.token_hex(8)
        self._due = 0.0

    def acquire(self) -> None:
        """Take the lock, from a process that is gone if need be.

        Raises:
            RunInUseError: another process, or another training in this one, has it.
            CheckpointError: the file cannot be written.
        """
        try:
            while not self._made():
                found = _read(self.path)
                if found is None:  # it was released just now
                    continue
                _refuse_if_held(self.folder, found)
                self._break(found)
        except OSError as error:
            raise CheckpointError(
                f"cannot lock the run folder: {error.strerror or error}.",
                where=str(self.path),
                fix="choose a writable folder.",
            ) from error
        self._due = time.monotonic() + _SIGN_OF_LIFE

    def _made(self) -> bool:
        """Make the file; False if there is one. It appears complete: it is linked to its name."""
        beside = self.path.with_name(f".{LOCK}.{self._token}.part")
        text = json.dumps({**_this_process(), "token": self._token}, sort_keys=True)
        try:
            beside.write_text(text, "utf-8")
            try:
                os.link(beside, self.path)
            except FileExistsError:
                return False
            except OSError:  # this file system has no links
                try:
                    with open(self.path, "x", encoding="utf-8") as file:
                        file.write(text)
                except FileExistsError:
                    return False
            return True
        finally:
            with contextlib.suppress(OSError):
                beside.unlink()

    def _break(self, stale: dict[str, Any]) -> None:
        """Remove a stale lock. One process does so at a time, so that none removes what another has just put
        in its place."""
        alone = self.path.with_name(f".{LOCK}.breaking.part")
        try:
            os.close(os.open(alone, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            if _age(alone) > _BREAKING:
                alone.unlink(missing_ok=True)  # whoever made it was stopped on the way
            time.sleep(0.01)
            return
        try:
            found = _read(self.path)
            if found is not None and found.get("token") == stale.get("token"):
                self.path.unlink(missing_ok=True)
        finally:
            alone.unlink(missing_ok=True)

    def check(self) -> None:
        """Make sure the lock is still this one's; whoever thought its process gone may have taken it.

        Raises:
            RunInUseError: another process has it now.
        """
        found = _read(self.path)
        if found is None:  # somebody may be looking at it: see `_break`
            time.sleep(0.05)
            found = _read(self.path)
        if found is None or found.get("token") != self._token:
            raise RunInUseError(
                f"another process has taken over the run{_by(found or {})}; nothing more was written.",
                where=str(self.folder),
                fix="use another folder, or resume the run when that process is done.",
            )

    def show_life(self) -> None:
        """Touch the file now and then; costs nothing in between."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _SIGN_OF_LIFE
            with contextlib.suppress(OSError):
                os.utime(self.path)

    def release(self) -> None:
        """Give the lock back; that of another process stays."""
        found = _read(self.path)
        if found is not None and found.get("token") == self._token:
            with contextlib.suppress(OSError):
                self.path.unlink()


def check_unused(folder: Path) -> None:
    """Raise if somebody is writing the folder of a run, before long work that would be wasted.

    Raises:
        RunInUseError: a process is.
    """
    found = _read(folder / LOCK)
    if found is not None:
        _refuse_if_held(folder, found)


def is_used(folder: Path) -> bool:
    """Whether a process is writing the folder of a run."""
    try:
        check_unused(folder)
    except RunInUseError:
        return True
    return False


def _refuse_if_held(folder: Path, found: dict[str, Any]) -> None:
    alive = _is_alive(found)
    if alive is None:
        alive = _age(folder / LOCK) < _SILENCE
    if alive:
        raise RunInUseError(
            f"the run is in use{_by(found)}.",
            where=str(folder),
            fix=f"wait until that process is done, or use another folder; if it is gone, delete"
            f" {folder / LOCK}.",
        )


def _by(found: dict[str, Any]) -> str:
    return f" by process {found['pid']} on {found['host']}" if {"pid", "host"} <= set(found) else ""


def _age(path: Path) -> float:
    """Seconds since a file was touched, by the clock of the machine that holds the folder."""
    probe = path.with_name(f".{LOCK}.{secrets.token_hex(8)}.part")
    try:
        probe.touch()
        now = probe.stat().st_mtime
    except OSError:
        now = time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    try:
        return now - path.stat().st_mtime
    except OSError:
        return float("inf")


def _read(path: Path) -> dict[str, Any] | None:
    """What a lock file says; None if there is none, nothing if it cannot be understood."""
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(10_000))
        return found if isinstance(found, dict) else {}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return {}


# Processes ------------------------------------------------------------------------------------------------


def _this_process() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "host": platform.node(),
        "boot": _first_line("/proc/sys/kernel/random/boot_id"),
        "namespace": _namespace(),
    }


def _is_alive(found: dict[str, Any]) -> bool | None:
    """Whether the process of a lock runs; None if this cannot be looked up from here."""
    pid, here = found.get("pid"), _this_process()
    if type(pid) is not int or pid < 1 or found.get("host") != here["host"]:
        return None
    if found.get("boot") != here["boot"]:
        return False  # the machine was started again since
    if found.get("namespace") != here["namespace"] or platform.system() == "Windows":
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs, and belongs to somebody else
        pass
    started = _started(pid)
    return started is None or (started != _ENDED and found.get("started") in (None, started))


_ENDED = "ended"


def _started(pid: int) -> str | None:
    """When a process began, in the words of the system: tells it from a later one of the same number."""
    line = _first_line(f"/proc/{pid}/stat")
    if line is not None:
        fields = line.rpartition(")")[2].split()  # from field 3 of proc(5), the state, on
        return _ENDED if fields[0] in "ZX" else fields[19]  # field 22: clock ticks since the machine's start
    if platform.system() in ("Linux", "Windows"):
        return None
    try:
        done = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _namespace() -> str | None:
    """In which space of process numbers this process is; containers have their own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _first_line(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return None
