"""Reading files that may be damaged or hostile: places and sizes are checked before anything is allocated."""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.errors import ExportError

if TYPE_CHECKING:
    import onnx

LARGEST = 2**31 - 1
"""Bytes that a protobuf message can have."""

_TYPED_FIELDS = {
    1: "float_data", 2: "int32_data", 3: "int32_data", 4: "int32_data", 5: "int32_data", 6: "int32_data",
    7: "int64_data", 9: "int32_data", 10: "int32_data", 11: "double_data", 12: "uint64_data",
    13: "uint64_data",
}  # fmt: skip
"""Where a tensor of each type keeps its numbers when they are not raw bytes."""


def read(path: Path) -> onnx.ModelProto:
    """The model in a file, with nothing of its sidecars read yet; all of it was checked.

    Raises:
        ExportError: the file is missing, damaged or unsafe.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no stubs

    try:
        size = path.stat().st_size
        if not stat.S_ISREG(path.stat().st_mode):
            raise ExportError("not a file.", where=str(path), fix="name an .onnx file.")
        if size > LARGEST:
            raise ExportError(f"{size} bytes are more than an ONNX file can have.", where=str(path))
        content = path.read_bytes()
    except OSError as error:
        raise ExportError(
            f"cannot read the file: {error.strerror}.",
            where=str(path),
            fix="check the path and its permissions.",
        ) from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        model.Clear()
    if not model.HasField("graph") or not model.opset_import or not (model.graph.node or model.graph.output):
        raise ExportError(
            "this is not an ONNX model, or it is truncated.",
            where=str(path),
            fix="read a checkpoint with bm.load(path)."
            if path.suffix == ".safetensors"
            else "export it again.",
        )
    _check_texts(model, path)
    for tensor in tensors(model):
        check_tensor(tensor, path)
    check_rules(path)
    return model


def check_rules(path: Path, *, shapes: bool = False) -> None:
    """Have ONNX's own checker read a file whose sidecars are known to be in place.

    Args:
        path: the file.
        shapes: whether the shapes of all values are inferred and compared too.

    Raises:
        ExportError: the file breaks a rule of the format.
    """
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=shapes)
    except (
        Exception
    ) as error:  # of several classes of its own, and UnicodeDecodeError for bytes in its message
        reason = " ".join(str(error).split())[:400].rstrip(".")
        raise ExportError(
            f"ONNX's checker rejects the file: {reason}.", where=str(path), fix="export the model again."
        ) from error


def _check_texts(model: onnx.ModelProto, path: Path) -> None:
    """Refuse names that are no text; protobuf hands them over as bytes."""
    texts: list[Any] = [model.producer_name, model.producer_version, model.graph.name]
    texts += [text for entry in model.metadata_props for text in (entry.key, entry.value)]
    texts += [entry.domain for entry in model.opset_import]
    for graph in _graphs(model):
        ports = [*getattr(graph, "value_info", ())]
        if hasattr(graph, "initializer"):
            ports += [*graph.input, *graph.output]
        texts += [port.name for port in ports]
        texts += [dim.dim_param for port in ports for dim in port.type.tensor_type.shape.dim]
        for node in graph.node:
            texts += [node.op_type, node.name, node.domain, *node.input, *node.output]
            texts += [attribute.name for attribute in node.attribute]
    for tensor in tensors(model):
        texts.append(tensor.name)
        texts += [text for entry in tensor.external_data for text in (entry.key, entry.value)]
    if not all(isinstance(text, str) for text in texts):
        raise ExportError("a name in the file is not text.", where=str(path), fix="export the model again.")


def _graphs(model: onnx.ModelProto) -> Iterator[Any]:
    """The graph, the functions, and the graphs inside of nodes."""
    graphs: list[Any] = [model.graph, *model.functions]
    while graphs:
        graph = graphs.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                graphs += [attribute.g] if attribute.HasField("g") else []
                graphs += attribute.graphs


def tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model: weights, constants, those of inner graphs and functions."""
    for graph in _graphs(model):
        yield from getattr(graph, "initializer", ())
        for sparse in getattr(graph, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    if sparse.HasField("values"):
                        yield from (sparse.values, sparse.indices)


def check_tensor(tensor: onnx.TensorProto, path: Path) -> None:
    """Refuse a tensor whose data is not what its shape says, or is outside the model's folder.

    Raises:
        ExportError: with the tensor's name and what is wrong.
    """
    where = f"{path}: {tensor.name or 'constant'}"
    if any(dim < 0 for dim in tensor.dims):
        raise ExportError(
            f"the tensor has the shape {tuple(tensor.dims)}.", where=where, fix="export it again."
        )
    if external(tensor):
        _check_external(tensor, path, where)
        return
    count, found = math.prod(tensor.dims), None
    if tensor.HasField("raw_data"):
        expected = _nbytes(tensor, where)
        found = len(tensor.raw_data)
        if found != expected:
            raise ExportError(
                f"the tensor has {found} bytes, expected {expected}.", where=where, fix="export it again."
            )
    elif tensor.data_type in _TYPED_FIELDS:
        found = len(getattr(tensor, _TYPED_FIELDS[tensor.data_type]))
        if found != count:
            raise ExportError(
                f"the tensor has {found} numbers, expected {count}.", where=where, fix="export it again."
            )


def external(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor's data is in another file."""
    return tensor.data_location == tensor.EXTERNAL or bool(tensor.external_data)


def _nbytes(tensor: onnx.TensorProto, where: str) -> int:
    from onnx import TensorProto, helper

    count = math.prod(tensor.dims)
    if tensor.data_type in (TensorProto.INT4, TensorProto.UINT4):
        return (count + 1) // 2
    try:
        return count * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except KeyError:
        raise ExportError(f"the tensor has the unknown type {tensor.data_type}.", where=where) from None


def _check_external(tensor: onnx.TensorProto, path: Path, where: str) -> tuple[Path, int, int]:
    """The sidecar of a tensor, and where its bytes begin and how many there are."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    file = contained(path, entries.get("location", ""), where)
    expected = _nbytes(tensor, where)
    numbers = [entries.get("offset", "0"), entries.get("length", str(expected))]
    if not all(re.fullmatch(r"\d{1,18}", text) for text in numbers):
        raise ExportError(f"the data begins at {numbers[0]!r} and is {numbers[1]!r} long.", where=where)
    offset, length = map(int, numbers)
    size = file.stat().st_size
    if length != expected or offset + length > size:
        raise ExportError(
            f"{file.name} should hold {expected} bytes at {offset}, but it has {size} (and claims {length}).",
            where=where,
            fix="copy the model together with its sidecar, or export it again.",
        )
    return file, offset, length


def contained(path: Path, location: str, where: str) -> Path:
    """A sidecar's path, if it is a plain file in the model's own folder and no link leads to it.

    Raises:
        ExportError: it is elsewhere, a link, or missing.
    """
    parts = PurePosixPath(location.replace("\\", "/")).parts
    if (
        not parts
        or "\0" in location
        or PurePosixPath(location).is_absolute()
        or PureWindowsPath(location).drive
        or PureWindowsPath(location).root
        or ".." in parts
    ):
        raise ExportError(
            f"the weights are stored at {location!r}, outside the model's folder.",
            where=where,
            fix="do not trust this file; weights may only be in the model's folder.",
        )
    place = path.parent
    for part in parts:
        place = place / part
        if place.is_symlink():
            raise ExportError(
                f"{location!r} goes through a link.",
                where=where,
                fix="put the weights into the model's folder.",
            )
    try:
        mode, links = place.stat().st_mode, place.stat().st_nlink
    except OSError as error:
        raise ExportError(
            f"cannot read the weights in {location!r}: {error.strerror}.",
            where=where,
            fix="copy the sidecar file together with the model.",
        ) from error
    if not stat.S_ISREG(mode) or links > 1:
        raise ExportError(f"{location!r} is not a regular file.", where=where, fix="copy the file itself.")
    return place


def array(tensor: onnx.TensorProto, path: Path) -> np.ndarray:
    """The numbers of a tensor that `check_tensor` has passed.

    Raises:
        ExportError: its type cannot be read.
    """
    from onnx import numpy_helper

    where = f"{path}: {tensor.name or 'constant'}"
    if not external(tensor):
        try:
            return np.array(numpy_helper.to_array(tensor))
        except (TypeError, ValueError, KeyError) as error:
            raise ExportError(f"the tensor cannot be read: {error}.", where=where) from error
    from onnx import helper

    file, offset, length = _check_external(tensor, path, where)
    kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    with open(os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as handle:
        handle.seek(offset)
        content = handle.read(length)
    return np.frombuffer(content, kind.newbyteorder("<")).astype(kind).reshape(tuple(tensor.dims))
