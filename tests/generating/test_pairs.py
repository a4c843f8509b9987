"""Models of a source and a target write the target through `bm.generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import UsageError

SIZES: dict[str, dict[str, int]] = {
    "transformer": {"layers": 1, "heads": 2, "width": 16},
    "seq2seq-gru": {"units": 16, "width": 16},
}
SOURCES = ["28", "7", "640"]


@pytest.fixture(scope="module", params=SIZES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A model that has learned a little, and its run."""
    folder = tmp_path_factory.mktemp("pairs")
    bm.datasets.get("text-pairs").example(folder)
    data = bm.datasets.TextPairs(tokenizer="characters", target_tokenizer="words").load(folder)
    model = bm.models.build(request.param, **SIZES[request.param]).fitted(data)
    trainer = bm.Trainer(model, optimizer=bm.optimizers.Adam(0.01), out=folder / "run")
    trainer.fit(data, epochs=8, verbose=False)
    return trainer, folder / "run"


def greedy(trainer: Any, source: str, most: int) -> str:
    """What is most probable, by calls of the whole model."""
    encoding = trainer.encoding
    own, other = encoding.tokenizer, encoding.target_tokenizer
    ids, written = own.encode(source).ids[None], [other.special("start")]
    for _ in range(most):
        written.append(int(trainer.model(ids, np.array([written]))[0, -1, : other.size].argmax()))
        if written[-1] == other.special("end"):
            break
    return str(other.decode([token for token in written[1:] if token != other.special("end")]))


def test_what_is_written_is_the_most_probable(run: tuple[Any, Path]) -> None:
    trainer, folder = run
    wanted = [greedy(trainer, source, 6) for source in SOURCES]
    assert bm.generate(folder, SOURCES, max_tokens=6) == wanted
    assert any(wanted)


def test_each_source_is_written_as_alone(run: tuple[Any, Path]) -> None:
    beam = bm.strategies.Beam(width=3)
    together = bm.generate(run[1], SOURCES, beam, max_tokens=6)
    assert together == [bm.generate(run[1], source, beam, max_tokens=6) for source in SOURCES]


def test_evaluation_by_a_strategy_measures_what_is_written(run: tuple[Any, Path]) -> None:
    trainer, folder = run
    split = bm.datasets.load("text-pairs", folder.parent, like=folder).test
    sources, most = [row[row >= 0] for row in split.x[0][:]], 2 * split.y.shape[1]
    written = bm.Ragged.of(bm.generate(trainer, sources, max_tokens=most))
    wanted = bm.metrics.TokenErrorRate(tokenizer=trainer.encoding.target_tokenizer)(written[:], split.y[:])
    measured = bm.Trainer(trainer.model, "cross_entropy", metrics=["token-error-rate", "accuracy"])
    assert measured.evaluate(split, 4, strategy=bm.strategies.Greedy()) == {"token_error_rate": wanted}
    with pytest.raises(UsageError, match="none of the metrics is one of texts"):
        bm.Trainer(trainer.model, "cross_entropy").evaluate(split, strategy=bm.strategies.Greedy())


def test_a_target_needs_a_start() -> None:
    model = bm.models.build("transformer", **SIZES["transformer"], vocabulary=5, target_vocabulary=5)
    with pytest.raises(UsageError, match="no tokenizer of targets"):
        bm.generate(model, [1, 2])
