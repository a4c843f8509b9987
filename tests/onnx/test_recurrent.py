"""Recurrent layers become ONNX's own operators; ONNX Runtime computes the same at any batch and length."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ExportError
from tests.onnx.conftest import Function, each, run

KINDS = {"RNN": bm.layers.RNN, "LSTM": bm.layers.LSTM, "GRU": bm.layers.GRU}
OPTIONS: dict[str, dict[str, Any]] = {
    "sequences": {},
    "last step": {"return_sequences": False},
    "states": {"return_state": True},
    "both ways": {"bidirectional": True, "layers": 2, "return_state": True},
    "both ways, last step": {"bidirectional": True, "return_sequences": False},
}


def specs_of(layer: Any, lengths: bool, initial: bool) -> list[bm.Spec]:
    runs = layer.layers * (2 if layer.bidirectional else 1)
    state = ("N", layer.units) if runs == 1 else ("N", runs, layer.units)
    further = [bm.Spec(("N",), "int64")] if lengths else []
    return [bm.Spec(("N", "T", 4)), *further, *[bm.Spec(state)] * (len(layer.states) * initial)]


def draw(spec: bm.Spec, batch: int, steps: int) -> np.ndarray:
    generator = np.random.default_rng(batch)
    shape = spec.bind({"N": batch, "T": steps}).sizes
    if spec.is_float:
        return generator.normal(size=shape).astype("float32")
    return generator.integers(0, steps + 1, shape)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_onnx_runtime_computes_the_same(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    layer = KINDS[kind](6, **options)
    for lengths, initial in itertools.product((False, True), repeat=2):
        specs = specs_of(layer, lengths, initial)
        network = layer.build(*specs)
        path = tmp_path / "model.onnx"
        bm.export(network, path)
        file = onnx.load(path)
        operators = [node for node in file.graph.node if node.op_type == kind]
        assert len(operators) == layer.layers
        directions = {
            item.s.decode() for node in operators for item in node.attribute if item.name == "direction"
        }
        assert directions == {"bidirectional" if layer.bidirectional else "forward"}
        assert not {"MatMul", "Gemm", "Loop", "Scan"} & {node.op_type for node in file.graph.node}
        for batch, steps in ((1, 5), (3, 7), (3, 1)):
            arrays = [draw(spec, batch, steps) for spec in specs]
            for found, right in zip(run(path, *arrays), each(network(*arrays)), strict=True):
                np.testing.assert_allclose(found, right, rtol=2e-5, atol=2e-6)


def operators_of(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def test_both_directions_are_one_operator_without_detours(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    around = {"sequences": ["Transpose", "LSTM", "Transpose", "Reshape"]}
    around["last"] = ["Transpose", "LSTM", "Transpose", "Flatten"]
    for name, wanted in around.items():
        layer = bm.layers.LSTM(5, bidirectional=True, return_sequences=name == "sequences")
        bm.export(layer.build(bm.Spec(("N", "T", 3))), path)
        assert operators_of(path) == wanted
    layer = bm.layers.LSTM(5, bidirectional=True, return_state=True)
    bm.export(layer.build(bm.Spec(("N", "T", 3)), *[bm.Spec(("N", 2, 5))] * 2), path)
    assert sorted(operators_of(path)) == ["LSTM", "Reshape", *["Transpose"] * 6]


def test_directions_that_depend_on_each_other_stay_apart(tmp_path: Path) -> None:
    """The way back begins with the state in which the way there ended."""

    def chained(x: Any) -> Any:
        graph = x.node.graph
        generator = np.random.default_rng(2)
        h = bm.ops.transpose(x, (1, 0, 2))

        def weights() -> list[Any]:
            shapes = ((3, 12), (4, 12), (12,), (12,))
            return [graph.constant(generator.normal(size=shape).astype("float32")) for shape in shapes]

        zeros = bm.ops.zeros_like(h[0, :, :1] + bm.ops.broadcast_to(graph.constant(0.0, "float32"), (4,)))
        y, states = bm.ops.recurrent("gru", h, *weights(), None, (zeros,))
        z, _ = bm.ops.recurrent("gru", h, *weights(), None, states, True)
        return bm.ops.concatenate([y, z], 2)

    network = Function(chained).build(bm.Spec(("N", "T", 3)))
    bm.export(network, tmp_path / "model.onnx")
    assert operators_of(tmp_path / "model.onnx").count("GRU") == 2
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    np.testing.assert_allclose(run(tmp_path / "model.onnx", x)[0], network(x), atol=1e-6)


def test_an_output_of_one_direction_alone_can_be_read(tmp_path: Path) -> None:
    """What follows may read the way there before the way back is made."""

    def first_alone(x: Any) -> Any:
        graph = x.node.graph
        generator = np.random.default_rng(2)
        h = bm.ops.transpose(x, (1, 0, 2))

        def run_one(reverse: bool) -> Any:
            shapes = ((3, 4), (4, 4), (4,), (4,))
            weights = [graph.constant(generator.normal(size=shape).astype("float32")) for shape in shapes]
            return bm.ops.recurrent("tanh", h, *weights, None, (), reverse)[0]

        y = run_one(False)
        return bm.ops.relu(y), run_one(True) * 2.0, y

    network = Function(first_alone).build(bm.Spec(("N", "T", 3)))
    bm.export(network, tmp_path / "model.onnx")
    assert operators_of(tmp_path / "model.onnx").count("RNN") == 1
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    for found, wanted in zip(run(tmp_path / "model.onnx", x), network(x), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_relu_networks_keep_their_activation(tmp_path: Path) -> None:
    network = bm.layers.RNN(5, "relu").build(bm.Spec(("N", "T", 3)))
    bm.export(network, tmp_path / "model.onnx")
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    found = run(tmp_path / "model.onnx", x)[0]
    np.testing.assert_allclose(found, network(x), atol=1e-6)
    assert (found == 0).any()


def test_weights_that_the_file_computes_are_laid_out_by_nodes(tmp_path: Path) -> None:
    def computed(x: Any, factor: Any) -> Any:
        units = 3
        graph = x.node.graph
        generator = np.random.default_rng(1)

        def weight(*shape: int) -> Any:
            return graph.constant(generator.normal(size=shape).astype("float32")) * factor

        y, _ = bm.ops.recurrent(
            "gru",
            bm.ops.transpose(x, (1, 0, 2)),
            weight(2, 3 * units),
            weight(units, 3 * units),
            weight(3 * units),
            weight(3 * units),
        )
        return y

    network = Function(computed).build(bm.Spec(("N", 4, 2)), bm.Spec((1,)))
    bm.export(network, tmp_path / "model.onnx")
    x = np.random.default_rng(0).normal(size=(5, 4, 2)).astype("float32")
    factor = np.array([0.7], "float32")
    np.testing.assert_allclose(run(tmp_path / "model.onnx", x, factor)[0], network(x, factor), atol=1e-6)


def test_float64_that_the_runtime_lacks_is_refused_with_a_fix(tmp_path: Path) -> None:
    network = bm.layers.LSTM(3).build(bm.Spec(("N", 4, 2), "float64"), dtype="float64")
    with pytest.raises(ExportError, match="dtype='float32'"):
        bm.export(network, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
