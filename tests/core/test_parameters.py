"""Parameters belong to layers: alone, inside a model, inside two, called twice, cut off, copied."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import (
    BigmodelWarning,
    DtypeError,
    GraphError,
    ShapeError,
    UnknownNameError,
    UnknownParameterError,
    UsageError,
)

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


@dataclass(frozen=True)
class Tower(bm.Layer):
    """Makes its layers as it is called."""

    width: int = 8

    def __call__(self, x: Any) -> Any:
        return bm.layers.Dense(3)(bm.layers.Tanh()(bm.layers.Dense(self.width)(x)))


@dataclass(frozen=True)
class Twins(bm.Layer):
    tower: bm.Layer

    def __call__(self, a: Any, b: Any) -> Any:
        return self.tower(a), self.tower(b)


@dataclass(frozen=True)
class Distance(bm.Layer):
    twins: bm.Layer

    def __call__(self, a: Any, b: Any) -> Any:
        left, right = self.twins(a, b)
        return bm.ops.sum((left - right) ** 2, axis=1, keepdims=True)


@dataclass(frozen=True)
class Autoencoder(bm.Layer):
    encoder: bm.Layer
    decoder: bm.Layer

    def __call__(self, x: Any) -> Any:
        return self.decoder(self.encoder(x))


def trained(model: bm.Layer, steps: int = 3) -> bm.Layer:
    step = bm.compile(model, "cross_entropy", bm.optimizers.SGD(0.5))
    for _ in range(steps):
        step(X, np.arange(len(X)) % 3)
    return model


@pytest.mark.parametrize("inner", [Tower(), bm.Sequential(bm.layers.Dense(5), bm.layers.Dense(3))], ids=type)
def test_a_trained_layer_keeps_its_parameters_in_another_model(inner: bm.Layer) -> None:
    inner = trained(bm.clone(inner))
    scores = inner(X)
    outer = bm.Sequential(inner, bm.layers.Softmax())
    np.testing.assert_allclose(outer(X), softmax(scores), atol=1e-6)
    trained(bm.Sequential(inner, bm.layers.Dense(3)))
    assert not np.allclose(inner(X), scores), "the arrays are the same ones"
    np.testing.assert_allclose(outer(X), softmax(inner(X)), atol=1e-6)


def test_a_layer_of_a_trained_model_computes_alone() -> None:
    model = Autoencoder(Tower(), bm.Sequential(bm.layers.Dense(5), bm.layers.Dense(3)))
    trained(model)
    np.testing.assert_array_equal(model.decoder(model.encoder(X)), model(X))
    assert model.encoder.state().keys() == {f"dense_{n}/{p}" for n in (1, 2) for p in ("weight", "bias")}
    before, hidden = model(X), model.encoder(X)
    trained(model)
    assert not np.allclose(model.encoder(X), hidden), "it follows the training of the model"
    np.testing.assert_array_equal(model.decoder(model.encoder(X)), model(X))
    zeros = {path: np.zeros_like(array) for path, array in model.encoder.state().items()}
    model.encoder.load_state(zeros)
    assert not np.allclose(model(X), before) and not np.ptp(model(X), axis=0).any()


def test_two_models_share_the_arrays_of_a_layer() -> None:
    shared = Tower()
    first, second = bm.Sequential(shared, bm.layers.Dense(3)), bm.Sequential(shared, bm.layers.Dense(3))
    before, head = second(X), second.state()["dense_1/weight"]
    trained(first)
    assert not np.array_equal(second(X), before)
    np.testing.assert_array_equal(
        first.state()["tower_1/dense_1/weight"], second.state()["tower_1/dense_1/weight"]
    )
    np.testing.assert_array_equal(second.state()["dense_1/weight"], head)
    assert not np.array_equal(first.state()["dense_1/weight"], head), "each has a head of its own"
    second.load_state({path: np.zeros_like(array) for path, array in second.state().items()})
    assert not first.state()["tower_1/dense_1/weight"].any() and first.state()["dense_1/weight"].any()


def test_a_layer_that_makes_its_layers_shares_them_when_it_is_called_twice(torch: Any) -> None:
    model = Twins(Tower())
    model.build(X, X)
    assert sorted(model.state()) == sorted(f"tower/dense_{n}/{p}" for n in (1, 2) for p in ("weight", "bias"))
    a, b = model(X, X[::-1])
    np.testing.assert_array_equal(a, b[::-1])
    tower = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    state = model.state()
    with torch.no_grad():
        for number, name in ((0, "dense_1"), (2, "dense_2")):
            tower[number].weight.copy_(torch.tensor(state[f"tower/{name}/weight"].T))
            tower[number].bias.copy_(torch.tensor(state[f"tower/{name}/bias"]))
    optimizer = torch.optim.SGD(tower.parameters(), 0.1)

    other = np.random.default_rng(1).normal(size=X.shape).astype("float32")
    target = np.linspace(0, 2, len(X), dtype="float32")[:, None]
    step = bm.compile(Distance(model), "mean_squared_error", bm.optimizers.SGD(0.1))
    for _ in range(5):
        loss = step((X, other), target)
        distance = ((tower(torch.tensor(X)) - tower(torch.tensor(other))) ** 2).sum(1, keepdim=True)
        expected = torch.nn.functional.mse_loss(distance, torch.tensor(target))
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
        assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(
        model.state()["tower/dense_1/weight"], tower[0].weight.detach().numpy().T, atol=1e-5
    )


def test_what_is_made_deep_inside_is_shared_too_and_a_base_class_goes_on_counting() -> None:
    @dataclass(frozen=True)
    class Deep(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return Tower()(x) + Tower()(x)

    @dataclass(frozen=True)
    class Longer(Tower):
        def __call__(self, x: Any) -> Any:
            return super().__call__(bm.layers.Dense(4)(x))

    twins = Twins(Deep())
    twins.build(X, X)
    assert len(twins.state()) == 8
    longer = Longer()
    longer.build(X)
    assert {path.split("/")[0] for path in longer.state()} == {"dense_1", "dense_2", "dense_3"}


def test_a_layer_met_between_layers_that_are_made_keeps_their_names_in_step() -> None:
    @dataclass(frozen=True)
    class Mixed(bm.Layer):
        held: tuple[bm.Layer, ...]

        def __call__(self, x: Any) -> Any:
            return bm.layers.Dense(3)(self.held[0](x))

    twins = Twins(Mixed((bm.layers.Dense(5),)))
    twins.build(X, X)
    assert sorted(twins.state()) == sorted(f"tower/dense_{n}/{p}" for n in (1, 2) for p in ("weight", "bias"))


# Building -----------------------------------------------------------------------------------------------


def test_building_again_keeps_parameters_unless_a_seed_is_given() -> None:
    model = trained(Tower())
    before = model.state()
    model.build(X)
    assert all(np.array_equal(before[path], array) for path, array in model.state().items())
    model.build(X, seed=0)
    fresh = Tower().build(X).state()
    assert all(np.array_equal(fresh[path], array) for path, array in model.state().items())
    assert not all(np.array_equal(before[path], array) for path, array in fresh.items())


def test_a_seed_says_which_shared_layers_it_touches() -> None:
    shared = Tower()
    first = bm.Sequential(shared)
    before = first.build(X).state()["tower_1/dense_1/weight"]
    second = bm.Sequential(shared, bm.layers.Dense(2))
    with pytest.warns(BigmodelWarning, match=r"seed=3 drew tower_1/dense_1/weight, .* which other") as caught:
        second.build(X, seed=3)
    assert caught[0].filename == __file__, "it points at the line that asked for it"
    assert not np.array_equal(first.state()["tower_1/dense_1/weight"], before)
    np.testing.assert_array_equal(
        first.state()["tower_1/dense_1/weight"], second.state()["tower_1/dense_1/weight"]
    )


def test_other_shapes_are_an_error_on_the_way_and_drawn_anew_on_request() -> None:
    inner = trained(Tower())
    wide = bm.Spec(("N", 7))
    with pytest.raises(ShapeError, match=r"tower_1/dense_1/weight.*\(4, 8\) and would need \(7, 8\)"):
        bm.Sequential(inner)(np.zeros((2, 7), "float32"))
    kept = inner.state()
    model = bm.Sequential(inner)
    with pytest.warns(BigmodelWarning, match="tower_1/dense_1/weight did not fit in shape"):
        model.build(wide)
    np.testing.assert_array_equal(model.state()["tower_1/dense_2/weight"], kept["dense_2/weight"])


def test_trainer_and_compile_never_redraw() -> None:
    inner = trained(Tower())
    before = inner.state()["dense_1/weight"]
    model = bm.Sequential(inner, bm.layers.Dense(3))
    trainer = bm.Trainer(model, "cross_entropy", bm.optimizers.SGD(0.0), seed=5)
    trainer.fit((X, np.arange(len(X)) % 3), epochs=1, verbose=False)
    np.testing.assert_array_equal(inner.state()["dense_1/weight"], before)
    np.testing.assert_array_equal(
        model.state()["dense_1/weight"],
        bm.Sequential(Tower(), bm.layers.Dense(3)).build(X, seed=5).state()["dense_1/weight"],
    )


def test_a_build_converts_number_types_and_a_model_on_its_way_takes_those_it_finds() -> None:
    inner = Tower()
    inner.build(bm.Spec(("N", 4), "float64"), dtype="float64")
    model = bm.Sequential(inner, bm.layers.Dense(2))
    assert model(X.astype("float64")).dtype == "float64"
    model.build(bm.Spec(("N", 4)), dtype="float32")
    np.testing.assert_array_equal(
        model.state()["tower_1/dense_1/weight"], inner.state()["dense_1/weight"].astype("float32")
    )
    other = bm.Sequential(inner)
    other.build(bm.Spec(("N", 4)), dtype="float32")
    before = other.state()["tower_1/dense_1/weight"]
    inner.build(bm.Spec(("N", 4), "float64"), dtype="float64")
    trained(other)
    np.testing.assert_array_equal(inner.state()["dense_1/weight"], before)  # as they were at the build
    half = bm.Sequential(trained(Tower()), bm.layers.Dense(3))
    double = bm.layers.Dense(3)
    double.build(bm.Spec(("N", 3), "float64"), dtype="float64")
    with pytest.raises(DtypeError, match="dense_1/weight"):
        bm.Sequential(half.layers[0], double)(X)


def test_a_build_that_fails_changes_nothing() -> None:
    model = trained(Tower())
    before = model(X)
    with pytest.raises(ShapeError):
        model.build(bm.Spec(()), seed=1)
    np.testing.assert_array_equal(model(X), before)


def test_a_layer_that_is_a_default_is_not_shared_by_all_of_its_kind() -> None:
    norm_of_all = bm.Sequential(bm.layers.LayerNorm())
    pair_of_all = (bm.layers.LayerNorm(), bm.layers.LayerNorm())

    @dataclass(frozen=True)
    class Normed(bm.Layer):
        norm: bm.Layer = norm_of_all
        pair: tuple[bm.Layer, ...] = pair_of_all

        def __call__(self, x: Any) -> Any:
            return self.pair[1](self.pair[0](self.norm(x)))

    first, second = Normed(), Normed()
    both = bm.Sequential(first, second)
    both.build(X)
    assert {path.split("/")[0] for path in both.state()} == {"normed_1", "normed_2"}
    assert first == second and first.norm is not second.norm
    assert sum(array.size for array in both.state().values()) == 2 * 3 * 8


# Heads, parts and ties ----------------------------------------------------------------------------------


def test_a_head_is_cut_off_and_another_put_on() -> None:
    model = trained(bm.Sequential(bm.layers.Dense(5), bm.layers.Tanh(), bm.layers.Dense(3)))
    hidden = np.tanh(model.layers[0](X))
    other = bm.Sequential(*model.layers[:-1], bm.layers.Dense(2))
    np.testing.assert_allclose(other(X), hidden @ other.layers[2].weight + other.layers[2].bias, atol=1e-6)
    before, scores = other.layers[2].weight, model(X)
    step = bm.compile(other, "cross_entropy", bm.optimizers.SGD(0.5))
    step(X, np.arange(len(X)) % 2)
    assert not np.array_equal(other.layers[2].weight, before) and not np.allclose(model(X), scores)
    np.testing.assert_array_equal(model.layers[0].weight, other.layers[0].weight)
    pair = Autoencoder(Tower(), bm.layers.Dense(3))
    pair(X)
    swapped = replace(pair, decoder=bm.layers.Dense(7))
    assert swapped(X).shape == (6, 7)
    np.testing.assert_array_equal(swapped.encoder(X), pair.encoder(X))


def test_a_part_is_a_model(tmp_path: Path) -> None:
    model = trained(Autoencoder(Tower(), bm.layers.Dense(3)))
    part = model.part("encoder/dense_1")
    np.testing.assert_allclose(part(X), X @ model.state()["encoder/dense_1/weight"] + part.bias, atol=1e-6)
    before = model(X)
    trained(bm.Sequential(part, bm.layers.Dense(3)))
    assert not np.allclose(model(X), before), "the arrays are the same ones"
    np.testing.assert_array_equal(model.state()["encoder/dense_1/weight"], part.weight)
    bm.export(model.part("encoder"), tmp_path / "encoder.onnx")
    again = bm.from_onnx(tmp_path / "encoder.onnx")
    np.testing.assert_allclose(again(X), model.encoder(X), atol=1e-6)
    with pytest.raises(UnknownNameError, match="use one of encoder"):
        model.part("encodr")


def test_loaded_models_have_the_same_rights(tmp_path: Path) -> None:
    model = trained(Autoencoder(Tower(), bm.Sequential(bm.layers.BatchNorm(), bm.layers.Dense(3))))
    bm.save(model, tmp_path / "m.safetensors")
    bm.export(model, tmp_path / "m.onnx")
    scores, hidden = model(X), model.encoder(X)
    for loaded in (bm.load(tmp_path / "m.safetensors"), bm.from_onnx(tmp_path / "m.onnx")):
        np.testing.assert_allclose(bm.Sequential(loaded, bm.layers.Softmax())(X), softmax(scores), atol=1e-6)
        copied = bm.clone(loaded)
        trained(loaded)
        assert not np.allclose(loaded(X), scores)
        np.testing.assert_allclose(copied(X), scores, atol=1e-6)
    read = bm.from_onnx(tmp_path / "m.onnx")
    parts = (
        read.part("encoder"),
        read.part("decoder"),
    )  # the file has the normalisation in the encoder's last layer
    np.testing.assert_allclose(parts[1](parts[0](X)), scores, atol=1e-6)
    loaded = bm.load(tmp_path / "m.safetensors")
    encoder = loaded.part("encoder")
    np.testing.assert_allclose(encoder(X), hidden, atol=1e-6)
    new = bm.Sequential(encoder, bm.layers.Dense(3))
    trained(new)
    assert not np.allclose(loaded(X), scores), "the arrays are the same ones"
    np.testing.assert_allclose(new.layers[0](X), loaded.part("encoder")(X), atol=1e-6)
    decoder = loaded.part("decoder")
    name = next(path for path in decoder.state() if "mean" in path)
    moments = decoder.state()[name]
    trained(bm.Sequential(encoder, decoder))
    assert not np.array_equal(decoder.state()[name], moments)


@dataclass(frozen=True)
class Tied(bm.Layer):
    """Scores of words by the table that embeds them."""

    embedding: bm.Layer

    def __call__(self, words: Any) -> Any:
        hidden = bm.layers.Tanh()(self.embedding(words))
        return hidden @ bm.ops.transpose(self.embedding.weight, (1, 0))


def test_a_parent_uses_a_childs_parameter(torch: Any, tmp_path: Path) -> None:
    model = Tied(bm.layers.Embedding(7, 4))
    words, target = np.arange(6), np.arange(1, 7)
    model.build(words)
    assert list(model.state()) == ["embedding/weight"]
    table = torch.nn.Parameter(torch.tensor(model.state()["embedding/weight"]))
    step = bm.compile(model, "cross_entropy", bm.optimizers.SGD(0.5))
    for _ in range(5):
        loss = step(words, target)
        expected = torch.nn.functional.cross_entropy(
            torch.tanh(table[torch.tensor(words)]) @ table.T, torch.tensor(target)
        )
        (gradient,) = torch.autograd.grad(expected, table)
        with torch.no_grad():
            table -= 0.5 * gradient
        assert loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(model.embedding.weight, table.detach().numpy(), atol=1e-5)
    bm.export(model, tmp_path / "tied.onnx")
    bm.save(model, tmp_path / "tied.safetensors")
    assert list(bm.load(tmp_path / "tied.safetensors").state()) == ["embedding/weight"]
    assert list(bm.clone(model).state()) == ["embedding/weight"]


def test_a_parameter_that_is_not_there_is_named() -> None:
    layer = bm.layers.Dense(3)
    with pytest.raises(UnknownParameterError, match="no attribute and no parameter 'weight'"):
        assert layer.weight is None
    assert not hasattr(layer, "no_such_thing")

    @dataclass(frozen=True)
    class Early(bm.Layer):
        inner: bm.Layer

        def __call__(self, x: Any) -> Any:
            return x @ self.inner.weight + self.inner(x)

    with pytest.raises(UnknownParameterError, match="once it was called there"):
        Early(bm.layers.Dense(4))(X)
    with pytest.raises(GraphError):
        layer.state()


# States and copies --------------------------------------------------------------------------------------


def test_a_part_of_a_state_is_loaded_and_the_rest_reported() -> None:
    model, other = trained(Tower()), Tower(5)
    other.build(X)
    state = {**model.state(), "elsewhere/weight": np.zeros(3)}
    del state["dense_1/bias"]
    with pytest.raises(ShapeError, match="missing: dense_1/bias; unknown: elsewhere/weight"):
        other.load_state(state)
    before = other.state()
    report = other.load_state(state, partial=True)
    assert report.loaded == ("dense_2/bias",)
    assert report.missing == ("dense_1/bias",) and report.unknown == ("elsewhere/weight",)
    assert set(report.misfits) == {"dense_1/weight", "dense_2/weight"}
    assert "does not fit: dense_2/weight: expected shape (5, 3), got (8, 3)." in str(report)
    np.testing.assert_array_equal(other.state()["dense_2/bias"], state["dense_2/bias"])
    np.testing.assert_array_equal(other.state()["dense_1/weight"], before["dense_1/weight"])


def test_a_partial_state_of_which_nothing_fits_is_an_error() -> None:
    model = Tower()
    model.build(X)
    with pytest.raises(ShapeError, match="nothing in the state fits the model: it has other/weight"):
        model.load_state({"other/weight": np.zeros(3)}, partial=True)


@pytest.mark.parametrize(
    "copied",
    [bm.clone, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["clone", "deepcopy", "pickle"],
)
def test_copies_are_independent_and_keep_what_they_share(copied: Any) -> None:
    shared = Tower()
    model = Autoencoder(shared, bm.Sequential(bm.layers.Dense(4), shared))
    trained(model)
    before = model(X)
    other = copied(model)
    np.testing.assert_array_equal(other(X), before)
    assert other.state().keys() == model.state().keys() and other.encoder is other.decoder.layers[1]
    trained(other)
    np.testing.assert_array_equal(model(X), before)
    assert not np.allclose(other(X), before)
    after = other(X)
    trained(model)
    np.testing.assert_array_equal(other(X), after)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_built_model_says_that_its_layer_is_copied(copied: Any) -> None:
    with pytest.raises(UsageError, match="not copied or pickled") as caught:
        copied(bm.layers.Dense(3).build(X))
    assert caught.value.fix == "copy its layer, which has the parameters: bm.clone(network.layer)."


def test_a_shallow_copy_has_parameters_of_its_own_and_the_same_layers_inside() -> None:
    model = Autoencoder(Tower(), bm.layers.Dense(3))
    model(X)
    other = copy.copy(model)
    assert other.encoder is model.encoder
    before = model(X)
    np.testing.assert_array_equal(other(X), before)
    trained(other)
    assert not np.allclose(model(X), before)
    np.testing.assert_array_equal(other(X), model(X))
    dense = bm.layers.Dense(2)
    dense.build(X, seed=1)
    assert not copy.copy(dense).is_built


def test_a_layer_with_slots_is_copied_with_its_parameters() -> None:
    @dataclass(frozen=True, slots=True)
    class Slotted(bm.Layer):
        inner: bm.Layer

        def __call__(self, x: Any) -> Any:
            return self.inner(x) * self.parameter("scale", (3,), "normal")

    model = trained(Slotted(bm.layers.Dense(3)))
    np.testing.assert_array_equal(bm.clone(model)(X), model(X))
    assert bm.Sequential(copy.copy(model).inner)(X).shape == (6, 3)


def test_shared_parameters_are_stored_counted_and_stepped_once(tmp_path: Path) -> None:
    model = Twins(Tower())
    model.build(X, X)
    size = 4 * 8 + 8 + 8 * 3 + 3
    assert sum(array.size for array in model.state().values()) == size
    assert model.network.summary().parameters == size
    bm.save(model, tmp_path / "twins.safetensors")
    for other in (bm.load(tmp_path / "twins.safetensors"), bm.clone(model)):
        assert other.state().keys() == model.state().keys()
        left, right = other(X, X)
        np.testing.assert_array_equal(left, right)
    step = bm.compile(Distance(model), "mean_squared_error", bm.optimizers.SGD(0.1, momentum=0.9))
    step((X, X[::-1]), np.ones((len(X), 1), "float32"))
    kept = [path.removeprefix("optimizer/velocity/twins/") for path in step.state() if "velocity" in path]
    assert sorted(kept) == sorted(model.state())
    np.testing.assert_array_equal(*model(X, X))


def _predict(model: bm.Layer) -> Any:
    return model(X)


def test_a_model_goes_to_another_process() -> None:
    model = trained(bm.Sequential(bm.layers.Dense(3), bm.layers.Tanh()))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(_predict, (model,)), model(X))


def test_a_model_is_bytes_without_pickle() -> None:
    model = trained(Tower())
    held = io.BytesIO()
    bm.save(model, held)
    held.seek(0)
    np.testing.assert_array_equal(bm.load(held)(X), model(X))
