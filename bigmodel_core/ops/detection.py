"""Boxes that a detector found: of those that overlap, the best one is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import ConfigError, DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.spec import Spec, dim_product, format_shape
from bigmodel_core.kernels.cpu import detection as cpu_kernels
from bigmodel_core.kernels.cuda import detection as cuda_kernels
from bigmodel_core.ops.elementwise import check_floats
from bigmodel_core.ops.shape import reshape
from bigmodel_core.ops.sorting import argsort

_NOWHERE = 2**62
"""The image, in files, of rows that name no box: after all others."""


@dataclass(frozen=True)
class NonMaxSuppression(Op):
    """The boxes that are kept of each image, the best first, then -1: (N, max_outputs).

    Inputs are boxes (N, M, 4), scores (N, M) and the order in which they descend (N, M).
    """

    max_outputs: int
    iou_threshold: float
    score_threshold: float | None
    cpu = cpu_kernels.non_max_suppression
    cuda = cuda_kernels.non_max_suppression

    @property
    def least(self) -> float:
        """The score below which boxes are left out, for kernels; nothing is below NaN."""
        return float("nan") if self.score_threshold is None else self.score_threshold

    def infer(self, boxes: Spec, scores: Spec, order: Spec) -> Spec:
        check_floats("NonMaxSuppression", boxes)
        if scores.dtype != boxes.dtype:
            raise DtypeError(
                f"NonMaxSuppression cannot mix boxes of {boxes.dtype} and scores of {scores.dtype}.",
                fix="convert one of them.",
            )
        if boxes.ndim != 3 or boxes.shape[2] != 4 or scores.shape != boxes.shape[:2]:
            raise ShapeError(
                "NonMaxSuppression needs boxes (N, M, 4) and scores (N, M), or those of one image, got"
                f" {format_shape(boxes.shape)} and {format_shape(scores.shape)}.",
                fix="boxes are two corners each: x1, y1, x2, y2.",
            )
        return Spec((boxes.shape[0], self.max_outputs), "int64")

    def grad(self, dy: Value, y: Value, boxes: Value, scores: Value, order: Value) -> tuple[None, ...]:
        return None, None, None

    def onnx(self, emit: Any, boxes: Any, scores: Any, order: Any) -> Any:
        """The operator lists what is kept of all images in rows (image, class, box). Rows that name nothing
        make the list as long as it may become; then each image takes its part of it."""
        images, most = emit.inputs[0].shape[0], self.max_outputs
        given = [boxes, emit.Unsqueeze(scores, emit.ints((1,)))]
        if emit.inputs[0].dtype != "float32":  # the only type that it has
            given = [emit.cast(name, "float32") for name in given]
        bounds = [emit.const(self.iou_threshold, "float32")]
        bounds += [] if self.score_threshold is None else [emit.const(self.score_threshold, "float32")]
        found = emit.NonMaxSuppression(*given, emit.const(most, "int64"), *bounds)
        count = dim_product((images, most))
        nothing = emit.const([[_NOWHERE, -1, -1]], "int64")
        rows = emit.Concat(found, emit.Expand(nothing, emit.shape((count, 1))), axis=0)
        rows = emit.Slice(rows, emit.ints((0,)), emit.dimension(count), emit.ints((0,)))
        image, box = (emit.Gather(rows, emit.const(column, "int64"), axis=1) for column in (0, 2))
        zero, one = emit.const(0, "int64"), emit.const(1, "int64")
        numbers = emit.Unsqueeze(emit.Range(zero, emit.dimension_size(images, "int64"), one), emit.ints((1,)))
        before, here = (
            emit.ReduceSum(emit.cast(truth, "int64"), emit.ints((1,)), keepdims=1)
            for truth in (emit.Less(image, numbers), emit.Equal(image, numbers))
        )
        slots = emit.ints(range(most))
        kept = emit.Gather(box, emit.Add(before, slots))
        return emit.Where(emit.Less(slots, here), kept, emit.const(-1, "int64"))


def non_max_suppression(
    boxes: Value,
    scores: Value,
    *,
    max_outputs: int,
    iou_threshold: float = 0.5,
    score_threshold: float | None = None,
) -> Value:
    """The numbers of the boxes that are kept where of those that overlap only the best one is: int64, the
    highest score first, then -1.

    A box is dropped if its intersection with one that is kept is more than `iou_threshold` of their union.
    Of equal scores the first counts more; a box whose score is NaN is never kept. Classes that must not
    suppress each other are images of their own, or far apart: add a multiple of the class to its boxes.

    Args:
        boxes: (N, M, 4) or, of one image, (M, 4): two opposite corners each, (x1, y1, x2, y2).
        scores: (N, M) or (M,).
        max_outputs: how many boxes of an image are kept at most, the size of the result's last axis.
        iou_threshold: from 0 to 1.
        score_threshold: only boxes whose score is above it are kept.

    Returns:
        (N, max_outputs) or (max_outputs,); no gradient passes.

    Raises:
        ShapeError, DtypeError: these are no boxes and scores.
        ConfigError: a threshold or `max_outputs` is out of range.
    """
    if isinstance(max_outputs, bool) or not isinstance(max_outputs, int) or max_outputs < 1:
        raise ConfigError(
            f"max_outputs of non_max_suppression is {max_outputs!r}.", fix="use an integer from 1 on."
        )
    if not 0 <= iou_threshold <= 1:
        raise ConfigError(
            f"iou_threshold of non_max_suppression is {iou_threshold!r}.", fix="use a number from 0 to 1."
        )
    least = None if score_threshold is None else float(score_threshold)
    op = NonMaxSuppression(max_outputs, float(iou_threshold), least)
    if boxes.ndim == 2 and scores.ndim == 1:
        boxes, scores = reshape(boxes, (1, *boxes.shape)), reshape(scores, (1, *scores.shape))
        return reshape(op(boxes, scores, argsort(scores, descending=True)), (max_outputs,))
    if scores.ndim != 2:
        op.infer(boxes.spec, scores.spec, scores.spec)  # raises
    return op(boxes, scores, argsort(scores, descending=True))


__all__ = ["non_max_suppression"]
