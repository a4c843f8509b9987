"""Folders of one folder per class: which files are images, and what is ignored."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import bigmodel_core as bm
from bigmodel_core.errors import DataError

PARTS = ("train", "test", "validation")


@dataclass
class PassedOver:
    """What in a folder is no sample.

    Args:
        strays: the names of what is no image: other files, what is hidden, folders beside `train` and `test`.
        broken: images that cannot be read.
    """

    strays: list[str] = field(default_factory=list)
    broken: list[Path] = field(default_factory=list)

    def notes(self) -> tuple[str, ...]:
        """How many there are and some of their names, a sentence per kind."""
        broken = [f"{path.parent.name}/{path.name}" for path in self.broken]
        kinds = ((self.strays, "not an image"), (broken, "broken"))
        return tuple(_note(names, what) for names, what in kinds if names)

    def told(self) -> str:
        """How many there are, as a suffix to the description of the data."""
        kinds = ((self.strays, "other file"), (self.broken, "broken image"))
        counts = [f"{len(names)} {what}{'s' * (len(names) > 1)}" for names, what in kinds if names]
        return f", without {' and '.join(counts)}" if counts else ""


def _note(names: list[str], what: str) -> str:
    various = list(dict.fromkeys(names))
    some = ", ".join(various[:4]) + (", ..." if len(various) > 4 else "")
    files = f"{len(names)} files were" if len(names) > 1 else "1 file was"
    return f"{files} skipped ({what}): {some}."


def folder_named(data_dir: Path | None, name: str) -> Path:
    """The folder of a data set that holds the classes or splits.

    Raises:
        DataError: none is named, or it is no folder.
    """
    folders = (
        [bm.files.existing(Path(data_dir))] if data_dir is not None else bm.files.environment_folders(name)
    )
    if not folders:
        raise DataError(f"{name} needs a folder to read.", where=name, fix="name it with --data-dir DIR.")
    if not folders[0].is_dir():
        raise DataError("it is a file.", where=str(folders[0]), fix="name the folder that holds the images.")
    return folders[0]


def parts_of(folder: Path, passed_over: PassedOver) -> dict[str, Path]:
    """The folder of each split; all is "train" if the classes are in the folder itself.

    Raises:
        DataError: there is one of `train` and `test` without the other.
    """
    parts = {part: folder / part for part in PARTS if (folder / part).is_dir()}
    if {"train", "test"} <= set(parts):
        passed_over.strays += [item.name for item in listed(folder, passed_over) if item.name not in parts]
        return parts
    nested = [place for place in parts.values() if any(item.is_dir() for item in listed(place, PassedOver()))]
    if nested:
        missing = "test" if "train" in parts else "train"
        raise DataError(
            f"there is a folder {nested[0].name} with classes in it, but no folder {missing}.",
            where=str(folder),
            fix=f"add {missing}, or name {nested[0]} itself to hold out a fraction of it.",
        )
    return {"train": folder}


def listed(folder: Path | os.DirEntry[str], passed_over: PassedOver) -> list[os.DirEntry[str]]:
    """The folders and images in a folder, by name; entries know their kind, which saves a call for each.

    Raises:
        DataError: it cannot be listed.
    """
    kept = []
    try:
        with os.scandir(folder) as items:
            for item in sorted(items, key=lambda item: item.name):
                is_hidden = item.name.startswith(".") or item.name == "__MACOSX"
                if not is_hidden and (item.is_dir() or item.name.lower().endswith(bm.images.SUFFIXES)):
                    kept.append(item)
                else:
                    passed_over.strays.append(item.name)
    except OSError as error:
        raise DataError(f"cannot list it: {error.strerror or error}.", where=os.fspath(folder)) from error
    return kept


def check_labels(folder: Path, found: tuple[str, ...], train: Path, expected: tuple[str, ...]) -> None:
    """Raises DataError if a split does not have the classes of the training split."""
    if found == expected:
        return
    unknown, missing = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
    names = ", ".join(expected[:10]) + (", ..." if len(expected) > 10 else "")
    odd = f"{unknown[0]} is there" if unknown else f"{missing[0]} is missing"
    raise DataError(
        f"its classes differ from those of {train.name}: {odd}.",
        where=str(folder),
        fix=f"give {folder.name} the folders {names}.",
    )
