"""Readers of files against the cases that the onnx package defines each operator by, or a clear refusal."""

from __future__ import annotations

import importlib
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelError
from tests.onnx.conftest import each

MODULES = (
    *("conv", "convtranspose", "maxpool", "averagepool", "globalmaxpool", "globalaveragepool"),
    *("batch_normalization", "instance_normalization", "groupnormalization"),
    *(
        "pad",
        "resize",
        "upsample",
        "gather",
        "gatherelements",
        "gathernd",
        "scatter",
        "scatterelements",
        "scatternd",
        "onehot",
        "topk",
        "nonmaxsuppression",
        "argmin",
        "rnn",
        "lstm",
        "gru",
        "scan",
    ),
)


def _cases() -> dict[str, Any]:
    node = importlib.import_module("onnx.backend.test.case.node")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in MODULES:
            importlib.import_module(f"onnx.backend.test.case.node.{module}")
    return {case.name: case for case in node._NodeTestCases}


CASES = _cases()


def weights_inside(case: Any, path: Path) -> dict[str, np.ndarray]:
    """Write a case's file as exporters write files, with all but the first input inside; returns the rest."""
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    model.ir_version = max(model.ir_version, 4)  # before that, initializers were inputs
    arrays = [item if isinstance(item, np.ndarray) else np.asarray(item) for item in case.data_sets[0][0]]
    first, *others = list(model.graph.input)
    for item, array in zip(others, arrays[1:], strict=True):
        model.graph.initializer.append(numpy_helper.from_array(array, item.name))
        model.graph.input.remove(item)
    onnx.save(model, path)
    return {first.name: arrays[0]}


REFUSED = {
    r"averagepool_[23]d_dilations.*": "AveragePool with dilations",
    r"maxpool_[23]d_dilations.*": "MaxPool with dilations",
    r"maxpool_2d_uint8": "needs float32 or float64, got uint8",
    r"maxpool_with_argmax.*": "the indices of the maxima",
    r"batchnorm_.*_training_mode": "in training mode",
    r"scatternd_(add|multiply|max|min).*": "ScatterND that combines numbers",
    r"scatter_elements_with_reduction_mul": "reduces by 'mul'",
    r"argmin_.*select_last_index": "select_last_index",
    r"top_k_uint64": "the type or the shape of the input",
    r"nonmaxsuppression_(?!center_point|two_classes|zero).*": "as many rows as data decides",
    r"nonmaxsuppression_center_point.*": "centres and sizes",
    r"nonmaxsuppression_two_classes.*": "several classes",
    r"gathernd_.*_batch_dim1": "batch_dims",
    r"onehot_with_bfloat16_values": "bfloat16",
    r"gru_.*": "its reset gate before the matrix product",
    r"lstm_with_peepholes": "peepholes",
    r"scan_sum": "Scan over batches, of operator set 8",
    r"resize_.*_antialias": "antialias",
    r"resize_.*_exclude_outside": "exclude_outside",
    r"resize_tf_crop_and_resize.*": "tf_crop_and_resize",
    r"resize_.*_half_pixel_symmetric": "half_pixel_symmetric",
    r"resize_.*_not_(larger|smaller)": "keeps the aspect ratio",
}
"""What cannot be expressed by ops of the core, and what the error says."""


def refusal(name: str) -> str | None:
    found = [reason for pattern, reason in REFUSED.items() if re.fullmatch(f"test_(?:{pattern})", name)]
    return found[0] if found else None


RUNTIME = (
    "test_resize_downsample_scales_cubic_align_corners",
    "test_resize_downsample_scales_linear_align_corners",
)
"""Cases whose corners lie at a size that is no whole number: ONNX Runtime, as PyTorch, takes the size of the
output, and so do we."""


@pytest.mark.parametrize("name", sorted(name for name in CASES if not refusal(name)))
def test_the_model_computes_what_the_case_says(name: str, tmp_path: Path) -> None:
    given = weights_inside(CASES[name], tmp_path / "model.onnx")
    found = bm.from_onnx(tmp_path / "model.onnx")(*given.values())
    wanted = CASES[name].data_sets[0][1]
    if name in RUNTIME:
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
        wanted = session.run(None, {item.name: given[item.name] for item in session.get_inputs()})
    for got, right in zip(each(found), wanted, strict=True):
        assert got.shape == np.shape(right)
        np.testing.assert_allclose(got, right, rtol=CASES[name].rtol, atol=1e-5)


@pytest.mark.parametrize("name", sorted(filter(refusal, CASES)))
def test_what_cannot_be_expressed_is_refused(name: str, tmp_path: Path) -> None:
    weights_inside(CASES[name], tmp_path / "model.onnx")
    with pytest.raises(BigmodelError, match=refusal(name)) as caught:
        bm.from_onnx(tmp_path / "model.onnx")
    assert str(tmp_path / "model.onnx") in str(caught.value)


def test_there_are_cases_of_every_operator() -> None:
    operators = {node.op_type for case in CASES.values() for node in case.model.graph.node}
    assert {
        "Conv",
        "ConvTranspose",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
    } <= operators
    assert {"BatchNormalization", "InstanceNormalization", "GroupNormalization"} <= operators
    assert {"Pad", "Resize", "Upsample", "Gather", "ScatterND", "RNN", "LSTM", "GRU", "Scan"} <= operators
    assert {
        "GatherElements",
        "GatherND",
        "Scatter",
        "ScatterElements",
        "OneHot",
        "TopK",
        "ArgMin",
    } <= operators
    assert len(CASES) > 100
