"""What the numbers of an image file mean: grey values against NumPy, or a refusal; never a picture that is
black without a word. TIFFs are written here byte by byte where Pillow writes none."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bigmodel_core as bm
from bigmodel_core.data import images
from bigmodel_core.errors import DataError

RAMP = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)


def tiff(path: Path, values: np.ndarray, kind: int = 1, width: int | None = None, **tags: int) -> Path:
    """An uncompressed TIFF of one strip; kind is 1 for numbers without a sign, 2 with one, 3 for floats."""
    raw = values.astype(values.dtype.newbyteorder("<")).tobytes()
    height, width = values.shape[0], width or values.shape[1]
    bits = tags.get("bits", values.dtype.itemsize * 8)
    entries = {256: width, 257: height, 258: bits, 259: 1, 262: tags.get("photometric", 1), 273: 0, 277: 1}
    entries |= {278: height, 279: len(raw), 339: kind}
    entries |= {number: tags[name] for name, number in (("turned", 274), ("largest", 281)) if name in tags}
    entries[273] = 8 + 2 + 12 * len(entries) + 4
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    path.write_bytes(head + directory + struct.pack("<I", 0) + raw)
    return path


def png(path: Path, values: np.ndarray, colour_type: int) -> Path:
    """A PNG of 16 bits a channel: colour types 0 (grey), 2 (colours), 4 and 6 (with alpha)."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour_type, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    return path


def grey(path: Path, shape: Sequence[int] = (3, 4), white: float | None = None) -> np.ndarray:
    return images.read_image(path, (1, *shape), white)[0]


def refusal(path: Path, white: float | None = None) -> str:
    with pytest.raises(DataError) as error:
        grey(path, white=white)
    assert str(path) in str(error.value) and error.value.fix
    return str(error.value)


# Floats -------------------------------------------------------------------------------------------------


def test_floats_from_0_to_1_are_scaled(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.tif")
    assert np.array_equal(grey(tmp_path / "a.tif"), np.rint(RAMP.astype(np.float64) * 255))


@pytest.mark.parametrize("values", [RAMP * 255, RAMP - 0.5, np.where(RAMP > 0.5, np.nan, RAMP)])
def test_other_floats_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    Image.fromarray(values.astype(np.float32)).save(tmp_path / "a.tif")
    assert "expected 0 (black) to 1 (white)" in refusal(tmp_path / "a.tif")


def test_floats_with_a_white_of_their_own(tmp_path: Path) -> None:
    Image.fromarray(RAMP * 1000).save(tmp_path / "a.tif")
    found = grey(tmp_path / "a.tif", white=1000)
    assert np.abs(found - RAMP * 255).max() <= 0.5 + 1e-3
    assert "to 999 (white)" in refusal(tmp_path / "a.tif", white=999)


# Sixteen bits -------------------------------------------------------------------------------------------


def sixteen(top: int) -> np.ndarray:
    return np.linspace(0, top, 12).reshape(3, 4).astype(np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_twelve_bits_in_sixteen_are_refused_until_white_is_said(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(sixteen(4095)).save(path)
    said = refusal(path)
    assert "4,095 of 65,535" in said and "white=4095" in said
    assert np.array_equal(grey(path, white=4095), np.rint(sixteen(4095) * (255 / 4095)))
    assert np.array_equal(grey(path, white=65535), sixteen(4095) >> 8)


def test_a_black_image_of_sixteen_bits_is_black(tmp_path: Path) -> None:
    Image.fromarray(sixteen(0)).save(tmp_path / "a.png")
    assert not grey(tmp_path / "a.png").any()


def test_bits_that_a_file_declares_are_its_whole_range(tmp_path: Path) -> None:
    packed = np.array([[0x00, 0x0F, 0xFF, 0x80, 0x01, 0x00]], np.uint8)  # 0x000, 0xFFF, 0x800, 0x100
    twelve = np.array([0x000, 0xFFF, 0x800, 0x100])
    found = grey(tiff(tmp_path / "a.tif", packed, width=4, bits=12), (1, 4))
    assert np.array_equal(found[0], np.rint(twelve * (255 / 4095)))
    found = grey(tiff(tmp_path / "b.tif", sixteen(1023), largest=1023))
    assert np.array_equal(found, np.rint(sixteen(1023) * (255 / 1023)))
    (tmp_path / "c.pgm").write_bytes(b"P5 4 3 4095\n" + sixteen(4095).astype(">u2").tobytes())
    assert np.abs(grey(tmp_path / "c.pgm") - sixteen(4095) * (255 / 4095)).max() <= 1


def test_sixteen_bits_whose_zero_is_white_are_turned_over(tmp_path: Path) -> None:
    found = grey(tiff(tmp_path / "a.tif", sixteen(65535), photometric=0))
    assert np.array_equal(found, 255 - (sixteen(65535) >> 8))


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_colours_of_sixteen_bits_keep_their_upper_eight_or_are_refused(
    tmp_path: Path, colour_type: int, channels: int
) -> None:
    values = np.repeat(sixteen(65535)[..., None], channels, -1)
    if channels in (2, 4):
        values[..., -1] = 65535  # opaque
    found = images.read_image(png(tmp_path / "a.png", values, colour_type), (3, 3, 4))
    assert np.array_equal(found, np.repeat((values[..., 0] >> 8)[None], 3, 0))
    values[..., 0 : (1 if channels == 2 else 3)] >>= 4
    path = png(tmp_path / "b.png", values, colour_type)
    assert "nearly black" in refusal(path)
    assert grey(path, white=65535).max() <= 15
    assert "white cannot be 4095" in refusal(path, white=4095)


# Signs, more bits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        (np.array([[-5, 7, 100]], np.int16), 2, "signed numbers from -5 to 100"),
        (np.array([[5, 7, 100]], np.int16), 2, "signed numbers from 5 to 100"),
        (np.array([[-5, 7, 100]], np.int8), 2, "are signed"),
        (np.array([[5, 7, 100]], np.int32), 2, "signed numbers from 5 to 100"),
        (np.array([[5, 7, 100]], np.uint32), 1, "numbers of 32 bits from 5 to 100"),
    ],
    ids=["int16", "int16 above 0", "int8", "int32", "uint32"],
)
def test_signed_numbers_and_more_bits_need_a_white(
    tmp_path: Path, values: np.ndarray, kind: int, said: str
) -> None:
    path = tiff(tmp_path / "a.tif", values, kind)
    assert said in refusal(path)
    if values.min() >= 0:
        assert np.array_equal(grey(path, (1, 3), 100), np.rint(values * 2.55))
    else:
        assert refusal(path, 100)


# Modes of eight bits --------------------------------------------------------------------------------------


def test_one_bit_palettes_and_cmyk(tmp_path: Path) -> None:
    bits = RAMP > 0.4
    for name in ("a.png", "a.tif", "a.bmp"):
        Image.fromarray(bits).save(tmp_path / name)
        assert np.array_equal(grey(tmp_path / name), bits * 255)
    palette = Image.new("P", (4, 3))
    palette.putpalette([9, 8, 7, 100, 110, 120, 255, 0, 0, 0, 0, 255])
    palette.putdata((RAMP * 3).astype(np.uint8).ravel().tolist())
    palette.save(tmp_path / "p.png")
    colours = np.array([[9, 8, 7], [100, 110, 120], [255, 0, 0], [0, 0, 255]], np.uint8)
    found = images.read_image(tmp_path / "p.png", (3, 3, 4))
    assert np.array_equal(found.transpose(1, 2, 0), colours[(RAMP * 3).astype(np.uint8)])
    for name, inks, wanted in (
        ("red.tif", (0, 255, 255, 0), (255, 0, 0)),
        ("black.tif", (0, 0, 0, 255), (0, 0, 0)),
        ("white.jpg", (0, 0, 0, 0), (255, 255, 255)),
    ):
        Image.new("CMYK", (8, 8), inks).save(tmp_path / name)
        assert (
            np.abs(images.read_image(tmp_path / name, (3, 8, 8)) - np.array(wanted).reshape(3, 1, 1)).max()
            <= 1
        )


def test_half_transparent_parts_are_half_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 3), (100, 0, 50, 128)).save(tmp_path / "a.png")
    part = 128 / 255
    wanted = np.array([100, 0, 50]) * part + 255 * (1 - part)
    assert np.abs(images.read_image(tmp_path / "a.png", (3, 3, 4))[:, 0, 0] - wanted).max() <= 1
    clear = Image.new("P", (4, 3))
    clear.putpalette([0, 0, 0])
    clear.save(tmp_path / "p.png", transparency=0)
    assert (images.read_image(tmp_path / "p.png", (3, 3, 4)) == 255).all()


