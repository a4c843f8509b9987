"""What attention remembers: a model in pieces gives what it gives as a whole, and so does a padded prompt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import DataError, GraphError, ShapeError

SMALL = {"vocabulary": 11, "context": 150, "layers": 2, "heads": 4, "width": 16}
MODELS = {"gpt": bm.models.build("gpt", **SMALL), "llama": bm.models.build("llama", kv_heads=2, **SMALL)}
for model in MODELS.values():
    model.build(model.input_spec())
TOKENS = np.random.default_rng(0).integers(0, 11, (3, 90))


@dataclass(frozen=True)
class Stack(bm.Layer):
    """Causal attention on vectors, whose layers count positions themselves."""

    def __call__(self, x: Any) -> Any:
        x = bm.layers.PositionalEmbedding(40, causal=True)(x)
        x = bm.layers.SinusoidalPositions(causal=True)(x)
        return bm.layers.TransformerBlock(2, causal=True, rotary=True)(x)


def close(found: Any, wanted: Any, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(found, wanted, atol=tolerance, rtol=tolerance)


def in_pieces(session: Any, x: np.ndarray, cuts: list[int]) -> np.ndarray:
    return np.concatenate([session(piece) for piece in np.split(x, cuts, 1)], 1)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("cuts", ([5, 6, 7, 8, 70], [1, 64], [89]), ids=str)
def test_pieces_give_what_the_whole_gives(name: str, cuts: list[int]) -> None:
    model = MODELS[name]
    close(in_pieces(model.session(), TOKENS, cuts), model(TOKENS))


def test_what_is_read_without_outputs_is_remembered() -> None:
    model = MODELS["gpt"]
    session = model.session()
    session.read(TOKENS[:, :70])
    close(session(TOKENS[:, 70:]), model(TOKENS)[:, 70:])
    paths = {node.path for node in session._own.read.nodes}
    assert "block_2/attention/key" in paths
    assert not paths & {"block_2/attention/output", "norm", "output"}


def test_layers_count_positions_from_call_to_call() -> None:
    x = np.random.default_rng(1).normal(size=(2, 12, 4)).astype("float32")
    model = Stack()
    whole = model(x)
    close(in_pieces(model.session(capacity=12), x, [1, 2, 7]), whole)


@pytest.mark.parametrize("name", MODELS)
def test_padded_prompts_give_what_each_gives_alone(name: str) -> None:
    model, lengths, longest = MODELS[name], (1, 4, 40), 40
    prompts = np.full((3, longest), -1)
    for row, length in enumerate(lengths):
        prompts[row, longest - length :] = TOKENS[row, :length]
    session = model.session(capacity=50)
    together = [session(prompts)[:, -1]]
    for step in range(4):
        more = np.array([[TOKENS[row, length + step]] for row, length in enumerate(lengths)])
        together.append(session(more)[:, 0])
    for row, length in enumerate(lengths):
        alone = model(TOKENS[row : row + 1, : length + 4])[0, length - 1 :]
        close(np.stack([scores[row] for scores in together]), alone)


def test_a_loaded_model_remembers(tmp_path: Path) -> None:
    model = bm.models.build("gpt", **SMALL)
    whole = model(TOKENS[:, :20])  # whose number of steps stays free
    bm.save(model, tmp_path / "model.safetensors")
    close(in_pieces(bm.load(tmp_path / "model.safetensors").session(), TOKENS[:, :20], [3, 4, 5]), whole)


def test_state_is_as_much_as_there_is_and_goes_into_any_session() -> None:
    model = MODELS["gpt"]
    whole, session = model(TOKENS), model.session()
    session(TOKENS[:, :30])
    state = session.state()
    assert state["block_1/attention/keys"].shape == (3, 4, 30, 4) and session.filled == 30
    other = model.session(capacity=90)
    other.load_state(state)
    close(other(TOKENS[:, 30:]), whole[:, 30:])
    copied = session.copy()
    close(session(TOKENS[:, 30:]), whole[:, 30:])
    assert copied.filled == 30
    with pytest.raises(ShapeError, match="30 steps of .*, and 31 of"):
        copied.load_state({**state, "steps/tokens": np.ones((3, 1, 1, 31), bool)})


def test_samples_go_on_from_the_states_of_others() -> None:
    model = MODELS["llama"]
    whole, session = model(TOKENS), model.session()
    session(TOKENS[:, :10])
    session.reorder([2, 2, 0])
    close(session(TOKENS[[2, 2, 0], 10:12]), whole[[2, 2, 0], 10:12])


def test_a_session_that_begins_anew_remembers_nothing() -> None:
    model = MODELS["gpt"]
    first, session = model(TOKENS[:, :9]), model.session()
    session(TOKENS)
    session.reset()
    padded = np.concatenate([np.full((3, 2), -1), TOKENS[:, :9]], 1)
    close(session(padded)[:, 2:], first)


def test_more_than_the_capacity_is_refused_and_nothing_is_lost() -> None:
    model = MODELS["gpt"]
    whole, session = model(TOKENS), model.session(capacity=16)
    session(TOKENS[:, :10])
    with pytest.raises(ShapeError, match="a capacity of 16 steps; it remembers 10 and cannot take 7 more"):
        session(TOKENS[:, 10:17])
    close(session(TOKENS[:, 10:16]), whole[:, 10:16])


def test_more_than_the_context_is_refused() -> None:
    session = MODELS["gpt"].session()
    session(np.ones((1, 149), int))
    session(np.ones((1, 1), int))
    with pytest.raises(DataError, match="position"):
        session(np.ones((1, 1), int))


def test_one_plan_serves_every_length_of_the_past() -> None:
    session = MODELS["gpt"].session(capacity=40)
    for step in range(30):
        session(TOKENS[:, step : step + 1])
    assert (
        len(session._own.call._plans) + sum(len(own.call._plans) for _, own in session._others.values()) == 1
    )


def test_floats_that_are_remembered_are_for_attention_alone() -> None:
    @dataclass(frozen=True)
    class Sum(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return ops.sum(self.remembered("x", x, 1), 1)

    model, x = Sum(), np.ones((2, 3, 4), "float32")
    close(model(x), x.sum(1))
    with pytest.raises(GraphError, match="Sum reads what is remembered, and cannot tell how much there is"):
        model.session()(x)


def test_what_is_remembered_twice_is_refused() -> None:
    @dataclass(frozen=True)
    class Twice(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return self.remembered("x", self.remembered("x", x, 1), 1)

    with pytest.raises(GraphError, match="'x' is remembered twice"):
        Twice()(np.ones((2, 3, 4), "float32"))
