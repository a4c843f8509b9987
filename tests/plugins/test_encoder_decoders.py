"""Models from a source to a target text: what they see, and how they write step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError

from .test_encoders import count

SMALL: dict[str, dict[str, int]] = {
    "transformer": {"layers": 2, "heads": 2, "width": 8},
    "seq2seq-gru": {"layers": 2, "units": 6, "width": 8},
}
SOURCE = np.array([[1, 5, 3, 6, 2], [4, 2, 0, -1, -1]])
TARGET = np.array([[0, 3, 4, 1], [0, 2, 5, 5]])


@pytest.fixture(params=SMALL)
def model(request: pytest.FixtureRequest) -> Any:
    """A small model, built."""
    made = bm.models.build(request.param, vocabulary=7, target_vocabulary=6, **SMALL[request.param])
    made.build(*made.input_spec(), seed=3)
    return made


def close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_padding_of_sources_changes_nothing(model: Any) -> None:
    close(model(SOURCE[1:, :3], TARGET[1:]), model(SOURCE, TARGET)[1:])


def test_the_source_matters(model: Any) -> None:
    assert np.abs(model(SOURCE[:1], TARGET[:1]) - model(SOURCE[:1, ::-1].copy(), TARGET[:1])).max() > 1e-3


def test_a_step_sees_targets_before_it_alone(model: Any) -> None:
    changed = TARGET.copy()
    changed[:, 2:] = 1
    found, wanted = model(SOURCE, changed), model(SOURCE, TARGET)
    np.testing.assert_array_equal(found[:, :2], wanted[:, :2])
    assert np.abs(found[:, 2] - wanted[:, 2]).max() > 1e-4


def test_encode_and_decode_are_the_model_in_two_steps(model: Any) -> None:
    close(model.decode(TARGET, model.encode(SOURCE)), model(SOURCE, TARGET))


@pytest.mark.parametrize("where", ("built", "loaded"))
def test_the_decoder_reads_step_by_step(model: Any, tmp_path: Path, where: str) -> None:
    wanted = model(SOURCE, TARGET)
    if where == "loaded":
        bm.save(model, tmp_path / "model.safetensors")
        model = bm.load(tmp_path / "model.safetensors")
    encoder, decoder = bm.encoder_decoder(model)
    memory, session = encoder(SOURCE), decoder.session()
    found = [session(TARGET[:, t : t + 1], *memory) for t in range(TARGET.shape[1])]
    close(np.concatenate(found, 1), wanted)
    session = decoder.session(fixed=memory)
    for _ in range(2):
        found = [session(TARGET[:, t : t + 1]) for t in range(TARGET.shape[1])]
        close(np.concatenate(found, 1), wanted)
        session.reset()


@pytest.mark.parametrize("where", ("built", "loaded"))
def test_a_table_that_is_shared_serves_both_halves(tmp_path: Path, where: str) -> None:
    model = bm.models.build(
        "transformer", vocabulary=7, target_vocabulary=7, layers=1, heads=2, width=4, shared=True
    )
    wanted = model(SOURCE, TARGET)
    assert [path for path in model.state() if "embedding" in path] == ["encoder/embedding/weight"]
    if where == "loaded":
        bm.save(model, tmp_path / "model.safetensors")
        model = bm.load(tmp_path / "model.safetensors")
    encoder, decoder = bm.encoder_decoder(model)
    close(decoder(TARGET, *encoder(SOURCE)), wanted)
    model.load_state({path: 2 * array for path, array in model.state().items()})
    close(decoder(TARGET, *encoder(SOURCE)), model(SOURCE, TARGET))


def test_what_depends_on_the_source_alone_is_computed_once() -> None:
    model = bm.models.build("transformer", vocabulary=7, target_vocabulary=6, **SMALL["transformer"])
    model.build(*model.input_spec())
    encoder, decoder = bm.encoder_decoder(model)
    steps = decoder.session(fixed=encoder(SOURCE)).kernels(2, S=5, T=1)
    kept = {step.path for step in steps if any(kernel.is_kept for kernel in step.kernels)}
    assert {f"block_{n}/cross_attention/{part}" for n in (1, 2) for part in ("key", "value")} <= kept


def test_some_samples_of_a_session_go_on_with_their_sources(model: Any) -> None:
    encoder, decoder = bm.encoder_decoder(model)
    taken = [1, 1, 0]
    wanted = model(SOURCE[taken], TARGET[taken])
    session = decoder.session(fixed=encoder(SOURCE), capacity=4)
    session(TARGET[:, :3])
    close(session.copy(taken)(TARGET[taken, 3:]), wanted[:, 3:])
    close(session(TARGET[:, 3:]), model(SOURCE, TARGET)[:, 3:])


@pytest.mark.parametrize("name", SMALL)
def test_a_model_learns_to_turn_sequences_round(name: str) -> None:
    random = np.random.default_rng(0)
    tokens = random.integers(2, 8, (256, 4))
    start = np.zeros((256, 1), int)
    target = tokens[:, ::-1]
    sizes = {"transformer": {"layers": 1, "width": 32}, "seq2seq-gru": {"units": 32, "width": 32}}[name]
    model = bm.models.build(name, vocabulary=8, target_vocabulary=8, dropout=0.0, **sizes)
    step = bm.compile(model, loss="cross_entropy", optimizer=bm.optimizers.Adam(0.01))
    given = np.concatenate([start, target[:, :-1]], 1)
    for _ in range(15):
        for at in range(0, 224, 32):
            step((tokens[at : at + 32], given[at : at + 32]), target[at : at + 32])
    memory, written = model.encode(tokens[224:]), start[224:]
    for _ in range(4):
        written = np.concatenate([written, model.decode(written, memory)[:, -1:].argmax(-1)], 1)
    assert (written[:, 1:] == target[224:]).mean() > 0.8


@pytest.mark.parametrize(("size", "published"), [("base", 65e6), ("big", 213e6)])
def test_sizes_have_the_published_number_of_parameters(size: str, published: float) -> None:
    assert count(bm.models.Transformer(size=size)) == pytest.approx(published, rel=0.04)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ConfigError, match="7 source tokens cannot share a table with 6 target tokens"):
        bm.models.build("transformer", vocabulary=7, target_vocabulary=6, shared=True)
    with pytest.raises(ConfigError, match="width of 10 cannot be split into 4 heads"):
        bm.models.build("transformer", width=10)
    with pytest.raises(ConfigError, match="units is 0"):
        bm.models.build("seq2seq-gru", units=0)
