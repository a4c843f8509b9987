"""Images with more pixels than before: zeros around them, and every pixel repeated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Spec, dim_add, dim_multiply
from bigmodel_core.kernels.array import kernel
from bigmodel_core.ops.images import Border, ImageOp, Pair, pair


def pad_planes(out, x, before, start, stop):
    """out (planes, rows, columns): x (planes, fewer rows, fewer columns) with zeros around it."""
    top, left = before
    height, width = x.shape[1], x.shape[2]
    for n in range(start, stop):
        for i in range(out.shape[1]):
            row = i - top
            for j in range(out.shape[2]):
                inside = 0 <= row < height and 0 <= j - left < width
                out[n, i, j] = x[n, row, j - left] if inside else 0


def _planes(op: Any, spec: Spec) -> tuple[int, int, int]:
    a, b, c, d = spec.sizes
    return (a, b, c * d) if op.layout == "NHWC" else (a * b, c, d)


@dataclass(frozen=True)
class Pad2d(ImageOp):
    """Images (N, C, H, W) with zeros around them.

    Args:
        border: rows above, columns left, rows below, columns right.
    """

    border: Border = (0, 0, 0, 0)
    cpu = kernel(
        pad_planes,
        views=lambda op, i, o: ([_planes(op, o[0])], [_planes(op, i[0])]),
        extras=lambda op, i, o: {
            "before": (op.border[0], op.border[1] * (i[0].sizes[3] if op.layout == "NHWC" else 1))
        },
    )

    def infer(self, x: Spec) -> Spec:
        n, channels, height, width = self.sizes(x)
        top, left, below, right = self.border
        return x.with_shape(
            self.arranged(n, channels, dim_add(height, top + below), dim_add(width, left + right))
        )

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        from bigmodel_core.ops.slicing import Slice

        _, _, height, width = self.sizes(x.spec)
        down = 2 if self.layout == "NCHW" else 1
        rows = Slice(down, self.border[0], height)(dy)
        return (Slice(down + 1, self.border[1], width)(rows),)

    def onnx(self, emit: Any, x: Any) -> Any:
        top, left, below, right = self.border
        return emit.Pad(x, emit.ints((0, 0, top, left, 0, 0, below, right)), emit.const(0.0))


def zero_pad(x: Value, border: Border) -> Value:
    """Images (N, C, H, W) with rows above, columns left, rows below and columns right of zeros."""
    return Pad2d(border)(x)


def upsample_nearest(x: Value, factor: int | Pair) -> Value:
    """Each pixel of images (N, C, H, W) repeated `factor` times down and across."""
    from bigmodel_core.ops.shape import broadcast_to, reshape

    down, across = pair(factor, "factor")
    n, channels, height, width = ImageOp().sizes(x.spec)
    apart = reshape(x, (n, channels, height, 1, width, 1))
    repeated = broadcast_to(apart, (n, channels, height, down, width, across))
    return reshape(repeated, (n, channels, dim_multiply(height, down), dim_multiply(width, across)))
