"""The body of a loop while it is built: called once, on what stands for its inputs at any step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bigmodel_core.errors import DtypeError, GraphError, ShapeError
from bigmodel_core.graph import BodyGraph, Constant, Graph, Value, needed
from bigmodel_core.graph.operands import constant_array
from bigmodel_core.graph.spec import Spec, format_shape
from bigmodel_core.ops.random import STEP, RandomWords, path_key
from bigmodel_core.ops.structure import Structure


class StepGraph(BodyGraph):
    """The graph of a step while it is built. Random numbers drawn in it are others at each step."""

    def __init__(self, outer: Graph) -> None:
        super().__init__(outer)
        self.position: Value | None = None
        """The number of the step, if something depends on it."""

    def input(self, name: str, spec: Spec) -> Value:
        value = super().input(name, spec)
        return self._at_this_step(value) if name == STEP else value

    def _at_this_step(self, value: Value) -> Value:
        """The number of a step of training, mixed with that of the loop: what random numbers depend on."""
        if self.position is None:
            self.position = self.given("position", Spec((), "int64"))
        before = sum(node.op.inner() is not None and node.path == self.path for node in self.outer.nodes)
        return RandomWords(path_key(f"{self.path}#scan{before}"), ())(value, self.position)

    def shared(self, outputs: Sequence[Value]) -> dict[Value, Value]:
        """The values that are the same at each step, and what they are in the graph around this one: those of
        it that were used, and what is computed from them alone, unless that is larger."""
        found = {inner: outer for outer, inner in self.taken.items()}
        for node in needed(outputs):
            constants = [isinstance(value.node.op, Constant) for value in node.inputs]
            known = [value in found for value in node.inputs]
            if not any(known) or not all(map(max, constants, known)):
                continue
            if sum(map(_size, node.outputs)) > sum(map(_size, node.inputs)):
                continue
            inputs = [found[value] if value in found else self._outer(value) for value in node.inputs]
            with self.outer.scope(node.path, node.layer):
                found.update(zip(node.outputs, self.outer.apply(node.op, inputs).outputs, strict=True))
        return found

    def _outer(self, constant: Value) -> Value:
        return self.outer.apply(constant.node.op, ()).outputs[0]


def _size(value: Value) -> float:
    """How many numbers a value has; a free dimension counts as many."""
    return math.prod(dim if isinstance(dim, int) else 2**20 for dim in value.shape)


Given = tuple[Structure, Sequence[Value]]
"""Values, one after the other, and their structure."""


def traced(
    graph: StepGraph, body: Callable[[Any, Any], Any], carry: Given, xs: Given
) -> tuple[list[Value], list[Value], Structure]:
    """What a body carries on, the parts of its results, and their structure.

    Args:
        graph: its graph, to which nothing can be added afterwards.
        body: the function.
        carry: what is carried.
        xs: the parts of a step.

    Raises:
        GraphError: it returns no such pair.
        ShapeError, DtypeError: what is carried changes its shape or type.
    """
    (form, before), (x_form, parts) = carry, xs
    with graph.active():
        returned = body(form.pack(iter(before)), x_form.pack(iter(parts)))
        if not isinstance(returned, (tuple, list)) or len(returned) != 2:
            raise GraphError(
                f"the body of scan returned {_described(returned)}.",
                fix="return what is carried and a step of the results: `return carry, y`;"
                " None in the place of what there is not.",
            )
        after = _carried(graph, form, before, returned[0])
        y_form = Structure.of(returned[1], "y")
        ys = _as_values(graph, y_form.values(returned[1]), [*before, *parts])
    graph.is_closed = True
    return after, ys, y_form


def _carried(graph: Graph, form: Structure, before: Sequence[Value], returned: Any) -> list[Value]:
    """What a body carries on.

    Raises:
        GraphError: it is structured otherwise than what was carried.
        ShapeError, DtypeError: a value has another shape or type.
    """
    new = Structure.of(returned, "carry")
    if not form.fits(new):
        raise GraphError(
            f"scan carries {form!r}, but its body carries on {new!r}.",
            fix="return what is carried in the form in which it came in.",
        )
    after = []
    for item, value, name in zip(form.values(returned), before, form.names("carry"), strict=True):
        made = item if isinstance(item, Value) else graph.constant(constant_array(item, value.dtype))
        if made.shape != value.shape:
            raise ShapeError(
                f"{name} of scan is {value.spec}, but its body carries on {made.spec}.",
                fix=f"let it begin with {format_shape(made.shape)}, or keep the shape in the body.",
            )
        if made.dtype != value.dtype:
            raise DtypeError(
                f"{name} of scan is {value.spec}, but its body carries on {made.spec}.",
                fix=f"let it begin as {made.dtype}, or convert in the body: .astype('{value.dtype}').",
            )
        after.append(graph.here(made))
    return after


def _as_values(graph: Graph, items: Sequence[Any], beside: Iterable[Value]) -> list[Value]:
    """Values, arrays and numbers as values of a body; floats take the float type of the values beside."""
    floats = next((value.dtype for value in beside if value.spec.is_float), None)
    found = []
    for item in items:
        if not isinstance(item, Value):
            is_float = constant_array(item).dtype.kind == "f"
            item = graph.constant(constant_array(item, floats if is_float else None))
        found.append(graph.here(item))
    return found


def _described(item: Any) -> str:
    if isinstance(item, (tuple, list)):
        return f"{len(item)} items"
    return "nothing" if item is None else f"a {type(item).__name__}"
