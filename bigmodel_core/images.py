"""Image files as arrays: one rule for training and prediction, so that a picture means the same to both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
LARGEST_IMAGE = 100_000_000
"""Pixels of an image beyond which it is not opened."""


def image_shape(path: Path) -> tuple[int, int, int]:
    """Channels, height and width of an image as it is stored: 1 channel for grey, 3 for colours.

    Raises:
        DataError: it is no image.
    """

    def shape(image: Image) -> tuple[int, int, int]:
        grey = image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")
        turned = image.getexif().get(0x0112, 1) >= 5  # orientations that change height and width
        width, height = reversed(image.size) if turned else image.size
        return 1 if grey else 3, height, width

    found: tuple[int, int, int] = _opened(path, shape)
    return found


def read_image(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """An image in the size and channels that are wanted, (C, H, W) uint8 from 0 (black) to 255 (white).

    It is turned as its camera says, transparent parts become white, colours become grey or the reverse, and
    it is stretched to the size: where it shrinks, each pixel is the mean of those it covers, else it is
    interpolated (bicubic).

    Args:
        path: the file.
        shape: channels (1 or 3), height and width.

    Raises:
        DataError: it is no image, is damaged, or is too large.
    """
    channels, height, width = shape

    def pixels(opened: Image) -> np.ndarray:
        from PIL import Image, ImageOps

        upright = _bytes(ImageOps.exif_transpose(opened))
        if upright.has_transparency_data:
            ground = Image.new("RGBA", upright.size, "white")
            upright = Image.alpha_composite(ground, upright.convert("RGBA"))
        image = upright.convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            shrinks = image.width >= width and image.height >= height
            image = image.resize((width, height), Image.Resampling.BOX if shrinks else None)
        found = np.asarray(image, np.uint8)
        return found[np.newaxis] if channels == 1 else np.ascontiguousarray(found.transpose(2, 0, 1))

    found: np.ndarray = _opened(path, pixels)
    return found


def _opened(path: Path, use: Any) -> Any:
    from PIL import Image

    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > LARGEST_IMAGE:
                raise DataError(
                    f"the image has {opened.width}x{opened.height} pixels, more than {LARGEST_IMAGE:,}.",
                    where=str(path),
                    fix="make it smaller.",
                )
            return use(opened)
    except DataError:
        raise
    except Exception as error:  # Pillow lets the errors of every format through
        raise DataError(
            f"cannot read the image: {error}.",
            where=str(path),
            fix="open it in an image viewer to see if it is whole; remove it where it is no image.",
        ) from error


def _bytes(image: Image) -> Image:
    """Grey images of 16 bits by their upper eight; Pillow would cut all above 255."""
    from PIL import Image

    if image.mode != "I" and not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min(initial=0) < 0 or values.max(initial=0) > 0xFFFF:
        raise ValueError("its pixels have more than 16 bits")
    return Image.fromarray((values >> 8).astype(np.uint8))
