"""The text of a file: comment, arrays, functions, the prediction, and a program that reads samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import bigmodel_core as bm
from bigmodel_c.arrays import CTYPES, Array, literal
from bigmodel_c.source import TAKEN, Place, Source, identifier

SCANNED = {"float32": ("float", "%f"), "float64": ("double", "%lf")}
"""How numbers are read and printed; integers as long long."""


@dataclass(frozen=True)
class Document:
    """A C file and what it says of itself.

    Args:
        name: what its names begin with.
        text: the file.
        parameters: how many numbers of the model are in it.
        workspace: bytes of memory between the steps.
        steps: how many functions it has.
        inputs, outputs: of one sample, by their names in C.
    """

    name: str
    text: str
    parameters: int
    workspace: int
    steps: int
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]

    @property
    def signature(self) -> str:
        """The prediction, as it is declared."""
        return _signature(f"{self.name}_predict", self.inputs, self.outputs) + ";"


def document(
    name: str,
    graph: bm.PredictionGraph,
    *,
    raw: bm.Preprocessing | None = None,
    target: bm.Preprocessing | None = None,
    labels: Sequence[str] | None = None,
    title: str = "",
) -> Document:
    """The file of what a model computes for one sample.

    Args:
        name: a C identifier.
        graph: what it computes, with all sizes known.
        raw: how the one input is made of raw values, which the file then takes.
        target: how recorded targets became those of training, which the file then undoes.
        labels: the names of the classes.
        title: what the model is called.
    """
    source, taken = Source(name), set(TAKEN)
    inputs, outputs = {}, {}
    for key, value in graph.inputs.items():
        port = identifier(key, taken)
        inputs[port] = Array(port, value.spec.sizes, raw.raw_dtype if raw else value.dtype)
        source.places[value] = Place(port)
        if raw is not None:
            _preprocessed(source, raw, inputs[port], value)
    for key, value in graph.outputs.items():
        port = identifier(key, taken)
        outputs[port] = Array(port, value.spec.sizes, value.dtype)
        if target is None:
            source.targets.setdefault(value, port)
    source.write(graph)
    source.now += 1
    for port, value in zip(outputs, graph.outputs.values(), strict=True):
        place = source.used(value)
        if target is not None:
            _undone(source, target, outputs[port], place)
        elif str(place) != port:  # an input, a parameter, or what another output is, too
            source.copied(Place(port), place, value.spec)
    memory = source.memory.planned()
    parts = [
        "\n".join(_comment(name, title, source, inputs, outputs, memory)),
        "#include <math.h>\n#include <stdint.h>\n#include <string.h>",
        "\n".join(_interface(name, inputs, outputs, memory, labels)),
        *(["\n".join(source.definitions)] if source.definitions else []),
        *source.helpers.values(),
        *source.functions,
        "\n".join(_prediction(source, inputs, outputs)),
        "\n".join(_program(name, inputs, outputs)),
    ]
    size = sum(bm.dtypes.DTYPES[dtype].nbytes * count for dtype, count in memory.items())
    text = "\n\n".join(parts) + "\n"
    return Document(name, text, source.parameters, size, len(source.functions), inputs, outputs)


def _preprocessed(source: Source, raw: bm.Preprocessing, given: Array, value: bm.Value) -> None:
    """The step that makes the model's input of raw values, in the number type that training used."""
    made = Place(source.memory.buffer(value.dtype, value.spec.size, 0))
    source.places[value] = made
    number = "float32" if raw.is_narrow else "float64"
    ctype, inner = CTYPES[number], 1
    for size in raw.raw_shape[1:]:
        inner *= size
    lines = [
        "/* raw values: (x * scale - mean) / std */",
        f"static void preprocess({CTYPES[value.dtype]} *restrict y, const {given.ctype} *restrict x)",
        "{",
    ]
    for word, numbers in (("mean", raw.mean), ("std", raw.std)):
        values = ", ".join(literal(item, number) for item in numbers)
        lines.append(f"    static const {ctype} {word}[{len(numbers)}] = {{{values}}};")
    lines.append(f"    for (int i = 0; i < {given.size}; i++) {{")
    at = {
        word: f"{word}[{f'i / {inner}' if inner > 1 else 'i'}]" if len(numbers) > 1 else f"{word}[0]"
        for word, numbers in (("mean", raw.mean), ("std", raw.std))
    }
    scaled = f"({ctype})x[i] * {literal(raw.scale, number)}"
    lines.append(f"        const {ctype} scaled = {scaled};")
    lines.append(f"        y[i] = ({CTYPES[value.dtype]})((scaled - {at['mean']}) / {at['std']});")
    source.functions.append("\n".join([*lines, "    }", "}"]))
    source.call("preprocess({}, {});", made, Place(given.name))


def _undone(source: Source, target: bm.Preprocessing, given: Array, place: Place) -> None:
    """The step from the numbers of training to the units of the recorded targets."""
    lines = [
        "/* the units of the targets: (x * std + mean) / scale */",
        f"static void postprocess({given.ctype} *restrict y, const {given.ctype} *restrict x)",
        "{",
    ]
    for word, numbers in (("mean", target.mean), ("std", target.std)):
        values = ", ".join(literal(item, "float64") for item in numbers)
        lines.append(f"    static const double {word}[{len(numbers)}] = {{{values}}};")
    mean, std = (
        f"{word}[{'i' if len(numbers) > 1 else 0}]"
        for word, numbers in (("mean", target.mean), ("std", target.std))
    )
    lines.append(f"    for (int i = 0; i < {given.size}; i++)")
    lines.append(
        f"        y[i] = ({given.ctype})((x[i] * {std} + {mean}) / {literal(target.scale, 'float64')});"
    )
    source.functions.append("\n".join([*lines, "}"]))
    source.call("postprocess({}, {});", Place(given.name), place)


