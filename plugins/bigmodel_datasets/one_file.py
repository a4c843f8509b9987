"""The file that is meant by a file name, or by a folder with one file of a kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import bigmodel_core as bm
from bigmodel_core.errors import DataError


def one_file(name: str, suffixes: str | Sequence[str], data_dir: Path | None) -> Path:
    """The file of a data set.

    Args:
        name: of the data set; its folder in `BIGMODEL_DATA_DIR` is used if no place is named.
        suffixes: what the file's name ends in, such as ".csv", if a folder is named; before ".gz".
        data_dir: the file or the folder.

    Raises:
        DataError: there is none, or the folder has several.
    """
    wanted = (suffixes,) if isinstance(suffixes, str) else tuple(suffixes)
    suffix = wanted[0]
    folders = (
        [bm.files.existing(Path(data_dir))] if data_dir is not None else bm.files.environment_folders(name)
    )
    if not folders:
        raise DataError(
            f"{name} needs a file to read.", where=name, fix=f"name it with --data-dir FILE{suffix}."
        )
    place = folders[0]
    if place.is_file():
        return place
    found = sorted(
        path for path in place.iterdir() if bm.table_files.suffix_of(path) in wanted and path.is_file()
    )
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:5]) or "none"
        raise DataError(
            f"expected one {suffix} file in it, found {names}.", where=str(place), fix="name the file itself."
        )
    return found[0]
