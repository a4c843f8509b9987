"""Sums of channels: gradients of biases, and moments."""

from __future__ import annotations

from typing import ClassVar

from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Spec, dim_multiply
from bigmodel_core.kernels.cpu import channel_sum as cpu_kernels
from bigmodel_core.kernels.cuda import channel_sum as cuda_kernels
from bigmodel_core.ops.images import CHANNELS_FIRST, ImageOp
from bigmodel_core.ops.shape import broadcast_to, reshape


class ChannelSum(ImageOp):
    """The sum over images and pixels: the gradient of a bias for each channel."""

    image_outputs: ClassVar[tuple[int, ...]] = ()
    axes: ClassVar[tuple[int, ...]] = (0, 1, 2)  # of images with channels last
    cpu = cpu_kernels.channel_sum
    cuda = cuda_kernels.channel_sum
    exported: ClassVar[bool] = False

    def infer(self, x: Spec) -> Spec:
        return x.with_shape((self.sizes(x)[1],))

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[Value]:
        channels = reshape(dy, (-1, 1, 1)) if self.layout == CHANNELS_FIRST else dy
        return (broadcast_to(channels, x.shape),)


def channel_sum(x: Value, layout: str) -> Value:
    """The sum of each channel over images or volumes, which are images of all their rows."""
    if x.ndim == 5:
        at = 2 if layout == CHANNELS_FIRST else 1
        x = reshape(x, (*x.shape[:at], dim_multiply(*x.shape[at : at + 2]), *x.shape[at + 2 :]))
    return ChannelSum(layout=layout)(x)
