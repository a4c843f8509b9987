"""Groups of parameters with options of their own, and optimizers that know which parameter they update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ConfigError, ShapeError, UnknownNameError
from bigmodel_core.registry import config

from .conftest import assert_same_bits, copy_dense, crashed_and_resumed, labelled

L, O, S = bm.layers, bm.optimizers, bm.schedules


def built(dtype: str = "float32") -> Any:
    model = bm.Sequential(bm.Sequential(L.Dense(8), L.Tanh()), L.Dense(3))
    model.build(bm.Spec(("N", 5), dtype), seed=3, dtype=dtype)
    return model


GROUPS = {"*/bias": {"weight_decay": 0}, "sequential_1/*": {"learning_rate": 1e-3}}


def test_groups_are_those_of_pytorch(torch: Any) -> None:
    model = built()
    theirs = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    paths = {"sequential_1/dense_1": theirs[0], "dense_1": theirs[2]}
    copy_dense(model.state(), paths)
    optimizer = torch.optim.AdamW(
        [
            {"params": [theirs[0].weight], "lr": 1e-3, "weight_decay": 0.1},
            {"params": [theirs[0].bias], "lr": 1e-3, "weight_decay": 0},
            {"params": [theirs[2].weight], "lr": 1e-2, "weight_decay": 0.1},
            {"params": [theirs[2].bias], "lr": 1e-2, "weight_decay": 0},
        ]
    )
    step = bm.compile(model, "cross_entropy", O.AdamW(1e-2, weight_decay=0.1, groups=GROUPS))
    x, y = labelled(60)
    for _ in range(5):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y))
        loss.backward()
        optimizer.step()
        assert step(x, y) == pytest.approx(loss.item(), abs=1e-5)
    for path, layer in paths.items():
        np.testing.assert_allclose(model.state()[f"{path}/weight"], layer.weight.detach().T, atol=1e-5)
        np.testing.assert_allclose(model.state()[f"{path}/bias"], layer.bias.detach(), atol=1e-5)


def test_a_group_has_a_schedule_of_its_own_and_all_follow_the_scale() -> None:
    """Plain descent: what a parameter moves by is its rate times its gradient."""
    model, (x, y) = built("float64"), labelled(60)
    groups = {"dense_1/*": {"learning_rate": S.InverseTime(1.0)}}
    step = bm.compile(model, "cross_entropy", O.SGD(0.25, groups=groups))
    for number, scale in enumerate((1.0, 1.0, 0.5)):
        before, step.rate_scale = model.state(), scale
        grads = bm.value_and_grad(model, "cross_entropy")(x.astype("float64"), y)[1]
        step(x.astype("float64"), y)
        for path, array in model.state().items():
            rate = (1.0 / (number + 1) if path.startswith("dense_1/") else 0.25) * scale
            np.testing.assert_allclose(before[path] - array, rate * grads[path], rtol=1e-9, err_msg=path)


def test_of_several_patterns_the_last_one_counts_first() -> None:
    groups = {"*": {"momentum": 0.5, "weight_decay": 0.1}, "*/bias": {"weight_decay": 0.2}}
    optimizer = O.SGD(0.1, groups=groups)
    member = optimizer.member(optimizer.patterns_of("dense_1/bias"))
    assert (member.momentum, member.weight_decay, member.learning_rate) == (0.5, 0.2, 0.1)  # type: ignore[attr-defined]  # a field of SGD


def test_a_group_without_momentum_keeps_no_state() -> None:
    step = bm.compile(built(), "cross_entropy", O.SGD(0.1, momentum=0.9, groups={"*/bias": {"momentum": 0}}))
    step(*labelled(8))
    kept = {path for path in step.state() if path.startswith("optimizer")}
    assert kept == {"optimizer/velocity/sequential_1/dense_1/weight", "optimizer/velocity/dense_1/weight"}


def test_clipping_looks_at_all_groups_together() -> None:
    plain, grouped = built(), built()
    x, y = labelled(60)
    same = {"*/bias": {"learning_rate": 0.5}}
    bm.compile(plain, "cross_entropy", O.SGD(0.5, clip_norm=0.01))(x, y)
    bm.compile(grouped, "cross_entropy", O.SGD(0.5, clip_norm=0.01, groups=same))(x, y)
    for path, array in plain.state().items():
        np.testing.assert_allclose(grouped.state()[path], array, rtol=1e-6)


def test_a_configuration_holds_groups_and_their_schedules() -> None:
    optimizer = O.AdamW(1e-3, groups={**GROUPS, "dense_1/*": {"learning_rate": S.Cosine(0.1)}})
    again = config.from_config("optimizer", config.to_config(optimizer))
    assert again == optimizer
    assert isinstance(again.groups["dense_1/*"]["learning_rate"], S.Cosine)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"*/bias": {"weight_decy": 0}}, r"groups\['\*/bias'\]: there is no option 'weight_decy'"),
        ({"*/bias": {"weight_decay": -1}}, "weight_decay is -1"),
        ({"*/bias": {"clip_norm": 1.0}}, "clip_norm holds for all parameters together"),
        ({"*/bias": 0}, "expected options by pattern"),
    ],
    ids=["unknown", "negative", "clipping", "no options"],
)
def test_wrong_groups(groups: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        O.SGD(0.1, groups=groups)


def test_a_group_that_matches_nothing_names_the_nearest() -> None:
    step = bm.compile(built(), "cross_entropy", O.SGD(0.1, groups={"dense_1/biass": {"weight_decay": 0}}))
    with pytest.raises(UnknownNameError, match="no parameter matches 'dense_1/biass'") as caught:
        step(*labelled(8))
    assert "the nearest is 'dense_1/bias'" in str(caught.value)


def test_a_run_with_groups_resumes_to_the_same_bits(tmp_path: Path) -> None:
    def run(out: Path, *callbacks: Any) -> bm.Trainer:
        groups = {"*/bias": {"weight_decay": 0}, "dense_1/*": {"learning_rate": S.Cosine(0.02)}}
        made = bm.Trainer(
            built(), "cross_entropy", O.AdamW(0.01, groups=groups), out=out, callbacks=callbacks
        )
        made.fit(labelled(64), 3, 16, verbose=False)
        return made

    whole = run(tmp_path / "whole")
    resumed = crashed_and_resumed(run, tmp_path / "run", 6, labelled(64))
    assert_same_bits(whole.step.state(), resumed.step.state())


# Optimizers that know the parameter -------------------------------------------------------------------------


@dataclass(frozen=True)
class Adafactor(bm.Optimizer):
    """Second moments of a matrix as a row and a column (Shazeer and Stern, 2018), without momentum."""

    learning_rate: float = 0.01
    decay: float = 0.9

    def init_parameter(self, path: str, spec: bm.Spec) -> Mapping[str, float | np.ndarray]:
        if spec.ndim != 2:
            return {"square": 0.0}
        rows, columns = spec.sizes
        return {"rows": np.zeros(rows), "columns": np.zeros(columns)}

    def update_parameter(
        self, path: str, parameter: Any, gradient: Any, state: Mapping[str, Any], rate: Any, step: Any
    ) -> tuple[Any, Mapping[str, Any]]:
        square = gradient * gradient + 1e-30
        if parameter.ndim != 2:
            kept = {"square": state["square"] * self.decay + square * (1 - self.decay)}
            return parameter - rate * gradient / ops.sqrt(kept["square"]), kept
        rows = state["rows"] * self.decay + ops.mean(square, axis=1) * (1 - self.decay)
        columns = state["columns"] * self.decay + ops.mean(square, axis=0) * (1 - self.decay)
        size = ops.reshape(rows, (-1, 1)) * ops.reshape(columns, (1, -1)) / ops.mean(rows)
        return parameter - rate * gradient / ops.sqrt(size), {"rows": rows, "columns": columns}


def adafactor(parameter: Any, gradient: Any, state: dict[str, Any]) -> Any:
    square = gradient**2 + 1e-30
    if parameter.ndim != 2:
        state["square"] = state.get("square", 0) * 0.9 + 0.1 * square
        return parameter - 0.01 * gradient / np.sqrt(state["square"])
    state["rows"] = state.get("rows", 0) * 0.9 + 0.1 * square.mean(1)
    state["columns"] = state.get("columns", 0) * 0.9 + 0.1 * square.mean(0)
    return parameter - 0.01 * gradient / np.sqrt(
        np.outer(state["rows"], state["columns"]) / state["rows"].mean()
    )


@dataclass(frozen=True)
class Shampoo(bm.Optimizer):
    """A matrix of second moments for each side (Gupta, Koren and Singer, 2018); roots by Newton's method."""

    learning_rate: float = 0.1

    def init_parameter(self, path: str, spec: bm.Spec) -> Mapping[str, float | np.ndarray]:
        if spec.ndim != 2:
            return {}
        return {side: np.eye(size) * 1e-2 for side, size in zip(("left", "right"), spec.sizes, strict=True)}

    def update_parameter(
        self, path: str, parameter: Any, gradient: Any, state: Mapping[str, Any], rate: Any, step: Any
    ) -> tuple[Any, Mapping[str, Any]]:
        if not state:
            return parameter - rate * gradient, {}
        turned = ops.transpose(gradient, (1, 0))
        left, right = state["left"] + gradient @ turned, state["right"] + turned @ gradient
        return parameter - rate * (_root(left) @ gradient @ _root(right)), {"left": left, "right": right}


