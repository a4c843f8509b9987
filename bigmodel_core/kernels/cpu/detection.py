"""Non-maximum suppression on the CPU: boxes in descending order, each compared with those that are kept."""

from __future__ import annotations

from bigmodel_core.kernels.call import Call
from bigmodel_core.kernels.cpu.engine.kernels import cpu_launches, kernel
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch

COST = 8.0
"""The work of comparing two boxes, in additions."""


def suppress_images(out, boxes, scores, order, kept, iou_threshold, least, start, stop):
    """out (N, most), boxes (N, M, 4), scores, order (N, M). kept (N, most, 5) is scratch: the lower corner of
    each box that is kept, the upper corner, and its area."""
    for image in range(start, stop):
        count = 0
        for rank in range(order.shape[1]):
            box = order[image, rank]
            score = scores[image, box]
            if count == out.shape[1] or score <= least:
                break
            if score != score:
                continue
            left = min(boxes[image, box, 0], boxes[image, box, 2])
            top = min(boxes[image, box, 1], boxes[image, box, 3])
            right = max(boxes[image, box, 0], boxes[image, box, 2])
            bottom = max(boxes[image, box, 1], boxes[image, box, 3])
            area = (right - left) * (bottom - top)
            is_free = True
            for number in range(count):
                wide = min(right, kept[image, number, 2]) - max(left, kept[image, number, 0])
                high = min(bottom, kept[image, number, 3]) - max(top, kept[image, number, 1])
                if wide > 0 and high > 0:
                    common = wide * high
                    if common / (area + kept[image, number, 4] - common) > iou_threshold:
                        is_free = False
                        break
            if is_free:
                kept[image, count, 0] = left
                kept[image, count, 1] = top
                kept[image, count, 2] = right
                kept[image, count, 3] = bottom
                kept[image, count, 4] = area
                out[image, count] = box
                count += 1
        for number in range(count, out.shape[1]):
            out[image, number] = -1


@cpu_launches
def non_max_suppression(call: Call) -> list[CpuLaunch]:
    """The boxes of each image that are kept."""
    images, most = call.outputs[0].sizes
    if images == 0:
        return []
    kept = call.temporary((images, most, 5))
    inputs = [call.input(number) for number in range(3)]
    return call.launch(kernel(suppress_images, cost=COST * most), [call.output(0)], [*inputs, kept])
