"""Where the files of a data set are: a named folder, the per-user cache, or a checked download."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from bigmodel_core.errors import ConfigError, DataError

Opener = Callable[[str], IO[bytes]]

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set: what it is called, what is in it and where it can be had.

    Args:
        name: plain file name, unpacked; the cache keeps it under this name.
        urls: HTTPS addresses, tried in order; what they serve may be gzipped.
        sha256: SHA-256 of the unpacked content, in hexadecimal.
        size: length of the unpacked content in bytes.
        variants: other names the file goes by. Each name may also end in `.gz`.

    Raises:
        ConfigError: a name that is not a plain file name, or an address that is not HTTPS.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str
    size: int
    variants: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.name != Path(self.name).name or "\\" in self.name or self.name in {"", ".", ".."}:
            raise ConfigError(f"{self.name!r} is not a plain file name.", where="RemoteFile")
        for url in self.urls:
            _check_https(url)

    def find(self, folder: Path) -> Path | None:
        """The file in `folder`, under any of its names, gzipped or not; None if it is not there."""
        names = (self.name, *self.variants)
        candidates = (folder / f"{name}{ending}" for ending in ("", ".gz") for name in names)
        return next((path for path in candidates if path.is_file()), None)


def locate(
    name: str, files: Sequence[RemoteFile], data_dir: Path | None = None, *, opener: Opener | None = None
) -> dict[str, Path]:
    """The paths of the files of a data set, by `RemoteFile.name`.

    Looks in `data_dir` and nowhere else when it is given; else in the folder called `name` in
    `BIGMODEL_DATA_DIR`, then in the per-user cache, and at last downloads to that cache. Downloads go over
    HTTPS and are kept only when length and SHA-256 are right. Files put there by hand are taken as they are.

    Args:
        name: name of the data set, such as "mnist".
        files: the files it consists of.
        data_dir: folder that holds the files themselves.
        opener: gives the bytes of a URL; the default asks the network.

    Raises:
        DataError: files that are missing and cannot be downloaded; says where to put them.
    """
    if data_dir is not None:
        folder = existing(Path(data_dir))
        found = _found(files, folder)
        if len(found) < len(files):
            raise DataError(
                f"no {_missing(files, found)} in it, which {name} needs.",
                where=str(folder),
                fix="name the folder that contains these files, gzipped or not.",
            )
        return found
    for folder in environment_folders(name):
        found = _found(files, folder)
        if len(found) == len(files):
            return found
        if found:
            raise DataError(
                f"{name} is not complete there: no {_missing(files, found)}.",
                where=str(folder),
                fix="add the missing files, or unset BIGMODEL_DATA_DIR.",
            )
    folder = cache_folder(name)
    found = _found(files, folder)
    missing = [file for file in files if file.name not in found]
    if missing and opener is None:
        megabytes = sum(file.size for file in missing) / 1e6
        print(f"Downloading {name} ({megabytes:.0f} MB unpacked) to {folder}", file=sys.stderr)
    for file in missing:
        found[file.name] = download(file, folder, opener=opener)
    return found


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What goes wrong while a text file is read inside is a DataError that names the file.

    >>> from pathlib import Path
    >>> with reading(Path("novel.txt")):
    ...     text = Path("novel.txt").read_text("utf-8-sig")
    Traceback (most recent call last):
    bigmodel_core.errors.DataError: novel.txt: cannot read it: No such file or directory.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(
            f"byte {error.start} is not UTF-8.", where=str(path), fix="save the text as UTF-8."
        ) from error
    except OSError as error:
        raise DataError(f"cannot read it: {error.strerror or error}.", where=str(path)) from error


def existing(path: Path) -> Path:
    """`path` itself, if there is a file or folder.

    Raises:
        DataError: there is none.
    """
    if not path.exists():
        raise DataError("there is no such file or folder.", where=str(path), fix="check the data directory.")
    return path


def environment_folders(name: str) -> list[Path]:
    """The folders for data set `name` in `BIGMODEL_DATA_DIR` that exist, by spelling of the name."""
    root = os.environ.get("BIGMODEL_DATA_DIR")
    if not root:
        return []
    spellings = dict.fromkeys((name, name.replace("-", "_"), name.replace("_", "-")))
    return [folder for folder in (Path(root) / spelling for spelling in spellings) if folder.is_dir()]


def cache_folder(name: str) -> Path:
    """The per-user folder for downloads of data set `name`; it need not exist."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("bigmodel", appauthor=False)) / "data" / name


