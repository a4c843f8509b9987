"""Non-maximum suppression on a CUDA device: a thread for each image, or a block where many boxes are kept."""

from __future__ import annotations

import functools
from typing import Any

from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cuda.engine.kernels import cuda_launches
from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch, View, lanes_for, over_rows
from bigmodel_core.kernels.cuda.groups import combined, row_of


@cuda_launches
def non_max_suppression(call: Call) -> list[CudaLaunch]:
    """The boxes of each image that are kept."""
    boxes, scores, order = call.inputs
    images, most = call.outputs[0].sizes
    if images == 0:
        return []
    lanes, number = lanes_for(most), DTYPES[boxes.dtype].scalar
    arguments = [
        View(call.output_buffers[0], (images, most), "int64"),
        View(call.input_buffers[0], boxes.sizes, boxes.dtype),
        View(call.input_buffers[1], scores.sizes, boxes.dtype),
        View(call.input_buffers[2], order.sizes, order.dtype),
        number(call.op.iou_threshold),
        number(call.op.least),
    ]
    return [over_rows(suppress_images(lanes), arguments, images, lanes)]


@functools.cache
def suppress_images(lanes: int) -> Any:
    """out (N, most), boxes (N, M, 4), scores, order (N, M): lanes compare a box with those that are kept."""
    here, any_of = row_of(lanes), combined("max", "int64", lanes)

    def suppress_images(out, boxes, scores, order, iou_threshold, least):
        first, step, lane = here()
        for image in range(first, out.shape[0], step):
            count = 0
            for rank in range(order.shape[1]):
                box = order[image, rank]
                score = scores[image, box]
                if count == out.shape[1] or score <= least:
                    break
                if score == score:
                    meets = 0
                    for number in range(lane, count, lanes):
                        if overlap(boxes, image, box, out[image, number], iou_threshold):
                            meets = 1
                            break
                    if any_of(meets, lane) == 0:
                        if lane == count % lanes:  # the only lane that reads it
                            out[image, count] = box
                        count += 1
            for number in range(count + lane, out.shape[1], lanes):
                out[image, number] = -1

    return suppress_images


def overlap(boxes, image, a, b, iou_threshold):
    """Whether the intersection of two boxes is more than such a share of their union."""
    left_a = min(boxes[image, a, 0], boxes[image, a, 2])
    right_a = max(boxes[image, a, 0], boxes[image, a, 2])
    top_a = min(boxes[image, a, 1], boxes[image, a, 3])
    bottom_a = max(boxes[image, a, 1], boxes[image, a, 3])
    left_b = min(boxes[image, b, 0], boxes[image, b, 2])
    right_b = max(boxes[image, b, 0], boxes[image, b, 2])
    top_b = min(boxes[image, b, 1], boxes[image, b, 3])
    bottom_b = max(boxes[image, b, 1], boxes[image, b, 3])
    wide = min(right_a, right_b) - max(left_a, left_b)
    high = min(bottom_a, bottom_b) - max(top_a, top_b)
    if not (wide > 0 and high > 0):
        return False
    common = wide * high
    union = (right_a - left_a) * (bottom_a - top_a) + (right_b - left_b) * (bottom_b - top_b) - common
    return common / union > iou_threshold
