"""Predictions of built models beside ONNX Runtime and PyTorch: NumPy in, NumPy out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import dense, vision
from bench.workload import Run
from bench.workloads import bigmodel_b64, lenet_b64

BATCHES = (1, 8, 64)
SECONDS = 1.5

Call = Callable[[np.ndarray], np.ndarray]
"""Gives the scores of a batch."""


@dataclass(frozen=True)
class Model:
    """A model that predicts.

    Args:
        name: of ours.
        shape: of a sample.
        torch: makes PyTorch's module.
        classes: how many scores a sample has.
    """

    name: str
    shape: tuple[int, ...]
    torch: Callable[[], Any]
    classes: int = 10


def torch_lstm() -> Any:
    """The classifier of sequences in PyTorch."""
    from torch import nn

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent, self.dense = nn.LSTM(28, 128, batch_first=True), nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            return self.dense(self.recurrent(x)[0][:, -1])

    return Classifier()


MODELS: Mapping[str, Model] = {
    model.name: model
    for model in (
        Model("mlp", (784,), lambda: dense.torch_model(dense.Task((784, 64, 64, 10), 1))),
        Model("lenet", (1, 32, 32), lenet_b64.torch_model),
        Model("resnet20", (3, 32, 32), vision.torch_resnet20),
        Model("bigmodel-cnn", (3, 28, 28), bigmodel_b64.torch_model),
        Model("lstm-classifier", (28, 28), torch_lstm),
        Model("resnet18", (3, 224, 224), lambda: vision.torch_large_resnet((2, 2, 2, 2), 1), 1000),
        Model("resnet50", (3, 224, 224), lambda: vision.torch_large_resnet((3, 4, 6, 3), 4), 1000),
    )
}


def times(model: Model, peer: str, run: Run) -> dict[str, float]:
    """Milliseconds of a prediction, by batch."""
    call = {"ours": _ours, "onnxruntime": _onnxruntime, "torch": _torch}[peer](model, run)
    found = {}
    for batch in BATCHES:
        x = np.random.default_rng(0).standard_normal((batch, *model.shape), dtype=np.float32)
        assert call(x).shape == (batch, model.classes)
        found[f"N = {batch}"] = run.median_call(lambda x=x: call(x), seconds=SECONDS)  # type: ignore[misc]  # mypy knows no lambdas with defaults
    return found


def _built(model: Model) -> Any:
    import bigmodel_core as bm

    return bm.models.build(model.name).build(bm.Spec(("N", *model.shape)))


def _ours(model: Model, run: Run) -> Call:
    built: Call = _built(model)
    return built


def _onnxruntime(model: Model, run: Run) -> Call:
    """Our file of the model, with all of ONNX Runtime's optimisations, which are its default."""
    import onnxruntime

    import bigmodel_core as bm

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = run.threads
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        bm.export(_built(model), path)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})[0]


def _torch(model: Model, run: Run) -> Call:
    import torch

    torch.set_num_threads(run.threads)
    module = model.torch().eval()

    def call(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            found: np.ndarray = module(torch.from_numpy(x)).numpy()
        return found

    return call
