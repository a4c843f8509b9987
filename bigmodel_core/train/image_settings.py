"""How published weights want their images: `preprocessor_config.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bigmodel_core.data.preprocessing import Preprocessing
from bigmodel_core.errors import CheckpointError, ConfigError
from bigmodel_core.graph.spec import Spec
from bigmodel_core.train.atomic import write_atomically
from bigmodel_core.train.weight_files import read_json

FILE = "preprocessor_config.json"
_RESCALE = 1 / 255


def read_image_settings(folder: Path, inputs: Sequence[Spec]) -> Preprocessing | None:
    """What makes model input of pixels from 0 to 255; None if the model takes no images, or nothing is said.

    Raises:
        CheckpointError: the file is damaged, or is for images of other channels.
    """
    shape = _images(inputs)
    if shape is None or not (folder / FILE).is_file():
        return None
    said = read_json(folder / FILE)
    is_normal = said.get("do_normalize", True)
    mean, std = (said.get(f"image_{key}", [0.5]) for key in ("mean", "std"))
    try:
        return Preprocessing(
            said.get("rescale_factor", _RESCALE) if said.get("do_rescale", True) else 1.0,
            tuple(mean) if is_normal else (0.0,),
            tuple(std) if is_normal else (1.0,),
            "uint8",
            shape,
        )
    except (ConfigError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"image_mean or image_std does not fit images of {shape[0]} channels: {error}",
            where=str(folder / FILE),
            fix="use the file that belongs to the weights, or remove it.",
        ) from None


def write_image_settings(folder: Path, inputs: Sequence[Spec], preprocessing: Preprocessing | None) -> None:
    """Write what `read_image_settings` reads, if the model takes images and it is known."""
    shape = _images(inputs)
    if shape is None or preprocessing is None:
        return
    channels, height, width = shape
    said: dict[str, Any] = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": preprocessing.scale,
        "do_normalize": True,
    }
    for key, values in (("image_mean", preprocessing.mean), ("image_std", preprocessing.std)):
        said[key] = list(values) * (channels if len(values) == 1 else 1)
    write_atomically(folder / FILE, [json.dumps(said, indent=2, sort_keys=True).encode()])


def _images(inputs: Sequence[Spec]) -> tuple[int, int, int] | None:
    """The channels, height and width of the images that a model takes."""
    if len(inputs) != 1 or inputs[0].ndim != 4:
        return None
    channels, height, width = inputs[0].shape[1:]
    if not (isinstance(channels, int) and isinstance(height, int) and isinstance(width, int)):
        return None
    return channels, height, width
