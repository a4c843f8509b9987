"""Reductions with axes, with none and with an empty list of them give what ONNX Runtime gives."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelError
from tests.onnx.conftest import each, run

X = np.float32([[1, -2, 3], [4, 0.5, -6]])
READ = ("ReduceSum", "ReduceSumSquare", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")
READ += ("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp")
SOURCES = {"input": "x", "constant": "c", "shape": "s"}
REFUSED = {
    ("ReduceMean", "constant"): "mean needs float",
    ("ReduceMean", "shape"): "mean needs float",
    ("ReduceL2", "constant"): "norm needs float",
    ("ReduceL2", "shape"): "norm needs float",
    ("ReduceLogSum", "constant"): "Log needs float",
    ("ReduceLogSum", "shape"): "Log needs float",
    ("ReduceLogSumExp", "constant"): "logsumexp needs float",
    ("ReduceLogSumExp", "shape"): "logsumexp needs float",
}
"""What is not read, and what the error says."""


def reductions(operator: str, source: str) -> onnx.ModelProto:
    """A file with one output for each way to write a reduction."""
    nodes, outputs = [helper.make_node("Shape", ["x"], ["s"])], []
    rank = 1 if source == "s" else 2
    kind = onnx.TensorProto.FLOAT if source == "x" else onnx.TensorProto.INT64
    for axes, noop, keepdims in itertools.product((None, "empty", "last"), (0, 1), (0, 1)):
        name = f"axes_{axes}_noop_{noop}_keepdims_{keepdims}"
        inputs = [source] if axes is None else [source, axes]
        nodes.append(helper.make_node(operator, inputs, [name], noop_with_empty_axes=noop, keepdims=keepdims))
        lost = 0 if keepdims else 1 if axes == "last" else 0 if noop else rank
        dims = [f"{name}_{axis}" for axis in range(rank - lost)]
        outputs.append(helper.make_tensor_value_info(name, kind, dims))
    weights = {"c": np.array([[1, -2, 3], [4, 0, -6]]), "empty": np.zeros(0, "int64"), "last": np.array([-1])}
    graph = helper.make_graph(
        nodes,
        "reductions",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3])],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("operator", READ)
def test_reductions_give_what_onnx_runtime_gives(operator: str, source: str, tmp_path: Path) -> None:
    model = reductions(operator, SOURCES[source])
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    if (operator, source) in REFUSED:
        with pytest.raises(BigmodelError, match=REFUSED[operator, source]):
            bm.from_onnx(path)
        return
    found = each(bm.from_onnx(path)(X))
    for output, got, want in zip(model.graph.output, found, run(path, X), strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape), output.name
        np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=output.name)
