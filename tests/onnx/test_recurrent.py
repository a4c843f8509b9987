"""Recurrent layers become ONNX's own operators; ONNX Runtime computes the same at any batch and length."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import bigmodel_core as bm
from tests.onnx.conftest import Function, run

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
    return [bm.Spec(("N", "T", 4)), *further, *[bm.Spec(state)] * (layer.state_count * initial)]


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
        assert len(operators) == layer.layers * (2 if layer.bidirectional else 1)
        assert not {"MatMul", "Gemm", "Loop", "Scan"} & {node.op_type for node in file.graph.node}
        for batch, steps in ((1, 5), (3, 7), (3, 1)):
            arrays = [draw(spec, batch, steps) for spec in specs]
            expected = network(*arrays)
            wanted = expected if isinstance(expected, tuple) else (expected,)
            for found, right in zip(run(path, *arrays), wanted, strict=True):
                np.testing.assert_allclose(found, right, rtol=2e-5, atol=2e-6)


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
