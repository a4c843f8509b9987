"""What lowerings make in between: whether ONNX has the node, and the shape and number type of its outputs,
which are found out when something asks for them."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bigmodel_core.errors import ExportError, close_matches, short
from bigmodel_core.graph import Op
from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.graph.spec import Dim, Spec, dim_add, format_shape
from bigmodel_onnx.operations import Operation

if TYPE_CHECKING:
    from bigmodel_onnx.emit import Emitter

Sizes = tuple[Dim | None, ...]
"""A shape in which None stands for a size that only the run tells."""


class UnknownOperatorError(ExportError, AttributeError):
    """A name that `Emit` and ONNX lack."""


def unknown(emitter: object, name: str) -> Exception:
    """The error for a name that is none of an emitter and no operator of ONNX."""
    if name.startswith("_"):
        return AttributeError(name)
    own = [item for item in dir(emitter) if not item.startswith("_")]
    right = {item.lower(): item for item in (*_operators(), *own)}
    near = close_matches(name.lower(), right)
    hint = f"did you mean emit.{right[near[0]]}?" if near else "https://onnx.ai/onnx/operators lists them."
    return UnknownOperatorError(f"emit has no '{name}', and ONNX has no operator of that name.", fix=hint)


@functools.cache
def _operators() -> frozenset[str]:
    from onnx import defs

    return frozenset(schema.name for schema in defs.get_all_schemas() if not schema.domain)


@functools.cache
def _schema(operator: str, opset: int) -> Any:
    from onnx import defs

    try:
        return defs.get_schema(operator, opset)
    except defs.SchemaError:
        return None


def check_node(
    emitter: Emitter, operator: str, inputs: Sequence[object], attributes: Mapping[str, object]
) -> None:
    """Refuse a node that no file could hold.

    Raises:
        ExportError: ONNX lacks the operator in this opset, or an attribute or so many inputs of it; or an
            input is no value.
    """
    schema = _schema(operator, emitter.opset)
    if schema is None:
        if operator not in _operators():
            raise unknown(emitter, operator)
        raise ExportError(
            f"the operator {operator} is not in opset {emitter.opset}.",
            fix="export with a newer opset, or write it by other operators where emit.opset is below that.",
        )
    for item in inputs:
        if not (item is None or (isinstance(item, str) and emitter.holds(item))):
            raise ExportError(
                f"emit.{operator} got {short(item)}, which is no value of the file.",
                fix="pass what onnx() was given and what emit gave; numbers and arrays by emit.const(...).",
            )
    if not schema.min_input <= len(inputs) <= schema.max_input:
        wanted = " to ".join(str(count) for count in sorted({schema.min_input, schema.max_input}))
        raise ExportError(
            f"emit.{operator} got {len(inputs)} inputs, and ONNX takes {wanted}.",
            fix=f"its inputs are {', '.join(item.name for item in schema.inputs)}.",
        )
    wrong = next((name for name in attributes if name not in schema.attributes), None)
    if wrong is not None:
        taken = ", ".join(sorted(schema.attributes)) or "none"
        raise ExportError(
            f"emit.{operator} got the attribute '{wrong}', which opset {emitter.opset} does not know.",
            fix=f"attributes of {operator}: {taken}; what is none of these may be an input.",
        )


def check_outputs(emitter: Emitter, op: object, given: Any, count: int) -> tuple[Any, ...]:
    """What an op's `onnx` returned, as one name an output; None for outputs that nothing reads.

    Raises:
        ExportError: that is something else.
    """
    name = type(op).__name__
    names = tuple(given) if isinstance(given, (tuple, list)) else (given,)
    if len(names) != count:
        raise ExportError(
            f"{name}.onnx returned {len(names)} value{'s' * (len(names) != 1)} for {count} output"
            f"{'s' * (count != 1)}.",
            fix="return what emit gave for each output, in their order.",
        )
    for item in names:
        if item is None and count > 1:
            continue
        if not isinstance(item, str) or not emitter.holds(item):
            hint = (
                "is there a `return` missing?"
                if item is None
                else "numbers become values by emit.const(...)."
            )
            raise ExportError(
                f"{name}.onnx returned {short(item)}, which is no value of the file.",
                fix=f"return what emit gave, such as `return emit.Mul(a, b)`; {hint}",
            )
    return names


def raised(op: Op, error: Exception, where: str) -> ExportError:
    """The error for an `onnx` method that raised one of Python's, with the line of its file."""
    file = getattr(getattr(type(op).onnx, "__code__", None), "co_filename", None)
    frames = [item for item in traceback.extract_tb(error.__traceback__) if item.filename == file]
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return ExportError(
        f"{type(op).__name__}.onnx{place} raised {type(error).__name__}: {error}.",
        fix="mend the lowering; `help(bm.Emit)` says what emit takes.",
        where=where or None,
    )


