"""Segmentation: the U-Net, the Dice loss, intersection over union and canvases of digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import DataError, ShapeError


def dice(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """One sample and class after the other."""
    found = []
    for x, y in zip(scores.reshape(len(scores), -1, scores.shape[-1]), labels, strict=True):
        p = np.exp(x - x.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        truth = [np.ravel(y) == number for number in range(scores.shape[-1])]
        shares = [(2 * p[t, c].sum() + 1) / (p[:, c].sum() + t.sum() + 1) for c, t in enumerate(truth)]
        found.append(1 - np.mean(shares))
    return np.array(found)


draw = np.random.default_rng(6)
MASK_SCORES, MASKS = draw.normal(size=(3, 4, 5, 3)), draw.integers(0, 3, (3, 4, 5))

CASES: list[tuple[Any, Any, Any]] = [
    (bm.models.Unet(3, 2, 1), [(2, 1, 8, 8)], None),
    (bm.losses.Dice(), [MASK_SCORES, MASKS], dice),
    (bm.datasets.DigitMasks(32, 20, 10), None, None),
]
"""What the conformance sweep checks of these."""


@pytest.mark.torch
def test_unet_is_the_network_written_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    model = bm.models.Unet(classes=3, width=2, depth=2)
    network = model.build(bm.Spec(("N", 1, 8, 12)), seed=1)
    state = {
        key: np.random.default_rng(number).uniform(0.5, 1.5, value.shape).astype("float32")
        for number, (key, value) in enumerate(network.state().items())
    }
    network.load_state(state)
    weights = {key: torch.tensor(value, dtype=torch.float64) for key, value in state.items()}
    made = {"convolution": 0, "up": 0}

    def twice(x: Any) -> Any:
        for _ in range(2):
            made["convolution"] += 1
            x = f.conv2d(x, weights[f"conv2d_{made['convolution']}/weight"], padding=1)
            own = [
                weights[f"batch_norm_{made['convolution']}/{name}"]
                for name in ("running_mean", "running_variance", "scale", "shift")
            ]
            x = f.relu(f.batch_norm(x, *own))
        return x

    def up(x: Any) -> Any:
        made["up"] += 1
        name = f"conv_transpose2d_{made['up']}"
        return f.conv_transpose2d(x, weights[f"{name}/weight"], weights[f"{name}/bias"], stride=2)

    x = np.random.default_rng(3).normal(size=(2, 1, 8, 12)).astype("float32")
    first = twice(torch.tensor(x, dtype=torch.float64))
    second = twice(f.max_pool2d(first, 2))
    y = up(twice(f.max_pool2d(second, 2)))
    y = up(twice(torch.cat([second, y], 1)))
    y = twice(torch.cat([first, y], 1))
    y = f.conv2d(y, weights["conv2d_11/weight"], weights["conv2d_11/bias"])
    expected = y.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(model(x), expected, rtol=2e-5, atol=2e-5 * np.abs(expected).max())


def test_unet_names_the_sizes_that_it_can_halve() -> None:
    with pytest.raises(ShapeError, match="height and width 8 divides") as raised:
        bm.models.Unet(3).build(bm.Spec(("N", 1, 20, 24)))
    assert "size=" in str(raised.value)


def test_mean_iou_is_that_of_scikit_learn() -> None:
    jaccard = pytest.importorskip("sklearn.metrics").jaccard_score
    predicted = MASK_SCORES.argmax(-1)
    expected = jaccard(MASKS.ravel(), predicted.ravel(), average="macro")
    assert bm.metrics.MeanIoU()(MASK_SCORES, MASKS) == pytest.approx(expected)


def test_mean_iou_leaves_out_classes_that_do_not_occur() -> None:
    assert bm.metrics.MeanIoU()(np.array([[0, 2]]), np.array([[0, 2]])) == 1.0


def test_mean_iou_counts_nothing_of_ignored_pixels() -> None:
    predicted, true = np.array([[0, 1, 1, 0]]), np.array([[0, 1, 255, 255]])
    assert bm.metrics.MeanIoU(ignore=255)(predicted, true) == 1.0


def test_dice_is_the_f1_of_pixels() -> None:
    f1 = pytest.importorskip("sklearn.metrics").f1_score
    expected = f1(MASKS.ravel(), MASK_SCORES.argmax(-1).ravel(), average="macro")
    assert bm.metrics.Dice()(MASK_SCORES, MASKS) == pytest.approx(expected)


def test_dice_loss_of_labels_of_another_shape_says_what_it_takes() -> None:
    with pytest.raises(ShapeError, match="labels"):
        bm.function(bm.losses.Dice())(MASK_SCORES.astype("float32"), MASKS[:, :2])


def test_ink_is_brighter_than_the_ground_around_it() -> None:
    data = bm.datasets.DigitMasks(size=48, train=30, test=5).load()
    for image, mask in zip(data.train.x[:, 0], data.train.y, strict=True):
        assert image[mask > 0].mean() > image[mask == 0].mean() + 0.5


def test_canvases_of_one_seed_are_the_same() -> None:
    first, second = (bm.datasets.DigitMasks(32, 5, 5, seed=4).load().train for _ in range(2))
    assert np.array_equal(first.x, second.x) and np.array_equal(first.y, second.y)


def test_canvases_of_two_seeds_differ() -> None:
    first, second = (bm.datasets.DigitMasks(32, 5, 5, seed=seed).load().train.y for seed in (4, 5))
    assert not np.array_equal(first, second)


def test_canvases_are_not_read_from_a_folder(tmp_path: Any) -> None:
    with pytest.raises(DataError, match="made of digits"):
        bm.datasets.DigitMasks().load(tmp_path)
