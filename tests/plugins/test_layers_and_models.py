"""Facts about layers and models that the conformance sweep does not state."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import registry
from bigmodel_core.errors import ConfigError, DtypeError, ShapeError

X = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: bm.layers.Dense(0), "units is 0, expected an integer at least 1"),
        (lambda: bm.layers.Dense(2.5), "units is 2.5, expected an integer"),
        (lambda: bm.layers.Dense(True), "units is True"),
        (lambda: bm.layers.Dense(3, initial="gloriot"), "'gloriot', which is not an initializer"),
        (lambda: bm.layers.Dropout(1.0), "rate is 1.0, expected a number at least 0 and below 1"),
        (lambda: bm.layers.Dropout(-0.1), "rate is -0.1"),
        (lambda: bm.layers.LayerNorm(0.0), "epsilon is 0.0, expected a number above 0"),
        (lambda: bm.layers.LayerNorm(20), "epsilon is 20, expected a small number"),
        (lambda: bm.layers.GroupNorm(4, 8), "epsilon is 8, expected a small number"),
        (lambda: bm.layers.InstanceNorm(8), "epsilon is 8, expected a small number"),
        (lambda: bm.layers.BatchNorm(8), "momentum is 8, expected a number at least 0 and at most 1"),
        (lambda: bm.layers.Dense(20, 3), "activation is 3, expected a layer"),
        (lambda: bm.layers.Dense(3, bm.ops.relu), "activation is .*, expected a layer"),
        (lambda: bm.layers.Frozen(bm.layers.Dense), "inner is <class .*>, expected a layer"),
        (lambda: bm.layers.Frozen("dense_1/*"), "inner is 'dense_1/\\*', expected a layer"),
        (lambda: bm.layers.LeakyRelu(float("nan")), "slope is nan"),
        (lambda: bm.layers.Flatten(-1), "start is -1"),
        (lambda: bm.layers.Reshape((-1, -1)), "at most one of them -1"),
        (lambda: bm.layers.Reshape((2.5,)), "expected integers"),
        (lambda: bm.models.Mlp(widths=(64, 0)), r"widths is \(64, 0\)"),
        (lambda: bm.models.LogisticRegression(0), "classes is 0"),
        (lambda: bm.optimizers.SGD(-0.1), "learning_rate is -0.1"),
        (lambda: bm.optimizers.SGD(0.1, nesterov=True), "nesterov needs momentum"),
        (lambda: bm.optimizers.Adam(beta2=1.0), "beta2 is 1.0"),
        (lambda: bm.optimizers.Adam(weight_decay=-1), "weight_decay is -1"),
        (lambda: bm.optimizers.Adam(clip_norm=0), "clip_norm is 0"),
        (lambda: bm.schedules.StepDecay(0.1, every=0), "every is 0"),
        (lambda: bm.schedules.WarmUp(10, then="cosine"), "expected a number or a schedule"),
        (lambda: bm.losses.CrossEntropy(1.0), "label_smoothing is 1.0"),
        (lambda: bm.losses.Huber(0), "delta is 0"),
    ],
)
def test_fields_outside_their_limits(make: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        make()
    assert caught.value.fix
    assert caught.value.where


def test_an_activation_in_dense_is_the_layer_after_it() -> None:
    inside = bm.Sequential(bm.layers.Dense(4, activation="gelu")).build(bm.Spec(("N", 5)))
    after = bm.Sequential(bm.layers.Dense(4), bm.layers.Gelu()).build(bm.Spec(("N", 5)))
    np.testing.assert_array_equal(inside(X), after(X))
    given = bm.layers.Dense(4, activation=bm.layers.LeakyRelu(0.3)).build(bm.Spec(("N", 5)))
    assert (given(X) < 0).any()


def test_an_unknown_activation_names_the_nearest() -> None:
    with pytest.raises(bm.errors.UnknownNameError, match="relu"):
        bm.layers.Dense(4, activation="rellu").build(bm.Spec(("N", 5)))


def test_dense_starts_within_glorot_limits_and_with_zero_bias() -> None:
    state = bm.layers.Dense(300).build(bm.Spec(("N", 200))).state()
    limit = (6 / 500) ** 0.5
    assert np.abs(state["weight"]).max() <= limit
    assert state["weight"].std() == pytest.approx(limit / 3**0.5, rel=0.02)
    assert not state["bias"].any()


def test_wrong_widths_name_the_layer() -> None:
    shared = bm.layers.Dense(3)
    with pytest.raises(ShapeError, match=r"dense_1 \(Dense\).*shared parameter 'weight'"):
        bm.Sequential(shared, shared).build(bm.Spec(("N", 5)))


@pytest.mark.parametrize("wrong", [None, 1.5, "a", (2, None)], ids=repr)
@pytest.mark.parametrize("name", ["AdaptiveAveragePool2d", "Resize", "Upsample2d", "ZeroPad2d"])
def test_sizes_that_are_no_numbers_are_refused(name: str, wrong: Any) -> None:
    with pytest.raises(bm.errors.BigmodelError, match=r"size|factor|padding"):
        getattr(bm.layers, name)(wrong)(bm.Spec(("N", 3, 8, 8)))


def test_a_free_feature_axis_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"(?s)free dimension 'T'.*only the batch is free"):
        bm.layers.Dense(3).build(bm.Spec(("N", "T")))


def test_dense_of_integers_is_refused() -> None:
    with pytest.raises(DtypeError, match="int64"):
        bm.layers.Dense(3).build(bm.Spec(("N", 5), "int64"))


def test_dense_takes_free_axes_before_the_last() -> None:
    network = bm.layers.Dense(3).build(bm.Spec(("N", "T", 5)))
    for steps in (1, 4):
        x = np.random.default_rng(steps).normal(size=(2, steps, 5)).astype("float32")
        state = network.state()
        np.testing.assert_allclose(network(x), x @ state["weight"] + state["bias"], rtol=1e-5, atol=1e-6)


def test_dropout_acts_in_training_only() -> None:
    model = bm.Sequential(bm.layers.Dropout(0.5))
    network = model.build(bm.Spec(("N", 5)))
    np.testing.assert_array_equal(network(X), X)
    trained = network.trace(training=True).graph.nodes
    inference = network.trace(training=False).graph.nodes
    assert len(inference) < len(trained)


def test_dropout_steps_differ_and_repeat_from_the_same_seed() -> None:
    def losses(seed: int) -> list[float]:
        model = bm.Sequential(bm.layers.Dropout(0.5), bm.layers.Dense(2))
        step = bm.compile(model.build(bm.Spec(("N", 5))), "cross_entropy", bm.optimizers.SGD(0.0), seed=seed)
        return [step(X, np.zeros(6, "int64")) for _ in range(4)]

    assert len(set(losses(0))) == 4
    assert losses(0) == losses(0) != losses(1)


def test_flatten_from_a_later_axis() -> None:
    assert bm.layers.Flatten(start=2)(bm.Spec(("N", 2, 3, 4))).shape == ("N", 2, 12)
    with pytest.raises(ShapeError, match="from axis 3"):
        bm.layers.Flatten(start=3).build(bm.Spec(("N", 4)))


def test_default_mlp_has_the_widths_784_64_64_10() -> None:
    model = bm.models.build("mlp")
    shapes = {path: array.shape for path, array in model.build(model.input_spec()).state().items()}
    assert shapes == {
        "dense_1/weight": (784, 64),
        "dense_1/bias": (64,),
        "dense_2/weight": (64, 64),
        "dense_2/bias": (64,),
        "dense_3/weight": (64, 10),
        "dense_3/bias": (10,),
    }


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [("mlp", "classes", 3), ("linear-svm", "classes", 3), ("linear-regression", "outputs", 2)],
)
def test_models_fit_their_outputs_to_data(name: str, field: str, value: int) -> None:
    is_regression = field == "outputs"
    x = np.zeros((4, 5), "float32")
    y: np.ndarray = np.zeros((4, 2), "float32") if is_regression else np.array([0, 1, 2, 0])
    data = bm.Data(
        "made up",
        bm.Split(x, y),
        bm.Split(x, y),
        labels=None if is_regression else ("a", "b", "c"),
        task="regression" if is_regression else "classification",
    )
    assert getattr(bm.models.build(name).fitted(data), field) == value


def test_linear_regression_finds_the_least_squares_solution() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 3)).astype("float32")
    y = (x @ [[1.0], [-2.0], [0.5]] + 3 + generator.normal(0, 0.1, (200, 1))).astype("float32")
    network = bm.models.LinearRegression().build(bm.Spec(("N", 3)))
    step = bm.compile(network, "mean_squared_error", bm.optimizers.SGD(0.1))
    for _ in range(300):
        step(x, y)
    exact = np.linalg.lstsq(np.column_stack([x, np.ones(200)]).astype("float64"), y, rcond=None)[0]
    state = network.state()
    np.testing.assert_allclose(state["dense_1/weight"], exact[:3], rtol=1e-4)
    np.testing.assert_allclose(state["dense_1/bias"], exact[3], rtol=1e-4)


def test_linear_svm_separates_what_can_be_separated() -> None:
    generator = np.random.default_rng(0)
    y = generator.integers(0, 3, 150)
    x = (np.eye(3)[y] * 4 + generator.normal(size=(150, 3)) * 0.5).astype("float32")
    network = bm.models.LinearSvm(3).build(bm.Spec(("N", 3)))
    step = bm.compile(network, "hinge", bm.optimizers.AdamW(0.05))
    for _ in range(200):
        loss = step(x, y)
    assert loss < 0.05
    assert (network(x).argmax(-1) == y).all()


@pytest.mark.parametrize("name", ["mean_squared_error", "mean_absolute_error", "huber"])
def test_n_by_1_against_n_names_the_fix(name: str) -> None:
    step = bm.compile(bm.layers.Dense(1), name, "sgd")
    with pytest.raises(ShapeError, match=r"(?s)\(N, 1\) and \(N,\).*Fix: .*reshape\(-1, 1\)"):
        step(X, np.zeros(6, "float32"))


@pytest.mark.parametrize(
    "optimizer", [bm.optimizers.SGD(momentum=0.9), bm.optimizers.Adam(), bm.optimizers.AdamW()], ids=repr
)
def test_an_update_is_one_fused_pass_over_each_parameter(optimizer: Any) -> None:
    step = bm.compile(bm.layers.Dense(4, use_bias=False), "mean_squared_error", optimizer)
    step(X, np.zeros((6, 4), "float32"))
    writers = [
        s for s in step.programs["step"].program.steps for s in (s, s.epilogue) if s is not None and s.writes
    ]
    assert len(writers) == 1
    assert len(writers[0].writes) == 1 + len(optimizer.init())


def test_names_of_models_are_shown_with_hyphens_and_found_with_either() -> None:
    shown = registry.names("model")
    assert "bigmodel-cnn" in shown and not [name for name in shown if "_" in name]
    for name in shown:
        assert registry.get("model", name) is registry.get("model", name.replace("-", "_"))


def test_wider_language_models_learn_at_lower_rates() -> None:
    """As the Trainer takes it; of GPT-3's table, 6e-4 at a width of 768."""
    small, large = (bm.models.build("gpt", width=width, heads=4, layers=1) for width in (128, 768))
    rates = [bm.Trainer(model).optimizer.learning_rate for model in (small, large)]
    assert rates == [0.003125, pytest.approx(6e-4, rel=0.15)]
