"""Rows whose number depends on data: what NonMaxSuppression keeps, until a file makes them a fixed number."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bigmodel_core import ops
from bigmodel_core.errors import ExportError
from bigmodel_core.graph import Constant, Value
from bigmodel_core.graph.spec import Dim, dim_product
from bigmodel_core.ops.positions import Positions
from bigmodel_core.ops.shape import BroadcastTo
from bigmodel_onnx.nodes import Call, reads


@dataclass(frozen=True)
class Selection:
    """Rows (image, class, box) of the boxes that are kept, image by image.

    Args:
        kept: the boxes of each image, then -1: (N, most).
        rest: the row that follows as often as is needed, if one does.
    """

    kept: Value
    rest: Value | None = None

    def joined(self, call: Call) -> Selection:
        """The rows followed by one that is repeated, with Concat."""
        rest = call.value(1) if len(call.items) == 2 and call.get("axis") == 0 else None
        count = dim_product(self.kept.shape)
        if rest is None or self.rest is not None or rest.shape != (count, 3):
            raise depends_on_data(call)
        source = rest.node.inputs[0].node if isinstance(rest.node.op, BroadcastTo) else rest.node
        rows = source.op.array.reshape(-1, 3) if isinstance(source.op, Constant) else None
        if rows is None or (rows != rows[:1]).any():
            raise depends_on_data(call)
        return replace(self, rest=call.graph.constant(rows[:1]))

    def cut(self, call: Call) -> Value:
        """As many rows as can be kept, with Slice: those that are kept, then the one that is repeated."""
        count: Dim = dim_product(self.kept.shape)
        bounds = [call.dims(place).dims for place in range(1, 4)] if len(call.items) == 4 else []
        if self.rest is None or bounds != [(0,), (count,), (0,)]:
            raise depends_on_data(call)
        graph, most = call.graph, self.kept.shape[1]
        flat = ops.reshape(self.kept, (count,))
        order = ops.argsort((flat < 0).astype("uint8"))
        numbers = Positions(self.kept.shape[0])(graph.constant(0, "int64"))
        images = ops.broadcast_to(ops.reshape(numbers, (-1, 1)), (numbers.shape[0], most))
        boxes = ops.gather(flat, order)
        columns = [ops.gather(ops.reshape(images, (count,)), order), ops.zeros_like(flat), boxes]
        rows = ops.concatenate([ops.reshape(column, (count, 1)) for column in columns], 1)
        return ops.where(ops.reshape(boxes < 0, (count, 1)), self.rest, rows)


def depends_on_data(call: Call) -> ExportError:
    """What to raise where the number of rows is asked for."""
    return ExportError(
        f"{call.operator} gives as many rows as data decides.",
        fix="fill up the rows of NonMaxSuppression, as bm.ops.non_max_suppression does.",
    )


@reads("NonMaxSuppression")
def _non_max_suppression(call: Call) -> Selection:
    boxes, scores = call.value(0), call.value(1)
    if call.get("center_point_box", 0):
        raise ExportError("NonMaxSuppression of centres and sizes cannot be read.", fix="give it corners.")
    if scores.ndim != 3 or scores.shape[1] != 1:
        raise ExportError(
            "NonMaxSuppression of several classes cannot be read.", fix="make each class an image."
        )
    most, overlap = (int(call.constant(2)) if call.has(2) else 0), call.constant(3) if call.has(3) else 0.0
    kept = ops.non_max_suppression(
        boxes,
        ops.reshape(scores, (scores.shape[0], scores.shape[2])),
        max_outputs=most,
        iou_threshold=float(np.float32(overlap)),
        score_threshold=call.constant(4) if call.has(4) else None,
    )
    return Selection(kept)
