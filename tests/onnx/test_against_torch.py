"""Beside PyTorch's own exporter: no more nodes for the same model, and its files come back."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from tests.onnx.conftest import Function, run

if importlib.util.find_spec("torch") is None:
    pytest.skip("PyTorch is not installed", allow_module_level=True)

import torch
from torch import nn
from torch.nn import functional as F

pytestmark = pytest.mark.torch


class Applied(nn.Module):
    """A module that applies a function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.function(*inputs)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.inner = nn.LayerNorm(6), nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + F.silu(self.inner(self.norm(x)))


def _residual(x: bm.Value) -> bm.Value:
    return x + ops.silu(bm.layers.Dense(6)(bm.layers.LayerNorm()(x)))


L = bm.layers
PAIRS: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    "mlp": (
        nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)),
        bm.Sequential(L.Dense(8), L.Relu(), L.Dropout(0.5), L.Dense(3)),
        (6,),
    ),
    "images": (
        nn.Sequential(
            nn.Flatten(), nn.Linear(12, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 3), nn.Softmax(-1)
        ),
        bm.Sequential(L.Flatten(), L.Dense(8), L.Gelu(), L.LayerNorm(), L.Dense(3), L.Softmax()),
        (3, 4),
    ),
    "volumes": (
        nn.Sequential(
            *(nn.Conv3d(2, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d(2)),
            *(nn.Conv3d(8, 6, (2, 1, 3), stride=(1, 2, 1), groups=2), nn.ReLU(), nn.AvgPool3d(2, 1, 1)),
            *(nn.ConvTranspose3d(6, 4, 3, 2, 1, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 3)),
        ),
        bm.Sequential(
            *(L.Conv3d(8, 3, padding=1), L.BatchNorm(), L.Relu(), L.MaxPool3d(2)),
            *(L.Conv3d(6, (2, 1, 3), (1, 2, 1), groups=2), L.Relu(), L.AveragePool3d(2, 1, 1)),
            *(L.ConvTranspose3d(4, 3, 2, 1, 1), L.GlobalAveragePool(), L.Dense(3)),
        ),
        (2, 6, 7, 8),
    ),
    "sequences": (
        nn.Sequential(nn.Linear(6, 8), nn.GELU(approximate="tanh"), nn.LayerNorm(8), nn.Linear(8, 3)),
        bm.Sequential(L.Dense(8), L.Gelu(approximate=True), L.LayerNorm(), L.Dense(3)),
        (5, 6),
    ),
    "without bias": (nn.Linear(6, 3, bias=False), L.Dense(3, use_bias=False), (6,)),
    "residual": (Residual(), Function(_residual), (6,)),
    "activations": (
        nn.Sequential(nn.LeakyReLU(0.2), nn.ELU(0.7), nn.Softplus(), nn.Tanh(), nn.Softsign(), nn.Sigmoid()),
        bm.Sequential(L.LeakyRelu(0.2), L.Elu(0.7), L.Softplus(), L.Tanh(), L.Softsign(), L.Sigmoid()),
        (6,),
    ),
    "mean": (Applied(lambda x: x.mean(-1)), Function(lambda x: ops.mean(x, -1)), (6,)),
    "mean of images": (
        Applied(lambda x: x.mean((0, 2), keepdim=True)),
        Function(lambda x: ops.mean(x, (0, 2), keepdims=True)),
        (3, 4),
    ),
    "standardised": (
        Applied(lambda x: (x - x.mean(-1, keepdim=True)) / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5)),
        Function(
            lambda x: (
                (x - ops.mean(x, -1, keepdims=True)) / ops.sqrt(ops.mean(x * x, -1, keepdims=True) + 1e-5)
            )
        ),
        (6,),
    ),
    "element": (Applied(lambda x: x[:, 2]), Function(lambda x: x[:, 2]), (6,)),
    "view": (
        Applied(lambda x: x.view(x.size(0), -1) * 2),
        Function(lambda x: x.reshape(x.shape[0], -1) * 2.0),
        (3, 4),
    ),
    "rows": (
        Applied(lambda x: x.reshape(-1, 4) + 1),
        Function(lambda x: x.reshape(-1, 4) + 1.0),
        (3, 4),
    ),
    "corner": (
        Applied(lambda x: torch.cat([x[:, 1:, :2], x[:, :2, 2:]], 1)),
        Function(lambda x: ops.concatenate([x[:, 1:, :2], x[:, :2, 2:]], 1)),
        (3, 4),
    ),
    "attention": (
        Applied(lambda x: torch.softmax(x @ x.transpose(1, 2) / 2, -1) @ x),
        Function(lambda x: ops.softmax(ops.linear.MatMul(False, True)(x, x) / 2.0) @ x),
        (3, 4),
    ),
    "choice": (
        Applied(lambda x: torch.where(x > 0, x.clamp(-1, 1), torch.exp(x))),
        Function(lambda x: ops.where(x > 0.0, ops.clip(x, -1, 1), ops.exp(x))),
        (6,),
    ),
    "best": (Applied(lambda x: x.argmax(-1)), Function(lambda x: ops.argmax(x)), (6,)),
}


def _torch_export(module: nn.Module, x: np.ndarray, path: Path, opset: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (torch.from_numpy(x),),
            str(path),
            dynamo=False,
            opset_version=opset,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "N"}},
        )


@pytest.mark.parametrize("opset", [13, 17, 20])
@pytest.mark.parametrize("name", PAIRS)
def test_no_more_nodes_than_torch_writes(name: str, opset: int, tmp_path: Path) -> None:
    module, model, shape = PAIRS[name]
    _torch_export(module, np.ones((2, *shape), "float32"), tmp_path / "torch.onnx", opset)
    theirs = [
        node.op_type for node in onnx.load(tmp_path / "torch.onnx").graph.node if node.op_type != "Constant"
    ]
    model.build(bm.Spec(("N", *shape)))
    report = bm.export(model, tmp_path / "ours.onnx", opset=opset)
    assert report.nodes <= len(theirs), (report.operators, theirs)


@pytest.mark.parametrize("opset", [13, 20])
@pytest.mark.parametrize("name", PAIRS)
def test_files_of_torch_come_back(name: str, opset: int, tmp_path: Path) -> None:
    module, _, shape = PAIRS[name]
    generator = np.random.default_rng(0)
    _torch_export(module, np.ones((2, *shape), "float32"), tmp_path / "torch.onnx", opset)
    model = bm.from_onnx(tmp_path / "torch.onnx")
    for batch in (1, 5):
        x = generator.standard_normal((batch, *shape)).astype("float32")
        with torch.no_grad():
            expected = module(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-5)
    weights = {tuple(item.shape) for item in module.parameters()}
    assert len(model.state()) >= len(weights)
    bm.export(model, tmp_path / "again.onnx", opset=opset)
    np.testing.assert_allclose(run(tmp_path / "again.onnx", x)[0], expected, rtol=1e-4, atol=1e-5)