@pytest.mark.parametrize("turned", range(1, 9))
def test_tiffs_are_turned_as_they_say(tmp_path: Path, turned: int) -> None:
    values = (RAMP * 255).astype(np.uint8)
    wanted = {
        1: values, 2: values[:, ::-1], 3: values[::-1, ::-1], 4: values[::-1], 5: values.T,
        6: np.rot90(values, -1), 7: values[::-1, ::-1].T, 8: np.rot90(values),
    }[turned]  # fmt: skip
    path = tiff(tmp_path / "a.tif", values, turned=turned)
    assert images.image_shape(path) == (1, *wanted.shape)
    assert np.array_equal(grey(path, wanted.shape), wanted)


def test_several_frames_are_refused(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    for name in ("a.gif", "a.png", "a.tif", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert "has 2 frames" in refusal(tmp_path / name)
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:])  # a camera's preview
    assert images.read_image(tmp_path / "a.jpg", (3, 3, 4))[0].min() > 250


# In a data set --------------------------------------------------------------------------------------------


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """Two classes of images with 12 bits in 16."""
    for label in ("a", "b"):
        (tmp_path / "deep" / label).mkdir(parents=True)
        for number in range(4):
            Image.fromarray(sixteen(4095)).save(tmp_path / "deep" / label / f"{number}.png")
    return tmp_path / "deep"


def test_a_data_set_says_what_white_is(deep: Path) -> None:
    with pytest.raises(DataError, match="nearly black"):
        np.asarray(bm.datasets.load("image-folder", deep).train.x)
    data: Any = bm.datasets.load("image-folder", deep, white=4095)
    wanted = np.rint(sixteen(4095) * (255 / 4095)) / 255
    assert np.allclose(np.asarray(data.train.x)[0, 0], wanted, atol=1e-6)
    skipped = "none of the 4 images of this class can be read"
    with pytest.raises(DataError, match=skipped):
        bm.datasets.load("image-folder", deep, skip_broken=True)
