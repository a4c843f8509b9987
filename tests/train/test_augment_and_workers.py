"""Augmentation and prefetching in training: the same bits for any workers, batch size and resume point."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.data import prefetch
from bigmodel_core.data.augmentation import Augmentation, Draws
from bigmodel_core.errors import CheckpointError, ConfigError, DataError, ShapeError, UsageError
from bigmodel_core.train import resume as resuming
from bigmodel_core.train.runs import read_manifest
from bigmodel_core.train.samples import Samples

from .conftest import At, Crash, crash

AUGMENT = [bm.augmentations.HorizontalFlip(), bm.augmentations.RandomCrop(2)]
EPOCHS, BATCH = 3, 16


def pictures(count: int = 80) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    x = draw.normal(size=(count, 1, 6, 6)).astype("float32")
    return x, draw.integers(0, 3, count)


class Read(bm.Source):
    """Samples that are read; some of them cannot be."""

    def __init__(self, x: np.ndarray, broken: int | None = None) -> None:
        self.x, self.broken = x, broken
        self.shape, self.dtype = x.shape, x.dtype

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        if self.broken in indices:
            raise DataError("cannot read the image.", where=f"folder/{self.broken}.png")
        out[...] = self.x[indices]


def trainer(out: Path | None = None, *callbacks: bm.Callback) -> bm.Trainer:
    model = bm.Sequential(bm.layers.Flatten(), bm.layers.Dense(8), bm.layers.Relu(), bm.layers.Dense(3))
    made = bm.optimizers.SGD(0.05, momentum=0.9)
    return bm.Trainer(model, "cross_entropy", made, ["accuracy"], seed=4, out=out, callbacks=callbacks)


def fit(made: bm.Trainer, data: Any = None, **options: Any) -> bm.Trainer:
    options = {"augment": AUGMENT, "validation": 0.2, **options}
    made.fit(data or pictures(), EPOCHS, BATCH, verbose=False, **options)
    return made


def bits(made: bm.Trainer) -> dict[str, Any]:
    logs = [{key: value for key, value in each.items() if key[:1] != "s"} for each in made.history]
    return {"arrays": {path: array.tobytes() for path, array in made.step.state().items()}, "logs": logs}


def data_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("bigmodel-data")]


@pytest.fixture(autouse=True)
def no_threads_are_left() -> Iterator[None]:
    yield
    assert data_threads() == []


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return bits(fit(trainer(), workers=0))


# The same bits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 4])
def test_any_number_of_workers_trains_to_the_same_bits(whole: dict[str, Any], workers: int) -> None:
    assert bits(fit(trainer(), workers=workers)) == whole


def test_samples_that_are_read_train_to_the_bits_of_samples_in_memory(whole: dict[str, Any]) -> None:
    x, y = pictures()
    assert bits(fit(trainer(), bm.Split(Read(x), y), workers=2)) == whole


def test_augmentation_changes_what_is_learned_and_not_what_is_measured(whole: dict[str, Any]) -> None:
    plain = fit(trainer(), augment=())
    assert bits(plain)["arrays"] != whole["arrays"]
    augmented = fit(trainer())
    x, y = pictures()
    assert augmented.evaluate((x, y))["accuracy"] == np.mean(augmented.predict(x).argmax(1) == y)


def changed(batch_size: int, epoch: int, workers: int = 1, start: int = 0) -> dict[int, bytes]:
    """The augmented samples of an epoch by their number, which is their target."""
    x, _ = pictures()
    samples = Samples((x,), np.arange(len(x)))
    parts = samples.shuffled(batch_size, 9, epoch, start, AUGMENT, workers)
    return {
        int(number): image.tobytes()
        for images, y, _ in parts
        for image, number in zip(images, y, strict=True)
    }


def test_a_sample_looks_the_same_whatever_the_batch_size_and_the_workers() -> None:
    wanted = changed(16, epoch=2)
    assert len(wanted) == 80
    assert changed(7, 2, workers=3) == wanted
    assert changed(80, 2, workers=0) == wanted
    rest = changed(16, 2, start=3)
    assert len(rest) == 32 and all(wanted[number] == image for number, image in rest.items())


def test_a_sample_looks_otherwise_in_another_epoch() -> None:
    first, second = changed(16, 0), changed(16, 1)
    assert sum(first[number] != second[number] for number in first) > 60


@pytest.mark.parametrize("step", [2, 4, 6, 11])
def test_a_run_that_crashed_goes_on_to_the_same_bits(
    tmp_path: Path, whole: dict[str, Any], step: int
) -> None:
    with pytest.raises(Crash):
        fit(trainer(tmp_path / "run", At(step, crash)), checkpoint_every=1, workers=3)
    resumed = bm.Trainer.resume(tmp_path / "run", callbacks=[])
    resumed.fit(pictures(), verbose=False, workers=0)
    assert bits(resumed) == whole
    assert read_manifest(tmp_path / "run")["augment"] == [
        {"kind": "augmentation", "name": "augmentations:HorizontalFlip", "fields": {"probability": 0.5}},
        {"kind": "augmentation", "name": "augmentations:RandomCrop", "fields": {"padding": 2, "fill": 0.0}},
    ]


def test_another_augmentation_is_no_resumed_run(tmp_path: Path) -> None:
    fit(trainer(tmp_path / "run"))
    with pytest.raises(CheckpointError, match="another augment"):
        fit(trainer(), resume=tmp_path / "run", augment=AUGMENT[:1])


def test_checkpoints_from_before_augmentation_go_on(tmp_path: Path) -> None:
    fit(trainer(tmp_path / "run"), augment=())
    checkpoint = resuming.checkpoint_of_run(tmp_path / "run")
    assert checkpoint.training is not None
    before = checkpoint.training["plan"]
    del before["augment"]
    assert resuming.augmentations(before, checkpoint.path) == []
    step = fit(trainer(), augment=()).step
    assert resuming.state_of(checkpoint, step, {**before, "augment": []}).epoch == EPOCHS


def test_a_loader_of_ones_own_gives_the_same_batches_for_any_workers() -> None:
    x, y = pictures()
    found = []
    for workers, source in ((0, x), (1, x), (4, Read(x))):
        loader = bm.Loader(bm.Split(source, y), BATCH, shuffle_seed=5, augment=AUGMENT, workers=workers)
        found.append([(a.tobytes(), b.tobytes()) for a, b in loader.epoch(1)])
        buffers = np.empty((BATCH, 1, 6, 6), "float32"), np.empty(BATCH, y.dtype)
        found.append([(a.tobytes(), b.tobytes()) for a, b in loader.epoch(1, out=buffers)])
    assert all(each == found[0] for each in found) and len(found[0]) == 5


# Working ahead ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_tasks_are_done_before_they_are_asked_for_but_not_too_many(workers: int) -> None:
    begun: list[int] = []
    second = threading.Event()

    def task(number: int) -> int:
        begun.append(number)
        if number == 1:
            second.set()
        return number

    results = prefetch.ahead(((lambda number=number: task(number)) for number in range(50)), workers)
    for wanted in range(50):
        assert next(results) == wanted
        assert wanted > 0 or second.wait(10)  # nobody has asked for it
        assert len(begun) <= wanted + 1 + 2 * workers
    assert next(results, None) is None and sorted(begun) == list(range(50))


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_what_a_worker_cannot_read_is_named_after_the_batches_before_it(workers: int) -> None:
    x, y = pictures()
    loader = bm.Loader(bm.Split(Read(x, broken=40), y), BATCH, workers=workers)
    got = []
    with pytest.raises(DataError, match=r"folder/40\.png"):
        got.extend(len(batch) for batch, _ in loader)
    assert got == [16, 16]


def test_training_stops_at_a_sample_that_cannot_be_read() -> None:
    x, y = pictures()
    made = trainer()
    with pytest.raises(DataError, match=r"folder/40\.png"):
        made.fit(bm.Split(Read(x, broken=40), y), 2, BATCH, verbose=False, workers=3)
    assert made.state.epoch == 0


def test_threads_end_when_the_batches_are_no_longer_wanted() -> None:
    x, y = pictures()
    batches = bm.Loader(bm.Split(Read(x), y), 2, workers=4).epoch()
    next(batches)
    assert 1 <= len(data_threads()) <= 4
    del batches
    assert data_threads() == []


@pytest.mark.parametrize("error", [Crash, KeyboardInterrupt])
def test_threads_end_when_training_fails_or_is_interrupted(error: type[BaseException]) -> None:
    def fail(_: bm.Trainer) -> None:
        raise error

    made = trainer(None, At(2, fail))
    if error is KeyboardInterrupt:
        assert fit(made, workers=4).history.interrupted
    else:
        with pytest.raises(error) as caught:
            fit(made, workers=4)
        assert caught.value is not None
    assert data_threads() == []  # while the traceback is still held


def test_threads_end_when_a_callback_stops_training_in_an_epoch() -> None:
    made = fit(trainer(None, At(2, lambda each: setattr(each, "stop", True))), workers=4)
    assert made.state.steps == 2 and data_threads() == []


def test_samples_in_memory_that_are_not_augmented_need_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "ahead", lambda *_: pytest.fail("a thread was started"))
    fit(trainer(), augment=(), workers=4)


class Computed(bm.Source):
    """197 MB of images, were they all in memory."""

    shape, dtype = (4000, 3, 64, 64), np.dtype("float32")

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        out[...] = (indices % 7)[:, None, None, None]


def test_a_data_set_larger_than_what_may_be_used_trains() -> None:
    split = bm.Split(Computed(), np.arange(4000) % 2)
    made = bm.Trainer(bm.models.build("logistic-regression", classes=2))
    tracemalloc.start()
    try:
        made.fit(split, 1, 16, 0.1, verbose=False, augment=AUGMENT, workers=2)
        made.evaluate(split, 16)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60e6


# What is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [-1, 1.5, True])
def test_workers_are_a_number_of_threads(workers: Any) -> None:
    with pytest.raises(ConfigError, match="workers"):
        fit(trainer(), workers=workers)


def test_augmentations_of_images_refuse_other_samples_before_training() -> None:
    x, y = pictures()
    with pytest.raises(ShapeError, match="expected images"):
        fit(trainer(), (x.reshape(len(x), 36), y))


def test_several_inputs_are_not_augmented() -> None:
    class Sum(bm.Layer):
        def __call__(self, a: Any, b: Any) -> Any:
            return bm.layers.Dense(3)(bm.layers.Flatten()(a + b))

    x, y = pictures()
    with pytest.raises(UsageError, match="takes 2 inputs"):
        bm.Trainer(Sum(), "cross_entropy").fit(((x, x), y), verbose=False, augment=AUGMENT)


def test_names_and_one_augmentation_will_do() -> None:
    for augment in ("horizontal-flip", ["random_crop"], bm.augmentations.RandomShift(1)):
        fit(trainer(), augment=augment)


class Unregistered(Augmentation):
    def __call__(self, x: np.ndarray, draws: Draws) -> np.ndarray:
        return x


def test_a_run_with_an_augmentation_of_no_plugin_says_what_to_pass(tmp_path: Path) -> None:
    fit(trainer(tmp_path / "run"), augment=[Unregistered()])
    with pytest.raises(CheckpointError, match="Unregistered") as error:
        bm.Trainer.resume(tmp_path / "run").fit(pictures(), verbose=False)
    assert error.value.fix is not None and "augment=" in error.value.fix
    fit(bm.Trainer.resume(tmp_path / "run"), augment=[Unregistered()], validation=None)


# Samples that are read in blocks ---------------------------------------------------------------------------


class InBlocks(Read):
    """Samples that are cheap to read eight at a time."""

    held = 3

    def blocks(self) -> tuple[np.ndarray, int]:
        return np.arange(len(self)) // 8, self.held


def test_a_run_over_blocks_that_crashed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    x, y = pictures()
    data = bm.Split(InBlocks(x), y)
    straight = bits(fit(trainer(), data, workers=0))
    assert straight["arrays"] != bits(fit(trainer()))["arrays"]  # in another order
    with pytest.raises(Crash):
        fit(trainer(tmp_path / "run", At(6, crash)), data, checkpoint_every=1, workers=3)
    resumed = bm.Trainer.resume(tmp_path / "run", callbacks=[])
    resumed.fit(data, verbose=False, workers=1)
    assert bits(resumed) == straight


def test_other_blocks_are_no_resumed_run(tmp_path: Path) -> None:
    x, y = pictures()
    source = InBlocks(x)
    fit(trainer(tmp_path / "run"), bm.Split(source, y))
    source.held = 4
    with pytest.raises(CheckpointError, match="another data"):
        fit(trainer(), bm.Split(source, y), resume=tmp_path / "run")
