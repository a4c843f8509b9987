"""Predicted masks as images: PNGs whose pixels are the numbers of classes, shown in colours."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bigmodel_core.charts.colours import class_colours
from bigmodel_core.data import images
from bigmodel_core.errors import UsageError
from bigmodel_core.nn.predictions import Prediction

_MOST = 256
"""Classes that a pixel of one byte can name."""


def write_masks(folder: Path, rows: Sequence[tuple[str, Prediction]], inputs: Sequence[Path] = ()) -> None:
    """Write a PNG for each predicted mask; older files of these names are replaced.

    Args:
        folder: where to; it is made if it is missing.
        rows: the name of each input with its prediction.
        inputs: the files they came from; the mask of an image becomes as large as the image.

    Raises:
        UsageError: a prediction is no mask, has more classes than a PNG can name, or two have one name.
        CheckpointError: a file cannot be written.
    """
    from bigmodel_core.train.atomic import write_atomically

    sizes = {path.name: path for path in inputs if path.suffix.lower() in images.SUFFIXES}
    found: dict[str, bytes] = {}
    for name, prediction in rows:
        target = re.sub(r"\W+", "-", Path(name).stem if name in sizes else name).strip("-") + ".png"
        if not prediction.is_mask:
            raise UsageError(
                f"what is predicted of {name} is no mask, and folders take masks.",
                where=f"--out {folder}",
                fix="name a file that ends in .csv or .jsonl.",
            )
        if target in found:
            raise UsageError(
                f"two masks would be written to {target}.",
                where=f"--out {folder}",
                fix="predict files of one name one by one, into folders of their own.",
            )
        shape = images.image_shape(sizes[name])[1:] if name in sizes else None
        found[target] = _png(np.array(prediction.index), shape, f"--out {folder}")
    folder.mkdir(exist_ok=True)
    for target, content in found.items():
        write_atomically(folder / target, [content])


def _png(mask: np.ndarray, shape: tuple[int, int] | None, where: str) -> bytes:
    """A mask as a PNG with a palette, enlarged by repeating pixels."""
    from PIL import Image

    if mask.max(initial=0) >= _MOST:
        raise UsageError(
            f"class {mask.max()} is more than a pixel of a PNG can name ({_MOST} classes).",
            where=where,
            fix="name a file that ends in .jsonl.",
        )
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette(class_colours().ravel().tolist())
    if shape is not None and shape != mask.shape:
        image = image.resize((shape[1], shape[0]), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
