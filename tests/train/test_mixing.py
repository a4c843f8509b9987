"""Augmentations that mix samples with others of the batch, and their targets with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.data.encoding import Encoding
from bigmodel_core.errors import DataError, DtypeError, ShapeError, UsageError

_generator = np.random.default_rng(3)
IMAGES = _generator.normal(size=(12, 2, 6, 8)).astype(np.float32)
LABELS = _generator.integers(0, 3, 12)
OWN = np.eye(12, dtype=np.float32)
"""A class for each sample, so that shares tell who was mixed."""


def _draws(epoch: int = 0) -> bm.Draws:
    return bm.Draws(np.arange(12), seed=4, epoch=epoch, stream=0)


def test_mixup_mixes_samples_as_it_mixes_targets():
    x, y = bm.augmentations.Mixup(1.0).mixed(IMAGES, OWN, _draws())
    assert (np.count_nonzero(y, axis=1) == 2).all()
    np.testing.assert_allclose(y.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(x, np.einsum("ij,jchw->ichw", y, IMAGES), atol=1e-5)
    assert sorted((y * (1 - OWN)).argmax(1)) == list(range(12))  # each is a partner once


def test_cutmix_takes_a_box_and_shares_the_target_by_its_area():
    x, y = bm.augmentations.CutMix().mixed(IMAGES, OWN, _draws())
    for number in range(12):
        is_own = (x[number] == IMAGES[number]).all(0)
        assert y[number, number] == pytest.approx(is_own.mean(), abs=1e-6)
        other = int((y[number] * (1 - OWN[number])).argmax())
        rows, columns = np.nonzero(~is_own)
        if len(rows):
            box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert not is_own[box].any()
            np.testing.assert_array_equal(x[number][:, *box], IMAGES[other][:, *box])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 2.0])
def test_shares_are_distributed_as_beta(alpha: float):
    x = np.zeros((4000, 1), np.float32)
    shares = []
    for epoch in range(3):
        draws = bm.Draws(np.arange(4000), seed=1, epoch=epoch, stream=0)
        target = bm.augmentations.Mixup(alpha).mixed(x, np.eye(4000, dtype=np.float32), draws)[1]
        shares.append(target.diagonal())
    found = np.concatenate(shares)
    assert found.mean() == pytest.approx(0.5, abs=0.02)
    assert found.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


def _trained(workers: int, **options: Any) -> bm.Trainer:
    model = bm.Sequential(bm.layers.Flatten(), bm.layers.Dense(3))
    model.build(bm.Spec(("N", 2, 6, 8)), seed=1)
    trainer = bm.Trainer(model, "cross_entropy", "adam", ["accuracy"], **options)
    trainer.fit(
        (IMAGES, LABELS), epochs=3, batch_size=5, augment=["mixup", "cutmix"], workers=workers, verbose=False
    )
    return trainer


def test_a_run_is_the_same_for_any_workers_and_resumes(tmp_path: Any):
    whole = _trained(0).network.state()
    for path, array in _trained(2).network.state().items():
        np.testing.assert_array_equal(array, whole[path])
    trainer = _trained(1, out=tmp_path / "run")
    trainer.fit((IMAGES, LABELS), epochs=1, batch_size=5, augment=["mixup", "cutmix"], verbose=False)
    again = bm.Trainer.resume(tmp_path / "run")
    again.fit((IMAGES, LABELS), epochs=5, verbose=False)
    longer = trainer
    longer.fit((IMAGES, LABELS), epochs=1, batch_size=5, augment=["mixup", "cutmix"], verbose=False)
    for path, array in longer.network.state().items():
        np.testing.assert_array_equal(array, again.network.state()[path])


def test_a_trainer_goes_on_with_other_targets_and_keeps_what_its_optimizer_keeps():
    """Mixed, plain, weighted and plain again, as a step that is told the shares and weights itself."""
    model = bm.Sequential(bm.layers.Flatten(), bm.layers.Dense(3))
    model.build(bm.Spec(("N", 2, 6, 8)), seed=1)
    twin, weight = bm.clone(model), np.arange(12) % 2
    trainer = bm.Trainer(model, "cross_entropy", bm.optimizers.SGD(0.1, momentum=0.9))
    shares = np.eye(3, dtype=np.float32)[LABELS]
    (mixed,) = bm.Loader(bm.Split(IMAGES, shares), 12, shuffle_seed=0, augment=[bm.augmentations.Mixup()])
    trainer.fit((IMAGES, LABELS), batch_size=12, augment=["mixup"], verbose=False)
    trainer.fit((IMAGES, LABELS), batch_size=12, augment=[], verbose=False)
    trainer.fit((IMAGES, LABELS, weight), batch_size=12, augment=[], verbose=False)
    trainer.fit((IMAGES, LABELS), batch_size=12, augment=[], verbose=False)
    step = bm.compile(twin, "cross_entropy", bm.optimizers.SGD(0.1, momentum=0.9))
    for x, y, own in (
        (*mixed, np.ones(12)),
        (IMAGES, shares, np.ones(12)),
        (IMAGES, shares, weight),
        (IMAGES, shares, np.ones(12)),
    ):
        step(x, y, own)
    for path, array in trainer.network.state().items():
        np.testing.assert_allclose(array, twin.state()[path], atol=1e-6)


def test_the_loss_of_a_mixed_batch_is_that_of_its_shares(torch: Any):
    model = bm.Sequential(bm.layers.Flatten(), bm.layers.Dense(3))
    model.build(bm.Spec(("N", 2, 6, 8)), seed=1)
    before = model.state()
    trainer = bm.Trainer(model, "cross_entropy", bm.optimizers.SGD(0.1))
    history = trainer.fit((IMAGES, LABELS), batch_size=12, augment=["mixup"], verbose=False)
    (loader,) = bm.Loader(
        bm.Split(IMAGES, np.eye(3, dtype=np.float32)[LABELS]),
        12,
        shuffle_seed=0,
        augment=[bm.augmentations.Mixup()],
    )
    x, y = map(torch.tensor, loader)
    scores = x.flatten(1) @ torch.tensor(before["dense_1/weight"]) + torch.tensor(before["dense_1/bias"])
    expected = torch.nn.functional.cross_entropy(scores, y).item()
    assert history.last["loss"] == pytest.approx(expected, abs=1e-5)


def test_labels_are_mixed_where_others_are_ignored():
    """Validation has a label that counts nothing; training has none, and is that without `ignore`."""
    held_out = IMAGES, np.where(np.arange(12) < 4, LABELS, -100)
    results = []
    for loss, validation in (
        ("cross_entropy:ignore=-100", held_out),
        ("cross_entropy", (IMAGES[:4], LABELS[:4])),
    ):
        model = bm.Sequential(bm.layers.Flatten(), bm.layers.Dense(3))
        model.build(bm.Spec(("N", 2, 6, 8)), seed=1)
        trainer = bm.Trainer(model, loss, "sgd")
        for augment in (["mixup"], [], ["mixup"]):
            trainer.fit((IMAGES, LABELS), 1, 12, validation, augment=augment, verbose=False)
        results.append((trainer.history["loss"], trainer.history["val_loss"]))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6)


def test_a_loader_mixes_labels_as_shares_of_the_classes_that_its_split_names():
    shares = np.eye(3, dtype=np.float32)[LABELS]
    encoding = Encoding(task="classification", labels=("a", "b", "c"))
    loaders = [
        bm.Loader(split, 5, shuffle_seed=0, augment="mixup")
        for split in (bm.Split(IMAGES, shares), bm.Split(IMAGES, LABELS, encoding=encoding))
    ]
    for (x, y), (other_x, other_y) in zip(*loaders, strict=True):
        np.testing.assert_array_equal(x, other_x)
        np.testing.assert_array_equal(y, other_y)
    out = np.empty((5, 2, 6, 8), np.float32), np.empty((5, 3), np.float32)
    for (x, y), (other_x, other_y) in zip(loaders[1], loaders[1].epoch(out=out), strict=True):
        np.testing.assert_array_equal(x, other_x)
        np.testing.assert_array_equal(y, other_y)
        assert np.shares_memory(other_y, out[1])
    with pytest.raises(ShapeError, match=r"buffer for y is int64 \(5,\), expected float32 \(5, 3\)"):
        loaders[1].epoch(out=(out[0], np.empty(5, np.int64)))
    with pytest.raises(UsageError, match="nothing says of how many classes these whole numbers are"):
        bm.Loader(bm.Split(IMAGES, LABELS), 5, augment=["mixup"])


def test_what_cannot_be_mixed_is_told():
    ignored = np.where(np.arange(12) == 5, -100, LABELS)
    with pytest.raises(DataError, match="a label that is to be mixed is -100, expected 0 to 2"):
        bm.Trainer(bm.layers.Dense(3), "cross_entropy:ignore=-100").fit(
            (IMAGES.reshape(12, -1), ignored), augment=["mixup"], verbose=False
        )
    for target in (LABELS % 2, (LABELS % 2).astype("float32")):
        with pytest.raises(UsageError, match="ignores the label -1, .* once an augmentation mixes them"):
            bm.Trainer(bm.layers.Dense(1), "binary_cross_entropy:ignore=-1").fit(
                (IMAGES.reshape(12, -1), target), augment=["mixup"], verbose=False
            )
    with pytest.raises(UsageError, match="no labels, but shares"):
        bm.Trainer(bm.layers.Dense(3), "cross_entropy:ignore=-100").fit(
            (IMAGES.reshape(12, -1), np.eye(3)[LABELS]), augment=["mixup"], verbose=False
        )
    tokens = np.zeros((12, 5), np.int64)
    with pytest.raises(DtypeError, match="cannot be mixed"):
        bm.augmentations.Mixup().mixed(tokens, OWN, _draws())
    with pytest.raises(UsageError, match="not one array"):
        bm.Trainer(bm.layers.Dense(3), lambda output, target: bm.ops.square(output)).fit(
            (IMAGES.reshape(12, -1), (LABELS, LABELS)), augment=["mixup"], verbose=False
        )
    with pytest.raises(UsageError, match="mixes labels, and Hinge takes no shares of classes"):
        bm.Trainer(bm.layers.Dense(3), "hinge").fit(
            (IMAGES.reshape(12, -1), LABELS), augment=["mixup"], verbose=False
        )
