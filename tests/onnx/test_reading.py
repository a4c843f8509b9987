"""Damaged and hostile files are refused before anything outside the model's folder is touched."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelError, ExportError
from bigmodel_onnx import Onnx

READERS: dict[str, Callable[[Path], Any]] = {
    "load": lambda path: Onnx().load(path),
    "describe": lambda path: Onnx().describe(path),
    "session": lambda path: Onnx().session(path),
    "from_onnx": bm.from_onnx,
}

pytestmark = pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
Reader = Callable[[Path], Any]


def _model(weight: TensorProto) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _external(**entries: Any) -> TensorProto:
    tensor = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[4, 3], data_location=TensorProto.EXTERNAL
    )
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _save(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_a_sound_sidecar_is_read(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(b"\0" * 8 + np.arange(12, dtype="<f4").tobytes())
    path = _save(tmp_path, _model(_external(location="sub/w.bin", offset=8, length=48)))
    reader(path)
    np.testing.assert_array_equal(bm.from_onnx(path).state()["w"].reshape(-1), np.arange(12))


@pytest.mark.parametrize(
    "location",
    [
        "../w.bin",
        "sub/../../w.bin",
        "..\\w.bin",
        "/etc/hostname",
        "C:\\w.bin",
        "\\\\host\\w.bin",
        "",
        ".",
        "w\0.bin",
    ],
)
def test_weights_outside_the_folder_are_refused(reader: Reader, tmp_path: Path, location: str) -> None:
    inner = tmp_path / "inner"
    (inner / "sub").mkdir(parents=True)
    for place in (tmp_path / "w.bin", inner / "w.bin"):
        place.write_bytes(b"\0" * 48)
    path = _save(inner, _model(_external(location=location)))
    with pytest.raises(ExportError):
        reader(path)


@pytest.mark.skipif(os.name != "posix", reason="links are POSIX here")
@pytest.mark.parametrize("kind", ["file", "folder", "hard"])
def test_weights_behind_a_link_are_refused(reader: Reader, tmp_path: Path, kind: str) -> None:
    outside, inner = tmp_path / "outside", tmp_path / "inner"
    outside.mkdir()
    inner.mkdir()
    (outside / "w.bin").write_bytes(b"\0" * 48)
    if kind == "file":
        (inner / "w.bin").symlink_to(outside / "w.bin")
    elif kind == "hard":
        os.link(outside / "w.bin", inner / "w.bin")
    else:
        (inner / "sub").symlink_to(outside)
    path = _save(inner, _model(_external(location="sub/w.bin" if kind == "folder" else "w.bin")))
    with pytest.raises(ExportError, match="link|plain file"):
        reader(path)


@pytest.mark.parametrize(
    "entries",
    [
        {"length": 40},
        {"length": 10**15},
        {"length": -48},
        {"offset": 1},
        {"offset": 10**17},
        {"offset": "x"},
        {"offset": "9" * 30},
    ],
)
def test_sizes_of_sidecars_are_checked(reader: Reader, tmp_path: Path, entries: dict[str, Any]) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 48)
    path = _save(tmp_path, _model(_external(location="w.bin", **entries)))
    with pytest.raises(ExportError):
        reader(path)


def test_a_missing_sidecar_is_named(reader: Reader, tmp_path: Path) -> None:
    path = _save(tmp_path, _model(_external(location="w.bin")))
    with pytest.raises(ExportError, match=r"'w\.bin'(.|\n)*Fix: copy the sidecar"):
        reader(path)


@pytest.mark.parametrize("dims", [[2**40, 2**20], [4, 4], [-1, 3], [4], [0, 3]])
def test_a_shape_that_its_numbers_do_not_fill_is_refused(
    reader: Reader, tmp_path: Path, dims: list[int]
) -> None:
    raw = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=b"\0" * 48)
    typed = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, float_data=[0.0] * 12)
    for tensor in (raw, typed):
        with pytest.raises(ExportError):
            reader(_save(tmp_path, _model(tensor)))


def test_an_unknown_number_type_is_refused(reader: Reader, tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=99, dims=[4, 3], raw_data=b"\0" * 48)
    with pytest.raises(ExportError):
        reader(_save(tmp_path, _model(tensor)))


def test_weights_of_constants_and_inner_graphs_are_checked_too(reader: Reader, tmp_path: Path) -> None:
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=_external(location="../secret"))],
        "inner",
        [],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [4, 3])],
    )
    model = _model(helper.make_tensor("w", TensorProto.FLOAT, [4, 3], [0.0] * 12))
    model.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=inner, else_branch=inner))
    with pytest.raises(ExportError, match="outside the model's folder"):
        reader(_save(tmp_path, model))


@pytest.mark.parametrize(
    "content", [b"", b"not a model", b"\x08\x08", b"\x00" * 64, b"\xff" * 1000, b"PK\x03\x04" + b"\0" * 60]
)
def test_what_is_no_model_is_refused(reader: Reader, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ExportError, match="not an ONNX model"):
        reader(path)


def test_missing_files_and_folders_are_refused(reader: Reader, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot read the file"):
        reader(tmp_path / "none.onnx")
    with pytest.raises(ExportError, match="not a file"):
        reader(tmp_path)


def test_any_truncation_gives_an_error_of_ours_or_a_model(
    reader: Reader, mlp: bm.Layer, tmp_path: Path
) -> None:
    bm.export(mlp, tmp_path / "model.onnx")
    content = (tmp_path / "model.onnx").read_bytes()
    refused = 0
    for length in range(0, len(content), max(1, len(content) // 25)):
        (tmp_path / "cut.onnx").write_bytes(content[:length])
        try:
            reader(tmp_path / "cut.onnx")
        except BigmodelError:
            refused += 1
    assert refused >= 20


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_any_changed_byte_gives_an_error_of_ours_or_a_model(
    reader: Reader, tmp_path: Path, place: float, value: int
) -> None:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 3], np.ones(12, "<f4").tobytes(), raw=True)
    content = bytearray(_model(weight).SerializeToString())
    content[int(place * len(content))] = value
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(content))
    with suppress(BigmodelError):
        reader(path)
