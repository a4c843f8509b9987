"""Batches that are made elsewhere, and targets that are read when they are needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import DataError, UsageError

_generator = np.random.default_rng(2)
X = _generator.normal(size=(24, 4)).astype(np.float32)
Y = _generator.integers(0, 3, 24)


def _trainer(**options: Any) -> bm.Trainer:
    model = bm.Sequential(bm.layers.Dense(3))
    model.build(bm.Spec(("N", 4)), seed=1)
    return bm.Trainer(model, "cross_entropy", bm.optimizers.SGD(0.1, momentum=0.9), **options)


def _by_hand(epochs: int, size: int = 8) -> dict[str, np.ndarray]:
    trainer = _trainer()
    for _ in range(epochs):
        for start in range(0, 24, size):
            trainer.step(X[start : start + size], Y[start : start + size])
    return trainer.network.state()


def _same(found: bm.Trainer, expected: dict[str, np.ndarray]) -> None:
    for path, array in found.network.state().items():
        np.testing.assert_array_equal(array, expected[path])


def _batches() -> Any:
    for start in range(0, 24, 8):
        yield X[start : start + 8], Y[start : start + 8]


def test_a_loader_of_pytorch_is_trained_on(torch: Any):
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=8
    )
    trainer = _trainer(metrics=["accuracy"])
    history = trainer.fit(loader, epochs=2, validation=(X, Y), verbose=False)
    _same(trainer, _by_hand(2))
    assert len(history) == 2 and trainer.state.steps == 6


def test_a_generator_goes_on_from_epoch_to_epoch():
    trainer = _trainer()
    trainer.fit((batch for _ in range(2) for batch in _batches()), epochs=3, steps_per_epoch=2, verbose=False)
    _same(trainer, _by_hand(2))


def test_an_iterable_is_iterated_anew_for_each_epoch():
    class Batches:
        def __iter__(self) -> Any:
            return _batches()

    trainer = _trainer()
    trainer.fit(Batches(), epochs=2, steps_per_epoch=3, verbose=False)
    _same(trainer, _by_hand(2))


def test_a_run_on_a_loader_resumes(tmp_path: Any, torch: Any):
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=8
    )
    _trainer(out=tmp_path / "run").fit(loader, epochs=1, verbose=False)
    again = bm.Trainer.resume(tmp_path / "run")
    again.fit(loader, epochs=2, verbose=False)
    _same(again, _by_hand(2))


def test_batches_may_have_weights_and_several_targets():
    class Two(bm.Layer):
        def __call__(self, x):
            return {"a": bm.layers.Dense(3)(x), "b": bm.layers.Dense(4)(x)}

    batches = [(X[:8], {"a": Y[:8], "b": X[:8]}, np.ones(8))] * 3
    trainer = bm.Trainer(Two(), {"a": "cross_entropy", "b": "huber"}, "sgd")
    logs = trainer.fit(iter(batches), epochs=1, steps_per_epoch=3, verbose=False).last
    assert logs["loss"] == pytest.approx(logs["a_loss"] + logs["b_loss"])


def test_what_iterables_cannot_do_is_told():
    with pytest.raises(UsageError, match="steps_per_epoch"):
        _trainer().fit(_batches(), verbose=False)
    with pytest.raises(DataError, match="ended after 1 of the 2"):
        _trainer().fit(_batches(), epochs=2, steps_per_epoch=2, verbose=False)
    with pytest.raises(UsageError, match="fraction"):
        _trainer().fit(_batches(), validation=0.1, steps_per_epoch=3, verbose=False)
    with pytest.raises(UsageError, match="size of their own"):
        _trainer().fit(_batches(), batch_size=4, steps_per_epoch=3, verbose=False)
    with pytest.raises(UsageError, match="pass validation data"):
        _trainer(metrics=["accuracy"]).fit(_batches(), steps_per_epoch=3, verbose=False)
    with pytest.raises(DataError, match="expected .x, y."):
        _trainer().fit(iter([X[:8]]), steps_per_epoch=1, verbose=False)
    with pytest.raises(DataError, match="no batch"):
        _trainer().fit(iter([]), steps_per_epoch=1, verbose=False)
    with pytest.raises(UsageError, match="iterables of batches"):
        _trainer().fit((X, Y), steps_per_epoch=3, verbose=False)


class Read(bm.Source):
    """Rows of an array, counted when they are read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype, self.most = array, array.shape, array.dtype, 0

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        self.most = max(self.most, len(indices))
        out[...] = self.array[indices]


def test_targets_are_read_batch_by_batch(tmp_path: Any):
    stored = np.memmap(tmp_path / "y", np.float32, "w+", shape=(24, 4))
    stored[...] = X * 2

    def trained(y: Any) -> bm.Trainer:
        model = bm.Sequential(bm.layers.Dense(4))
        model.build(bm.Spec(("N", 4)), seed=1)
        trainer = bm.Trainer(model, "mean_squared_error", "sgd", ["mean_absolute_error"])
        trainer.fit((X, y), epochs=2, batch_size=6, verbose=False)
        return trainer

    source = Read(X * 2)
    by_array = trained(X * 2)
    for y in (source, stored):
        found = trained(y)
        _same(found, by_array.network.state())
        assert found.evaluate((X, y), 6) == pytest.approx(by_array.evaluate((X, X * 2), 6))
        assert bm.Split(X, y).take(np.arange(3)).y.shape == (3, 4)


def test_training_reads_no_more_targets_at_a_time_than_it_needs():
    x = np.ones((200, 4), np.float32)
    source = Read(x)
    bm.Trainer(bm.Sequential(bm.layers.Dense(4)), "huber", "sgd").fit(
        (x, source), epochs=1, batch_size=6, verbose=False
    )
    assert source.most <= 64  # the fingerprint of the run has as many
