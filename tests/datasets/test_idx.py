"""IDX files: what is right is read exactly, what is not is refused before memory is taken."""

from __future__ import annotations

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bigmodel_core.errors import DataError
from bigmodel_datasets.idx import read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
GOOD = bytes.fromhex("00000802 00000002 00000003") + bytes(range(6))


def idx_bytes(values: np.ndarray) -> bytes:
    code = CODES[values.dtype.str[1:]]
    header = struct.pack(f">4B{values.ndim}I", 0, 0, code, values.ndim, *values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


def write(folder, content: bytes, name: str = "file"):
    path = folder / name
    path.write_bytes(content)
    return path


def test_bytes_written_by_hand(tmp_path):
    values = read_idx(write(tmp_path, GOOD))
    assert values.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@given(
    values=st.sampled_from(sorted(CODES)).flatmap(
        lambda code: hnp.arrays(
            np.dtype(code), hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=5)
        )
    )
)
def test_every_number_type_comes_back(tmp_path_factory, pack, values):
    result = read_idx(write(tmp_path_factory.mktemp("idx"), pack(idx_bytes(values))))
    assert result.dtype == values.dtype
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, values)


def test_the_ending_of_the_name_does_not_matter(tmp_path):
    assert read_idx(write(tmp_path, GOOD, "packed.gz")).shape == (2, 3)
    assert read_idx(write(tmp_path, gzip.compress(GOOD), "plain")).shape == (2, 3)


BROKEN = {
    "empty": b"",
    "three bytes": GOOD[:3],
    "a web page": b"<!DOCTYPE html><html></html>",
    "first byte": b"\x01" + GOOD[1:],
    "unknown number type": b"\0\0\x07" + GOOD[3:],
    "no axis": b"\0\0\x08\0",
    "too many axes": b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\0",
    "sizes cut": GOOD[:10],
    "only the header": GOOD[:12],
    "last byte missing": GOOD[:-1],
    "a byte too many": GOOD + b"\0",
    "no values": bytes.fromhex("00000801 00000000"),
    "terabytes": bytes.fromhex("00000803 ffffffff ffffffff ffffffff") + bytes(100),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_broken_content_is_refused_by_name(tmp_path, content, pack):
    with pytest.raises(DataError, match="broken-file"):
        read_idx(write(tmp_path, pack(content), "broken-file"))


@pytest.mark.parametrize("cut", [*range(2, 30), -1, -8])
def test_a_gzip_stream_cut_anywhere_is_refused(tmp_path, cut):
    with pytest.raises(DataError):
        read_idx(write(tmp_path, gzip.compress(GOOD)[:cut]))


def test_a_flipped_bit_in_a_gzip_stream_is_refused(tmp_path):
    packed = bytearray(gzip.compress(idx_bytes(np.arange(200, dtype=np.uint8))))
    packed[-6] ^= 1  # in the checksum
    with pytest.raises(DataError, match="gzip stream is damaged"):
        read_idx(write(tmp_path, bytes(packed)))


def test_the_message_says_how_many_bytes_were_expected(tmp_path):
    with pytest.raises(DataError, match=r"17 bytes, expected 18 bytes for uint8 \(2, 3\)"):
        read_idx(write(tmp_path, GOOD[:-1]))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_stated_sizes_take_no_memory(tmp_path, pack):
    path = write(tmp_path, pack(bytes.fromhex("00000803 00010000 00001000 00001000") + bytes(1000)))
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_gzip_stream_too_short_for_its_sizes_is_not_unpacked(tmp_path):
    path = write(tmp_path, gzip.compress(BROKEN["terabytes"]))
    with pytest.raises(DataError, match=f"unpacks to at most {path.stat().st_size * 1032} bytes"):
        read_idx(path)


def test_a_missing_file_is_an_error_of_ours(tmp_path):
    with pytest.raises(DataError, match="cannot read it"):
        read_idx(tmp_path / "nowhere")
