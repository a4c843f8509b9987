"""Image files as arrays, read by the same rules in training and prediction.

    a file of                         becomes grey or colour from 0 to 255 by
    8 bits or fewer, palettes, CMYK   Pillow's conversion
    16 bits                           its upper eight; the whole range of a file that declares fewer bits
    32 bits, or signed numbers        the value of white, which must be given
    floats                            their part of 1; all must be between 0 and 1

If the value of white is given, 0 to that value becomes 0 to 255 in the last three, and no number may lie
outside. What would be read as nearly black, such as 12 bits in files of 16, is refused until it is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
LARGEST_IMAGE = 100_000_000
"""Pixels of an image beyond which it is not opened."""
FEW_OF_16_BITS = 1 << 12
"""A 16-bit image whose numbers are all below this has 12 bits or fewer, or is nearly black."""

_ORIENTATION, _BITS, _PHOTOMETRIC, _LARGEST_SAMPLE, _SAMPLE_FORMAT = 0x0112, 258, 262, 281, 339
_SIGNED, _WHITE_IS_ZERO = 2, 0


def image_shape(path: Path) -> tuple[int, int, int]:
    """Channels, height and width of the upright image: 1 channel for grey, 3 for colours.

    Raises:
        DataError: it is no image.
    """

    def shape(image: Image) -> tuple[int, int, int]:
        from PIL import ImageOps

        grey = image.mode in ("1", "L", "LA", "La", "I", "F") or image.mode.startswith("I;16")
        width, height = ImageOps.exif_transpose(image).size
        return 1 if grey else 3, height, width

    found: tuple[int, int, int] = opened(path, shape)
    return found


def read_image(path: Path, shape: tuple[int, int, int], white: float | None = None) -> np.ndarray:
    """An image in the size and channels that are wanted, (C, H, W) uint8 from 0 (black) to 255 (white).

    It is turned as its camera says, transparent parts become white, colours become grey or the reverse, and
    it is stretched to the size: if it shrinks, each pixel is the mean of those it covers, else it is
    interpolated (bicubic).

    Args:
        path: the file.
        shape: channels (1 or 3), height and width.
        white: the number that means white in files of more than 8 bits, of signed numbers or of floats; by
            the kind of file if None, see above.

    Raises:
        DataError: it is no image, is damaged, is too large, has several frames, or does not say what its
            numbers mean.
    """
    channels, height, width = shape

    def pixels(opened: Image) -> np.ndarray:
        from PIL import Image

        upright = _upright(opened, white)
        if upright.has_transparency_data:
            ground = Image.new("RGBA", upright.size, "white")
            upright = Image.alpha_composite(ground, upright.convert("RGBA"))
        image = upright.convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            shrinks = image.width >= width and image.height >= height
            image = image.resize((width, height), Image.Resampling.BOX if shrinks else None)
        found = np.asarray(image, np.uint8)
        return found[np.newaxis] if channels == 1 else np.ascontiguousarray(found.transpose(2, 0, 1))

    found: np.ndarray = opened(path, pixels)
    return found


def check_image(path: Path, white: float | None = None) -> None:
    """Read an image as `read_image` does.

    Raises:
        DataError: as `read_image` says.
    """
    opened(path, lambda opened: _upright(opened, white).load())


def _upright(opened: Image, white: float | None) -> Image:
    """An 8-bit image, turned upright."""
    from PIL import ImageOps

    _check_frames(opened)
    kind = _Kind.of(opened)
    return kind.shown(ImageOps.exif_transpose(opened), white)


def opened(path: Path, use: Any) -> Any:
    """What a function of Pillow's image gives for a file.

    Raises:
        DataError: it is no image, is damaged or too large, or the function says so; names the file.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        # By stream: by name, Pillow maps TIFFs into memory, and mixes up the sides of those that are turned.
        with path.open("rb") as stream, Image.open(stream) as image:
            if image.width * image.height > LARGEST_IMAGE:
                raise DataError(
                    f"the image has {image.width}x{image.height} pixels, more than {LARGEST_IMAGE:,}.",
                    fix="make it smaller.",
                )
            return use(image)
    except DataError as error:
        error.where = str(path)
        raise
    except Exception as error:  # Pillow lets the errors of every format through
        said = "its format is unknown" if isinstance(error, UnidentifiedImageError) else str(error)
        raise DataError(
            f"cannot read the image: {said}.",
            where=str(path),
            fix="open it in an image viewer to check it; remove it if it is not an image.",
        ) from error


def _check_frames(image: Image) -> None:
    """Refuse what shows several pictures; a camera's file with a preview or a second eye shows one."""
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise DataError(
            f"the file has {getattr(image, 'n_frames', 'several')} frames, expected a single image.",
            fix="save the frame you mean as a separate file.",
        )


