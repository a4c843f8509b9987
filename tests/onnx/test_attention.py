"""The operator Attention: what is read of other people's files, and what is written where it fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from tests.onnx.conftest import Function, each, run

TYPES = {"float32": onnx.TensorProto.FLOAT, "bool": onnx.TensorProto.BOOL}
RNG = np.random.default_rng(0)
Q, K, V = (RNG.normal(size=shape).astype("float32") for shape in ((2, 4, 3, 8), (2, 2, 5, 8), (2, 2, 5, 8)))
PAST = RNG.normal(size=(2, 2, 4, 8)).astype("float32")
SHOWN = RNG.random((2, 1, 3, 5)) > 0.4
SHOWN[..., 0, 0] = True
NUMBERS = np.where(SHOWN, RNG.normal(size=(2, 1, 3, 5)), -np.inf).astype("float32")


def written(path: Path, arrays: dict[str, np.ndarray], outputs: int = 1, **attributes: Any) -> Path:
    """A file of one node."""
    names = [name if name in arrays else "" for name in ("q", "k", "v", "mask", "past_k", "past_v")]
    while not names[-1]:
        names.pop()
    given = [helper.make_tensor_value_info(n, TYPES[x.dtype.name], x.shape) for n, x in arrays.items()]
    rank = arrays["q"].ndim
    made = [f"y{number}" for number in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node("Attention", names, made, **attributes)],
        "attention",
        given,
        [
            helper.make_tensor_value_info(
                name, onnx.TensorProto.FLOAT, [f"{name}_{axis}" for axis in range(rank)]
            )
            for name in made
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    onnx.save(model, path)
    return path


OPERANDS = {"q": Q, "k": K, "v": V}
FILES: dict[str, Any] = {
    "truth values": ({**OPERANDS, "mask": SHOWN}, {}),
    "numbers": ({**OPERANDS, "mask": NUMBERS}, {"scale": 0.3}),
    "causal truth values": ({**OPERANDS, "mask": SHOWN}, {"is_causal": 1}),
    "causal numbers": ({**OPERANDS, "mask": NUMBERS}, {"is_causal": 1}),
    "past": ({**OPERANDS, "past_k": PAST, "past_v": PAST}, {"outputs": 3}),
    "causal past": (
        {"q": Q, "k": K[:, :, :3], "v": V[:, :, :3], "past_k": PAST, "past_v": PAST},
        {"outputs": 3, "is_causal": 1},
    ),
}


@pytest.mark.parametrize("case", FILES.values(), ids=FILES)
def test_files_give_what_onnx_runtime_gives(case: Any, tmp_path: Path) -> None:
    arrays, options = case
    path = written(tmp_path / "model.onnx", arrays, **options)
    for found, wanted in zip(
        each(bm.from_onnx(path)(*arrays.values())), run(path, *arrays.values()), strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "options"),
    [(OPERANDS, {"softcap": 2.0}), (OPERANDS, {"outputs": 4}), ({n: x[0] for n, x in OPERANDS.items()}, {})],
    ids=["softcap", "scores", "no heads"],
)
def test_what_cannot_be_read_is_named(arrays: Any, options: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "model.onnx", arrays, **options)
    with pytest.raises(ExportError, match="Attention of three axes|Attention with softcap"):
        bm.from_onnx(path)


def _operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def test_the_operator_is_written_where_it_means_the_same(tmp_path: Path) -> None:
    model, path = Function(lambda q, k: ops.attention(q, k, k, causal=True)), tmp_path / "model.onnx"
    model.build(("N", 4, "T", 8), ("N", 2, "T", 8))
    bm.export(model, path, opset=23)
    assert _operators(path) == ["Attention"]
    bm.export(model, path, opset=22)
    assert "Attention" not in _operators(path) and "Softmax" in _operators(path)


def test_the_runtime_knows_what_gelu_by_tanh_is_made_of(tmp_path: Path) -> None:
    """Nine operators for each layer would take longer than the products of a small model."""
    model, path = Function(lambda x: ops.gelu_tanh(x * 2) + x), tmp_path / "model.onnx"
    model.build(("N", 8))
    bm.export(model, path, opset=17)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    assert sorted(_operators(tmp_path / "optimized.onnx")) == ["Add", "FastGelu", "Mul"]


def test_steps_are_counted_from_the_last_key_in_files_too(tmp_path: Path) -> None:
    model, path = Function(lambda q, k: ops.attention(q, k, k, causal=True)), tmp_path / "model.onnx"
    model.build(("N", 4, "T", 8), ("N", 2, "S", 8))
    for opset in (17, 23):
        bm.export(model, path, opset=opset)
        for steps, keys in ((1, 16), (2, 5), (5, 2)):
            q, k = (RNG.normal(size=(1, *shape)).astype("float32") for shape in ((4, steps, 8), (2, keys, 8)))
            np.testing.assert_allclose(run(path, q, k)[0], model(q, k), atol=1e-6)


def test_a_row_that_sees_no_key_is_zero_in_files_too(tmp_path: Path) -> None:
    model, path = Function(lambda q, k, m: ops.attention(q, k, k, m)), tmp_path / "model.onnx"
    model.build(("N", 4, "T", 8), ("N", 2, "S", 8), bm.Spec(("N", 1, "T", "S"), "bool"))
    mask = SHOWN.copy()
    mask[0, :, 2] = mask[1] = False
    for opset in (17, 23):
        bm.export(model, path, opset=opset)
        found = run(path, Q, K, mask)[0]
        assert not found[0, :, 2].any() and not found[1].any()
        np.testing.assert_allclose(found, model(Q, K, mask), atol=1e-6)


def test_a_mask_of_keys_is_one_of_all_steps(tmp_path: Path) -> None:
    model, path = Function(lambda q, k, m: ops.attention(q, k, k, m)), tmp_path / "model.onnx"
    model.build(("N", 4, "T", 8), ("N", 2, "S", 8), bm.Spec(("N", 1, 1, "S"), "bool"))
    bm.export(model, path, opset=23)
    assert "Attention" in _operators(path)
    np.testing.assert_allclose(run(path, Q, K, SHOWN[:, :, :1])[0], model(Q, K, SHOWN[:, :, :1]), atol=1e-6)


def test_files_of_doubles_do_without_operators_that_lack_them(tmp_path: Path) -> None:
    model = Function(lambda q, k: ops.attention(ops.rotary(q, ops.positions(q, 2)), k, k, causal=True))
    specs = [bm.Spec(("N", heads, "T", 8), "float64") for heads in (4, 2)]
    model.build(*specs, dtype="float64")
    bm.export(model, tmp_path / "model.onnx", opset=23)
    assert not {"Attention", "RotaryEmbedding"} & {*_operators(tmp_path / "model.onnx")}
