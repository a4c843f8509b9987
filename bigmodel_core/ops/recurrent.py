"""Recurrent layers as one op for all time steps: Elman's network, LSTM and GRU, forward and backward.

Arrays are time-major, (T, N, width). The projections of all inputs are one matrix product before the loop
over time, the gradients of weights are matrix products after the loop back; only the products with the
recurrent weights are made step by step. Gates are in PyTorch's order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from bigmodel_core.errors import ConfigError, DtypeError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.autodiff import pulled_back
from bigmodel_core.graph.spec import Shape, Spec, dim_add, dim_product, format_shape
from bigmodel_core.kernels.cpu import recurrent as cpu_kernels
from bigmodel_core.kernels.cuda import recurrent as cuda_kernels
from bigmodel_core.kernels.recurrence import GATES, SAVED
from bigmodel_core.ops.linear import MatMul
from bigmodel_core.ops.recurrent_steps import backward_steps, forward_steps
from bigmodel_core.ops.reduce import sum as sum_
from bigmodel_core.ops.shape import is_zero, reshape


@dataclass(frozen=True)
class Recurrent(Op):
    """A recurrent layer over whole sequences, in one direction.

    Inputs: x (T, N, F), the input weight (F, G * H), the recurrent weight (H, G * H), two biases (G * H,),
    then if asked for lengths (N,) int64 and the initial states (N, H) each. Outputs: y (T, N, H), the last
    states (N, H) each, then what the gradient needs. G counts the gates: 1, for LSTM 4 (input, forget, cell,
    output), for GRU 3 (reset, update, new).

    A row of length L takes part in its first L steps: y is zero after them, the last states are those of step
    L, and in reverse the row begins at its own last step.

    Args:
        cell: "tanh" or "relu" (Elman, 1990), "lstm" (Hochreiter and Schmidhuber, 1997, with the forget gate
            of Gers et al., 2000) or "gru" (Cho et al., 2014, with the reset gate after the product).
        reverse: whether it runs from the last step to the first.
        has_lengths: whether lengths are given.
        has_initial: whether initial states are given; they are zero otherwise.
    """

    cell: str
    reverse: bool = False
    has_lengths: bool = False
    has_initial: bool = False
    cpu = cpu_kernels.recurrent
    cuda = cuda_kernels.recurrent

    def __post_init__(self) -> None:
        if self.cell not in GATES:
            raise ConfigError(f"unknown cell {self.cell!r}.", fix=f"use one of {', '.join(GATES)}.")

    @property
    def states(self) -> int:
        """How many states there are: the hidden one, for LSTM also the cell."""
        return 2 if self.cell == "lstm" else 1

    def infer(self, x: Spec, *others: Spec) -> tuple[Spec, ...]:
        expected = 4 + self.has_lengths + self.has_initial * self.states
        if len(others) != expected:
            raise ShapeError(f"Recurrent takes {expected + 1} inputs, got {len(others) + 1}.")
        weight, recurrent, *rest = others
        if x.ndim != 3 or recurrent.ndim != 2:
            raise ShapeError(
                f"expected x (T, N, F) and a recurrent weight (H, G * H), got {format_shape(x.shape)} and"
                f" {format_shape(recurrent.shape)}."
            )
        steps, batch, features = x.shape
        units = recurrent.shape[0]
        width = dim_product((GATES[self.cell], units))
        wanted: list[tuple[str, Spec, Shape]] = [
            ("input weight", weight, (features, width)),
            ("recurrent weight", recurrent, (units, width)),
            ("input bias", rest[0], (width,)),
            ("recurrent bias", rest[1], (width,)),
            *(("initial state", spec, (batch, units)) for spec in rest[2 + self.has_lengths :]),
        ]
        if self.has_lengths:
            if rest[2].dtype != "int64":
                raise DtypeError(f"lengths are {rest[2].dtype}, expected int64.", fix="convert them.")
            if rest[2].shape != (batch,):
                raise ShapeError(
                    f"expected lengths {format_shape((batch,))}, got {format_shape(rest[2].shape)}."
                )
        for name, spec, shape in wanted:
            if spec.shape != shape:
                raise ShapeError(
                    f"expected the {name} to be {format_shape(shape)}, got {format_shape(spec.shape)}.",
                    fix=f"x is {format_shape(x.shape)}; its last dimension is the number of features.",
                )
            if spec.dtype != x.dtype or not x.is_float:
                raise DtypeError(
                    f"a recurrent layer needs operands of one float type, got {x.dtype} and {spec.dtype}.",
                    fix="convert them: x.astype('float32').",
                )
        shapes: dict[str, Shape] = {
            "previous": (steps, batch, units),
            "gates": (steps, batch, width),
            "cells": (dim_add(steps, 1), batch, units),
            "candidates": (steps, batch, units),
        }
        return tuple(
            x.with_shape(shape)
            for shape in (
                (steps, batch, units),
                *((batch, units),) * self.states,
                *(shapes[name] for name in SAVED[self.cell]),
            )
        )

    def multiply_adds(self, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> int:
        features, (units, width) = inputs[0].sizes[2], inputs[2].sizes
        return math.prod(inputs[0].sizes[:2]) * width * (features + units)

    def grad(self, dy: Any, y: Any, *inputs: Value) -> tuple[Value | None, ...]:
        if not all(is_zero(value) for value in dy[1 + self.states :]):  # of what the gradient needs
            return tuple(pulled_back(forward_steps(self, inputs), dy, inputs))
        x, weight, recurrent = inputs[:3]
        lengths = inputs[5] if self.has_lengths else None
        given = tuple(not is_zero(value) for value in dy[: 1 + self.states])
        saved = (y[0], *y[1 + self.states :])
        backward = RecurrentGrad(self.cell, self.reverse, self.has_lengths, given)
        upstream = [value for value, is_given in zip(dy, given, strict=False) if is_given]
        found = backward(recurrent, *saved, *([] if lengths is None else [lengths]), *upstream)
        d_gates, rest = found[0], found[1:]
        d_products, *d_initial = rest if self.cell == "gru" else (d_gates, *rest)
        rows = dim_product(x.shape[:2])
        source = x if lengths is None else ValidSteps()(x, lengths)
        flat_gates, flat_products = _flat(d_gates, rows), _flat(d_products, rows)
        dx = reshape(MatMul(False, True)(flat_gates, weight), x.shape)
        return (
            dx,
            MatMul(True, False)(_flat(source, rows), flat_gates),
            MatMul(True, False)(_flat(y[1 + self.states], rows), flat_products),
            sum_(flat_gates, 0),
            sum_(flat_products, 0),
            *((None,) * self.has_lengths),
            *(d_initial if self.has_initial else ()),
        )

    def onnx(self, emit: Any, *names: Any) -> Any:
        from bigmodel_core.ops.recurrent_onnx import lower

        return lower(self, emit, *names)


def _flat(x: Value, rows: Any) -> Value:
    return reshape(x, (rows, x.shape[-1]))


@dataclass(frozen=True)
class RecurrentGrad(Op):
    """The loop back over time: from gradients of y and the last states to those of the projections.

    Inputs: the recurrent weight, y, what `Recurrent` kept, lengths if there are any, then the upstream
    gradients that are given. Outputs: the gradient of the input projections (T, N, G * H), for GRU that of
    the recurrent products, and those of the initial states (N, H) each.

    Args:
        cell, reverse, has_lengths: as for `Recurrent`.
        given: which upstream gradients are not zero: those of y and of the last states.
    """

    cell: str
    reverse: bool
    has_lengths: bool
    given: tuple[bool, ...]
    exported: ClassVar[bool] = False
    cpu = cpu_kernels.recurrent_gradient
    cuda = cuda_kernels.recurrent_gradient

    def infer(self, recurrent: Spec, y: Spec, *_: Spec) -> tuple[Spec, ...]:
        gates = y.with_shape((*y.shape[:2], recurrent.shape[1]))
        states = (y.with_shape(y.shape[1:]),) * (2 if self.cell == "lstm" else 1)
        return (gates, gates, *states) if self.cell == "gru" else (gates, *states)

    def decomposed(self, *inputs: Value) -> tuple[Value, ...]:
        return backward_steps(self, inputs)

    def multiply_adds(self, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> int:
        return math.prod(outputs[0].sizes) * inputs[0].sizes[0]


@dataclass(frozen=True)
class ValidSteps(Op):
    """x (T, N, F) with zeros after the length of each row, whatever stood there."""

    exported: ClassVar[bool] = False
    cpu = cpu_kernels.valid_steps
    cuda = cuda_kernels.valid_steps

    def infer(self, x: Spec, lengths: Spec) -> Spec:
        return x

    def grad(self, dy: Value, y: Value, x: Value, lengths: Value) -> tuple[Value, None]:
        return ValidSteps()(dy, lengths), None


def recurrent(
    cell: str,
    x: Value,
    weight: Value,
    recurrent_weight: Value,
    input_bias: Value,
    recurrent_bias: Value,
    lengths: Value | None = None,
    initial: tuple[Value, ...] = (),
    reverse: bool = False,
) -> tuple[Value, tuple[Value, ...]]:
    """A recurrent layer over x (T, N, F): y (T, N, H) and the last states (N, H) each; see `Recurrent`."""
    op = Recurrent(cell, reverse, lengths is not None, bool(initial))
    further = ([] if lengths is None else [lengths]) + list(initial)
    outputs = op(x, weight, recurrent_weight, input_bias, recurrent_bias, *further)
    return outputs[0], tuple(outputs[1 : 1 + op.states])


__all__ = ["recurrent"]