# What the numbers of a file mean ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kind:
    """What the numbers of an image file are.

    Args:
        mode: Pillow's name for its pixels.
        white: the number that means white; None if nothing says.
        is_declared: whether the file says so.
        is_signed: whether its numbers are signed.
        is_inverted: whether 0 means white, which Pillow heeds up to 8 bits.
        is_cut: whether Pillow keeps the upper eight of 16 bits: colours, and grey with transparency.
    """

    mode: str
    white: float | None
    is_declared: bool
    is_signed: bool
    is_inverted: bool
    is_cut: bool

    @classmethod
    def of(cls, image: Image) -> _Kind:
        """That of an image whose pixels are not read yet."""
        tags = getattr(image, "tag_v2", {})
        signs, bits, largest = (_numbers(tags, tag) for tag in (_SAMPLE_FORMAT, _BITS, _LARGEST_SAMPLE))
        is_signed = _SIGNED in signs
        raw = " ".join(_raw_mode(tile[3]) for tile in getattr(image, "tile", ()))
        sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
        white: float | None = None
        is_declared = False
        if image.mode == "F":
            white = 1.0
        elif sixteen and not is_signed:
            declared = [2**number - 1 for number in bits if number < 16] + [n for n in largest if n < 0xFFFF]
            is_declared = bool(declared) or image.format == "PPM"  # which Pillow scales as its header says
            white = float(min(declared, default=0xFFFF))
        return cls(
            image.mode,
            white,
            is_declared,
            is_signed,
            tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO,
            image.format in ("PNG", "TIFF")
            and re.search(r"[A-Za-z];16[BLNS]", raw) is not None
            and image.mode in ("RGB", "RGBA", "RGBX", "LA", "RGBa"),
        )

    def shown(self, image: Image, white: float | None) -> Image:
        """An image of this kind as one of 8 bits.

        Args:
            image: with its pixels.
            white: the number that means white; if None, the file's own.

        Raises:
            DataError: its numbers do not say what they mean.
        """
        from PIL import Image

        if self.is_cut:
            self._check_cut(np.asarray(image), white)
            return image
        if self.mode not in ("I", "F") and not self.mode.startswith("I;16"):
            if self.is_signed:
                raise DataError("its numbers are signed.", fix="save it with numbers from 0 to 255.")
            return image
        values = np.asarray(image)
        low, high = (values.min(), values.max()) if values.size else (0, 0)
        top = self.white if white is None else white
        if top is None:
            what = "signed numbers" if self.is_signed else "numbers of 32 bits"
            raise DataError(
                f"its pixels are {what} from {low} to {high}, and the white level is unknown.",
                fix="set it, as in image-folder:white=4095, or save the image with 8 or 16 bits.",
            )
        if not (low >= 0 and high <= top):  # NaN is neither
            raise DataError(
                f"its pixels run from {low:.6g} to {high:.6g}, expected 0 (black) to {top:.6g} (white).",
                fix="scale them before, or set the white level, as in image-folder:white=255.",
            )
        if white is None and self.white == 0xFFFF and not self.is_declared and 0 < high < FEW_OF_16_BITS:
            raise _nearly_black(int(high))
        if top == 0xFFFF:
            shown = values.astype(np.int64) >> 8
        else:
            shown = np.rint(values.astype(np.float64) * (255 / top))
        return Image.fromarray((255 - shown if self.is_inverted else shown).astype(np.uint8))

    def _check_cut(self, values: np.ndarray, white: float | None) -> None:
        if white not in (None, 0xFFFF):
            raise DataError(
                f"16-bit images with colours or transparency are read by their upper eight bits, so white"
                f" cannot be {white:.6g}.",
                fix="save it with its full range, or with 8 bits.",
            )
        colours = values[..., : 1 if values.shape[-1] == 2 else 3]
        if white is None and not self.is_declared and colours.max(initial=0) < FEW_OF_16_BITS >> 8:
            raise _nearly_black(int(colours.max(initial=0)) << 8 | 0xFF)


def _nearly_black(high: int) -> DataError:
    return DataError(
        f"its pixels reach {high:,} of 65,535, like {high.bit_length()} bits stored in 16: nearly black.",
        fix="set the white level, as in image-folder:white=4095 for 12 bits, or white=65535 if it is that"
        " dark; or save it with its full range.",
    )


def _raw_mode(arguments: Any) -> str:
    """How a part of a file is stored, as Pillow names it."""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _numbers(tags: Any, tag: int) -> tuple[int, ...]:
    found = tags.get(tag, ())
    return tuple(found) if isinstance(found, tuple) else (found,)
