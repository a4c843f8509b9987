"""Ops whose cost is multiplications: dense layers, convolutions, recurrent layers, and their gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.operators import Arrays, Case, normal


def dense(rows: int, inputs: int, outputs: int) -> list[Case]:
    """A dense layer without its bias: forward, input gradient and weight gradient."""

    def arrays() -> Arrays:
        return normal(rows, inputs), normal(inputs, outputs), normal(rows, outputs)

    def ours(which: int) -> Callable[..., Sequence[Any]]:
        from bigmodel_core.ops.linear import MatMul

        def build(x: Any, w: Any, dy: Any) -> list[Any]:
            y = MatMul()(x, w)
            return [y] if which == 0 else [y.node.op.grad(dy, y, x, w)[which - 1]]

        return build

    theirs: tuple[Any, ...] = (
        lambda x, w, dy: lambda: x @ w,
        lambda x, w, dy: lambda: dy @ w.T,
        lambda x, w, dy: lambda: x.T @ dy,
    )
    jax: tuple[Any, ...] = (
        lambda x, w, dy: x @ w,
        lambda x, w, dy: dy @ w.T,
        lambda x, w, dy: x.T @ dy,
    )
    work = 2.0 * rows * inputs * outputs
    return [
        Case(
            _part(f"dense {rows}x{inputs}x{outputs}", which),
            work,
            arrays,
            ours(which),
            theirs[which],
            jax[which],
        )
        for which in range(3)
    ]


def _part(name: str, which: int) -> str:
    return (name, f"{name}, input gradient", f"{name}, weight gradient")[which]


@dataclass(frozen=True)
class Convolution:
    """A convolution of (n, size, size, channels) to some filters.

    Args:
        name: its family.
        taps: rows and columns of a filter, and its slices.
        transposed: whether it is the transpose of a convolution.
        depth: the slices of volumes; 0 for images.
    """

    name: str
    n: int
    size: int
    channels: int
    filters: int
    taps: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    transposed: bool = False
    depth: int = 0

    @property
    def sizes(self) -> tuple[int, ...]:
        """Depth, if there is one, height and width."""
        return (self.depth, self.size, self.size) if self.depth else (self.size, self.size)

    @property
    def out_sizes(self) -> tuple[int, ...]:
        """The same of the result."""
        if self.transposed:
            return tuple((size - 1) * self.stride - 2 * self.padding + self.taps for size in self.sizes)
        return tuple((size + 2 * self.padding - self.taps) // self.stride + 1 for size in self.sizes)

    def each(self, number: int) -> tuple[int, ...]:
        """A number for each axis."""
        return (number,) * len(self.sizes)

    def cases(self) -> list[Case]:
        """Forward, input gradient and weight gradient."""
        pixels, taps = math.prod(self.sizes if self.transposed else self.out_sizes), self.each(self.taps)
        work = 2.0 * self.n * pixels * self.channels * self.filters * math.prod(taps) / self.groups
        of_x = "x".join(map(str, (self.n, *self.sizes, self.channels)))
        name = f"{self.name} {of_x} to {self.filters}"
        return [
            Case(
                _part(name, which),
                work,
                self._arrays,
                self._ours(which),
                self._torch(which),
                self._jax(which),
                images=(0, 2),
            )
            for which in range(3)
        ]

    def _arrays(self) -> Arrays:
        outer, inner = self.filters, self.channels
        if self.transposed:
            outer, inner = inner, outer
        return (
            normal(self.n, *self.sizes, self.channels),
            normal(outer, inner // self.groups, *self.each(self.taps)),
            normal(self.n, *self.out_sizes, self.filters),
        )

    def _ours(self, which: int) -> Callable[..., Sequence[Any]]:
        from bigmodel_core.ops.convolution import Conv2d, Conv3d

        kind: Any = Conv3d if self.depth else Conv2d
        op = kind(
            stride=self.each(self.stride),
            border=self.each(self.padding) * 2,
            groups=self.groups,
            layout="NHWC",
        )
        if self.transposed:
            op = op.kinds[1](size=self.out_sizes, **op.fields())

        def build(x: Any, w: Any, dy: Any) -> list[Any]:
            y = op(x, w)
            return [y] if which == 0 else [op.grad(dy, y, x, w)[which - 1]]

        return build

    def _torch(self, which: int) -> Callable[..., Callable[[], Any]]:
        def make(x: Any, w: Any, dy: Any) -> Callable[[], Any]:
            import torch

            stride, padding, gap, more = (list(self.each(n)) for n in (self.stride, self.padding, 1, 0))
            options = [stride, padding, gap, self.transposed, more, self.groups]
            if which == 0:
                return lambda: torch.ops.aten.convolution(x, w, None, *options)
            mask = [which == 1, which == 2, False]
            return lambda: torch.ops.aten.convolution_backward(dy, x, w, None, *options, mask)

        return make

    def _jax(self, which: int) -> Callable[..., Any]:
        def forward(x: Any, w: Any) -> Any:
            import jax

            border = [(self.padding, self.padding)] * len(self.sizes)
            order = ("NDHWC", "OIDHW", "NDHWC") if self.depth else ("NHWC", "OIHW", "NHWC")
            if self.transposed:
                return jax.lax.conv_transpose(
                    x,
                    w,
                    self.each(self.stride),
                    "VALID",
                    dimension_numbers=order,
                    transpose_kernel=True,
                )
            return jax.lax.conv_general_dilated(
                x,
                w,
                self.each(self.stride),
                border,
                dimension_numbers=order,
                feature_group_count=self.groups,
            )

        def function(x: Any, w: Any, dy: Any) -> Any:
            import jax

            if which == 0:
                return forward(x, w)
            if which == 1:
                return jax.vjp(lambda x: forward(x, w), x)[1](dy)
            return jax.vjp(lambda w: forward(x, w), w)[1](dy)

        return function


def recurrent(cell: str, steps: int, batch: int, features: int, units: int) -> list[Case]:
    """A recurrent layer over whole sequences: forward, and forward with all gradients."""
    gates = {"tanh": 1, "lstm": 4, "gru": 3}[cell]

    def arrays() -> Arrays:
        scale = np.float32(units**-0.5)
        return (
            normal(steps, batch, features),
            normal(features, gates * units) * scale,
            normal(units, gates * units) * scale,
            normal(gates * units) * scale,
            normal(gates * units, seed=1) * scale,
            normal(steps, batch, units),
        )

    def forward(*values: Any) -> list[Any]:
        from bigmodel_core import ops

        return [ops.recurrent(cell, *values[:5])[0]]

    def both(*values: Any) -> list[Any]:
        from bigmodel_core import ops
        from bigmodel_core.graph.autodiff import gradients

        y = forward(*values)[0]
        return gradients(ops.sum(y * values[5]), list(values[:5]))

    def torch(backward: bool) -> Callable[..., Callable[[], Any]]:
        def make(x: Any, *rest: Any) -> Callable[[], Any]:
            import torch
            from torch import nn

            kind = {"tanh": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[cell]
            layer = kind(features, units)
            if not backward:

                def run() -> Any:
                    with torch.no_grad():
                        return layer(x)

                return run
            x.requires_grad_()
            parameters = [x, *layer.parameters()]
            return lambda: torch.autograd.grad(layer(x)[0], parameters, rest[-1])

        return make

    name = f"{cell.replace('tanh', 'rnn')} {steps} steps {batch}x{features} to {units}"
    work = 2.0 * steps * batch * gates * units * (features + units)
    return [
        Case(name, work, arrays, forward, torch(False)),
        Case(f"{name}, with gradients", 3 * work, arrays, both, torch(True)),
    ]