def _root(matrix: Any) -> Any:
    """A symmetric matrix to the power of -1/4, by a coupled Newton iteration."""
    one = matrix.node.graph.constant(np.eye(matrix.shape[0]), matrix.dtype)
    scale = 2.5 / ops.sqrt(ops.sum(matrix * matrix))
    power, root = matrix * scale, one * scale**0.25
    for _ in range(25):
        factor = one * 1.25 - power * 0.25
        square = factor @ factor
        power, root = square @ square @ power, root @ factor
    return root


def shampoo(parameter: Any, gradient: Any, state: dict[str, Any]) -> Any:
    if parameter.ndim != 2:
        return parameter - 0.1 * gradient
    left = state["left"] = state.get("left", np.eye(len(parameter)) * 1e-2) + gradient @ gradient.T
    right = state["right"] = state.get("right", np.eye(parameter.shape[1]) * 1e-2) + gradient.T @ gradient
    roots = []
    for matrix in (left, right):
        values, vectors = np.linalg.eigh(matrix)
        roots.append(vectors * values**-0.25 @ vectors.T)
    return parameter - 0.1 * roots[0] @ gradient @ roots[1]


@pytest.mark.parametrize(
    ("optimizer", "reference"),
    [(Adafactor(), adafactor), (Shampoo(), shampoo)],
    ids=["adafactor", "shampoo"],
)
def test_an_optimizer_keeps_arrays_of_other_shapes(optimizer: Any, reference: Any) -> None:
    model, (x, y) = built("float64"), labelled(60)
    step, state = bm.compile(model, "cross_entropy", optimizer), model.state()
    kept: dict[str, dict[str, Any]] = {path: {} for path in state}
    for _ in range(5):
        grads = bm.value_and_grad(model, "cross_entropy")(x.astype("float64"), y)[1]
        step(x.astype("float64"), y)
        for path in state:
            state[path] = reference(state[path], grads[path], kept[path])
            np.testing.assert_allclose(model.state()[path], state[path], rtol=1e-7, atol=1e-10, err_msg=path)
    for path, arrays in kept.items():
        for name, array in arrays.items():
            np.testing.assert_allclose(step.state()[f"optimizer/{name}/{path}"], array, rtol=1e-7)