def _signature(name: str, inputs: Mapping[str, Array], outputs: Mapping[str, Array], first: str = "") -> str:
    arguments = [
        *([first] if first else []),
        "int n",
        *(f"const {array.ctype} *{port}" for port, array in inputs.items()),
        *(f"{array.ctype} *{port}" for port, array in outputs.items()),
    ]
    return f"int {name}({', '.join(arguments)})"


def _comment(
    name: str,
    title: str,
    source: Source,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array],
    memory: Mapping[str, int],
) -> Iterator[str]:
    size = sum(bm.dtypes.DTYPES[dtype].nbytes * count for dtype, count in memory.items())
    yield f"/* {title or name}: a prediction in C99, written by bigmodel-c. It allocates no memory."
    yield " *"
    yield f" *     {_signature(f'{name}_predict', inputs, outputs)};"
    yield " *"
    for port, array in inputs.items():
        yield f" * {port}: n samples of {array.size} numbers, {_shape(array)} each"
    for port, array in outputs.items():
        yield f" * {port}: n results of {array.size} numbers, {_shape(array)} each; no memory of an input"
    yield " * It returns 0, or 1 if an index among the inputs is out of range."
    yield " *"
    yield f" * {source.parameters} parameters; {size} bytes of static memory between the steps. From several"
    yield f" * threads, call {name}_predict_in with a {name}_workspace for each; -D{name.upper()}_NO_STATIC"
    yield " * leaves the static one out."
    yield " *"
    yield f" *     cc -O3 -std=c99 -c {name}.c"
    yield f" *     cc -O3 -std=c99 -D{name.upper()}_MAIN {name}.c -lm    a program that reads text"
    yield " */"


def _shape(array: Array) -> str:
    return f"{array.dtype} ({', '.join(map(str, array.shape))})"


def _interface(
    name: str,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array],
    memory: Mapping[str, int],
    labels: Sequence[str] | None,
) -> Iterator[str]:
    yield "typedef struct {"
    for dtype, count in memory.items() or [("uint8", 1)]:
        yield f"    {CTYPES[dtype]} {dtype}[{count}];"
    yield f"}} {name}_workspace;"
    yield ""
    yield _signature(f"{name}_predict", inputs, outputs) + ";"
    yield _signature(f"{name}_predict_in", inputs, outputs, f"{name}_workspace *w") + ";"
    if labels:
        yield ""
        yield f"extern const char *const {name}_labels[{len(labels)}];"
        yield f"const char *const {name}_labels[{len(labels)}] = {{"
        yield from (f"    {_quoted(label)}," for label in labels)
        yield "};"


def _quoted(text: str) -> str:
    """A text as a C string of its UTF-8 bytes."""
    plain = {ord('"'), ord("\\"), ord("?")}
    return (
        '"'
        + "".join(chr(b) if 32 <= b < 127 and b not in plain else f"\\{b:03o}" for b in text.encode())
        + '"'
    )


def _prediction(source: Source, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> Iterator[str]:
    name = source.name
    yield _signature(f"{name}_predict_in", inputs, outputs, f"{name}_workspace *w")
    yield "{"
    steps = ", ".join(f"{port} += {array.size}" for port, array in {**inputs, **outputs}.items())
    yield "    (void)w;"
    yield f"    for (int i = 0; i < n; i++, {steps}) {{"
    yield from (call() for call in source.calls)
    yield "    }"
    yield "    return 0;"
    yield "}"
    yield ""
    yield f"#ifndef {name.upper()}_NO_STATIC"
    yield _signature(f"{name}_predict", inputs, outputs)
    yield "{"
    yield f"    static {name}_workspace workspace;"
    yield f"    return {name}_predict_in(&workspace, n, {', '.join([*inputs, *outputs])});"
    yield "}"
    yield "#endif"


def _program(name: str, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> Iterator[str]:
    """Samples from stdin, each input after the other, and a line of results for each."""
    yield f"#ifdef {name.upper()}_MAIN"
    yield "#include <stdio.h>"
    yield ""
    yield "int main(void)"
    yield "{"
    for port, array in {**inputs, **outputs}.items():
        yield f"    static {array.ctype} {port}[{max(array.size, 1)}];"
    yield "    for (;;) {"
    is_first = True
    for port, array in inputs.items():
        kind, code = SCANNED.get(array.dtype, ("long long", "%lld"))
        yield f"        for (int i = 0; i < {array.size}; i++) {{"
        yield f"            {kind} number;"
        yield f'            if (scanf("{code}", &number) != 1)'
        end = "feof(stdin) && i == 0 ? 0 : 2" if is_first else "2"
        yield f"                return {end};"
        yield f"            {port}[i] = ({array.ctype})number;"
        yield "        }"
        is_first = False
    yield f"        if ({name}_predict(1, {', '.join([*inputs, *outputs])}) != 0)"
    yield "            return 1;"
    for port, array in outputs.items():
        code = {"float32": "%.9g", "float64": "%.17g"}.get(array.dtype, "%lld")
        kind = "double" if bm.dtypes.DTYPES[array.dtype].is_float else "long long"
        yield f"        for (int i = 0; i < {array.size}; i++)"
        yield f'            printf("{code} ", ({kind}){port}[i]);'
    yield '        printf("\\n");'
    yield "    }"
    yield "}"
    yield "#endif"


__all__ = ["Document", "document"]