# Shapes and types -----------------------------------------------------------------------------------------


def sizes_and_type(emitter: Emitter, name: str) -> tuple[Sizes, str]:
    """The shape and the number type of a value.

    Raises:
        ExportError: ONNX cannot tell.
    """
    sizes, dtype = told(emitter, name)
    if sizes is None or not dtype:
        operation = emitter.made[name]
        raise ExportError(
            f"the shape of what emit.{operation.operator} gives cannot be told.",
            fix="say it by emit.reshape(x, shape), or slice before that node.",
        )
    return sizes, dtype


def told(emitter: Emitter, name: str) -> tuple[Sizes | None, str]:
    """The same as far as ONNX's own rules tell it of what was made in between: None and nothing if not."""
    spec = emitter.specs.get(name)
    if spec is not None:
        return spec.shape, spec.dtype
    if name in emitter.weights:
        array = emitter.weights[name]
        return tuple(array.shape), array.dtype.name
    port = next((port for port in emitter.ports if port.name == name), None)
    if port is not None:
        return port.shape, port.dtype
    if name not in emitter.made:
        raise ExportError(
            f"{short(name)} is no value of the file.", fix="pass what onnx() was given and what emit gave."
        )
    if name not in emitter.found:
        emitter.found.update(_inferred(emitter, emitter.made[name]))
    sizes, dtype = emitter.found[name]
    return emitter.shaped.get(name, sizes), dtype


def _inferred(emitter: Emitter, operation: Operation) -> dict[str, tuple[Sizes | None, str]]:
    from onnx import helper, numpy_helper, shape_inference

    nothing: dict[str, tuple[Sizes | None, str]] = dict.fromkeys(operation.outputs, (None, ""))
    given = {name: told(emitter, name) for name in operation.inputs if name}
    if any(not dtype for _, dtype in given.values()) or any(operation.inner()):
        return nothing
    types = {
        name: helper.make_tensor_type_proto(DTYPES[dtype].onnx, sizes)
        for name, (sizes, dtype) in given.items()
    }
    data = {name: numpy_helper.from_array(emitter.weights[name]) for name in given if name in emitter.weights}
    node = helper.make_node(operation.operator, operation.inputs, operation.outputs, **operation.attributes)
    try:
        found = shape_inference.infer_node_outputs(
            _schema(operation.operator, emitter.opset),
            node,
            types,
            data,
            opset_imports=[helper.make_opsetid("", emitter.opset)],
        )
    except Exception as error:  # ONNX raises errors of many kinds
        shapes = ", ".join(_text(given[name][0]) for name in operation.inputs if name)
        raise ExportError(
            f"emit.{operation.operator} does not take values of the shapes {shapes}: {str(error).strip()}",
            fix="https://onnx.ai/onnx/operators says what it takes.",
        ) from None
    results = dict(nothing)
    for name in found:
        tensor = found[name].tensor_type
        dtype = next((key for key, row in DTYPES.items() if row.onnx == tensor.elem_type), "")
        sizes: Sizes | None = (
            tuple(_dim(dim) for dim in tensor.shape.dim) if tensor.HasField("shape") else None
        )
        if operation.operator == "Concat" and sizes is not None:
            sizes = _joined([given[item][0] or () for item in operation.inputs], operation.attributes["axis"])
        results[name] = (sizes, dtype)
    return results


def _dim(dim: Any) -> Dim | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return Spec((dim.dim_param,)).shape[0] if dim.dim_param else None


def _joined(shapes: Sequence[Sizes], axis: int) -> Sizes:
    """The shape of arrays one behind the other: ONNX adds up no free sizes."""
    along = [shape[axis] for shape in shapes]
    known = [size for size in along if size is not None]
    total = functools.reduce(dim_add, known) if len(known) == len(along) else None
    joined = [next((size for size in sizes if size is not None), None) for sizes in zip(*shapes, strict=True)]
    joined[axis] = total
    return tuple(joined)


def _text(sizes: Sizes | None) -> str:
    if sizes is None:
        return "(...)"
    return format_shape(tuple("?" if size is None else size for size in sizes))


def known_size(emitter: Emitter, name: str, axis: int) -> Dim:
    """The size of a value along an axis.

    Raises:
        ExportError: there is no such axis, or only the run tells its size.
    """
    sizes, _ = sizes_and_type(emitter, name)
    if not -len(sizes) <= axis < len(sizes):
        raise ExportError(
            f"a value of shape {_text(sizes)} has no axis {axis}.", fix="count its axes from 0, or from -1."
        )
    size = sizes[axis]
    if size is None:
        raise ExportError(
            f"the size of axis {axis} of a value of shape {_text(sizes)} cannot be told.",
            fix="say the shape: emit.reshape(x, shape).",
        )
    return size
