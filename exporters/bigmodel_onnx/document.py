"""The file itself: the model as protobuf, its metadata, and a sidecar for weights that do not fit."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

import bigmodel_core
from bigmodel_core.data.encoding import REST, Encoding
from bigmodel_core.errors import BigmodelError, ConfigError
from bigmodel_core.nn.layer import Layer
from bigmodel_core.registry import config
from bigmodel_onnx.emit import Emitter, tensor_type
from bigmodel_onnx.operations import Inner, Operation, Port

if TYPE_CHECKING:
    import onnx

SMALL = 1024
"""Bytes up to which a weight stays in the model file even if there is a sidecar."""

ALIGNMENT = 64

LONGEST_CONFIG = 16384
"""Characters of a model's configuration that are worth keeping; an imported model's is its whole graph."""


def write(
    folder: Path,
    file_name: str,
    emitter: Emitter,
    ir_version: int,
    name: str,
    metadata: Mapping[str, str],
    single_file_limit: int,
) -> str | None:
    """Write the file, and a sidecar if the weights are too large for one file.

    Args:
        folder: where to.
        file_name: the name of the model file.
        emitter: what to write.
        ir_version: the version of the file format.
        name: the graph's name.
        metadata: strings by key.
        single_file_limit: bytes of weights that still go into the model file.

    Returns:
        The sidecar's name, or None. The name holds a digest, so that a model never meets another's weights.
    """
    total = sum(array.nbytes for array in emitter.weights.values())
    outside = {
        key
        for key, array in emitter.weights.items()
        if total > single_file_limit and array.nbytes > SMALL and array.dtype != object
    }
    places: dict[str, tuple[str, int]] = {}
    sidecar = _write_sidecar(
        folder, file_name, {key: emitter.weights[key] for key in sorted(outside)}, places
    )
    model = _model(emitter, ir_version, name, metadata, places)
    with open(folder / file_name, "xb") as handle:
        handle.write(model.SerializeToString(deterministic=True))
    return sidecar


def stale_sidecars(path: Path, current: str | None) -> Iterator[Path]:
    """Sidecars that earlier exports to this path left and the file there no longer names."""
    for found in path.parent.glob("*.data"):
        digest = found.name[len(path.name) + 1 : -len(".data")]
        if found.name == f"{path.name}.{digest}.data" and len(digest) == 16 and found.name != current:
            if all(letter in "0123456789abcdef" for letter in digest):
                yield found


# Protobuf ------------------------------------------------------------------------------------------------


def _model(
    emitter: Emitter,
    ir_version: int,
    name: str,
    metadata: Mapping[str, str],
    places: Mapping[str, tuple[str, int]],
) -> onnx.ModelProto:
    from onnx import helper

    nodes = [_node(operation) for operation in emitter.operations]
    ports = {port.name for port in (*emitter.ports, *emitter.results)}
    between = {item for operation in emitter.operations for item in operation.outputs} - ports
    known = [Port(key, spec.dtype, spec.shape) for key, spec in emitter.specs.items() if key in between]
    graph = helper.make_graph(
        nodes,
        name,
        [_value(port) for port in emitter.ports],
        [_value(port) for port in emitter.results],
        [_tensor(key, array, places.get(key)) for key, array in emitter.weights.items()],
        value_info=[_value(port) for port in known],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", emitter.opset)], ir_version=ir_version
    )
    model.producer_name, model.producer_version = "bigmodel", bigmodel_core.__version__
    helper.set_model_props(model, dict(sorted(metadata.items())))
    return model


def _node(operation: Operation) -> onnx.NodeProto:
    from onnx import helper

    attributes = {
        key: _graph(value) if isinstance(value, Inner) else value
        for key, value in operation.attributes.items()
    }
    return helper.make_node(
        operation.operator, operation.inputs, operation.outputs, operation.name, **attributes
    )


def _graph(inner: Inner) -> onnx.GraphProto:
    from onnx import helper

    return helper.make_graph(
        [_node(operation) for operation in inner.operations],
        inner.name,
        [_value(port) for port in inner.inputs],
        [_value(port) for port in inner.outputs],
    )


def _value(port: Port) -> onnx.ValueInfoProto:
    from onnx import helper

    return helper.make_tensor_value_info(port.name, tensor_type(port.dtype), list(port.shape))


def _tensor(name: str, array: np.ndarray, place: tuple[str, int] | None) -> onnx.TensorProto:
    import onnx

    tensor = onnx.TensorProto(name=name, data_type=tensor_type(array.dtype.name), dims=array.shape)
    if array.dtype == object:  # texts
        tensor.string_data.extend(text.encode() for text in array.reshape(-1))
        return tensor
    if place is None:
        tensor.raw_data = _little_endian(array).tobytes()
        return tensor
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", place[0]), ("offset", place[1]), ("length", array.nbytes)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _little_endian(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    return array if sys.byteorder == "little" else array.astype(array.dtype.newbyteorder("<"))


def _write_sidecar(
    folder: Path, file_name: str, arrays: Mapping[str, np.ndarray], places: dict[str, tuple[str, int]]
) -> str | None:
    if not arrays:
        return None
    digest, offsets, at = hashlib.sha256(), {}, 0
    draft = folder / f"{file_name}.data"
    with open(draft, "xb") as handle:
        for key, array in arrays.items():
            padding = b"\0" * (-at % ALIGNMENT)
            offsets[key] = at + len(padding)
            for piece in (padding, _little_endian(array).reshape(-1).view(np.uint8).data):
                handle.write(piece)
                digest.update(piece)
                at += len(piece)
    name = f"{file_name}.{digest.hexdigest()[:16]}.data"
    draft.rename(folder / name)
    places.update({key: (name, offset) for key, offset in offsets.items()})
    return name


# Metadata ------------------------------------------------------------------------------------------------


def metadata(
    layer: Layer,
    name: str,
    *,
    encoding: Encoding,
    metrics: Mapping[str, float] | None,
    takes_raw_input: bool,
) -> dict[str, str]:
    """What the file says about itself, as strings; JSON if it is more than a word.

    Args:
        layer: the model.
        name: what it is called.
        encoding: how the data it was trained on became numbers.
        metrics: results, by name.
        takes_raw_input: whether the file begins with the preprocessing.

    Raises:
        ConfigError: a label is not a text, or a metric not a number.
    """
    labels: Any = encoding.labels
    import onnx

    texts = {"model": name}
    versions = {"bigmodel": bigmodel_core.__version__, "numpy": np.__version__, "onnx": onnx.__version__}
    texts["versions"] = _json(versions)
    with suppress(BigmodelError):  # a layer that no plugin offers has no name to be found by
        saved = getattr(getattr(layer, "about", None), "config", None) or {}  # a model out of a checkpoint
        configuration = _json(saved if "name" in saved else config.to_config(layer))
        if len(configuration) <= LONGEST_CONFIG:
            texts["config"] = configuration
    if labels is not None:
        if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
            raise ConfigError(
                "labels are not texts.", where="Onnx.export", fix="pass them as in labels=('cat', 'dog')."
            )
        texts["labels"] = _json(list(labels))
    if metrics is not None:
        texts["metrics"] = _json({key: _number(key, value) for key, value in metrics.items()})
    for key, text in (
        ("input_meaning", encoding.input_meaning),
        ("dataset", encoding.name),
        ("task", encoding.task),
    ):
        if text:
            texts[key] = str(text)
    if encoding.preprocessing is not None:
        texts["preprocessing"] = _json(encoding.preprocessing.to_dict())
    if encoding.preprocessing is not None or encoding.target_preprocessing is not None:
        texts["input"] = "raw" if takes_raw_input else "preprocessed"
    if encoding.complete:
        told = encoding.to_dict()
        texts["encoding"] = _json(
            {
                key: told[key] if key.endswith("tokenizer") else _without_paths(told[key])
                for key in REST
                if told[key] not in (None, "", [])
            }
        )
    return texts


def _without_paths(value: Any) -> Any:
    """The value without options that are absolute paths: they are nobody else's business."""
    if isinstance(value, Mapping):
        return {key: _without_paths(item) for key, item in value.items() if not _is_path(item)}
    return value


def _is_path(value: Any) -> bool:
    return (
        isinstance(value, str)
        and len(value) > 1
        and (PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute())
    )


def _number(key: str, value: Any) -> float | int:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"the metric '{key}' is {value!r}, not a number.", where="Onnx.export") from None
    if not math.isfinite(number):
        raise ConfigError(f"the metric '{key}' is {number}.", where="Onnx.export", fix="leave it out.")
    return int(value) if isinstance(value, int) else number


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
