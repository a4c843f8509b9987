"""Detection: the detector, its loss, mean average precision and canvases with boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, ShapeError
from bigmodel_models.ssd import laid_out

ANCHORS = laid_out((2, 3), (16, 24), 0.4, 0.6)
CLASSES = 3
TRUE = np.array(
    [
        [[1, 2, 3, 9, 10], [2, 12, 6, 23, 15], [-1, 0, 0, 0, 0]],
        [[0, 0, 0, 7, 15], [-1, 0, 0, 0, 0], [-1, 0, 0, 0, 0]],
        [[-1, 0, 0, 0, 0], [-1, 0, 0, 0, 0], [-1, 0, 0, 0, 0]],
    ],
    "float64",
)
TOLD = np.random.default_rng(8).normal(size=(3, len(ANCHORS), 5 + CLASSES))
PREDICTED = np.concatenate([np.tile(ANCHORS, (3, 1, 1)), TOLD], -1)


def iou(a: Any, b: Any) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def ssd_loss(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The paper's steps, one box after the other."""
    found = []
    for told, boxes in zip(prediction, target, strict=True):
        boxes = boxes[boxes[:, 0] >= 0]
        ious = np.array([[iou(row[:4], box[1:]) for box in boxes] for row in told]).reshape(len(told), -1)
        own = {row: int(ious[row].argmax()) for row in range(len(told)) if (ious[row] > 0.5).any()}
        for number in range(len(boxes)):
            own[int(ious[:, number].argmax())] = number
        of_class = np.zeros(len(told))
        of_place = 0.0
        for row, numbers in enumerate(told):
            scores = numbers[8:]
            label = int(boxes[own[row], 0]) + 1 if row in own else 0
            of_class[row] = np.log(np.exp(scores).sum()) - scores[label]
            if row in own:
                a, b = numbers[:4], boxes[own[row], 1:]
                sizes = [np.array([box[2] - box[0], box[3] - box[1]]) for box in (a, b)]
                middles = [np.array([box[0] + box[2], box[1] + box[3]]) / 2 for box in (a, b)]
                goal = [*(middles[1] - middles[0]) / sizes[0] / 0.1, *np.log(sizes[1] / sizes[0]) / 0.2]
                error = np.abs(numbers[4:8] - goal)
                of_place += np.where(error < 1, error**2 / 2, error - 0.5).sum()
        rest = sorted((of_class[row] for row in range(len(told)) if row not in own), reverse=True)
        total = sum(of_class[row] for row in own) + sum(rest[: 3 * len(own)]) + of_place
        found.append(total / max(len(own), 1))
    return np.array(found)


def average_precision(found: np.ndarray, true: np.ndarray) -> float:
    """Of each class, one detection after the other in the order of scores, over all images."""
    areas = []
    for number in {int(row[0]) for rows in true for row in rows if row[0] >= 0}:
        ranked = sorted(
            (
                (row[1], image, row[2:])
                for image, rows in enumerate(found)
                for row in rows
                if row[0] == number
            ),
            key=lambda item: -item[0],
        )
        taken, points = set(), []
        total = sum(int(row[0] == number) for rows in true for row in rows)
        for rank, (_, image, box) in enumerate(ranked, 1):
            ious = [iou(box, row[1:]) if row[0] == number else 0.0 for row in true[image]]
            best = int(np.argmax(ious))
            if ious[best] >= 0.5 and (image, best) not in taken:
                taken.add((image, best))
                points.append((len(taken) / total, len(taken) / rank))
        areas.append(sum(max(p for r, p in points if r >= recall) for recall, _ in points) / total)
    return float(np.mean(areas))


def detections() -> tuple[np.ndarray, np.ndarray]:
    """True boxes, and boxes near them and elsewhere with random scores; 24 images."""
    draw = np.random.default_rng(3)
    true = np.concatenate([draw.integers(0, 3, (24, 3, 1)), draw.uniform(0, 10, (24, 3, 2))], -1)
    true = np.concatenate([true, true[..., 1:] + draw.uniform(5, 12, (24, 3, 2))], -1)
    near = true + np.concatenate([np.zeros((24, 3, 1)), draw.normal(0, 1.2, (24, 3, 4))], -1)
    rows = np.concatenate([near, true[::-1]], 1)
    return np.insert(rows, 1, draw.uniform(size=(24, 6)), -1), true


