"""Ops whose cost is multiplications: dense layers, convolutions, recurrent layers, and their gradients."""

from __future__ import annotations

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
        taps: rows and columns of a filter.
        transposed: whether it is the transpose of a convolution.
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

    @property
    def out_size(self) -> int:
        """Height and width of the result."""
        if self.transposed:
            return (self.size - 1) * self.stride - 2 * self.padding + self.taps
        return (self.size + 2 * self.padding - self.taps) // self.stride + 1

    def cases(self) -> list[Case]:
        """Forward, input gradient and weight gradient."""
        pixels = (self.size if self.transposed else self.out_size) ** 2
        work = 2.0 * self.n * pixels * self.channels * self.filters * self.taps**2 / self.groups
        name = f"{self.name} {self.n}x{self.size}x{self.size}x{self.channels} to {self.filters}"
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
            normal(self.n, self.size, self.size, self.channels),
            normal(outer, inner // self.groups, self.taps, self.taps),
            normal(self.n, self.out_size, self.out_size, self.filters),
        )

    def _ours(self, which: int) -> Callable[..., Sequence[Any]]:
        from bigmodel_core.ops.convolution import Conv2d, ConvTranspose2d

        pair = (self.stride, self.stride)
        fields: Any = {"stride": pair, "border": (self.padding,) * 4, "groups": self.groups, "layout": "NHWC"}
        op: Any = Conv2d(**fields)
        if self.transposed:
            op = ConvTranspose2d(size=(self.out_size, self.out_size), **fields)

        def build(x: Any, w: Any, dy: Any) -> list[Any]:
            y = op(x, w)
            return [y] if which == 0 else [op.grad(dy, y, x, w)[which - 1]]

        return build

    def _torch(self, which: int) -> Callable[..., Callable[[], Any]]:
        def make(x: Any, w: Any, dy: Any) -> Callable[[], Any]:
            import torch

            pairs = [[self.stride] * 2, [self.padding] * 2, [1, 1], self.transposed, [0, 0], self.groups]
            if which == 0:
                return lambda: torch.ops.aten.convolution(x, w, None, *pairs)
            mask = [which == 1, which == 2, False]
            return lambda: torch.ops.aten.convolution_backward(dy, x, w, None, *pairs, mask)

        return make

    def _jax(self, which: int) -> Callable[..., Any]:
        def forward(x: Any, w: Any) -> Any:
            import jax

            border = [(self.padding, self.padding)] * 2
            if self.transposed:
                return jax.lax.conv_transpose(
                    x,
                    w,
                    (self.stride, self.stride),
                    "VALID",
                    dimension_numbers=("NHWC", "OIHW", "NHWC"),
                    transpose_kernel=True,
                )
            return jax.lax.conv_general_dilated(
                x,
                w,
                (self.stride, self.stride),
                border,
                dimension_numbers=("NHWC", "OIHW", "NHWC"),
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
