"""Thousands of small graphs over all operators that can be read give what ONNX Runtime gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelError
from bigmodel_onnx.reader import readers
from tests.onnx.conftest import each
from tests.onnx.random_graphs import GENERATORS, SIZES, Draw, drawn

SHARDS, GRAPHS = 12, 250

REFUSED = {
    "ReduceMean": "mean needs float32 or float64",
    "Size": "cannot be expressed",
    "Shape": "cannot be expressed",
    "Squeeze": "may be 1",
    "Slice": "runs backwards to INT_MAX",
    "Softmax": "along an empty axis",
    "LogSoftmax": "along an empty axis",
}
"""What is read by no reader, by the operator that a graph is about."""


def test_every_operator_that_can_be_read_is_drawn() -> None:
    assert set(GENERATORS) == set(readers())


@pytest.mark.parametrize("shard", range(SHARDS))
def test_random_graphs_give_what_onnx_runtime_gives(shard: int, tmp_path: Path) -> None:
    path, found = tmp_path / "graph.onnx", {"compared": 0, "refused": 0, "unanswered": 0}
    for seed in range(shard * GRAPHS, (shard + 1) * GRAPHS):
        operator, draw = drawn(seed)
        found[_compared(draw, operator, path, f"seed {seed}: {operator}, opset {draw.opset}")] += 1
    assert found["compared"] >= 0.95 * GRAPHS, found


def test_free_sizes_are_kept_behind_a_reshape_by_shape(tmp_path: Path) -> None:
    for operator, shape, axes in (("Unsqueeze", ("N", 3), [0, 2]), ("Squeeze", (1, "N", 1), [0, 2])):
        draw = Draw(np.random.default_rng(0), opset=12)
        draw.inputs["x"], draw.ranges["x"] = ("float32", shape), (-2, 2, False)
        draw.add(operator, draw.add("Reshape", "x", draw.add("Shape", "x")), axes=axes)
        assert _compared(draw, operator, tmp_path / "graph.onnx", operator) == "compared"


@pytest.mark.parametrize(
    "got",
    [
        np.ones((1, 2), "float32"),
        np.ones(1, "float32"),
        np.ones(2),
        np.float32([1, 1.001]),
        np.float32([1, np.nan]),
    ],
    ids=["rank", "size", "type", "number", "nan"],
)
def test_every_difference_is_a_failure(got: np.ndarray) -> None:
    _check(np.ones(2, "float32"), np.ones(2, "float32"), "the same")
    with pytest.raises(AssertionError, match="of some graph"):
        _check(np.ones(2, "float32"), got, "of some graph")


def _compared(draw: Draw, operator: str, path: Path, what: str) -> str:
    """What became of a graph; differences are failures."""
    onnx.save(draw.model(), path)
    try:
        model = bm.from_onnx(path)
    except BigmodelError as error:
        assert operator in REFUSED and REFUSED[operator] in str(error), f"{what}: {error}"
        return "refused"
    session = _session(draw.model(newer=draw.opset < 7))
    result = "unanswered"
    for sizes in SIZES:
        feeds = draw.feeds(sizes)
        try:
            with np.errstate(all="ignore"):  # of ONNX's reference
                wanted = session.run(None, feeds)
        except Exception as error:  # ONNX Runtime refuses some windows that the format allows
            assert "padding values" in str(error), f"{what}, {sizes}: {error}"
            continue
        given = each(model(*feeds.values()))
        for want, got in zip(wanted, given, strict=True):
            _check(np.asarray(want), np.asarray(got), f"{what}, {sizes}")
        result = "compared"
    return result


def _session(model: onnx.ModelProto) -> Any:
    """The graph in ONNX Runtime or, where that lacks a kernel, in the reference of ONNX.

    Each operator runs as it is written: where ONNX Runtime joins a Reshape with the Squeeze or Unsqueeze
    behind it, free sizes are lost.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    content = model.SerializeToString()
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        return ReferenceEvaluator(model)


def _check(want: np.ndarray, got: np.ndarray, what: str) -> None:
    """Numbers of one type and shape; NaN is no number."""
    assert (got.dtype, got.shape) == (want.dtype, want.shape), what
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want, err_msg=what)
        return
    close = 1e-4 if want.dtype == np.float32 else 1e-6  # attributes are float32
    np.testing.assert_allclose(got, want, rtol=close, atol=close / 10, equal_nan=True, err_msg=what)
