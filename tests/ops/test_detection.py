"""Non-maximum suppression keeps the boxes that a loop in plain Python keeps, and those chosen by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigmodel_core import ops
from bigmodel_core.errors import ConfigError, DtypeError, ShapeError
from bigmodel_core.testing import compute
from tests.ops.boxes_reference import boxes_and_scores, kept_boxes

SQUARES = np.array([[0, 0, 2, 2], [0, 0, 2, 1], [0, 1, 2, 3], [5, 5, 6, 6]], "float64")
"""The second is half of the first; the third shares a third with it, nothing with the second."""


def kept(boxes: Any, scores: Any, **options: Any) -> Any:
    options = {"max_outputs": 4, **options}
    return compute(
        lambda b, s: ops.non_max_suppression(b, s, **options), np.asarray(boxes), np.asarray(scores)
    )


@pytest.mark.parametrize(
    ("scores", "options", "expected"),
    [
        ([4, 3, 2, 1], {}, [0, 1, 2, 3]),  # a share of exactly the threshold is no more than it
        ([4, 3, 2, 1], {"iou_threshold": 0.49}, [0, 2, 3, -1]),
        ([4, 3, 2, 1], {"iou_threshold": 0.3}, [0, 3, -1, -1]),
        ([2, 3, 4, 1], {"iou_threshold": 0.3}, [2, 1, 3, -1]),
        ([4, 3, 2, 1], {"score_threshold": 2}, [0, 1, -1, -1]),
        ([4, 3, 2, 1], {"score_threshold": 9}, [-1, -1, -1, -1]),
        ([1, 1, 1, 1], {"iou_threshold": 0.3}, [0, 3, -1, -1]),
        ([np.nan, 3, 2, 1], {"iou_threshold": 0.3}, [1, 2, 3, -1]),
        ([-np.inf, 3, 2, 1], {"iou_threshold": 1.0}, [1, 2, 3, 0]),
        ([4, 3, 2, 1], {"max_outputs": 2}, [0, 1]),
        ([4, 3, 2, 1], {"max_outputs": 6}, [0, 1, 2, 3, -1, -1]),
    ],
)
def test_squares(scores: list[float], options: dict[str, Any], expected: list[int]) -> None:
    scores = [float(score) for score in scores]
    for dtype in ("float32", "float64"):
        found = kept(SQUARES.astype(dtype), np.asarray(scores, dtype), **options)
        assert found.dtype == "int64" and found.tolist() == expected
        assert kept(SQUARES.astype(dtype)[None], np.asarray([scores], dtype), **options).tolist() == [
            expected
        ]


@settings(max_examples=40)
@given(
    st.integers(1, 3),
    st.integers(0, 40),
    st.integers(1, 12),
    st.sampled_from([0.0, 0.3, 0.7]),
    st.sampled_from([None, 0.0]),
    st.integers(0, 99),
)
def test_drawn_boxes(images: int, count: int, most: int, iou: float, least: float | None, seed: int) -> None:
    boxes, scores = boxes_and_scores(images, count, seed)
    found = kept(boxes, scores, max_outputs=most, iou_threshold=iou, score_threshold=least)
    np.testing.assert_array_equal(found, kept_boxes(boxes, scores, most, iou, least))


def test_no_gradient_passes() -> None:
    def penalised(boxes: Any, scores: Any) -> Any:
        chosen = ops.non_max_suppression(boxes, scores, max_outputs=2)
        return ops.gradients(ops.sum(ops.gather(scores, chosen)), scores)

    np.testing.assert_array_equal(compute(penalised, SQUARES, np.arange(4.0)), [0, 0, 1, 1])


@pytest.mark.parametrize(
    ("boxes", "scores", "options", "error", "text"),
    [
        (SQUARES[:, :3], np.zeros(4), {}, ShapeError, r"boxes \(N, M, 4\) and scores"),
        (SQUARES, np.zeros(3), {}, ShapeError, r"got \(1, 4, 4\) and \(1, 3\)"),
        (SQUARES[None], np.zeros(4), {}, ShapeError, r"got \(1, 4, 4\) and \(4,\)"),
        (SQUARES.astype(int), np.zeros(4, int), {}, DtypeError, "NonMaxSuppression needs float32"),
        (SQUARES, np.zeros(4, "float32"), {}, DtypeError, "boxes of float64 and scores of float32"),
        (SQUARES, np.zeros(4), {"max_outputs": 0}, ConfigError, "max_outputs of non_max_suppression is 0"),
        (SQUARES, np.zeros(4), {"iou_threshold": 50}, ConfigError, "iou_threshold .* is 50"),
    ],
)
def test_refused(boxes: Any, scores: Any, options: dict[str, Any], error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        kept(boxes, scores, **options)
