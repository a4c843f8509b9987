"""What tests of training share: small data, small models, callbacks that do something at a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.train.trainer import Trainer


@dataclass(frozen=True)
class At(bm.Callback):
    """Does something after one step."""

    step: int
    action: Callable[[Trainer], Any]

    def on_batch_end(self, trainer: Trainer, step: int, logs: Mapping[str, float]) -> None:
        if step == self.step:
            self.action(trainer)


class Crash(RuntimeError):
    """A process that dies in the middle."""


def crash(trainer: Trainer) -> None:
    raise Crash


def crashed_and_resumed(run: Callable[..., Trainer], folder: Path, step: int, data: Any) -> Trainer:
    """The trainer of a run that crashed after a step, once it has gone on to its end.

    Args:
        run: trains on `data`, given a folder and callbacks.
        folder: where the run is written.
        step: after which one it crashes.
        data: what `run` trains on.
    """
    with pytest.raises(Crash):
        run(folder, At(step, crash))
    resumed = Trainer.resume(folder, callbacks=[])
    resumed.fit(data, verbose=False)
    return resumed


def assert_same_bits(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for path, array in one.items():
        assert other[path].tobytes() == array.tobytes(), path


def copy_dense(state: Mapping[str, np.ndarray], layers: Mapping[str, Any]) -> None:
    """Write weights and biases to PyTorch's linear layers, which are given by the paths of dense ones."""
    for path, layer in layers.items():
        layer.weight.data[:] = layer.weight.new_tensor(state[f"{path}/weight"].T)
        layer.bias.data[:] = layer.bias.new_tensor(state[f"{path}/bias"])


def labelled(count: int = 90, features: int = 5, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Samples whose class is where their first few features are largest, with some noise."""
    draw = np.random.default_rng(7)
    x = draw.normal(size=(count, features)).astype("float32")
    y = (x[:, :classes] + draw.normal(size=(count, classes))).argmax(1)
    return x, y


def network_with_dropout() -> bm.Layer:
    """Every random stream that a dense network has."""
    return bm.Sequential(bm.layers.Dense(16), bm.layers.Relu(), bm.layers.Dropout(0.4), bm.layers.Dense(3))


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    return labelled()
