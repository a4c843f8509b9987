"""Normalisation of channels: over the batch, over groups of channels, over single ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ShapeError
from bigmodel_layers.normalization import check_epsilon


def _channels(x: Any, least: int) -> int:
    """The number of channels of an input (N, C, ...)."""
    if x.ndim < least or not isinstance(x.shape[1], int):
        raise ShapeError(
            f"the input is {bm.format_shape(x.shape)}, expected (N, C, ...) with a known number of channels.",
            fix="reshape it first.",
        )
    return x.shape[1]


@dataclass(frozen=True)
class BatchNorm(bm.Layer):
    """Each channel normalised to mean 0 and variance 1 over the batch, times `scale` plus `shift`.

    Described by Ioffe and Szegedy (2015). For inputs (N, C), (N, C, T), (N, C, H, W) and (N, C, D, H, W). In
    training the batch's own moments are used and running ones kept; in inference the running ones are used.
    Parameters: `scale` (C,), which starts at one, `shift` (C,), which starts at zero; not trained:
    `running_mean` and `running_variance` (C,).

    Args:
        momentum: the weight of a batch in the running moments, as in PyTorch; the running variance is
            unbiased.
        epsilon: added to the variance.

    Raises:
        ConfigError: a field is out of its limits.
        ShapeError: the input has no channels, or a free number of them; in training, before a step is taken,
            a batch has only one number for each channel.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        bm.check_number(self, "momentum", at_least=0, at_most=1)
        check_epsilon(self)

    def __call__(self, x: Any) -> Any:
        channels = _channels(x, 2)
        scale, shift = self.parameter("scale", (channels,), 1.0), self.parameter("shift", (channels,), 0.0)
        mean = self.parameter("running_mean", (channels,), 0.0, trainable=False)
        variance = self.parameter("running_variance", (channels,), 1.0, trainable=False)
        rest = x.shape[2:]
        images = x if len(rest) == 2 else ops.reshape(x, (*x.shape[:2], bm.dim_product(rest), 1))
        if not self.training:
            y = ops.fixed_norm(images, scale, shift, mean, variance, self.epsilon)
            return ops.reshape(y, x.shape)
        y, batch_mean, batch_variance = ops.batch_norm(images, scale, shift, self.epsilon)
        pixels = bm.dim_product(rest)
        free = isinstance(pixels, str)
        count = ops.size_of(images, (0, 2, 3) if free else (0,), x.dtype) * (1.0 if free else float(pixels))
        unbiased = batch_variance * (count / ops.maximum(count - 1.0, 1.0))
        self.assign("running_mean", mean * (1 - self.momentum) + batch_mean * self.momentum)
        self.assign("running_variance", variance * (1 - self.momentum) + unbiased * self.momentum)
        return ops.reshape(y, x.shape)


def _normal_rows(x: Any, groups: int, epsilon: float) -> Any:
    """Each sample's groups of channels at mean 0 and variance 1."""
    width = bm.dim_product(x.shape[1:])
    if not isinstance(width, int):
        raise ShapeError(
            f"the input is {bm.format_shape(x.shape)}, expected known sizes except for the batch.",
            fix="fix them in the input's spec.",
        )
    inner = width // groups
    if inner == 1:
        raise ShapeError(
            f"each of the {groups} groups of {bm.format_shape(x.shape)} has one number and so no variance.",
            fix="use fewer groups or larger images; BatchNorm normalises over the batch.",
        )
    rows = ops.reshape(x, (bm.dim_multiply(x.shape[0], groups), inner))
    graph = x.node.graph
    ones = ops.broadcast_to(graph.constant(1.0, x.dtype), (inner,))
    zeros = ops.broadcast_to(graph.constant(0.0, x.dtype), (inner,))
    return ops.reshape(ops.layer_norm(rows, ones, zeros, epsilon), x.shape)


def _column(vector: Any, x: Any) -> Any:
    return ops.reshape(vector, (vector.shape[0],) + (1,) * (x.ndim - 2))


@dataclass(frozen=True)
class GroupNorm(bm.Layer):
    """Groups of channels of each sample normalised to mean 0 and variance 1, times `scale` plus `shift`.

    Described by Wu and He (2018). For inputs (N, C, ...). Parameters: `scale` (C,), which starts at one, and
    `shift` (C,), which starts at zero.

    Args:
        groups: how many groups the channels fall into.
        epsilon: added to the variance.

    Raises:
        ConfigError: a field is out of its limits.
        ShapeError: the channels do not divide by the groups, or a group has only one number.
    """

    groups: int
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        bm.check_number(self, "groups", whole=True, at_least=1)
        check_epsilon(self)

    def __call__(self, x: Any) -> Any:
        channels = _channels(x, 2)
        if channels % self.groups:
            raise ShapeError(
                f"{channels} channels cannot be divided into {self.groups} groups.",
                fix="choose groups that divide the channels.",
            )
        scale, shift = self.parameter("scale", (channels,), 1.0), self.parameter("shift", (channels,), 0.0)
        return _normal_rows(x, self.groups, self.epsilon) * _column(scale, x) + _column(shift, x)


@dataclass(frozen=True)
class InstanceNorm(bm.Layer):
    """Each channel of each sample normalised to mean 0 and variance 1, times `scale` plus `shift`.

    Described by Ulyanov et al. (2016). For inputs (N, C, T), (N, C, H, W) and (N, C, D, H, W). Parameters,
    unless `affine` is False: `scale` (C,), which starts at one, and `shift` (C,), which starts at zero.

    Args:
        epsilon: added to the variance.
        affine: whether there is a scale and a shift.

    Raises:
        ConfigError: a field is out of its limits.
        ShapeError: the input has no pixels, or only one.
    """

    epsilon: float = 1e-5
    affine: bool = True

    def __post_init__(self) -> None:
        check_epsilon(self)

    def __call__(self, x: Any) -> Any:
        channels = _channels(x, 3)
        y = _normal_rows(x, channels, self.epsilon)
        if not self.affine:
            return y
        scale, shift = self.parameter("scale", (channels,), 1.0), self.parameter("shift", (channels,), 0.0)
        return y * _column(scale, x) + _column(shift, x)
