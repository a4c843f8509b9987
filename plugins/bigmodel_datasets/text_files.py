"""Text files as documents, and as tokens in files that are mapped into memory."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import DataError
from bigmodel_datasets.text_tables import ABOUT, read_text

MAPPED_FROM = 1 << 24
"""Bytes of text from which on tokens are kept in a file."""
PIECE, TOGETHER = 1 << 16, 32
"""Characters that are made tokens at a time, and how many such pieces the library's threads share."""


def text_files(name: str, data_dir: Path | None) -> list[Path]:
    """The file that is named, or the `.txt` files of a folder and those in it, but for notes and licences.

    Raises:
        DataError: there is none.
    """
    folders = (
        [bm.files.existing(Path(data_dir))] if data_dir is not None else bm.files.environment_folders(name)
    )
    if not folders:
        raise DataError(
            f"{name} needs a text file, or a folder of some.", where=name, fix="name it with --data-dir."
        )
    if folders[0].is_file():
        return [folders[0]]
    found = [path for path in sorted(folders[0].glob("**/*.txt")) if path.stem.lower() not in ABOUT]
    if not found:
        raise DataError("there is no .txt file in it.", where=str(folders[0]), fix="name a text file.")
    return found


def documents(name: str, data_dir: Path | None) -> list[tuple[Path, str]]:
    """The texts of a data set, a file each.

    Raises:
        DataError: there is none, one is empty, or it is not UTF-8.
    """
    found = [(path, read_text(path)) for path in text_files(name, data_dir)]
    for path, text in found:
        if not text.strip():
            raise DataError("the text is empty.", where=str(path), fix="fill it, or remove the file.")
    return found


def pieces(path: Path) -> Iterator[str]:
    """The text of a file in pieces of whole lines, so that it need not fit in memory.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    with bm.files.reading(path), open(path, encoding="utf-8-sig", newline="") as stream:
        while lines := stream.readlines(PIECE):
            yield "".join(lines)


def lines_of(paths: list[Path]) -> Iterator[str]:
    """The lines of some files, one after the other."""
    for path in paths:
        for piece in pieces(path):
            yield from piece.splitlines(keepends=True)


def token_stream(paths: list[Path], tokenizer: bm.Tokenizer) -> np.ndarray:
    """The tokens of some files, one document after the other, with the token for the end behind each if there
    is one.

    Those of large files are kept in the user's cache, under the hash of the texts and the tokenizer, and
    mapped into memory; the file appears there once it is whole.
    """
    kind = np.dtype(np.uint16 if tokenizer.size <= 1 << 16 else np.int32)
    if sum(path.stat().st_size for path in paths) < MAPPED_FROM:
        return np.concatenate([np.asarray(part, kind) for part in _tokens(paths, tokenizer)])
    digest = hashlib.sha256(tokenizer.to_json().encode())
    for path in paths:
        with open(path, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    folder = bm.files.cache_folder("text")
    place = folder / f"{digest.hexdigest()[:32]}.{kind.name}"
    if not place.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".tokens.", dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                for part in _tokens(paths, tokenizer):
                    stream.write(np.asarray(part, kind).tobytes())
            os.replace(temporary, place)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    return np.memmap(place, kind, mode="r")


def _tokens(paths: list[Path], tokenizer: bm.Tokenizer) -> Iterator[np.ndarray]:
    end = [np.array([tokenizer.special("end")])] if tokenizer.has("end") else []
    for path in paths:
        rest = pieces(path)
        while some := list(islice(rest, TOGETHER)):
            yield from tokenizer.encode_all(some)
        yield from end


class Windows(bm.Source):
    """Runs of tokens of a long text; nothing is read before it is used.

    Args:
        values: the tokens.
        length: of a run.
        step: from the beginning of one run to that of the next.
        shift: how many tokens later each begins.
        count: how many there are.
    """

    def __init__(self, values: np.ndarray, length: int, step: int, shift: int, count: int) -> None:
        self.values, self.step, self.shift = values, step, shift
        self.shape, self.dtype = (count, length), np.dtype(np.int64)

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        places = (indices * self.step + self.shift)[:, None] + np.arange(out.shape[1])
        out[...] = self.values[places]
