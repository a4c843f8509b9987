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
            wanted = session.run(None, feeds)
        except Exception:  # of several classes; ONNX Runtime refuses some windows that the format allows
            continue
        given = each(model(*feeds.values()))
        if [np.shape(item) for item in wanted] != [np.shape(item) for item in given]:
            # ONNX Runtime makes one number of Unsqueeze after a Reshape by Shape; ONNX's reference decides.
            wanted = ReferenceEvaluator(draw.model(newer=draw.opset < 7)).run(None, feeds)
        for want, got in zip(wanted, given, strict=True):
            _check(np.asarray(want), np.asarray(got), f"{what}, {sizes}")
        result = "compared"
    return result


def _session(model: onnx.ModelProto) -> Any:
    """The graph in ONNX Runtime or, where that lacks a kernel, in the reference of ONNX."""
    options = onnxruntime.SessionOptions()
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
