"""Predictions of models for 1, 8 and 64 samples, beside ONNX Runtime on the exported file and PyTorch."""

from __future__ import annotations

from bench import predictions
from bench.workload import Run, Target, Workload

WORKLOAD = Workload("predictions", "predictions of a built model", "ms")
PEERS = ("ours", "onnxruntime", "torch")


def rows() -> dict[str, tuple[Target, ...]]:
    return dict.fromkeys(predictions.MODELS, (Target(ratio=1.0, against="onnxruntime"),))


def measure(row: str, peer: str, run: Run) -> dict[str, float]:
    return predictions.times(predictions.MODELS[row], peer, run)
