"""State that layers carry from call to call: where nothing is kept, it begins with its initial value.

A state that grows, as the keys and values of attention do, has an axis of size `PAST`: what earlier calls
appended. Where nothing is kept, there is no past.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bigmodel_core.errors import DtypeError, ShapeError
from bigmodel_core.graph import Graph, Node, Value
from bigmodel_core.graph.spec import Shape, Spec, broadcast, dim_names, dim_subtract, dim_value, format_shape
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.concatenation import Concatenate
from bigmodel_core.ops.elementwise import ElementwiseOp
from bigmodel_core.ops.reduce import reduce_to
from bigmodel_core.ops.shape import BroadcastTo

PAST = "past"
"""The name of the size of what earlier calls appended to a state that grows."""


@dataclass(frozen=True)
class Carried(ElementwiseOp):
    """The state at a path when a call begins: by itself its initial value, broadcast to its shape. What keeps
    states puts a variable, an exporter an input of the file in its place.

    Args:
        path: of the layer, and the state's name there.
        shape: the state's.
    """

    path: str
    shape: Shape
    cpu, cuda = elementwise(lambda initial: initial)

    def bind(self, sizes: Mapping[str, int]) -> Carried:
        return replace(self, shape=tuple(dim_value(dim, sizes) for dim in self.shape))

    def infer(self, initial: Spec) -> Spec:
        if broadcast(initial.shape, self.shape) != self.shape:
            raise ShapeError(
                f"the initial value {format_shape(initial.shape)} does not broadcast to the state"
                f" {format_shape(self.shape)}."
            )
        return initial.with_shape(self.shape)

    def permuted(self, order: tuple[int, ...], initial: Spec) -> BroadcastTo | None:
        return BroadcastTo(self.shape).permuted(order, initial)

    def grad(self, dy: Value, y: Value, initial: Value) -> tuple[Value]:
        return (reduce_to(dy, initial.shape),)

    def onnx(self, emit: Any, initial: Any) -> Any:
        return emit.expand(initial, self.shape)


def carried(graph: Graph, path: str, spec: Spec, initial: Value | np.ndarray | float) -> Value:
    """The state at a path when a call begins; see `Carried`.

    Raises:
        ShapeError, DtypeError: the initial value does not fit.
    """
    if not isinstance(initial, Value):
        array = np.asarray(initial)
        whole = array.dtype.kind == "f" and (array == np.floor(array)).all()
        if array.dtype.kind not in ("fiub" if spec.is_float or whole else "iub"):
            raise DtypeError(f"a state of {spec.dtype} cannot begin with {initial!r}.", where=path)
        initial = graph.constant(array, spec.dtype)
    if initial.dtype != spec.dtype:
        raise DtypeError(
            f"the state is {spec.dtype}, its initial value {initial.dtype}.",
            fix=f"convert it: value.astype('{spec.dtype}').",
            where=path,
        )
    return graph.apply(Carried(path, spec.shape), [initial]).outputs[0]


def growing_axis(spec: Spec) -> int | None:
    """The axis along which a state grows from call to call; None if it does not."""
    return next((axis for axis, dim in enumerate(spec.shape) if dim == PAST), None)


def without_past(spec: Spec) -> Spec:
    """What is computed of a state that grows, where nothing is kept from call to call."""
    return spec.with_shape(dim_subtract(dim, PAST) if PAST in dim_names(dim) else dim for dim in spec.shape)


def appended_to(node: Node) -> Carried | None:
    """The state that grows to which a node appends something; None if it does something else."""
    if not isinstance(node.op, Concatenate) or len(node.inputs) != 2:
        return None
    state = node.inputs[0].node.op
    grows = isinstance(state, Carried) and growing_axis(node.inputs[0].spec) == node.op.axis
    return state if grows and isinstance(state, Carried) else None
