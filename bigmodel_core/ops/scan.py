"""A loop over an axis with carried state; its body is a graph of its own, planned once, run at each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bigmodel_core.errors import ConfigError, GraphError, ShapeError
from bigmodel_core.graph import Body, Op, Value, between, graph_of
from bigmodel_core.graph.spec import Dim, Spec, dim_names, dim_value, format_shape, match
from bigmodel_core.kernels.cpu import scan as cpu_kernels
from bigmodel_core.kernels.cuda import scan as cuda_kernels
from bigmodel_core.ops.axes import integer, normal_axis
from bigmodel_core.ops.positions import Positions
from bigmodel_core.ops.scan_body import StepGraph, traced
from bigmodel_core.ops.scan_gradient import gradient
from bigmodel_core.ops.shape import transpose
from bigmodel_core.ops.structure import Structure


@dataclass(frozen=True)
class Scan(Op):
    """A loop: its body computes what is carried to the next step, and a part of each of the results.

    Inputs: what is carried as it begins, arrays (T, ...) of which each step gets its own part, then what all
    steps share. Outputs: what is carried as it ends, and (T, ...) of all steps.

    Args:
        body: takes what is carried, the parts of a step and what is shared; gives what is carried on, and
            parts.
        carries: how many values are carried.
        xs: how many arrays are taken apart.
        length: T, the number of steps.
        reverse: whether the last step comes first.
    """

    body: Body
    carries: int
    xs: int
    length: Dim
    reverse: bool = False
    cpu = cpu_kernels.scan
    cuda = cuda_kernels.scan

    def inner(self) -> Body:
        return self.body

    def bind(self, sizes: Mapping[str, int]) -> Scan:
        return replace(self, length=dim_value(self.length, sizes))

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        wanted = self._inputs()
        if list(inputs) != wanted:
            raise ShapeError(
                f"the body of a scan takes {', '.join(map(repr, wanted))},"
                f" got {', '.join(map(repr, inputs))}.",
                fix="trace the body again: ops.scan(body, carry, xs).",
            )
        return self._outputs()

    def _inputs(self) -> list[Spec]:
        """What it takes."""
        first = self.carries + self.xs
        return [
            self._all_steps(value.spec) if self.carries <= number < first else value.spec
            for number, value in enumerate(self.body.inputs)
        ]

    def _outputs(self) -> tuple[Spec, ...]:
        """What it gives."""
        return tuple(
            value.spec if number < self.carries else self._all_steps(value.spec)
            for number, value in enumerate(self.body.outputs)
        )

    def _all_steps(self, spec: Spec) -> Spec:
        return spec.with_shape((self.length, *spec.shape))

    def multiply_adds(self, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> int:
        sizes: dict[str, int] = {}
        for value, spec in zip(self._inputs(), inputs, strict=True):
            match(value.shape, spec.sizes, sizes)
        for value, spec in zip(self._outputs(), outputs, strict=True):
            match(value.shape, spec.sizes, sizes)
        nodes = self.body.nodes
        names = {name for node in nodes for value in node.outputs for name in value.spec.names()}
        sizes = {**dict.fromkeys(names | set(dim_names(self.length)), 1), **sizes}
        return dim_value(self.length, sizes) * sum(
            node.op.multiply_adds(
                [value.spec.bind(sizes) for value in node.inputs],
                [value.spec.bind(sizes) for value in node.outputs],
            )
            for node in nodes
        )

    def grad(self, dy: Any, y: Any, *inputs: Value) -> tuple[Value | None, ...]:
        return gradient(self, dy if isinstance(dy, tuple) else (dy,), inputs)

    def onnx(self, emit: Any, *names: Any) -> Any:
        first = self.carries + self.xs
        given, shared = list(names[:first]), names[first:]
        counts = None
        if not self.xs:  # the operator goes over something
            zero, one = emit.const(0, "int64"), emit.const(1, "int64")
            counts = Spec((), "int64")
            given.append(emit.Range(zero, emit.dimension_size(self.length, "int64"), one))
        body = emit.body(self.body, shared, [] if counts is None else [counts])
        directions = [int(self.reverse)] * (len(given) - self.carries)
        results = len(self.body.outputs)
        return emit.Scan(
            *given,
            body=body,
            num_scan_inputs=len(directions),
            scan_input_directions=directions if self.reverse else None,
            scan_output_directions=[1] * (results - self.carries)
            if self.reverse and results > self.carries
            else None,
            outputs=results,
        )


def scan(
    body: Callable[[Any, Any], tuple[Any, Any]],
    carry: Any,
    xs: Any = None,
    axis: int = 0,
    reverse: bool = False,
    length: Dim | None = None,
) -> tuple[Any, Any]:
    """A loop with carried state: `body(carry, x)` gives the next carry and one step of the results.

    The body is called once, with Values, and becomes a graph of its own, which is planned and compiled once
    whatever the number of steps. It may use Values and layers around it: what is the same at each step, such
    as weights, is shared by all steps, and its gradient is the sum over them. Random numbers drawn in it
    differ from step to step. Layers in it cannot change state that they own, such as the moments of a
    BatchNorm: carry it.

    The gradient keeps what is carried into each step, and the results of matrix products and convolutions;
    it computes the rest of a step again on its way back.

    Args:
        body: takes what is carried and one step of `xs`; returns what is carried on, of the same structure,
            shapes and types, and one step of the results: None if there are none.
        carry: what is carried into the first step: a Value, array or number, or tuples, lists and dicts of
            some.
        xs: what is taken apart along the axis, the same way; None if the body needs nothing but what is
            carried.
        axis: of `xs`, and of the results.
        reverse: whether to begin at the last step. Results stay in the order of `xs`.
        length: the number of steps, where `xs` is None; it may be free, as in `x.shape[0]`.

    Returns:
        What is carried after the last step, and the results of all steps along the axis.

    Raises:
        ConfigError: the body is no function, or nothing tells the number of steps.
        GraphError: the body returns something else than such a pair, or changes the state of a layer.
        ShapeError, DtypeError: `xs` differ in length, or what is carried changes its shape or type.

    >>> import numpy as np
    >>> from bigmodel_core.testing import compute
    >>> def decay(total, x):
    ...     total = 0.5 * total + x
    ...     return total, total
    >>> compute(lambda x: scan(decay, 0.0, x), np.array([1.0, 1.0, 1.0]))
    (array(1.75), array([1.  , 1.5 , 1.75]))
    """
    if not callable(body):
        raise ConfigError(
            f"the body of scan is a {type(body).__name__}.", fix="pass a function: ops.scan(body, carry, xs)."
        )
    form, x_form = Structure.of(carry, "carry"), Structure.of(xs, "xs")
    given = [*form.values(carry), *x_form.values(xs)]
    outer = graph_of(item for item in given if isinstance(item, Value))
    values = outer.values(given, "scan")
    count = len(form.values(carry))
    initial, arrays = values[:count], values[count:]
    steps = _length(arrays, x_form.names("xs"), axis, length)
    graph = StepGraph(outer)
    before = [graph.given(f"carry {number}", value.spec) for number, value in enumerate(initial)]
    parts = [
        graph.given(f"x {number}", value.spec.with_shape(_without(value, axis)))
        for number, value in enumerate(arrays)
    ]
    after, ys, y_form = traced(graph, body, (form, before), (x_form, parts))
    outputs = [*after, *ys]
    if not outputs:
        raise GraphError("scan computes nothing.", fix="carry something, or return a y.")
    moved = [_moved(value, axis, 0) for value in arrays]
    if graph.position is not None:
        parts.append(graph.position)
        moved.append(Positions(steps)(outer.constant(0, "int64")))
    known = graph.shared(outputs)
    inside = between([*before, *parts, *known], outputs)
    used = [value for node in inside for value in node.inputs] + outputs
    shared = [value for value in dict.fromkeys(used) if value in known]
    op = Scan(Body.of([*before, *parts, *shared], outputs), count, len(parts), steps, bool(reverse))
    found = outer.apply(op, [*initial, *moved, *(known[value] for value in shared)]).outputs
    results = [_put(value, axis, name) for value, name in zip(found[count:], y_form.names("y"), strict=True)]
    return form.pack(iter(found[:count])), y_form.pack(iter(results))


def _length(arrays: Sequence[Value], names: Sequence[str], axis: int, length: Any) -> Dim:
    """The number of steps.

    Raises:
        ConfigError: nothing tells it.
        ShapeError: arrays have no such axis, or differ along it.
    """
    asked = length if isinstance(length, str) or length is None else integer(length)
    if length is not None and (asked is None or (isinstance(asked, int) and asked < 0)):
        raise ConfigError(f"the length of scan is {length!r}.", fix="use an integer from 0 on.")
    found: dict[Dim, str] = {} if asked is None else {Spec((asked,)).shape[0]: "length"}
    for value, name in zip(arrays, names, strict=True):
        try:
            size = value.shape[normal_axis(axis, value.ndim)]
        except ShapeError as error:
            raise ShapeError(f"{name} of scan is {format_shape(value.shape)}: {error.message}") from None
        found.setdefault(size, name)
    if not found:
        raise ConfigError("nothing tells how many steps scan makes.", fix="pass xs, or length=.")
    if len(found) > 1:
        (size, name), (other, second) = list(found.items())[:2]
        raise ShapeError(
            f"scan makes one number of steps, but that of {name} is {size} and that of {second} is {other}.",
            fix="pass xs of one length along the axis.",
        )
    return next(iter(found))


def _without(value: Value, axis: int) -> tuple[Dim, ...]:
    place = normal_axis(axis, value.ndim)
    return (*value.shape[:place], *value.shape[place + 1 :])


def _put(value: Value, axis: int, name: str) -> Value:
    """The steps of a result along the axis.

    Raises:
        ShapeError: it has no such axis.
    """
    try:
        return _moved(value, 0, normal_axis(axis, value.ndim))
    except ShapeError:
        raise ShapeError(
            f"{name} of scan is {format_shape(value.shape[1:])} at each step, so the results have no axis"
            f" {axis}.",
            fix="return parts of more dimensions, or use axis=0.",
        ) from None


def _moved(value: Value, source: int, target: int) -> Value:
    order = list(range(value.ndim))
    order.insert(target, order.pop(normal_axis(source, value.ndim)))
    return transpose(value, order)


__all__ = ["scan"]
