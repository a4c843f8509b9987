"""Numbers as colours, and arrays as pictures that a page holds in itself."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

from bigmodel_core.errors import UsageError

_VIRIDIS = "440154 482878 3e4989 31688e 26828e 1f9e89 35b779 6ece58 b5de2b fde725"
_ANCHORS = np.array([[int(code[at : at + 2], 16) for at in (0, 2, 4)] for code in _VIRIDIS.split()], float)


def picture(values: Any) -> np.ndarray:
    """An image of numbers for `png`, (H, W, 3) uint8: the least dark blue, the most yellow (viridis).

    Args:
        values: (H, W); NaN is grey.

    >>> picture([[0.0, 1.0]]).tolist()
    [[[68, 1, 84], [253, 231, 37]]]
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2:
        raise UsageError(
            f"expected (H, W) numbers, got shape {values.shape}.", where="picture", fix="reshape them."
        )
    shares = stretched(values)
    places = np.linspace(0, 1, len(_ANCHORS))
    found = np.stack(
        [np.interp(np.nan_to_num(shares), places, _ANCHORS[:, channel]) for channel in range(3)], -1
    )
    found[np.isnan(shares)] = 128
    return np.rint(found).astype(np.uint8)


def stretched(values: np.ndarray) -> np.ndarray:
    """Numbers from 0, the least, to 1, the most; what is not finite is NaN, and equal numbers are 0."""
    values = np.where(np.isfinite(values), values, np.nan)
    if np.isnan(values).all():
        return values
    low, high = np.nanmin(values), np.nanmax(values)
    return (values / 2 - low / 2) / (high / 2 - low / 2) if high > low else values * 0.0


def image(array: Any) -> np.ndarray:
    """An array as an image, (H, W) or (H, W, 3) uint8.

    Args:
        array: (H, W), (C, H, W) or (H, W, C) with 1 or 3 channels; uint8 as it is, other numbers from black,
            the least, to white, the most.

    Raises:
        UsageError: it is no image.
    """
    found = np.asarray(array)
    if found.ndim == 3 and found.shape[-1] not in (1, 3) and found.shape[0] in (1, 3):
        found = np.moveaxis(found, 0, -1)
    is_image = found.ndim == 2 or (found.ndim == 3 and found.shape[-1] in (1, 3))
    if not is_image or not found.size or found.dtype.kind not in "buif":
        raise UsageError(
            f"expected an image, got {found.dtype} of shape {found.shape}.",
            where="image",
            fix="pass (H, W), (C, H, W) or (H, W, C) numbers with 1 or 3 channels.",
        )
    if found.dtype != np.uint8:
        found = np.rint(np.nan_to_num(stretched(found.astype(np.float64))) * 255).astype(np.uint8)
    return found[..., 0] if found.ndim == 3 and found.shape[-1] == 1 else found


def png(array: Any, most: int = 512) -> str:
    """An image as a data URI, which needs no file.

    Args:
        array: (H, W), (C, H, W) or (H, W, C) with 1 or 3 channels; uint8 as it is, other numbers from black,
            the least, to white, the most.
        most: pixels of its longer side, to which a larger one is reduced.

    Raises:
        UsageError: it is no image.

    >>> png([[0.0, 1.0]])[:22]
    'data:image/png;base64,'
    """
    return _uri(image(array), most, "PNG", optimize=True)


def photo(array: Any, most: int = 512) -> str:
    """The same, small: a colour image of more than 64 x 64 pixels as JPEG, which loses what eyes do not see.

    >>> photo(np.zeros((100, 100, 3)))[:23]
    'data:image/jpeg;base64,'
    """
    found = image(array)
    is_photo = found.ndim == 3 and min(*found.shape[:2], most) > 64
    return _uri(found, most, "JPEG", quality=85) if is_photo else png(found, most)


def _uri(array: np.ndarray, most: int, form: str, **options: Any) -> str:
    from PIL import Image

    found = Image.fromarray(array)
    if max(found.size) > most:
        found.thumbnail((most, most))
    with io.BytesIO() as file:
        found.save(file, form, **options)
        return f"data:image/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def class_colours() -> np.ndarray:
    """A colour for each class, (256, 3) uint8: black for 0, then those of PASCAL VOC, whose bits are taken in
    turn by red, green and blue (Everingham et al., 2010)."""
    numbers = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            if 3 * bit + channel < 8:
                colours[:, channel] |= (((numbers >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours
