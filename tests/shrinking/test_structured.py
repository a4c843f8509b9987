"""Structured pruning: the small model computes what the whole one does with zeros in the same places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, GraphError, UnknownNameError
from bigmodel_core.shrinking.structured import Widths, masked_state, narrowed


@dataclass(frozen=True)
class Concatenated(bm.Layer):
    """Two branches side by side, half of which is used again."""

    def __call__(self, x: Any) -> Any:
        conv = bm.layers.Conv2d
        y = bm.ops.concatenate([x, conv(4, 1)(x), bm.layers.Relu()(conv(6, 3, padding=1)(x))], 1)
        y = bm.ops.concatenate([conv(4, 1)(y), y[:, 3:9]], 1)
        return bm.layers.Dense(3)(bm.layers.GlobalAveragePool()(y))


@dataclass(frozen=True)
class Grouped(bm.Layer):
    """A depthwise convolution, and one in two groups, before a flattened image."""

    def __call__(self, x: Any) -> Any:
        conv = bm.layers.Conv2d
        x = conv(4, 3, padding=1, groups=4)(bm.layers.Relu()(conv(4, 1)(x)))
        x = conv(6, 1, groups=2)(conv(4, 1)(x))
        return bm.layers.Dense(3)(bm.layers.Flatten()(x))


IMAGES = ("N", 3, 8, 8), "float32"
TOKENS = ("N", "T"), "int64"
CASES: dict[str, tuple[Any, tuple[Any, str]]] = {
    "residual sums and BatchNorm": (lambda: bm.models.build("resnet20", width=4, classes=3), IMAGES),
    "concatenations": (Concatenated, IMAGES),
    "depthwise and grouped": (Grouped, IMAGES),
    "heads": (
        lambda: bm.models.build("gpt", vocabulary=11, context=8, layers=1, heads=4, width=16),
        TOKENS,
    ),
    "shared heads and gates": (
        lambda: bm.models.build("llama", vocabulary=11, context=8, layers=1, heads=4, kv_heads=2, width=16),
        TOKENS,
    ),
}


def built(name: str) -> tuple[Any, np.ndarray]:
    """A model in which every number counts, and a batch."""
    make, (shape, dtype) = CASES[name]
    model, draw = make(), np.random.default_rng(0)
    network = model.build(bm.Spec(shape, dtype), seed=1)
    state = {path: array + 0.1 * draw.normal(size=array.shape) for path, array in network.state().items()}
    model.load_state({path: np.abs(a) if "variance" in path else a for path, a in state.items()})
    if dtype == "int64":
        return model, draw.integers(0, 11, (2, 5))
    return model, draw.normal(size=(2, *shape[1:])).astype("float32")


@pytest.mark.parametrize("name", CASES)
def test_the_small_model_equals_the_masked_one(name: str) -> None:
    model, x = built(name)
    network = model.network
    widths = Widths.of(network, "l2", "*")
    gone = widths.chosen(0.5, is_global=False)
    small = narrowed(network, widths.followed, gone, {"method": "prune"})
    masked = bm.clone(model)
    masked.load_state(masked_state(network, widths.followed, gone))
    sizes = [sum(array.size for array in item.state().values()) for item in (small, model)]
    assert sizes[0] < 0.72 * sizes[1]
    assert np.abs(masked(x) - model(x)).max() > 1e-3
    np.testing.assert_allclose(small(x), masked(x), rtol=0, atol=1e-5)


def test_a_residual_stage_keeps_the_channels_with_the_largest_filters_of_all_that_are_added_up() -> None:
    model, _ = built("residual sums and BatchNorm")
    state, small = model.state(), bm.prune(model, 0.5, structured=True).state()
    # the first convolution, and the second one of each block of the stage
    squares = sum((state[f"conv2d_{number}/weight"] ** 2).sum((1, 2, 3)) for number in (1, 3, 5, 7))
    stays = np.sort(np.argsort(squares)[2:])
    for number in (1, 3, 5, 7):
        for part in ("scale", "shift", "running_mean", "running_variance"):
            path = f"batch_norm_{number}/{part}"
            np.testing.assert_array_equal(small[path], state[path][stays])


def test_in_training_too_the_small_model_equals_the_masked_one() -> None:
    model, x = built("residual sums and BatchNorm")
    network = model.network
    widths = Widths.of(network, "l2", "*")
    gone = widths.chosen(0.5, is_global=False)
    small = narrowed(network, widths.followed, gone, {"method": "prune"})
    model.load_state(masked_state(network, widths.followed, gone))
    found = []
    for item in (small, model):
        step = bm.compile(item, "cross_entropy", bm.optimizers.SGD(0.1))
        found.append([step(x, np.arange(2)), item.state()["batch_norm_1/running_variance"]])
    (loss, variances), (expected, whole) = found
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    stays = widths.followed.kept_along(widths.followed.parameters["batch_norm_1/scale"][0], gone)
    np.testing.assert_allclose(variances, whole[stays], rtol=1e-5)


@pytest.fixture(scope="module")
def dense() -> Any:
    """Two hidden layers of 8 units."""
    hidden = [bm.layers.Dense(8, activation="relu") for _ in range(2)]
    model = bm.Sequential(*hidden, bm.layers.Dense(3))
    model.build(bm.Spec(("N", 4)), seed=3)
    return model


X = np.random.default_rng(1).normal(size=(5, 4)).astype("float32")


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_units_of_the_smallest_norm_go(dense: Any, norm: str) -> None:
    a, b, c = (dense.state()[f"dense_{number}/weight"].astype("float64") for number in (1, 2, 3))
    power = {"l1": 1, "l2": 2}[norm]
    first, second = (np.sort(np.argsort((np.abs(w) ** power).sum(0))[4:]) for w in (a, b))
    hidden = np.maximum(np.maximum(X @ a[:, first], 0) @ b[np.ix_(first, second)], 0)
    small = bm.prune(dense, 0.5, structured=True, importance=norm)
    np.testing.assert_allclose(small(X), hidden @ c[second], rtol=1e-5, atol=1e-6)


def test_globally_the_share_is_of_all_units_and_a_tenth_of_each_layer_stays(dense: Any) -> None:
    model = bm.clone(dense)
    state = model.state()
    state["dense_1/weight"][:, :7] *= 1e-6  # all but one unit of the first layer count nothing
    model.load_state(state)
    small = bm.prune(model, 0.5, structured=True, scope="global").state()
    assert small["dense_1/weight"].shape == (4, 1)
    assert small["dense_2/weight"].shape == (1, 7)


def test_by_scale_the_channels_that_batch_normalisation_makes_small_go() -> None:
    model, _ = built("residual sums and BatchNorm")
    state = model.state()
    state["batch_norm_2/scale"][:] = [0.1, -3.0, 2.0, 0.2]  # inside the first block
    model.load_state(state)
    small = bm.prune(model, 0.5, structured=True, importance="scale").state()
    np.testing.assert_array_equal(small["batch_norm_2/scale"], np.float32([-3.0, 2.0]))


def test_only_the_named_layers_lose_units(dense: Any) -> None:
    small = bm.prune(dense, 0.5, structured=True, only="dense_2").state()
    shapes = [small[f"dense_{number}/weight"].shape for number in (1, 2, 3)]
    assert shapes == [(4, 8), (8, 4), (4, 3)]


def test_the_model_itself_stays_as_it_is(dense: Any) -> None:
    before = dense.state()
    bm.prune(dense, 0.5, structured=True)
    assert all((array == before[path]).all() for path, array in dense.state().items())


def weights(file: Any) -> list[np.ndarray]:
    """The arrays of an ONNX file."""
    return [onnx.numpy_helper.to_array(item) for item in onnx.load(file).graph.initializer]


def test_a_pruned_model_trains_on_reloads_and_exports(dense: Any, tmp_path: Any) -> None:
    small, y = bm.prune(dense, 0.5, structured=True), np.arange(5) % 3
    trainer = bm.Trainer(small, "cross_entropy", bm.optimizers.Adam(0.05), out=tmp_path / "run")
    history = trainer.fit((X, y), epochs=8, verbose=False)
    assert history["loss"][-1] < history["loss"][0]
    again = bm.load(tmp_path / "run" / "last.safetensors")
    np.testing.assert_array_equal(again(X), small(X))
    files = [tmp_path / "whole.onnx", tmp_path / "small.onnx"]
    for item, file in zip((dense, again), files, strict=True):
        bm.export(item, file)
    sizes = [sum(array.size for array in weights(file)) for file in files]
    assert sizes == [8 * 4 + 8 + 8 * 8 + 8 + 8 * 3 + 3, 4 * 4 + 4 + 4 * 4 + 4 + 4 * 3 + 3]
    twice = bm.prune(again, 0.5, structured=True)
    assert twice.state()["dense_2/weight"].shape == (2, 2)


def test_a_pruned_model_remembers_in_a_session() -> None:
    model, tokens = built("heads")
    small = bm.prune(model, 0.5, structured=True)
    session = small.session()
    steps = [session(tokens[:, t : t + 1]) for t in range(tokens.shape[1])]
    np.testing.assert_allclose(np.concatenate(steps, 1), small(tokens), atol=1e-5)


@dataclass(frozen=True)
class Cube(bm.Op):
    """An elementwise op of a plugin."""

    cpu, cuda = bm.elementwise(lambda x: x * x * x)

    def infer(self, x: bm.Spec) -> bm.Spec:
        return x


@dataclass(frozen=True)
class Mixed(bm.Op):
    """An op that gives what has the shape of its input, from all of its numbers."""

    def infer(self, x: bm.Spec) -> bm.Spec:
        return x


@dataclass(frozen=True)
class Passed(bm.Layer):
    """A hidden layer whose units pass an op of a plugin."""

    op: Any

    def __call__(self, x: Any) -> Any:
        return bm.layers.Dense(3)(self.op(bm.layers.Dense(8)(x)))


def test_units_pass_an_elementwise_op_of_a_plugin_and_no_other() -> None:
    model = Passed(Cube())
    model.build(bm.Spec(("N", 4)))
    assert bm.prune(model, 0.5, structured=True).state()["dense_1/weight"].shape == (4, 4)
    unknown = Passed(Mixed())
    unknown.build(bm.Spec(("N", 4)))
    with pytest.raises(GraphError, match="no channels that can be taken out"):
        bm.prune(unknown, 0.5, structured=True)


def test_what_passes_an_op_without_a_rule_stays_whole() -> None:
    model = bm.Sequential(bm.layers.LSTM(4), bm.layers.Dense(6), bm.layers.LayerNorm())
    model.build(bm.Spec(("N", "T", 3)))
    with pytest.raises(GraphError, match="no channels that can be taken out"):
        bm.prune(model, 0.5, structured=True)


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"amount": 1.0}, ConfigError, "below 1"),
        ({"scope": "all"}, ConfigError, "layer, global"),
        ({"importance": "l3"}, ConfigError, "l1, l2, scale"),
        ({"only": "conv*"}, UnknownNameError, "only: no parameter matches 'conv\\*'"),
    ],
)
def test_a_wrong_option_is_named(dense: Any, options: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        bm.prune(dense, structured=True, **options)


def test_a_model_that_is_not_built_is_refused() -> None:
    with pytest.raises(GraphError, match="not built"):
        bm.prune(bm.layers.Dense(3))