def download(file: RemoteFile, folder: Path, *, opener: Opener | None = None) -> Path:
    """Downloads `file` into `folder`, unpacked, from the first address that serves the right content.

    The file appears under its name only when it is complete and its SHA-256 is right.

    Raises:
        DataError: no address served it, or the folder cannot be written.
    """
    from http.client import HTTPException

    failures = []
    for url in file.urls:
        try:
            with (opener or _open_https)(url) as response:
                return _write_checked(file, folder, _unpacked(response))
        except _Rejected as error:
            failures.append(f"{url}: {error}")
        except PermissionError as error:
            raise DataError(f"cannot write there: {error.strerror}.", where=str(folder)) from error
        except (OSError, EOFError, zlib.error, HTTPException, ConfigError) as error:
            failures.append(f"{url}: {error}")
    tried = "\n  ".join(failures) or "no address is known"
    raise DataError(
        f"cannot download {file.name}:\n  {tried}",
        fix=f"put the file (gzipped or not) into {folder}, or name the folder that holds it "
        "with --data-dir or BIGMODEL_DATA_DIR.",
    )


class _Rejected(Exception):
    """Content that is not what it should be."""


def _write_checked(file: RemoteFile, folder: Path, chunks: Iterator[bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            for chunk in chunks:
                size += len(chunk)
                if size > file.size:
                    raise _Rejected(f"more than the {file.size} bytes expected")
                digest.update(chunk)
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        if size != file.size:
            raise _Rejected(f"{size} bytes, expected {file.size}")
        if digest.hexdigest() != file.sha256:
            raise _Rejected(f"SHA-256 is {digest.hexdigest()}, expected {file.sha256}")
        path = folder / file.name
        os.replace(temporary, path)
        return path
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _unpacked(stream: IO[bytes]) -> Iterator[bytes]:
    """The content in chunks, decompressed if it is gzipped; no chunk is larger than a megabyte."""
    first = stream.read(2)
    rest: IO[bytes] = _Rejoined(first, stream)  # type: ignore[assignment]  # reading needs `read` alone
    source = gzip.GzipFile(fileobj=rest) if first == b"\x1f\x8b" else rest
    while chunk := source.read(_CHUNK):
        yield chunk


class _Rejoined:
    """A stream with the bytes that were read from its start put back in front."""

    def __init__(self, first: bytes, stream: IO[bytes]) -> None:
        self._first, self._stream = first, stream

    def read(self, size: int = -1) -> bytes:
        first, self._first = self._first, b""
        return first or self._stream.read(size)


def _open_https(url: str) -> IO[bytes]:
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class HttpsOnly(HTTPRedirectHandler):
        def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]  # urllib's signature
            _check_https(newurl)
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    _check_https(url)
    request = Request(url, headers={"User-Agent": "bigmodel"})
    return build_opener(HttpsOnly()).open(request, timeout=_TIMEOUT_SECONDS)


def _check_https(url: str) -> None:
    if urlsplit(url).scheme != "https":
        raise ConfigError(f"{url} is not an HTTPS address.", where="download")


def _found(files: Sequence[RemoteFile], folder: Path) -> dict[str, Path]:
    return {file.name: path for file in files if (path := file.find(folder)) is not None}


def _missing(files: Sequence[RemoteFile], found: dict[str, Path]) -> str:
    return ", ".join(file.name for file in files if file.name not in found)
