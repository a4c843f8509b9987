"""Adapters of low rank learn, and nothing else; predictions and files have the sums."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import UnknownNameError

TOKENS, LABELS = np.random.default_rng(0).integers(0, 11, (2, 4, 8))


def base() -> Any:
    model = bm.models.build("gpt", vocabulary=11, context=8, layers=2, heads=2, width=8)
    model.build(model.input_spec())
    return model


def tuned(model: Any, **fields: Any) -> tuple[Any, Any]:
    found = bm.layers.LoRA(model, **fields)
    step = bm.compile(found, "cross_entropy", bm.optimizers.AdamW(0.01, weight_decay=0.1))
    for _ in range(5):
        step(TOKENS, LABELS)
    return found, step


def test_nothing_changes_before_it_learns() -> None:
    model = base()
    np.testing.assert_array_equal(bm.layers.LoRA(model)(TOKENS), model(TOKENS))


def test_only_adapters_learn_and_only_they_have_state() -> None:
    model = base()
    before, scores = model.state(), model(TOKENS)
    found, step = tuned(model)
    names = [f"inner/block_{n}/attention/{part}/weight_" for n in (1, 2) for part in ("query", "value")]
    changed = [path for path, array in found.state().items() if "_" in path.rpartition("/")[2]]
    assert changed == [name + end for name in names for end in ("down", "up")]
    for path, array in model.state().items():
        np.testing.assert_array_equal(array, before[path])
    np.testing.assert_array_equal(model(TOKENS), scores)
    assert np.abs(found(TOKENS) - scores).max() > 1e-4
    slots = [path for path in step.variables if "mean" in path or "square" in path]
    assert slots and all(any(name in path for name in names) for path in slots)


def test_predictions_have_the_sum_as_the_weight() -> None:
    model = base()
    found, _ = tuned(model, rank=3, alpha=12.0, pattern="*/up, block_1/attention/output/weight")
    state, sums = found.state(), model.state()
    for path in ("block_1/feed_forward/up", "block_2/feed_forward/up", "block_1/attention/output"):
        down, up = (state[f"inner/{path}/weight_{part}"].astype("f8") for part in ("down", "up"))
        assert down.shape[1] == 3 and np.abs(up).max() > 0
        sums[f"{path}/weight"] = (sums[f"{path}/weight"] + 4.0 * down @ up).astype("float32")
    other = base()
    other.load_state(sums)
    np.testing.assert_allclose(found(TOKENS), other(TOKENS), atol=1e-5)


def test_a_step_learns_as_with_the_sum() -> None:
    """The product apart has the gradients of the product with the sum."""

    @dataclass(frozen=True)
    class Plain(bm.Layer):
        def __call__(self, x: Any) -> Any:
            weight = self.parameter("weight", (3, 5), 0.5, trainable=False)
            return x @ (
                weight + self.parameter("down", (3, 2), 0.1) @ self.parameter("up", (2, 5), 0.2) * 2.0
            )

    x, y = np.random.default_rng(1).normal(size=(6, 3)), np.random.default_rng(2).normal(size=(6, 5))
    adapted = bm.layers.LoRA(bm.layers.Dense(5, use_bias=False), 2, pattern="weight")
    plain = Plain()
    plain(x), adapted(x)
    values = {
        "weight": np.full((3, 5), 0.5),
        "weight_down": np.full((3, 2), 0.1),
        "weight_up": np.full((2, 5), 0.2),
    }
    adapted.load_state({f"inner/{name}": array for name, array in values.items()})
    one, wanted = bm.value_and_grad(plain, "mean_squared_error")(x, y)
    two, found = bm.value_and_grad(adapted, "mean_squared_error")(x, y)
    assert two == pytest.approx(one, rel=1e-6)
    np.testing.assert_allclose(found["inner/weight_down"], wanted["down"], rtol=1e-4)
    np.testing.assert_allclose(found["inner/weight_up"], wanted["up"], rtol=1e-4)


def test_a_loaded_model_is_tuned_and_its_file_has_no_more_products(tmp_path: Path) -> None:
    model = base()
    bm.save(model, tmp_path / "base.safetensors")
    found, _ = tuned(bm.load(tmp_path / "base.safetensors"))
    plain, merged = (bm.export(one, tmp_path / "model.onnx") for one in (model, found))
    assert merged.operators["MatMul"] == plain.operators["MatMul"]
    bm.save(found, tmp_path / "tuned.safetensors")
    np.testing.assert_allclose(bm.load(tmp_path / "tuned.safetensors")(TOKENS), found(TOKENS), atol=1e-6)


def test_adapters_alone_are_all_there_is_to_keep() -> None:
    model = base()
    found, _ = tuned(model)
    wanted = found(TOKENS)
    adapters = {path: array for path, array in found.state().items() if path.endswith(("_down", "_up"))}
    again = base()
    again.load_state(model.state())
    other = bm.layers.LoRA(again)
    other(TOKENS)
    report = other.load_state(adapters, partial=True)
    assert len(report.loaded) == 8
    np.testing.assert_allclose(other(TOKENS), wanted, atol=1e-6)


@pytest.mark.parametrize("how", ("built", "loaded"))
def test_the_merged_model_is_plain_and_a_copy(tmp_path: Path, how: str) -> None:
    model = base()
    if how == "loaded":
        bm.save(model, tmp_path / "base.safetensors")
        model = bm.load(tmp_path / "base.safetensors")
    found, _ = tuned(model, alpha=6.0)
    before, merged = model.state(), found.merged()
    assert set(merged.state()) == set(before)
    np.testing.assert_allclose(merged(TOKENS), found(TOKENS), atol=1e-5)
    for path, array in model.state().items():
        np.testing.assert_array_equal(array, before[path])


def test_a_model_that_was_not_built_alone_is_merged() -> None:
    x = np.random.default_rng(3).normal(size=(4, 3)).astype("float32")
    found = bm.layers.LoRA(bm.layers.Dense(5), rank=2, pattern="weight")
    found(x)
    found.load_state({"inner/weight_up": np.ones((2, 5))}, partial=True)
    np.testing.assert_allclose(found.merged()(x), found(x), atol=1e-5)


def test_dropout_drops_what_goes_into_the_narrow_matrix() -> None:
    """Of an input of one number and a weight of zeros, all is kept, twice as large, or nothing."""
    x, zeros = np.ones((64, 1), "float32"), np.zeros((64, 1), "float32")
    found = bm.layers.LoRA(bm.layers.Dense(1, use_bias=False), 1, 1.0, "weight", dropout=0.5)
    found(x)
    found.load_state({"inner/weight": [[0.0]], "inner/weight_down": [[1.0]], "inner/weight_up": [[1.0]]})
    step = bm.compile(found, "mean_squared_error", bm.optimizers.Sgd(0.0))
    kept = float(step(x, zeros)) / 4  # the mean square: 4 where a number is kept, else 0
    assert 0.2 < kept < 0.8 and (64 * kept) % 1 == 0
    assert found(x).max() == found(x).min() == 1.0


def test_a_pattern_that_matches_nothing_is_named() -> None:
    with pytest.raises(UnknownNameError, match="no parameter matches '.*/querry'"):
        bm.layers.LoRA(base(), pattern="*/querry")(TOKENS)
