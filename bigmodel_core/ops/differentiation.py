"""Gradients as values of the graph they are taken in, and where they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, overload

from bigmodel_core.errors import DtypeError, GraphError
from bigmodel_core.graph import Op, Value, autodiff, needed
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.elementwise import ElementwiseOp
from bigmodel_core.ops.sizes import SizeOf


@dataclass(frozen=True)
class StopGradient(Op):
    """x itself, as a constant to all that is differentiated. Plans compute nothing for it."""

    alias: ClassVar[bool] = True

    def infer(self, x: Spec) -> Spec:
        return x

    def permuted(self, order: tuple[int, ...], *inputs: Spec) -> StopGradient:
        return self

    def decomposed(self, *inputs: Value) -> tuple[Value, ...]:
        return inputs

    def grad(self, dy: Value, y: Value, x: Value) -> tuple[None]:
        return (None,)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Identity(x)


def stop_gradient(x: Value) -> Value:
    """x itself, through which no gradient flows: `detach` of PyTorch. Nothing is computed or copied.

    >>> import numpy as np
    >>> from bigmodel_core import ops
    >>> from bigmodel_core.testing import compute_gradients
    >>> compute_gradients(lambda x: ops.sum(x * ops.stop_gradient(x)), np.array([1.0, 2.0]))
    [array([1., 2.])]
    """
    return StopGradient()(x)


@dataclass(frozen=True)
class Again(ElementwiseOp):
    """x itself, once another value is there: what is computed of it is computed once more, and not before.

    Inputs: x, and a scalar that is made of the other value.

    Args:
        part: the number of what is computed again.
    """

    part: int
    cpu, cuda = elementwise(lambda x, after: x)

    def grad(self, dy: Value, y: Value, x: Value, after: Value) -> tuple[Value, None]:
        return dy, None

    def onnx(self, emit: Any, x: Any, after: Any) -> Any:
        return emit.Identity(x)


def again(x: Value, part: int, after: Value) -> Value:
    """x, for another computation of what a part of the graph computes of it; see `autodiff.Recomputed`."""
    return Again(part)(x, SizeOf((), x.dtype)(after)) if x.spec.is_float else x


@overload
def gradients(value: Value, wrt: Value) -> Value: ...
@overload
def gradients(value: Value, wrt: tuple[Value, ...]) -> tuple[Value, ...]: ...
@overload
def gradients(value: Value, wrt: list[Value]) -> list[Value]: ...
def gradients(value: Value, wrt: Value | Sequence[Value]) -> Value | Sequence[Value]:
    """The gradient of a scalar with respect to values it was computed from, as values that can be
    differentiated again: for a penalty on gradients, or a force that is the slope of an energy.

    Args:
        value: a float scalar, such as `ops.sum` of scores: the gradient of a sum over samples that do not
            depend on each other has that of each sample in its row.
        wrt: a float value, or a tuple or list of some.

    Returns:
        Gradients of the shapes of `wrt`, in its form. They are zeros where the way is cut by
        `stop_gradient` or by ops that are constant but for jumps, such as `floor`.

    Raises:
        ShapeError: the value is no scalar.
        DtypeError: a value of `wrt` has no float type.
        GraphError: the value was not computed from one of them, or an op on the way has no gradient.

    >>> import numpy as np
    >>> from bigmodel_core import ops
    >>> from bigmodel_core.testing import compute
    >>> slope = lambda x: ops.gradients(ops.sum(x**3), x)
    >>> compute(lambda x: (slope(x), ops.gradients(ops.sum(slope(x)), x)), np.array([1.0, 2.0]))
    (array([ 3., 12.]), array([ 6., 12.]))
    """
    if isinstance(wrt, Value):
        return gradients(value, (wrt,))[0]
    if not isinstance(value, Value) or not all(isinstance(item, Value) for item in wrt):
        raise GraphError(
            "gradients takes a Value, and a Value or a tuple or list of Values to differentiate for.",
            fix="call it inside a layer or a loss; outside of models, use bm.gradients.",
        )
    graph = value.node.graph
    wanted = [graph.here(item) if graph.is_inside(item.node.graph) else item for item in wrt]
    known = {id(found) for node in needed([value]) for found in node.outputs}
    for number, item in enumerate(wanted):
        which = f"value {number + 1} of those" if len(wrt) > 1 else "the value"
        if not item.spec.is_float:
            raise DtypeError(
                f"{which} to differentiate for, {item!r}, has no float type.",
                fix="differentiate for what was computed in floats.",
            )
        if id(item) not in known:
            raise GraphError(
                f"{which} to differentiate for, {item!r}, is none that the scalar was computed from.",
                fix="pass the very Value that the scalar was computed from; a slice or a copy that is made of"
                " it later is another one.",
            )
    found = autodiff.gradients(value, wanted)
    return found if isinstance(wrt, list) else tuple(found)


__all__ = ["gradients", "stop_gradient"]