CASES: list[tuple[Any, Any, Any]] = [
    (bm.models.Ssd(CLASSES, 2, most=3), [(2, 1, 16, 16)], None),
    (bm.losses.Ssd(), [PREDICTED, TRUE], ssd_loss),
    (bm.metrics.MeanAveragePrecision(), list(detections()), average_precision),
    (bm.datasets.DigitBoxes(32, 20, 10), None, None),
]
"""What the conformance sweep checks of these."""


def test_offsets_lead_from_laid_out_boxes_to_the_true_ones() -> None:
    anchors = ANCHORS[np.newaxis].astype("float32")
    boxes = (anchors + np.random.default_rng(0).uniform(-2, 2, anchors.shape)).astype("float32")
    there_and_back = bm.function(lambda a, b: bm.boxes.decoded(a, bm.boxes.encoded(a, b)))
    np.testing.assert_allclose(there_and_back(anchors, boxes), boxes, atol=1e-4)


def test_boxes_are_laid_out_over_the_whole_image() -> None:
    middles = (ANCHORS[:, :2] + ANCHORS[:, 2:]) / 2
    found = {tuple(middle) for middle in middles.round(9).tolist()}
    assert found == {(x, y) for x in (4, 12, 20) for y in (4, 12)}


@pytest.fixture(scope="module")
def network() -> bm.models.Ssd:
    model = bm.models.Ssd(2, 2, most=5, overlap=0.3)
    model.build(bm.Spec(("N", 1, 16, 16)), seed=4)
    return model


def test_no_two_detections_of_a_class_overlap(network: bm.models.Ssd) -> None:
    found = network(np.random.default_rng(0).normal(size=(3, 1, 16, 16)).astype("float32"))["detections"]
    pairs = [
        iou(a[2:], b[2:])
        for rows in found.astype("float64")
        for place, a in enumerate(rows)
        for b in rows[:place]
        if a[0] == b[0] >= 0
    ]
    assert pairs and max(pairs) <= 0.3 + 1e-3


def test_detections_are_the_best_of_what_is_told(network: bm.models.Ssd) -> None:
    found = network(np.random.default_rng(0).normal(size=(1, 1, 16, 16)).astype("float32"))
    scores = found["raw"][0, :, 8:].astype("float64")
    chances = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    assert found["detections"][0, 0, 1] == pytest.approx(chances[:, 1:].max(), rel=1e-4)


def test_the_exported_file_drops_what_overlaps(network: bm.models.Ssd, tmp_path: Path) -> None:
    import onnxruntime

    bm.export(network, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(4, 1, 16, 16)).astype("float32")
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, {session.get_inputs()[0].name: x}), strict=True))
    np.testing.assert_allclose(found["detections"], network(x)["detections"], rtol=1e-4, atol=1e-4)


def test_a_size_that_8_does_not_divide_is_refused() -> None:
    with pytest.raises(ShapeError, match="8 divides"):
        bm.models.Ssd(2).build(bm.Spec(("N", 1, 20, 16)))


def test_a_box_found_twice_counts_once() -> None:
    true = np.array([[[0, 0, 0, 10, 10], [0, 20, 0, 30, 10]]])
    found = np.array([[[0, 0.9, 0, 0, 10, 10], [0, 0.8, 0, 0, 10, 10], [0, 0.7, 20, 0, 30, 10]]])
    assert bm.metrics.MeanAveragePrecision()(found, true) == pytest.approx((1 + 2 / 3) / 2)


def test_a_box_of_another_class_is_wrong() -> None:
    true, found = np.array([[[1, 0, 0, 9, 9]]]), np.array([[[0, 0.9, 0, 0, 9, 9]]])
    assert bm.metrics.MeanAveragePrecision()(found, true) == 0


def test_boxes_hold_the_ink_of_their_digits() -> None:
    size = {"size": 32, "train": 10, "test": 2}
    masks, boxes = (bm.datasets.load(name, **size).train for name in ("digit-masks", "digit-boxes"))
    for mask, rows in zip(masks.y, boxes.y, strict=True):
        inside = np.zeros(mask.shape, bool)
        for _, left, top, right, bottom in rows[rows[:, 0] >= 0].astype(int):
            inside[top:bottom, left:right] = True
        assert not mask[~inside].any()


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="overlap"):
        bm.losses.Ssd(overlap=1.5)
