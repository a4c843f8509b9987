"""What is computed again for gradients: the same numbers, but for rounding, in less memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError

TOKENS = np.random.default_rng(0).integers(0, 7, (2, 2, 32))


def weight(array: np.ndarray) -> np.ndarray:
    """The same for all arrays of a shape, whatever their paths."""
    return np.random.default_rng(len(array)).normal(size=array.shape).astype("float32") * 0.1


def trained(model: Any, x: np.ndarray, y: np.ndarray, loss: str = "cross_entropy") -> tuple[Any, ...]:
    """The losses and parameters of two steps, and the bytes of a step's temporaries."""
    model(x)
    model.load_state(
        {path: array if array.ndim < 2 else weight(array) for path, array in model.state().items()}
    )
    step = bm.compile(model, loss, bm.optimizers.SGD(0.1))
    losses = [step(x, y), step(x, y)]
    (plan,) = step.programs["step"].program._plans.values()
    return losses, model.state(), plan.arena.nbytes


@pytest.mark.parametrize("name", ("gpt", "llama"))
def test_a_model_learns_the_same_in_less_memory(name: str) -> None:
    sizes = {"vocabulary": 7, "context": 32, "layers": 6, "heads": 2, "width": 16, "dropout": 0.2}
    kept, again = (
        trained(bm.models.build(name, recompute=recompute, **sizes), *TOKENS) for recompute in (False, True)
    )
    np.testing.assert_allclose(again[0], kept[0], rtol=1e-6)
    for path, array in kept[1].items():
        np.testing.assert_allclose(again[1][path], array, atol=1e-7, rtol=1e-5, err_msg=path)
    assert again[2] < 0.6 * kept[2]


@dataclass(frozen=True)
class Tower(bm.Layer):
    """Layers one after the other, each of which is computed again, also inside of another that is."""

    wraps: bool

    def __call__(self, x: Any) -> Any:
        wrapped = bm.layers.Recompute if self.wraps else lambda layer: layer
        for number in range(3):
            inner = bm.Sequential(bm.layers.Dense(6, activation="tanh"), wrapped(bm.layers.BatchNorm()))
            x = wrapped(inner)(x) * (number + 1)
        return x


def test_layers_inside_of_others_are_computed_again_once() -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 8, 6)).astype("float32")
    kept, again = (trained(Tower(wraps), x, y, "mean_squared_error") for wraps in (False, True))
    np.testing.assert_allclose(again[0], kept[0], rtol=1e-6)
    for one, other in zip(kept[1].values(), again[1].values(), strict=True):  # running moments, too
        np.testing.assert_allclose(other, one, atol=1e-6)


def test_nothing_is_computed_again_in_a_prediction() -> None:
    model = Tower(True)
    model(np.ones((4, 6), "float32"))
    assert [step.op for step in model.network.kernels(4)].count("Affine") == 3


def test_a_resumed_run_computes_the_same_again(tmp_path: Path) -> None:
    x, y = TOKENS.repeat(4, 1)
    sizes = {"vocabulary": 7, "context": 32, "layers": 2, "heads": 2, "width": 16, "dropout": 0.2}
    found = []
    for stops in (False, True):
        model = bm.models.build("gpt", recompute=True, **sizes)
        trainer = bm.Trainer(model, "cross_entropy", "adam", out=tmp_path / f"run_{stops}")
        trainer.fit((x, y), epochs=1 if stops else 2, batch_size=4, verbose=False)
        if stops:
            trainer = bm.Trainer.resume(tmp_path / "run_True")
            trainer.fit((x, y), epochs=2, verbose=False)
        (plan,) = trainer.step.programs["step"].program._plans.values()
        found.append((plan.arena.nbytes, {path: a.tobytes() for path, a in trainer.step.state().items()}))
    assert found[1] == found[0]


def test_a_part_of_a_loaded_model_is_computed_again(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(8, 6)).astype("float32")
    whole = bm.Sequential(Tower(True), bm.layers.Dense(2))
    whole(x)
    bm.save(whole, tmp_path / "whole.safetensors")
    part = bm.load(tmp_path / "whole.safetensors").part("tower_1")
    step = bm.compile(part, "mean_squared_error", "sgd")
    step(x, x)
    assert sum(planned.op.startswith("Affine") for planned in step.kernels(8)) == 6


def test_what_is_computed_again_is_a_layer() -> None:
    with pytest.raises(ConfigError, match="inner is 3, expected a layer"):
        bm.layers.Recompute(3)
