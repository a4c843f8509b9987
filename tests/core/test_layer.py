"""Layers: paths of parameters, sharing, models of several inputs and outputs, errors by path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import (
    BigmodelError,
    ConfigError,
    DtypeError,
    GraphError,
    ShapeError,
    UnknownParameterError,
    UsageError,
)
from bigmodel_core.nn.habits import ADVICE

Dense = bm.layers.Dense
SPEC = bm.Spec(("N", 4))


def paths(layer: bm.Layer, *specs: bm.Spec) -> list[str]:
    found = layer.build(*(specs or (SPEC,))).state()
    return sorted({path.rpartition("/")[0] for path in found})


@dataclass(frozen=True)
class Pair(bm.Layer):
    first: Any
    second: Any

    def __call__(self, x: Any) -> Any:
        return self.second(self.first(x))


@dataclass(frozen=True)
class Residual(bm.Layer):
    parts: tuple[Any, ...]

    def __call__(self, x: Any) -> Any:
        for part in self.parts:
            x = x + part(x)
        return x


def test_fields_give_paths() -> None:
    assert paths(Pair(Dense(4), Dense(4))) == ["first", "second"]


def test_layers_without_a_field_are_counted_by_class() -> None:
    model = Residual((Dense(4), bm.Sequential(Dense(8), bm.layers.Relu(), Dense(4)), Dense(4)))
    assert paths(model) == ["dense_1", "dense_2", "sequential_1/dense_1", "sequential_1/dense_2"]


def test_class_names_become_snake_case() -> None:
    @dataclass(frozen=True)
    class HTTPBlock2d(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return Dense(4)(x)

    assert paths(Residual((HTTPBlock2d(),))) == ["http_block2d_1/dense_1"]


def test_one_layer_called_twice_shares_its_parameters() -> None:
    shared = Dense(4)
    model = bm.Sequential(shared, bm.layers.Relu(), shared)
    state = model.build(SPEC).state()
    assert sorted(state) == ["dense_1/bias", "dense_1/weight"]
    x = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    w, b = (state[f"dense_1/{name}"].astype("float64") for name in ("weight", "bias"))
    np.testing.assert_allclose(model(x), np.maximum(x @ w + b, 0) @ w + b, rtol=1e-5, atol=1e-6)


def test_equal_layers_that_are_two_objects_do_not_share() -> None:
    assert paths(bm.Sequential(Dense(4), Dense(4))) == ["dense_1", "dense_2"]


def test_one_object_in_two_fields_is_shared_under_the_first() -> None:
    shared = Dense(4)
    assert paths(Pair(shared, shared)) == ["first"]


def test_gradients_of_shared_parameters_add_up() -> None:
    shared = Dense(2, use_bias=False)
    model = bm.Sequential(shared, shared)
    x, y = np.eye(2, dtype="float32"), np.zeros((2, 2), "float32")
    model.build(bm.Spec(("N", 2), "float64"), dtype="float64")
    _, grads = bm.value_and_grad(model, "mean_squared_error")(x.astype("float64"), y.astype("float64"))
    w = model.state()["dense_1/weight"]

    def loss(w: np.ndarray) -> float:
        return float(np.mean((x @ w @ w - y) ** 2))

    for index in np.ndindex(2, 2):
        step = np.zeros((2, 2))
        step[index] = 1e-6
        expected = (loss(w + step) - loss(w - step)) / 2e-6
        assert grads["dense_1/weight"][index] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_layers_made_inside_never_take_the_name_of_a_field() -> None:
    @dataclass(frozen=True)
    class Model(bm.Layer):
        dense_1: Any

        def __call__(self, x: Any) -> Any:
            return self.dense_1(Dense(4)(x))

    assert paths(Model(Dense(4))) == ["dense_1", "dense_2"]


def test_sharing_between_widths_is_refused_by_path() -> None:
    shared = Dense(4)
    with pytest.raises(ShapeError, match=r"dense_1 \(Dense\).*\(4, 4\) and cannot also be \(3, 4\)"):
        bm.Sequential(shared, Dense(3), shared).build(SPEC)


def test_several_inputs_and_outputs() -> None:
    @dataclass(frozen=True)
    class Model(bm.Layer):
        def __call__(self, a: Any, b: Any) -> Any:
            return ops.concatenate([a, b]), a[:, :2] * b

    model = Model()
    network = model.build(bm.Spec(("N", 4)), bm.Spec(("N", 2)))
    assert network.input_names == ("a", "b")
    assert network.output_names == ("y_1", "y_2")
    assert [spec.shape for spec in network.outputs] == [("N", 6), ("N", 2)]
    a, b = np.arange(12, dtype="float32").reshape(3, 4), np.ones((3, 2), "float32") * 2
    joined, product = model(a, b)
    np.testing.assert_array_equal(joined, np.concatenate([a, b], 1))
    np.testing.assert_array_equal(product, a[:, :2] * b)


def test_inputs_of_one_batch_have_one_size() -> None:
    @dataclass(frozen=True)
    class Model(bm.Layer):
        def __call__(self, a: Any, b: Any) -> Any:
            return a + b

    model = Model()
    model.build(SPEC, SPEC)
    with pytest.raises(ShapeError, match="N is 3 elsewhere and 2 here"):
        model(np.zeros((3, 4), "float32"), np.zeros((2, 4), "float32"))


def test_errors_name_the_layer_by_its_path() -> None:
    with pytest.raises(ShapeError) as caught:
        Pair(Dense(3), bm.Sequential(bm.layers.Reshape((7,)))).build(SPEC)
    assert str(caught.value).startswith("second/reshape_1 (Reshape): ")


def test_parameters_have_fixed_sizes() -> None:
    with pytest.raises(ShapeError, match="free dimension 'K'"):
        Dense(3).build(bm.Spec(("N", "K")))


def test_a_layer_made_in_training_alone_does_not_shift_names_unseen() -> None:
    @dataclass(frozen=True)
    class Model(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return Dense(3)(Dense(5)(x) if self.training else x)

    with pytest.raises(ShapeError, match=r"dense_1/weight.*in training.*in inference"):
        Model().build(SPEC)


@pytest.mark.parametrize("result", [None, 3, np.zeros(3)])
def test_a_model_returns_values(result: Any) -> None:
    @dataclass(frozen=True)
    class Model(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return result

    with pytest.raises(GraphError, match=f"Model: the model returned a {type(result).__name__}"):
        Model().build(SPEC)


def test_a_layer_on_values_outside_a_model_is_refused() -> None:
    x = bm.Graph().input("x", SPEC)
    with pytest.raises(GraphError, match="while no model is built"):
        Dense(3)(x)


@pytest.mark.parametrize("wrong", [Dense, 3, "dense"])
def test_sequential_takes_layers(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="Sequential takes layers"):
        bm.Sequential(wrong)


def test_a_model_is_built_by_its_first_call_and_refuses_other_shapes_then() -> None:
    model = bm.Sequential(Dense(3))
    with pytest.raises(GraphError, match="not built yet"):
        model.state()
    assert model(np.zeros((5, 4), "float32")).shape == (5, 3)
    assert model(np.zeros((0, 4), "float32")).shape == (0, 3)
    with pytest.raises(ShapeError, match=r"expected \(N, 4\), got \(5, 6\)"):
        model(np.zeros((5, 6), "float32"))


def test_a_size_that_is_fixed_is_named_by_input_and_axis() -> None:
    model = bm.Sequential(bm.layers.Dense(3))
    model.build(bm.Spec((6, 4)))
    with pytest.raises(ShapeError, match=r"'x': expected \(6, 4\), got \(5, 4\): axis 0 is fixed at 6"):
        model(np.zeros((5, 4), "float32"))


def test_parameters_depend_on_seed_and_path_alone() -> None:
    def weights(layer: bm.Layer, seed: int) -> np.ndarray:
        return layer.build(SPEC, seed=seed).state()["first/weight"]

    one, other = Pair(Dense(4), Dense(4)), Pair(Dense(4), bm.layers.Relu())
    np.testing.assert_array_equal(weights(one, 3), weights(other, 3))
    assert not np.array_equal(weights(one, 3), weights(one, 4))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: s.pop("bias"), "missing: bias"),
        (lambda s: s.update(extra=np.zeros(3)), "unknown: extra"),
        (lambda s: s.update(bias=np.zeros(7, "float32")), r"bias: expected shape \(3,\), got \(7,\)"),
        (lambda s: s.update(bias=np.zeros(1, "float32")), r"bias: expected shape \(3,\), got \(1,\)"),
        (lambda s: s.update(bias=np.zeros(3, "complex64")), "bias: expected float32, got complex64"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change: Any, match: str) -> None:
    model = Dense(3)
    model.build(SPEC)
    before = model.state()
    wrong = {path: array + 1 for path, array in before.items()}
    change(wrong)
    with pytest.raises(BigmodelError, match=match):
        model.load_state(wrong)
    for path, array in model.state().items():
        np.testing.assert_array_equal(array, before[path])


def test_a_sequential_is_indexed_as_a_list_of_its_layers() -> None:
    layers = [Dense(5), bm.layers.Tanh(), Dense(3)]
    model = bm.Sequential(layers)
    assert len(model) == 3 and list(model) == layers
    assert model[0] is layers[0] and model[-1] is layers[2]
    with pytest.raises(IndexError):
        model[3]
    assert model[np.int64(1)] is layers[1]
    for wrong in ("dense_1", [0, 1], 1.0):
        with pytest.raises(UsageError, match="indexed by numbers and slices"):
            model[wrong]  # type: ignore[call-overload]  # what is refused


def test_a_slice_of_a_sequential_shares_its_layers() -> None:
    model = bm.Sequential(Dense(5), bm.layers.Tanh(), Dense(3))
    x = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    scores, head, body = model(x), model[2:], model[:-1]
    np.testing.assert_array_equal(head(body(x)), scores)
    bm.compile(body, "mean_squared_error", bm.optimizers.SGD(0.1))(x, np.zeros((6, 5), "float32"))
    np.testing.assert_array_equal(model.state()["dense_1/weight"], body.state()["dense_1/weight"])
    assert not np.array_equal(model(x), scores)


# Number types of inputs -----------------------------------------------------------------------------------


def test_a_spec_without_a_number_type_has_that_of_the_model() -> None:
    model = Dense(3)
    network = model.build(SPEC, dtype="float64")
    assert [spec.dtype for spec in (*network.inputs, *network.outputs)] == ["float64", "float64"]
    assert model.build(bm.Spec(("N", 4))).inputs == (bm.Spec(("N", 4), "float64"),), "parameters are doubles"
    assert bm.Spec(("N", 4)) == bm.Spec(("N", 4), "float32")


def test_a_spec_with_a_number_type_keeps_it() -> None:
    @dataclass(frozen=True)
    class Mixed(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return Dense(3)(x.astype("float64"))

    network = Mixed().build(bm.Spec(("N", 4), "float32"), dtype="float64")
    assert [spec.dtype for spec in (*network.inputs, *network.outputs)] == ["float32", "float64"]
    with pytest.raises(DtypeError, match="The input is float32, the parameters are float64") as caught:
        Dense(3).build(bm.Spec(("N", 4), "float32"), dtype="float64")
    assert caught.value.fix == "leave out the number type of the Spec, or build with dtype='float32'."


@pytest.mark.parametrize("layer", [Dense(3), bm.layers.LayerNorm(), bm.layers.Relu()], ids=repr)
def test_an_error_about_number_types_names_that_of_the_array(layer: bm.Layer) -> None:
    with pytest.raises(DtypeError, match=r"\(The array is uint8; a model takes it as int64\.\)"):
        layer(np.zeros((4, 4), "uint8"))
    with pytest.raises(DtypeError) as caught:
        layer(np.zeros((4, 4), "int64"))
    assert "The array" not in str(caught.value)


@pytest.mark.parametrize("seed", ["1", 1.0, True, [1]], ids=repr)
def test_a_seed_is_an_integer(seed: object) -> None:
    layer = Dense(3)
    with pytest.raises(ConfigError, match="the seed is .*, expected an integer"):
        layer.build(SPEC, seed=seed)  # type: ignore[arg-type]  # what is refused
    assert not layer.is_built


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        (bm.Spec(("N", 6)), r"got \(N, 6\): axis 1 is fixed at 4"),
        (bm.Spec((3, 6)), "axis 1 is fixed at 4"),
        (bm.Spec(("N", "T")), "axis 1 is fixed at 4"),
        (bm.Spec(("N", 4, 1)), r"expected \(N, 4\), got \(N, 4, 1\)"),
        (bm.Spec(("N", 4), "int64"), "expected float32, got int64"),
    ],
    ids=str,
)
def test_a_built_model_takes_only_specs_that_fit_it(spec: bm.Spec, match: str) -> None:
    model = Dense(3)
    model.build(SPEC)
    with pytest.raises(BigmodelError, match=match):
        model(spec)
    with pytest.raises(ShapeError, match="takes 1 input, got 2"):
        model(SPEC, SPEC)
    assert model(bm.Spec(("B", 4))).shape[1:] == (3,) and model(bm.Spec((7, 4))).shape == (7, 3)


def test_inputs_may_be_given_by_name() -> None:
    @dataclass(frozen=True)
    class Minus(bm.Layer):
        def __call__(self, left: Any, right: Any) -> Any:
            return Dense(3)(left) - Dense(3)(right)

    model = Minus()
    left, right = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
    expected = model(right=right, left=left)
    np.testing.assert_array_equal(model(left, right), expected)
    np.testing.assert_array_equal(model(left, right=right), expected)
    assert sorted(model.state()) == [f"dense_{n}/{p}" for n in (1, 2) for p in ("bias", "weight")]
    sequential = bm.Sequential(Dense(4), Dense(4))
    sequential(x=left)
    assert len(sequential.state()) == 4, "the model is built, not its layers one by one"
    for wrong in ({"z": right}, {"right": right, "training": True}, {"left": right}):
        with pytest.raises(ConfigError, match="has no input '(z|training|left)'"):
            model(left, **wrong)


def test_what_a_parameter_is_asked_for_with_is_checked() -> None:
    @dataclass(frozen=True)
    class Asks(bm.Layer):
        shape: Any = (4,)
        initial: Any = 1.0

        def __call__(self, x: Any) -> Any:
            return x * self.parameter("w", self.shape, self.initial)

    x = np.ones((2, 4), "float32")
    with pytest.raises(ShapeError, match="the shape of 'w' is 4") as caught:
        Asks(4)(x)
    assert caught.value.fix == "pass a tuple: (4,)."
    with pytest.raises(ShapeError, match=r"^w: the initial value is \(2, 2\), expected \(4,\)"):
        Asks((4,), lambda generator, shape: np.ones((2, 2)))(x)
    with pytest.raises(ConfigError, match="^w: the initial value is None"):
        Asks((4,), None)(x)
    np.testing.assert_array_equal(Asks((4,), np.float32(2.0))(x), 2 * x)


def test_samples_without_features_are_told_how_to_get_some() -> None:
    with pytest.raises(ShapeError, match="samples without features") as caught:
        Dense(3)(np.ones(5, "float32"))
    assert "x[:, None]" in (caught.value.fix or "")


@pytest.mark.parametrize("state", [None, "model.npz", [1, 2]], ids=repr)
@pytest.mark.parametrize("partial", [False, True])
def test_a_state_is_a_mapping(state: Any, partial: bool) -> None:
    model = Dense(3)
    model.build(SPEC)
    with pytest.raises(UsageError, match="expected arrays by path"):
        model.load_state(state, partial=partial)


# Habits of other frameworks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("parameters", "model.state()"),
        ("eval", "nothing to switch"),
        ("train", "nothing to switch"),
        ("to", 'device="cuda"'),
        ("fit", "bm.Trainer(model"),
        ("zero_grad", "bm.compile(model"),
        ("forward", "model(x)"),
    ],
)
def test_what_other_frameworks_have_is_met_with_advice(name: str, advice: str) -> None:
    built = Dense(3).build(SPEC)
    for model in (bm.Sequential(Dense(3)), Dense(3), *([built] if name != "parameters" else [])):
        with pytest.raises(UnknownParameterError) as caught:
            getattr(model, name)
        assert f"'{name}'" in caught.value.message and advice in (caught.value.fix or "")


def test_a_parameter_of_that_name_is_found_first() -> None:
    @dataclass(frozen=True)
    class Weighted(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return x * self.parameter("weights", x.shape[-1:], 2.0)

    model = Weighted()
    model.build(SPEC)
    np.testing.assert_array_equal(model.weights, np.full(4, 2.0))


@pytest.mark.parametrize("name", ADVICE)
def test_advice_names_what_there_is(name: str) -> None:
    assert name not in dir(bm.Sequential)
    for owner, attribute in re.findall(r"\b(bm(?:\.layers)?|model|self)\.(\w+)", ADVICE[name]):
        found = {"bm": bm, "bm.layers": bm.layers}.get(owner, bm.Sequential(Dense(1)))
        assert attribute in dir(type(found)) or hasattr(found, attribute)
