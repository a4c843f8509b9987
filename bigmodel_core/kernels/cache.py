"""The kernel cache: object code on disk, one file per kernel, private to the user.

The folder is `BIGMODEL_CACHE_DIR`, else the per-user cache folder. It is created with mode 0700 and must
belong to the user: object code is executed, so a folder that others can write is not used. If nothing can
be written, kernels are compiled again in each process, with one warning. A file is named by a hash of all the
object depends on: the byte code of every function, the versions of Python, Numba and LLVM, and the
processor. The file begins with a digest of that name and of what it holds, so that neither a torn file nor
another kernel's in its place is ever run.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import sys
import tempfile
import warnings
from pathlib import Path

FORMAT = 3
"""Changes with the form of what is stored, so that files of another form are ignored."""

compilations: list[str] = []
"""The kernels this process compiled or had compiled, by name; empty in a process with a warm cache."""


class KernelCacheWarning(UserWarning):
    """The kernel cache cannot be used; kernels are compiled again in each process."""


def directory() -> Path:
    """The folder that holds compiled kernels; `BIGMODEL_CACHE_DIR` overrides the per-user default."""
    chosen = os.environ.get("BIGMODEL_CACHE_DIR")
    if chosen:
        return Path(os.path.expanduser(chosen)) / "kernels"
    import platformdirs

    try:
        return Path(platformdirs.user_cache_dir("bigmodel")) / "kernels"
    except RuntimeError:  # there is no home; older versions give back the "~" that they cannot expand
        return Path("~", "bigmodel", "kernels")


def is_usable() -> bool:
    """Whether what is stored will be found again."""
    return _usable() is not None


def load(key: str) -> bytes | None:
    """The stored bytes of a key, or None; a torn or tampered file, one of another key, and what is no plain
    file count as absent."""
    folder = _usable()
    if folder is None:
        return None
    name = _file_name(key)
    content = _read(folder / name)
    if content is None:
        return None
    check, _, payload = content.partition(b"\n")
    return payload if check == _digest(name, payload) else None


def _read(path: Path) -> bytes | None:
    """What a plain file holds; None if there is none. A pipe is not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError:
        return None
    try:
        with os.fdopen(descriptor, "rb") as file:
            return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except OSError:
        return None


def _digest(name: str, payload: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + payload).hexdigest().encode()


def holds(key: str) -> bool:
    """Whether something is stored under a key."""
    folder = _usable()
    return folder is not None and (folder / _file_name(key)).is_file()


def store(key: str, payload: bytes) -> None:
    """Keep bytes under a key, atomically: other processes see the whole file or none."""
    folder = _usable()
    if folder is None:
        return
    try:
        name = _file_name(key)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_digest(name, payload) + b"\n" + payload)
            os.replace(temporary, folder / name)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        _warn_once(f"cannot write the kernel cache in {folder}: {error.strerror or error}.")


def count_compilation(name: str) -> None:
    """Record that this process compiles a kernel, or has it compiled."""
    compilations.append(name)


def clear() -> int:
    """Delete all stored kernels; returns how many files went."""
    folder, removed = _usable(), 0
    for path in folder.glob("*.o") if folder else ():
        path.unlink(missing_ok=True)
        removed += 1
    return removed


def statistics() -> dict[str, object]:
    """Folder, number of files and bytes of the kernel cache."""
    folder = _usable()
    files = list(folder.glob("*.o")) if folder else []
    return {
        "folder": str(directory()),
        "usable": folder is not None,
        "files": len(files),
        "bytes": sum(f.stat().st_size for f in files),
    }


def _file_name(key: str) -> str:
    return hashlib.sha256(f"{key} {_environment()}".encode()).hexdigest()[:40] + ".o"


@functools.cache
def _environment() -> str:
    from importlib import metadata

    from bigmodel_core.kernels.cpu.engine import target

    versions = [f"{name} {metadata.version(name)}" for name in ("numba", "llvmlite")]
    return " ".join([str(FORMAT), sys.version, *versions, target.description()])


def _usable() -> Path | None:
    return _checked(str(directory()), os.getuid() if hasattr(os, "getuid") else -1)


@functools.cache
def _checked(path: str, user: int) -> Path | None:
    folder = Path(path)
    if path.startswith("~"):
        _warn_once(f"there is no home folder for the kernel cache {folder}.")
        return None
    folder = folder.absolute()  # it stays where it is when the process changes its folder
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        facts = folder.stat()
        if user >= 0 and facts.st_uid != user:
            _warn_once(f"the kernel cache {folder} belongs to another user, so it is not used.")
            return None
        if user >= 0 and facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            _warn_once(
                f"the kernel cache {folder} can be written by others, so it is not used (chmod 700 fixes it)."
            )
            return None
        if user >= 0 and stat.S_IMODE(facts.st_mode) != 0o700:
            folder.chmod(0o700)
        if not os.access(folder, os.W_OK):
            _warn_once(f"the kernel cache {folder} cannot be written.")
        return folder
    except OSError as error:
        _warn_once(f"the kernel cache {folder} cannot be used: {error.strerror or error}.")
        return None


_warned: set[str] = set()


def _warn_once(text: str) -> None:
    if not _warned:
        _warned.add(text)
        warnings.warn(
            f"{text} Kernels are compiled again in each process; set BIGMODEL_CACHE_DIR to a private folder.",
            KernelCacheWarning,
            stacklevel=3,
        )
