"""From what a prediction computes to the text of a C file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import bigmodel_core as bm
from bigmodel_c import images, matrices, scalars, shapes
from bigmodel_c.arrays import Array, Buffer, Memory, definition
from bigmodel_c.emit import Emit

EMITTERS: dict[str, Callable[..., None]] = {**matrices.EMITTERS, **images.EMITTERS, **shapes.EMITTERS}
"""Who writes an op of bigmodel, by its name; elementwise ones follow from their functions."""
_WORDS = """
auto break case char const continue default do double else enum extern float for goto if int long register
return short signed sizeof static struct switch typedef union unsigned void volatile while inline restrict
main n w i memcpy memset number workspace preprocess postprocess scanf printf stdin feof NAN INFINITY
"""
TAKEN = set(_WORDS.split())
"""Names that inputs and outputs cannot have."""


def emitter_of(op: bm.Op) -> Callable[..., None] | None:
    """What writes an op that is not elementwise: its own method `c`, or the table for ops of bigmodel."""
    own: Callable[..., None] | None = getattr(op, "c", None)
    if own is not None:
        return lambda emit, _, *inputs: own(emit, *inputs)
    is_ours = type(op).__module__.startswith("bigmodel_core.")
    return EMITTERS.get(type(op).__name__) if is_ours else None


def is_written(node: bm.Node) -> bool:
    """Whether an op can be written as it is, without being taken apart."""
    op = node.op
    is_known = op.alias or op.inner() is not None or emitter_of(op) is not None
    return is_known or scalars.expression_of(node) is not None


def identifier(name: str, taken: set[str]) -> str:
    """A name that C takes and that is not taken yet."""
    found = re.sub(r"\W", "_", name, flags=re.ASCII)
    found = f"_{found}" if found[:1].isdigit() else found
    while found in taken or not found:
        found += "_"
    taken.add(found)
    return found


@dataclass(frozen=True)
class Place:
    """Where an array is: in a buffer or by a name, with an offset."""

    base: Buffer | str
    offset: str = ""

    def __str__(self) -> str:
        return f"{self.base}{self.offset}"


@dataclass
class Source:
    """The functions of a file, and the calls that run them in order.

    Args:
        name: what names of the file begin with.
    """

    name: str
    memory: Memory = field(default_factory=Memory)
    helpers: dict[str, str] = field(default_factory=dict)
    definitions: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    calls: list[Callable[[], str]] = field(default_factory=list)
    places: dict[bm.Value, Place] = field(default_factory=dict)
    targets: dict[bm.Value, str] = field(default_factory=dict)
    parameters: int = 0
    now: int = 0
    _arrays: dict[bm.Value, Array] = field(default_factory=dict)
    _known: dict[bm.Value, np.ndarray] = field(default_factory=dict)
    _names: dict[bm.Value, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _read: set[bm.Value] = field(default_factory=set)
    _depth: int = 2

    def write(self, graph: bm.PredictionGraph) -> None:
        """All steps of a graph, whose inputs have their places."""
        self._known |= graph.arrays
        self._names |= graph.names
        self._read |= {value for node in graph.nodes for value in node.inputs} | set(graph.outputs.values())
        for group in scalars.groups(graph.nodes, list(graph.outputs.values())):
            node = group[-1]
            self.now += 1
            inner = graph.inner(node)
            if node.op.alias:
                self._alias(node)
            elif inner is not None:
                self._loop(node, inner)
            else:
                self._step(group)

    # Places -----------------------------------------------------------------------------------------------

    def used(self, value: bm.Value) -> Place:
        """Where a value is, which is in use now."""
        if value not in self.places:
            self.places[value] = Place(self._array(value).name)
        place = self.places[value]
        if isinstance(place.base, Buffer):
            place.base.last = max(place.base.last, self.now)
        return place

    def made(self, value: bm.Value) -> Place:
        """Where a value will be."""
        target = self.targets.get(value)
        place = Place(target) if target else Place(self._buffer(value.dtype, value.spec.size))
        self.places[value] = place
        return place

    def _buffer(self, dtype: str, size: Any) -> Buffer:
        return self.memory.buffer(dtype, size, self.now)

    def _array(self, value: bm.Value) -> Array:
        """A parameter or constant, which the file then has."""
        if value not in self._arrays:
            array, path = self._known[value], self._names.get(value)
            name = identifier(f"p_{path}" if path else f"c_{len(self._arrays)}", self._taken)
            self.definitions.extend(
                [f"/* {path or 'a constant'}: {array.shape} */", *definition(name, array)]
            )
            self.parameters += array.size if path else 0
            self._arrays[value] = Array(name, array.shape, array.dtype.name)
        return self._arrays[value]

    def _alias(self, node: bm.Node) -> None:
        """The same memory under another shape."""
        (output,), source = node.outputs, node.inputs[0]
        if source in self._known and source not in self.places:
            self.used(source)
        self.places[output] = self.places[source]

    def call(self, text: str, *places: Place) -> None:
        """A line of the prediction; `{}` stands for places, which are known at the end."""
        depth = self._depth
        self.calls.append(lambda: "    " * depth + text.format(*places))

    def copied(self, target: Place, source: Place, spec: bm.Spec) -> None:
        """Numbers moved from one place to another."""
        ctype = Array("", spec.sizes, spec.dtype).ctype
        if spec.size:
            self.call(f"memcpy({{}}, {{}}, {spec.size} * sizeof({ctype}));", target, source)

    # Steps ------------------------------------------------------------------------------------------------

    def _step(self, group: Sequence[bm.Node]) -> None:
        """A function that computes a node, or elementwise ones that belong together, and its call."""
        node, inside = group[-1], {value for node in group for value in node.outputs}
        sources = list(dict.fromkeys(v for item in group for v in item.inputs if v not in inside))
        writer = emitter_of(node.op) if len(group) == 1 else None
        constants = {
            value: self._known[value].reshape(-1)[0].item()
            for value in sources
            if writer is None and value in self._known and value.spec.size == 1
        }
        sources = [value for value in sources if value not in constants]
        given = [value for value in sources if value not in self._known]
        titles = dict(zip(given, _numbered("x", len(given)), strict=True))
        arrays = {value: self._argument(value, titles.get(value)) for value in sources}
        read = [value for value in node.outputs if value in self._read]
        names = dict(zip(read, _numbered("y", len(read)), strict=True))
        outputs = [_described(value, names[value]) if value in names else None for value in node.outputs]
        scratch: list[tuple[Array, Buffer]] = []

        def take(size: int, dtype: str) -> str:
            made = Array(f"s{len(scratch) + 1}", (size,), dtype)
            scratch.append((made, self._buffer(dtype, size)))
            return made.name

        emit = Emit(outputs, self.helpers, take)
        places = [self.used(value) for value in given]
        written = [self.made(value) for value in read]
        try:
            if writer is None:
                scalars.write_group(emit, group, arrays, constants)
            else:
                writer(emit, node.op, *(arrays[value] for value in node.inputs))
        except Exception as error:
            raise bm.errors.ExportError(
                f"the op {type(node.op).__name__} cannot be written as C: {error}.", where=node.place
            ) from error
        title = f"step_{len(self.functions) + 1}_{_snake(type(node.op).__name__)}"
        parameters = [
            *(f"{outputs[value.number].ctype} *restrict {names[value]}" for value in read),  # type: ignore[union-attr]  # it is read
            *(f"const {arrays[value].ctype} *restrict {titles[value]}" for value in given),
            *(f"{array.ctype} *restrict {array}" for array, _ in scratch),
        ]
        ops = ", ".join(type(item.op).__name__ for item in group)
        head = f"static {'int' if emit.may_fail else 'void'} {title}({', '.join(parameters)})"
        end = ["    return 0;"] if emit.may_fail else []
        comment = f"/* {node.place or 'the model'}: {ops} */"
        self.functions.append("\n".join([comment, head, "{", *emit.lines, *end, "}"]))
        passed = [*written, *places, *(Place(buffer) for _, buffer in scratch)]
        called = f"{title}({', '.join(['{}'] * len(passed))})"
        self.call(f"if ({called}) return 1;" if emit.may_fail else f"{called};", *passed)

    def _argument(self, value: bm.Value, title: str | None) -> Array:
        return self._array(value) if title is None else _described(value, title)

    def _loop(self, node: bm.Node, body: bm.PredictionGraph) -> None:
        """A scan: the calls of its body in a loop."""
        op: Any = node.op
        before, start = list(self.memory.buffers), self.now
        inputs, leaves = [self.used(value) for value in node.inputs], list(body.inputs.values())
        carried = [Place(self._buffer(v.dtype, v.spec.size)) for v in node.inputs[: op.carries]]
        for place, source, value in zip(carried, inputs, node.inputs, strict=False):
            self.copied(place, source, value.spec)
        results = [self.made(value) for value in node.outputs]
        step = f"t{self._depth}"
        order = (
            f"{step} = {op.length} - 1; {step} >= 0; {step}--"
            if op.reverse
            else f"{step} = 0; {step} < {op.length}; {step}++"
        )
        self.call(f"for (int {order}) {{{{")
        self._depth += 1
        for number, leaf in enumerate(leaves):
            place = carried[number] if number < op.carries else inputs[number]
            if op.carries <= number < op.carries + op.xs:
                place = Place(place.base, f"{place.offset} + {step} * {leaf.spec.size}")
            self.places[leaf] = place
        self.write(body)
        self.now += 1
        ends = [self.used(value) for value in body.outputs.values()]
        specs = [value.spec for value in body.outputs.values()]
        for place, result, spec in zip(
            ends[op.carries :], results[op.carries :], specs[op.carries :], strict=True
        ):
            self.copied(Place(result.base, f"{result.offset} + {step} * {spec.size}"), place, spec)
        moved = ends[: op.carries]
        if any(place.base in [item.base for item in carried] for place in moved):  # they may change places
            aside = [Place(self._buffer(spec.dtype, spec.size)) for spec in specs[: op.carries]]
            for target, place, spec in zip(aside, moved, specs, strict=False):
                self.copied(target, place, spec)
            moved = aside
        for target, place, spec in zip(carried, moved, specs, strict=False):
            self.copied(target, place, spec)
        self._depth -= 1
        self.call("}}")
        self.now += 1
        kept = [*before, *(place.base for place in (*carried, *results) if isinstance(place.base, Buffer))]
        for buffer in kept:  # each step needs again what it did not make itself
            if buffer.last >= start:
                buffer.last = self.now
        for result, place, spec in zip(results, carried, specs, strict=False):
            self.copied(result, place, spec)


def _numbered(letter: str, count: int) -> list[str]:
    return [letter] if count == 1 else [f"{letter}{number}" for number in range(1, count + 1)]


def _described(value: bm.Value, name: str) -> Array:
    return Array(name, value.spec.sizes, value.dtype)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().strip("_")


def refuse_unwritten(graph: bm.PredictionGraph) -> None:
    """Raise ExportError for ops that C has no words for; it names all, each with its layer."""
    missing = list(dict.fromkeys(_unwritten(graph)))
    if missing:
        raise bm.errors.ExportError(
            f"{len(missing)} op{'s' * (len(missing) > 1)} cannot be written as C: {'; '.join(missing)}.",
            fix="define c(self, emit, ...) in the op, as the README of bigmodel-c shows, or decomposed; or"
            " export to ONNX.",
        )


def _unwritten(graph: bm.PredictionGraph) -> Iterator[str]:
    for node in graph.nodes:
        inner = graph.inner(node)
        if inner is not None and type(node.op).__name__ == "Scan":
            yield from _unwritten(inner)
        elif inner is not None or not is_written(node):
            yield f"{node.place}: {type(node.op).__name__}".lstrip(": ")
