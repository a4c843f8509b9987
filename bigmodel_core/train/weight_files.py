"""Published weights as safetensors: one file, or several that an index names; whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.errors import CheckpointError
from bigmodel_core.registry.plain_values import strict_json
from bigmodel_core.train.atomic import write_atomically
from bigmodel_core.train.checkpoint_file import read_arrays

ONE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
"""Endings of files that are pickled."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds a mapping.

    Raises:
        CheckpointError: it is missing, or something else.
    """
    try:
        found = strict_json(path.read_bytes())
    except OSError as error:
        raise CheckpointError(
            f"cannot read it: {error.strerror or error}.",
            where=str(path),
            fix="name a folder with config.json and model.safetensors.",
        ) from error
    except ValueError as error:
        raise CheckpointError(f"it cannot be read: {error}.", where=str(path)) from None
    if not isinstance(found, dict):
        raise CheckpointError("it is no mapping.", where=str(path))
    return found


def read_weights(folder: Path) -> dict[str, np.ndarray]:
    """All arrays of the weights in a folder, floats as float32.

    Raises:
        CheckpointError: there are none, a shard is missing or damaged, lies elsewhere or holds other arrays
            than the index says, or they are pickled.
    """
    if (folder / INDEX).is_file():
        found = _sharded(folder, read_json(folder / INDEX))
    elif (folder / ONE).is_file():
        found = read_arrays(folder / ONE)
    else:
        raise _missing(folder)
    return {name: _float32(array) for name, array in found.items()}


def _float32(array: np.ndarray) -> np.ndarray:
    is_float = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    return array.astype(np.float32) if is_float and array.dtype != np.float32 else array


def _missing(folder: Path) -> CheckpointError:
    pickled = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLES)
    if pickled:
        return CheckpointError(
            f"the weights are pickled ({pickled[0]}), and reading a pickle may run code.",
            where=str(folder),
            fix="where the file is trusted, write them as safetensors: load the model with transformers,"
            " such as AutoModelForMaskedLM.from_pretrained(folder), and call its save_pretrained(folder).",
        )
    return CheckpointError(
        f"there is neither {ONE} nor {INDEX}.", where=str(folder), fix="name the folder of the weights."
    )


def _sharded(folder: Path, index: Mapping[str, Any]) -> dict[str, np.ndarray]:
    places = index.get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise CheckpointError("it has no weight_map of names.", where=str(folder / INDEX))
    shards = sorted(set(places.values()))
    for name in shards:
        path = folder / name
        if Path(name).name != name or (path.is_symlink() and path.resolve().parent != folder.resolve()):
            raise CheckpointError(
                f"it names the file {name!r}, which is not one of its own folder.", where=str(folder / INDEX)
            )
    lost = [name for name in shards if not (folder / name).is_file()]
    if lost:
        raise CheckpointError(
            f"{len(lost)} of {len(shards)} files are missing: {', '.join(lost[:5])}.",
            where=str(folder),
            fix="fetch them again; no weights were read.",
        )
    found: dict[str, np.ndarray] = {}
    for name in shards:
        arrays = read_arrays(folder / name)
        wanted = {key for key, place in places.items() if place == name}
        if set(arrays) != wanted:
            odd = sorted(set(arrays) ^ wanted)
            raise CheckpointError(
                f"the index says of {name} something else than it holds: {', '.join(odd[:5])}.",
                where=str(folder / INDEX),
                fix="fetch the files again; no weights were read.",
            )
        found |= arrays
    return found


def write_weights(folder: Path, arrays: Mapping[str, np.ndarray], most: int) -> None:
    """Write arrays into a folder, as one file, or as several with an index.

    Args:
        folder: where to.
        arrays: by name.
        most: bytes of a file.
    """
    from safetensors.numpy import save

    parts: list[dict[str, np.ndarray]] = [{}]
    for name, array in arrays.items():
        size = sum(held.nbytes for held in parts[-1].values())
        if parts[-1] and size + array.nbytes > most:
            parts.append({})
        parts[-1][name] = np.ascontiguousarray(array)
    metadata = {"format": "pt"}
    if len(parts) == 1:
        write_atomically(folder / ONE, [save(parts[0], metadata)])
        return
    places: dict[str, str] = {}
    for number, part in enumerate(parts, 1):
        file = f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        write_atomically(folder / file, [save(part, metadata)])
        places |= dict.fromkeys(part, file)
    total = sum(array.nbytes for array in arrays.values())
    index = {"metadata": {"total_size": total}, "weight_map": places}
    write_atomically(folder / INDEX, [json.dumps(index, indent=2, sort_keys=True).encode()])
