"""The loss of connectionist temporal classification: labels in order, at times that nobody knows."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import ConfigError, DtypeError, GraphError, ShapeError
from bigmodel_core.graph import Op, Value
from bigmodel_core.graph.autodiff import gradients
from bigmodel_core.graph.spec import Spec, dim_add, dim_multiply, format_shape
from bigmodel_core.kernels.cpu import ctc as cpu_kernels
from bigmodel_core.kernels.cuda import ctc as cuda_kernels
from bigmodel_core.ops.arithmetic import add, maximum
from bigmodel_core.ops.axes import integer
from bigmodel_core.ops.comparison import cast, greater, less, not_equal, where
from bigmodel_core.ops.concatenation import concatenate
from bigmodel_core.ops.differentiation import stop_gradient
from bigmodel_core.ops.elementwise import check_floats
from bigmodel_core.ops.functions import exp, log
from bigmodel_core.ops.indexing import take_along_axis
from bigmodel_core.ops.positions import positions
from bigmodel_core.ops.reduce import sum as sum_
from bigmodel_core.ops.shape import broadcast_to, reshape
from bigmodel_core.ops.sizes import size_of_dimension
from bigmodel_core.ops.softmax import log_softmax

_NEVER = -1e30
"""The logarithm of 0 where it is differentiated again: sums of it are numbers."""


@dataclass(frozen=True)
class CtcLoss(Op):
    """-log of the chance of labels: of log-probabilities (N, T, C), targets (N, L), the steps of each sample
    (N,) and its labels (N,). A second output serves the gradient.

    Args:
        blank: the class that is no label.
        zero_infinity: whether a sample that has no alignment counts nothing.
    """

    blank: int
    zero_infinity: bool
    cpu = cpu_kernels.ctc_loss
    cuda = cuda_kernels.ctc_loss

    def infer(self, x: Spec, targets: Spec, steps: Spec, counts: Spec) -> tuple[Spec, Spec]:
        check_floats("ctc_loss", x)
        if x.ndim != 3 or targets.ndim != 2 or targets.shape[0] != x.shape[0]:
            raise ShapeError(
                "ctc_loss needs logits (N, T, C) and targets (N, L), got"
                f" {format_shape(x.shape)} and {format_shape(targets.shape)}.",
                fix="the batch comes first; pad shorter targets, and pass target_lengths.",
            )
        for name, spec in (("input_lengths", steps), ("target_lengths", counts)):
            if spec.shape != x.shape[:1]:
                raise ShapeError(
                    f"{name} of ctc_loss are {format_shape(spec.shape)}, expected"
                    f" {format_shape(x.shape[:1])}: one for each sample."
                )
        for name, spec in (("targets", targets), ("input_lengths", steps), ("target_lengths", counts)):
            if not spec.is_integer:
                raise DtypeError(
                    f"{name} of ctc_loss are {spec.dtype}, expected integers.",
                    fix="convert them: .astype('int64').",
                )
        classes = x.shape[2]
        if isinstance(classes, int) and not 0 <= self.blank < classes:
            raise ConfigError(
                f"the blank of ctc_loss is {self.blank}, and there are {classes} classes.",
                fix=f"use a class from 0 to {classes - 1}.",
            )
        states = dim_add(dim_multiply(2, targets.shape[1]), 1)
        return Spec(x.shape[:1], x.dtype), x.with_shape((*x.shape[:2], states))

    def grad(self, dy: Any, y: Any, *inputs: Value) -> tuple[Value, None, None, None]:
        slopes = _CtcLossGrad(self.blank, self.zero_infinity)(dy[0], *inputs, y[1])
        return slopes, None, None, None


@dataclass(frozen=True)
class _CtcLossGrad(Op):
    blank: int
    zero_infinity: bool
    cpu = cpu_kernels.ctc_loss_grad
    cuda = cuda_kernels.ctc_loss_grad

    def infer(self, dy: Spec, x: Spec, *more: Spec) -> Spec:
        return x

    def decomposed(self, *inputs: Value) -> tuple[Value]:
        """The gradient of the same loss made step by step; what serves this op is a function of the others.

        Raises:
            GraphError: the number of steps is free.
        """
        dy, x, targets, steps, counts = inputs[:5]
        found = _log_chances(x, targets, steps, counts, self.blank)
        counted = cast(greater(found, _NEVER / 2), x.dtype)
        if not self.zero_infinity:
            counted = counted / counted  # 0 / 0 is no number
        (slopes,) = gradients(sum_(found * counted), [x])
        return (slopes * reshape(-dy, (-1, 1, 1)),)


def _log_chances(x: Value, targets: Value, steps: Value, counts: Value, blank: int) -> Value:
    """The logarithm of the chance of all alignments of each sample, (N,), step by step as in
    `kernels/alignments.py`. One label more, which no sample reaches, stands behind all others.

    Raises:
        GraphError: the number of steps is free.
    """
    samples, total, labels = x.shape[0], x.shape[1], dim_add(targets.shape[1], 1)
    if not isinstance(total, int):
        raise GraphError(
            "ctc_loss cannot be differentiated twice over a free number of steps.",
            fix="fix the number of steps.",
        )
    x, steps, counts = maximum(x, _NEVER), reshape(steps, (-1, 1)), reshape(counts, (-1, 1))

    def full(columns: Any, number: float, dtype: str = x.dtype) -> Value:
        return broadcast_to(x.node.graph.constant(number, dtype), (samples, columns))

    targets = concatenate([targets, full(1, blank, targets.dtype)], 1)
    targets = where(less(positions(targets), counts), targets, blank)
    is_other = concatenate([full(1, False, "bool"), not_equal(targets[:, 1:], targets[:, :-1])], 1)
    never = full(1, _NEVER)
    at_labels = full(labels, _NEVER)
    at_blanks = concatenate([full(1, 0.0), at_labels], 1)  # before the first step
    for t in range(total):
        now = x[:, t]
        shifted = concatenate([never, at_labels], 1)
        blanks = _log_sum(at_blanks, shifted) + now[:, blank : blank + 1]
        entered = _log_sum(at_labels, at_blanks[:, :-1], where(is_other, shifted[:, :-1], _NEVER))
        is_valid = less(t, steps)
        at_labels = where(is_valid, entered + take_along_axis(now, targets, 1), at_labels)
        at_blanks = where(is_valid, blanks, at_blanks)
    has_labels = greater(counts, 0)
    last = take_along_axis(at_labels, where(has_labels, counts - 1, 0), 1)
    found = _log_sum(take_along_axis(at_blanks, counts, 1), where(has_labels, last, _NEVER))
    return reshape(found, (-1,))


def _log_sum(*parts: Value) -> Value:
    top = stop_gradient(functools.reduce(maximum, parts))
    return top + log(functools.reduce(add, [exp(part - top) for part in parts]))


def ctc_loss(
    logits: Value,
    targets: Value,
    input_lengths: Value | None = None,
    target_lengths: Value | None = None,
    blank: int = 0,
    zero_infinity: bool = False,
) -> Value:
    """-log of the chance that a sequence of classes, one for each step, reads as the labels: once repeated
    classes are one, and blanks are left out (Graves et al., 2006). The loss of each sample, (N,).

    The batch is the first axis and logits are not normalised, as in `optax.ctc_loss`; names are those of
    `torch.nn.functional.ctc_loss`, which takes log-probabilities (T, N, C), and averages by the lengths of
    targets. Log-probabilities may be passed in place of logits: softmax does not change them.

    Args:
        logits: (N, T, C) floats, a score for each class at each step.
        targets: (N, L) integers, the labels of each sample in order; what is behind the last is not looked
            at.
        input_lengths: (N,) integers, how many steps each sample has; all of them if None.
        target_lengths: (N,) integers, how many labels each sample has; all of them if None.
        blank: the class that is no label.
        zero_infinity: whether the loss of a sample without an alignment, such as one with more labels than
            steps, is 0 and without a gradient; else it is infinite, and its gradient NaN.

    Raises:
        ShapeError, DtypeError: the arrays do not fit, or targets or lengths are no integers.
        ConfigError: the blank is no class.
        DataError: at run time, a label is out of range or the blank, or a length beyond its axis.

    >>> import numpy as np
    >>> from bigmodel_core.testing import compute
    >>> logits = np.log([[[0.5, 0.5], [0.5, 0.5]]])  # of "11", "-1" and "1-" of four equal ways
    >>> np.exp(-compute(ctc_loss, logits, np.array([[1]]))).round(6)
    array([0.75])
    """
    place = integer(blank)
    if place is None:
        raise ConfigError(f"the blank of ctc_loss is {blank!r}.", fix="use a class, such as 0.")
    lengths = [
        _whole(value) if given is None else given
        for value, given in ((logits, input_lengths), (targets, target_lengths))
    ]
    return CtcLoss(place, bool(zero_infinity))(log_softmax(logits), targets, *lengths)[0]


def _whole(x: Value) -> Value:
    """The size of the second axis, for each that the first one counts; of fewer axes, which the op refuses,
    anything."""
    graph, size = x.node.graph, x.shape[1] if x.ndim > 1 else 0
    number = (
        graph.constant(size, "int64") if isinstance(size, int) else size_of_dimension(size, graph, "int64")
    )
    return broadcast_to(number, x.shape[:1])


__all__ = ["ctc_loss"]
