"""Models for tables: what they compute, which columns they take, and how they are fitted to data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelError

RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.normal(size=(240, 4)).astype("float32")
CODES = np.stack([RANDOM.integers(0, 3, 240), RANDOM.integers(0, 6, 240)], 1)
SIZES = (3, 6)


def data(y: np.ndarray, task: Any = "binary", **inputs: np.ndarray) -> bm.Data:
    x: Any = inputs or {"numbers": NUMBERS, "categories": CODES}
    sizes = SIZES if "categories" in x else None
    half = {name: array[:160] for name, array in x.items()}, {name: array[160:] for name, array in x.items()}
    parts = bm.Split(half[0], y[:160]), bm.Split(half[1], y[160:])
    return bm.Data("made", *parts, task=task, category_sizes=sizes)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def dense(x: np.ndarray, state: Any, path: str) -> np.ndarray:
    return x @ state[f"{path}/weight"].astype("float64") + state[f"{path}/bias"]


def test_tabular_mlp_is_embeddings_waves_and_dense_layers() -> None:
    model = bm.models.TabularMlp(classes=3, categories=SIZES, widths=(5,), waves=4, embedding=3)
    scores = model(NUMBERS, CODES)
    state = model.network.state()
    angles = NUMBERS[:, :, None].astype("float64") * state["frequencies"]
    waves = relu(dense(np.concatenate([np.sin(angles), np.cos(angles)], -1), state, "wave"))
    vectors = [state[f"category_{n + 1}/weight"][CODES[:, n]] for n in range(2)]
    assert [array.shape[1] for array in vectors] == [2, 3]
    x = np.concatenate([NUMBERS, waves.reshape(240, -1), *vectors], 1)
    hidden = relu(dense(x, state, "dense_1") / np.sqrt(1 + 1e-5))  # BatchNorm as it starts
    np.testing.assert_allclose(scores, dense(hidden, state, "dense_2"), rtol=1e-4, atol=1e-5)


def test_wide_and_deep_adds_weights_of_codes_and_of_their_pairs_to_a_perceptron() -> None:
    model = bm.models.WideAndDeep(classes=3, categories=SIZES, widths=(5,), embedding=2)
    network = model.build(bm.Spec(("N", 4)), bm.Spec(("N", 2), "int64"))
    state = network.state()
    assert state["weights/weight"].shape == (3 + 6 + 3 * 6, 3)
    state["weights/weight"] = RANDOM.normal(size=(27, 3)).astype("float32")
    network.load_state(state)
    vectors = [state[f"category_{n + 1}/weight"][CODES[:, n]] for n in range(2)]
    deep = dense(relu(dense(np.concatenate([NUMBERS, *vectors], 1), state, "dense_1")), state, "dense_2")
    table = state["weights/weight"]
    pairs = table[9:].reshape(3, 6, 3)[CODES[:, 0], CODES[:, 1]]
    wide = dense(NUMBERS, state, "wide") + table[CODES[:, 0]] + table[3 + CODES[:, 1]] + pairs
    np.testing.assert_allclose(network(NUMBERS, CODES), wide + deep, rtol=1e-4, atol=1e-5)


def test_pairs_of_more_codes_than_allowed_are_not_crossed() -> None:
    model = bm.models.WideAndDeep(categories=(3, 6, 2), crossed=12)
    state = model.build(bm.Spec(("N", 3), "int64")).state()
    assert len(state["weights/weight"]) == 11 + 3 * 2 + 6 * 2


def test_ft_transformer_attends_among_the_vectors_of_columns() -> None:
    model = bm.models.FtTransformer(classes=3, categories=SIZES, layers=1, heads=1, width=4)
    scores = model(NUMBERS, CODES)
    state = model.network.state()

    def norm(x: np.ndarray) -> np.ndarray:  # scale and shift are 1 and 0 as they start
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)

    vectors = [NUMBERS[:, n, None].astype("float64") * state["slopes"][n] for n in range(4)]
    vectors += [state[f"category_{n + 1}/weight"][CODES[:, n]] for n in range(2)]
    x = np.stack(vectors, 1) + state["shifts"]
    x = np.concatenate([np.broadcast_to(state["first"], (240, 1, 4)), x], 1)
    block = "transformer_block_1"
    query, key, value = (
        dense(norm(x), state, f"{block}/attention/{part}") for part in ("query", "key", "value")
    )
    exponents = np.exp(query @ key.transpose(0, 2, 1) / 2)
    seen = exponents / exponents.sum(-1, keepdims=True) @ value
    x = x + dense(seen, state, f"{block}/attention/output")
    hidden = dense(norm(x), state, f"{block}/feed_forward/up")
    gelu = hidden * (1 + np.vectorize(math.erf)(hidden / 2**0.5)) / 2
    x = x + dense(gelu, state, f"{block}/feed_forward/down")
    np.testing.assert_allclose(scores, dense(relu(norm(x[:, 0])), state, "dense_1"), rtol=1e-4, atol=1e-5)


def test_a_model_is_fitted_to_two_classes_and_to_the_codes_of_categories() -> None:
    model = bm.models.TabularMlp().fitted(data(np.arange(240) % 2))
    assert (model.classes, model.outputs, model.categories) == (1, None, SIZES)
    assert model.usual_loss == "binary_cross_entropy"


def test_a_model_is_fitted_to_targets_that_are_numbers() -> None:
    model = bm.models.TabularMlp().fitted(data(np.ones((240, 2), "float32"), "regression"))
    assert (model.outputs, model.usual_loss) == (2, "mean_squared_error")
    assert model.usual_metrics == ("mean_absolute_error", "r2")


@pytest.mark.parametrize(("rows", "waves"), [(3999, 0), (4000, 16)])
def test_waves_are_for_many_rows(rows: int, waves: int) -> None:
    split = bm.Split(np.zeros((rows, 1), "float32"), np.arange(rows) % 2)
    assert bm.models.TabularMlp().fitted(bm.Data("made", split, split, task="binary")).waves == waves


def test_it_learns_what_numbers_and_categories_say_together_and_is_exported(tmp_path: Path) -> None:
    # the class is the sign of a number, turned around by a category: neither says it alone
    y = ((NUMBERS[:, 0] > 0) ^ (CODES[:, 0] == 1)).astype("int64")
    found = data(y)
    model = bm.models.TabularMlp(widths=(16,), dropout=0.0).fitted(found)
    trainer = bm.Trainer(model, optimizer=bm.optimizers.Adam(0.02))
    trainer.fit(found, epochs=30, verbose=False)
    assert trainer.evaluate(found.test)["accuracy"] > 0.9
    bm.export(model, tmp_path / "model.onnx")  # raises unless ONNX Runtime computes the same
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    assert [item.name for item in session.get_inputs()] == ["numbers", "categories"]


def test_categories_alone_come_under_their_name() -> None:
    y = (CODES[:, 0] == 2).astype("int64")
    found = data(y, categories=CODES)
    model = bm.models.TabularMlp(widths=(8,)).fitted(found)
    trainer = bm.Trainer(model, optimizer=bm.optimizers.Adam(0.03))
    trainer.fit(found, epochs=12, verbose=False)
    assert trainer.evaluate(found.test)["accuracy"] > 0.95
    np.testing.assert_array_equal(trainer.predict({"categories": CODES[:5]}), trainer.predict(CODES[:5]))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"widths": ()}, r"widths is \(\), expected integers of at least 1"),
        ({"categories": (3, 0)}, r"categories is \(3, 0\)"),
        ({"norm": "group"}, "norm is 'group', expected one of batch, layer, none"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"outputs": 0}, "outputs is 0"),
    ],
)
def test_options_out_of_range_are_named(options: Any, text: str) -> None:
    with pytest.raises(BigmodelError, match=text):
        bm.models.TabularMlp(**options)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ([CODES], "numbers are int64"),
        ([NUMBERS, CODES], "2 columns of categories, expected 0"),
        ([NUMBERS, NUMBERS], "4 columns of categories, expected 0"),
    ],
)
def test_columns_that_a_model_was_not_made_for_are_refused(inputs: list[np.ndarray], text: str) -> None:
    with pytest.raises(BigmodelError, match=text):
        bm.models.TabularMlp()(*inputs)
