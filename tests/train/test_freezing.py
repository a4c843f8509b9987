"""Frozen means frozen: no gradient, no decay, no update, no statistics, no state; also after a resume."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, GraphError, UnknownNameError
from bigmodel_core.graph import needed

from .conftest import assert_same_bits, copy_dense, crashed_and_resumed, labelled

L, O = bm.layers, bm.optimizers


def model() -> Any:
    encoder = bm.Sequential(L.Dense(8), L.BatchNorm(), L.Relu(), L.Dropout(0.5))
    return bm.Sequential(encoder, L.Dense(3))


ENCODER = "sequential_1/*"


def trained_encoder() -> Any:
    """A model whose statistics are no longer those it starts with."""
    found, (x, y) = model(), labelled(64)
    step = bm.compile(found, "cross_entropy", O.SGD(0.1))
    for _ in range(5):
        step(x, y)
    return found


def changed(found: Any, before: dict[str, np.ndarray]) -> list[str]:
    return [path for path, array in found.state().items() if array.tobytes() != before[path].tobytes()]


HEAD = ["dense_1/weight", "dense_1/bias"]


def test_a_hundred_steps_with_decay_and_momentum_leave_the_same_bits_and_no_state() -> None:
    found, (x, y) = trained_encoder(), labelled(64)
    before = found.state()
    optimizer = O.SGD(0.05, momentum=0.9, weight_decay=0.1)
    step = bm.compile(found, "cross_entropy", optimizer, freeze=(ENCODER,))
    for start in range(100):
        rows = np.arange(start, start + 16) % 64
        step(x[rows], y[rows])
    assert sorted(changed(found, before)) == sorted(HEAD)
    kept = [path for path in step.state() if path.startswith("optimizer")]
    assert sorted(kept) == sorted(f"optimizer/velocity/{path}" for path in HEAD)


def test_the_layer_frozen_does_the_same() -> None:
    (x, y), encoder = labelled(64), trained_encoder().layers[0]
    found = bm.Sequential(L.Frozen(encoder), L.Dense(3))
    found(x)
    before = found.state()
    step = bm.compile(found, "cross_entropy", O.Adam(0.05, weight_decay=0.1))
    for _ in range(100):
        step(x, y)
    assert sorted(changed(found, before)) == sorted(HEAD)
    assert {path.split("/", 2)[2] for path in step.state() if path.startswith("optimizer")} == set(HEAD)


def test_no_gradient_is_computed_for_what_is_frozen() -> None:
    """The products of the first layer: one forward; trained, one more for the gradient of its weight."""
    x, y = labelled(64)
    counts = []
    for freeze in ((), (ENCODER,)):
        step = bm.compile(model(), "cross_entropy", "sgd", freeze=freeze)
        step.build([x], y)
        outputs = [*step.programs["step"].program.updates.values(), *step.programs["step"].program.outputs]
        nodes = [node for node in needed(outputs) if node.path == "sequential_1/dense_1"]
        counts.append(sum(type(node.op).__name__ in ("MatMul", "Affine") for node in nodes))
    assert counts == [2, 1]


def test_a_frozen_part_computes_as_in_inference() -> None:
    """The first loss is that of the inference mode: stored moments, no dropout."""
    found, (x, y) = trained_encoder(), labelled(64)
    logits = found(x).astype("float64")
    expected = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(64), y])
    step = bm.compile(found, "cross_entropy", "sgd", freeze=ENCODER)
    assert step(x, y) == pytest.approx(expected, rel=1e-5)


def test_frozen_bias_alone_stays_and_its_layer_trains() -> None:
    found, (x, y) = trained_encoder(), labelled(64)
    before = found.state()
    step = bm.compile(found, "cross_entropy", O.SGD(0.1, weight_decay=0.1), freeze=("*/bias",))
    step(x, y)
    assert not [path for path in changed(found, before) if path.endswith("bias")]
    assert "sequential_1/batch_norm_1/running_mean" in changed(found, before)


def test_frozen_statistics_alone_stay() -> None:
    found, (x, y) = trained_encoder(), labelled(64)
    before = found.state()
    bm.compile(found, "cross_entropy", O.SGD(0.1), freeze="*/running_*")(x, y)
    assert set(before) - set(changed(found, before)) == {
        "sequential_1/batch_norm_1/running_mean",
        "sequential_1/batch_norm_1/running_variance",
    }


def test_other_layers_are_trained_as_pytorch_trains_them(torch: Any) -> None:
    found, (x, y) = trained_encoder(), labelled(64)
    state = {path: torch.tensor(array) for path, array in found.state().items()}
    net = torch.nn.Sequential(
        torch.nn.Linear(5, 8),
        torch.nn.BatchNorm1d(8),
        torch.nn.ReLU(),
        torch.nn.Dropout(),
        torch.nn.Linear(8, 3),
    )
    copy_dense(found.state(), {"sequential_1/dense_1": net[0], "dense_1": net[4]})
    with torch.no_grad():
        norm = "sequential_1/batch_norm_1"
        net[1].weight.copy_(state[f"{norm}/scale"])
        net[1].bias.copy_(state[f"{norm}/shift"])
        net[1].running_mean.copy_(state[f"{norm}/running_mean"])
        net[1].running_var.copy_(state[f"{norm}/running_variance"])
    net[:4].eval().requires_grad_(False)
    theirs = torch.optim.SGD(net[4].parameters(), 0.1, momentum=0.9, weight_decay=0.01)
    step = bm.compile(found, "cross_entropy", O.SGD(0.1, momentum=0.9, weight_decay=0.01), freeze=ENCODER)
    for _ in range(5):
        theirs.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(torch.tensor(x)), torch.tensor(y))
        loss.backward()
        theirs.step()
        assert step(x, y) == pytest.approx(loss.item(), rel=1e-5)
    np.testing.assert_allclose(found.state()["dense_1/weight"], net[4].weight.detach().T, atol=1e-5)


def test_a_loaded_model_is_frozen_like_the_one_that_was_saved(tmp_path: Path) -> None:
    found, (x, y) = trained_encoder(), labelled(64)
    bm.save(found, tmp_path / "model.safetensors")
    states = []
    for candidate in (found, bm.load(tmp_path / "model.safetensors")):
        before = candidate.state()
        step = bm.compile(candidate, "cross_entropy", O.SGD(0.1, momentum=0.9), freeze=ENCODER)
        for _ in range(5):
            step(x, y)
        assert sorted(changed(candidate, before)) == sorted(HEAD)
        states.append(candidate.state())
    for path, array in states[0].items():
        np.testing.assert_array_equal(states[1][path], array, err_msg=path)


PARTS: dict[str, tuple[str, ...]] = {
    "the first": ("sequential_1/*",),
    "the second": ("sequential_2/*",),
    "both": ("sequential_1/*", "sequential_2/*"),
    "a layer": ("sequential_2/batch_norm_1/*",),
}


@pytest.mark.parametrize("freeze", PARTS.values(), ids=PARTS)
def test_any_part_of_a_loaded_model_is_frozen_alone(tmp_path: Path, freeze: tuple[str, ...]) -> None:
    """Dropout before, between and behind; the masks of what trains are those of the saved model."""
    (x, y), dropout = labelled(64), L.Dropout(0.3)
    found = bm.Sequential(
        bm.Sequential(dropout, L.Dense(8), L.BatchNorm()),
        dropout,
        bm.Sequential(L.Dense(8), L.BatchNorm(), L.Dropout(0.5), L.Relu()),
        L.Dense(3),
    )
    found(x)
    bm.save(found, tmp_path / "model.safetensors")
    states = []
    for candidate in (found, bm.load(tmp_path / "model.safetensors")):
        before = candidate.state()
        step = bm.compile(candidate, "cross_entropy", O.SGD(0.1, momentum=0.9), freeze=freeze)
        for _ in range(3):
            step(x, y)
        still = {path for path in before if path not in changed(candidate, before)}
        assert still == {path for path in before if any(path.startswith(item[:-1]) for item in freeze)}
        states.append(candidate.state())
    for path, array in states[0].items():
        np.testing.assert_array_equal(states[1][path], array, err_msg=path)


@dataclass(frozen=True)
class Again(bm.Layer):
    """A layer that is called again on what came of it."""

    inner: bm.Layer
    between: bm.Layer

    def __call__(self, x: Any) -> Any:
        return self.inner(self.between(self.inner(x)))


def test_a_part_that_is_called_again_on_what_came_of_it(tmp_path: Path) -> None:
    """It is frozen where there are layers, and an error where there is a graph alone."""
    x, y = labelled(64, classes=5)
    found = Again(bm.Sequential(L.Dense(5), L.BatchNorm()), L.Dense(5))
    found(x)
    bm.save(found, tmp_path / "model.safetensors")
    before = found.state()
    bm.compile(found, "cross_entropy", O.SGD(0.1), freeze="inner/*")(x, y)
    assert sorted(changed(found, before)) == ["between/bias", "between/weight"]
    with pytest.raises(GraphError, match="called again on what came of it") as caught:
        bm.compile(bm.load(tmp_path / "model.safetensors"), "cross_entropy", "sgd", freeze="inner/*")(x, y)
    assert caught.value.where == "inner"


def test_a_part_of_a_loaded_model_is_frozen_as_a_whole_only(tmp_path: Path) -> None:
    found, (x, y) = trained_encoder(), labelled(64)
    bm.save(found, tmp_path / "model.safetensors")
    encoder = bm.load(tmp_path / "model.safetensors").part("sequential_1")
    model = bm.Sequential(encoder, L.Dense(3))
    model(x)
    before = model.state()
    inside = next(path for path in before if path.endswith("running_mean")).rpartition("/")[0]
    with pytest.raises(GraphError, match="cannot be frozen alone"):
        bm.compile(model, "cross_entropy", "sgd", freeze=f"{inside}/*")(x, y)
    whole = inside.split("/", maxsplit=1)[0]
    bm.compile(model, "cross_entropy", O.SGD(0.1, weight_decay=0.1), freeze=f"{whole}/*")(x, y)
    assert all(not path.startswith(whole) for path in changed(model, before))


def test_a_resumed_run_stays_frozen_and_ends_at_the_same_bits(tmp_path: Path) -> None:
    def run(out: Path | None, *callbacks: Any) -> bm.Trainer:
        start = bm.clone(base)
        optimizer = O.SGD(0.05, momentum=0.9, weight_decay=0.1)
        made = bm.Trainer(start, "cross_entropy", optimizer, freeze=ENCODER, out=out, callbacks=callbacks)
        made.fit(labelled(64), 3, 16, verbose=False)
        return made

    base = trained_encoder()
    whole = run(None)
    resumed = crashed_and_resumed(run, tmp_path / "run", 6, labelled(64))
    assert resumed.step.freeze == (ENCODER,)
    assert_same_bits(whole.network.state(), resumed.network.state())
    assert sorted(changed(resumed.network, base.state())) == sorted(HEAD)


def test_wrong_patterns() -> None:
    x, y = labelled(8)
    with pytest.raises(UnknownNameError, match=r"no parameter matches 'encodr/\*'") as caught:
        bm.compile(model(), "cross_entropy", "sgd", freeze="encodr/*")(x, y)
    assert "the nearest is '" in str(caught.value)
    with pytest.raises(GraphError, match="no trainable parameters") as nothing:
        bm.compile(model(), "cross_entropy", "sgd", freeze="*")(x, y)
    assert "freeze fewer" in str(nothing.value)
    with pytest.raises(GraphError, match=r"no trainable parameters.*\n.*name others in `only`"):
        bm.compile(model(), "cross_entropy", "sgd", only="*/running_mean")(x, y)
    with pytest.raises(ConfigError, match="expected patterns"):
        bm.compile(model(), "cross_entropy", "sgd", freeze=3)  # type: ignore[arg-type]  # it is refused


def test_the_layer_frozen_is_exported_and_stays_frozen_in_a_loaded_model(tmp_path: Path) -> None:
    (x, y), encoder = labelled(64), trained_encoder().layers[0]
    found = bm.Sequential(L.Frozen(encoder), L.Dense(3))
    scores = found(x)
    bm.export(found, tmp_path / "model.onnx")  # verified in ONNX Runtime
    np.testing.assert_allclose(bm.from_onnx(tmp_path / "model.onnx")(x), scores, atol=1e-5)
    bm.save(found, tmp_path / "model.safetensors")
    loaded = bm.load(tmp_path / "model.safetensors")
    before = loaded.state()
    bm.compile(loaded, "cross_entropy", O.SGD(0.1, weight_decay=0.1))(x, y)
    assert sorted(changed(loaded, before)) == sorted(HEAD)