def test_states_of_other_shapes_resume_to_the_same_bits(tmp_path: Path) -> None:
    def run(out: Path, **options: Any) -> bm.Trainer:
        made = bm.Trainer(built(), "cross_entropy", Adafactor(), out=out)
        made.fit(labelled(64), options.pop("epochs", 3), 16, verbose=False, **options)
        return made

    whole = run(tmp_path / "whole")
    run(tmp_path / "part", epochs=1)
    resumed = run(tmp_path / "part", resume=tmp_path / "part")
    assert_same_bits(whole.step.state(), resumed.step.state())


@dataclass(frozen=True)
class Momentum(bm.Optimizer):
    """An optimizer that defines `init` and `update` alone, as those of earlier versions do."""

    learning_rate: float = 0.1

    def init(self) -> Mapping[str, float]:
        return {"velocity": 0.0}

    def update(
        self, parameter: Any, gradient: Any, state: Mapping[str, Any], rate: Any, step: Any
    ) -> tuple[Any, Mapping[str, Any]]:
        velocity = state["velocity"] * 0.9 + gradient
        return parameter - rate * velocity, {"velocity": velocity}


def test_an_optimizer_with_init_and_update_alone_works_in_groups_too() -> None:
    one, other = built(), built()
    groups = {"*/bias": {"learning_rate": 0.3}}
    mine = bm.compile(one, "cross_entropy", Momentum(groups=groups))
    theirs = bm.compile(other, "cross_entropy", O.SGD(0.1, momentum=0.9, groups=groups))
    for _ in range(3):
        mine(*labelled(60))
        theirs(*labelled(60))
    for path, array in one.state().items():
        np.testing.assert_array_equal(other.state()[path], array)


@dataclass(frozen=True)
class Forgetful(Momentum):
    """An optimizer that returns something else than it keeps."""

    wrong: str = "name"

    def update(self, parameter: Any, gradient: Any, state: Any, rate: Any, step: Any) -> Any:
        return parameter, {} if self.wrong == "name" else {"velocity": ops.sum(gradient)}


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ("name", ConfigError, r"Forgetful returned the state \[\], but init names \['velocity'\]"),
        ("shape", ShapeError, r"returned Spec\(\(\), float32\) for 'velocity', which is Spec\(\(5, 8\)"),
    ],
)
def test_an_optimizer_that_returns_another_state_is_named(wrong: str, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        bm.compile(built(), "cross_entropy", Forgetful(wrong=wrong))(*labelled(8))
