"""A file in ONNX Runtime: run it, and read its answers with the labels it carries."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bigmodel_core.errors import DtypeError, ExportError, ShapeError
from bigmodel_core.graph.dtypes import DTYPES
from bigmodel_core.nn.predictions import Prediction, predictions
from bigmodel_onnx import reading
from bigmodel_onnx.carried import begun, initial_states
from bigmodel_onnx.forms import ENCODER, masks


class OnnxSession:
    """An ONNX file in ONNX Runtime, on the processor; the file was checked before the runtime sees it.

    A decoder's file answers together with that of the encoder beside it: it takes source and target.

    Args:
        path: the file.
        threads: how many threads the runtime may use.
        is_alone: whether it answers without another file.

    Raises:
        ExportError: the file is missing, damaged or unsafe, or the runtime cannot run it.
    """

    def __init__(self, path: str | Path, *, threads: int = 2, is_alone: bool = False) -> None:
        self.path = Path(path)
        model = reading.read(self.path)
        self.metadata = metadata_of(model)
        self.gives_probabilities = _makes_probabilities(model)
        self._session = open_session(self.path, threads)
        items = {item.name: item for item in self._session.get_inputs()}
        self._states = initial_states(self.metadata, _specs(items))
        self._state_specs = {path: spec for path, spec in _specs(items).items() if path in self._states}
        self._masks = masks(self.metadata, list(items))
        self._encoder = None if is_alone else self._encoder_beside(threads)
        memory: tuple[str, ...] = () if self._encoder is None else self._encoder.output_names
        held = {*self._states, *self._masks, *memory}
        self.inputs = {name: item for name, item in items.items() if name not in held}
        if self._encoder is not None:
            both = (*self._encoder.inputs.values(), *self.inputs.values())
            self.inputs = dict(zip(("source", "target"), both, strict=True))
        outputs = {output for output, _ in self._states.values()}
        names = [item.name for item in self._session.get_outputs()]
        self.output_names: tuple[str, ...] = tuple(name for name in names if name not in outputs)

    def _encoder_beside(self, threads: int) -> OnnxSession | None:
        """The file of the encoder that belongs to this one; None if there is none.

        Raises:
            ExportError: it is missing, or no file of the same folder.
        """
        name = self.metadata.get(ENCODER)
        if name is None:
            return None
        if not isinstance(name, str) or not re.fullmatch(r"encoder_[^/\\:\0]+", name):
            raise ExportError(
                f"the file says that its encoder is {name!r}, which is no file beside it.",
                where=str(self.path),
                fix="export the model again.",
            )
        return OnnxSession(self.path.with_name(name), threads=threads, is_alone=True)

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The names of the classes, if the file has them."""
        found = self.metadata.get("labels")
        return tuple(map(str, found)) if isinstance(found, list) else None

    @property
    def input_specs(self) -> dict[str, tuple[str, tuple[int | str | None, ...]]]:
        """Number type and shape of each input; free dimensions by name."""
        return _specs(self.inputs)

    @property
    def output_specs(self) -> dict[str, tuple[str, tuple[int | str | None, ...]]]:
        """Number type and shape of each output; free dimensions by name."""
        items = {item.name: item for item in self._session.get_outputs()}
        return _specs({name: items[name] for name in self.output_names})

    def run(self, *arrays: Any) -> dict[str, np.ndarray]:
        """The outputs by name, for one array an input; what the file carries from call to call begins anew.

        Raises:
            ShapeError, DtypeError: an array does not fit the input.
            ExportError: the runtime failed.
        """
        if len(arrays) != len(self.inputs):
            raise ShapeError(
                f"the file takes {len(self.inputs)} inputs, got {len(arrays)}.", where=str(self.path)
            )
        given = {
            name: _fitting(name, np.asarray(array), dtype, shape)
            for (name, (dtype, shape)), array in zip(self.input_specs.items(), arrays, strict=True)
        }
        batch = next((len(array) for array in given.values() if array.ndim), 1)
        if self._encoder is not None:
            memory = self._encoder.run(given.pop("source"))
            given = {self.inputs["target"].name: given["target"], **memory}
        for mask, ids in self._masks.items():
            given[mask] = (given[ids] >= 0).astype(np.int64)
            given[ids] = np.maximum(given[ids], 0)
        for path, (dtype, shape) in self._state_specs.items():
            given[path] = begun(self._states[path][1], dtype, shape, batch)
        found = run_session(self._session, given, str(self.path), self.output_names)
        return dict(zip(self.output_names, found, strict=True))

    def classify(self, *arrays: Any) -> list[Prediction]:
        """The label of each sample, and its probability.

        Files written with `with_preprocessing` answer by themselves; of others the highest score is taken,
        and its softmax as probability unless the file ends with one.

        Raises:
            ExportError: the outputs are not the scores of classes.
            NumericsError: the scores of a sample are NaN.
        """
        outputs = self.run(*arrays)
        task = self.metadata.get("task")
        if task == "multilabel":
            return predictions(outputs, task, self.labels, self.gives_probabilities)
        if not {"label", "probability"} <= set(outputs):
            scores = next(iter(outputs.values()))
            if scores.ndim != 2 or scores.shape[1] < 2:
                raise ExportError(
                    f"the file gives {scores.shape} numbers, not the scores of classes.",
                    where=str(self.path),
                    fix="use its outputs as they are.",
                )
        return predictions(outputs, "classification", self.labels, self.gives_probabilities)


def _specs(items: Mapping[str, Any]) -> dict[str, tuple[str, tuple[int | str | None, ...]]]:
    return {name: (_dtype(item.type), tuple(item.shape)) for name, item in items.items()}


def _makes_probabilities(model: Any) -> bool:
    """Whether the first output of a file comes from softmax or sigmoid, whatever is reshaped after."""
    made = {name: node for node in model.graph.node for name in node.output}
    node = made.get(model.graph.output[0].name) if model.graph.output else None
    while node is not None and node.op_type in ("Identity", "Reshape", "Flatten", "Squeeze", "Cast"):
        node = made.get(node.input[0])
    return node is not None and node.op_type in ("Softmax", "Sigmoid")


def open_session(path: Path, threads: int = 1) -> Any:
    """A session of ONNX Runtime that says nothing on the terminal.

    Raises:
        ExportError: the runtime cannot run the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime raises classes of its own that share no base
        reason = _short(error)
        missing = "implementation" in reason or "NOT_IMPLEMENTED" in str(error)
        raise ExportError(
            f"ONNX Runtime cannot load the file: {reason}",
            where=path.name,
            fix="it lacks that operator for this number type: build the model with dtype='float32'."
            if missing
            else "check the file with its exporter, or use a newer ONNX Runtime.",
        ) from error


def run_session(
    session: Any, inputs: Mapping[str, np.ndarray], where: str, outputs: Sequence[str] | None = None
) -> list[np.ndarray]:
    """The outputs of a session.

    Raises:
        ExportError: the runtime failed.
    """
    try:
        return [np.asarray(item) for item in session.run(outputs, dict(inputs))]
    except Exception as error:
        raise ExportError(
            f"ONNX Runtime cannot run the file: {_short(error)}",
            where=where,
            fix="build the model with dtype='float32'." if "double" in str(error) else None,
        ) from error


def _short(error: Exception) -> str:
    """The runtime's message in one line, without the paths it likes to quote."""
    text = " ".join(str(error).split())
    return text.split(" : ")[-1][:400].rstrip(".") + "."


def metadata_of(model: Any) -> dict[str, Any]:
    """What a file says about itself; JSON strings as what they stand for."""
    found: dict[str, Any] = {}
    for entry in model.metadata_props:
        try:
            value = json.loads(entry.value) if entry.value[:1] in ("{", "[") else entry.value
        except (ValueError, RecursionError):
            value = entry.value
        found[entry.key] = value
    return found


def _dtype(text: str) -> str:
    """The name of a number type that the runtime writes as "tensor(float)"."""
    inner = text.removeprefix("tensor(").removesuffix(")")
    return next((dtype.name for dtype in DTYPES.values() if dtype.onnx_name.lower() == inner), inner)


def _fitting(name: str, array: np.ndarray, dtype: str, shape: tuple[int | str | None, ...]) -> np.ndarray:
    fits = array.ndim == len(shape) and all(
        not isinstance(dim, int) or dim == size for dim, size in zip(shape, array.shape, strict=False)
    )
    if not fits:
        wanted = ", ".join("?" if dim is None else str(dim) for dim in shape)
        raise ShapeError(f"input '{name}': expected ({wanted}), got {array.shape}.", fix="reshape the array.")
    if array.dtype == dtype or (dtype == "string" and array.dtype.kind in "OU"):
        return array
    if dtype == "string":
        raise DtypeError(f"input '{name}': expected texts, got {array.dtype}.", fix="pass cells as they are.")
    kind = np.dtype(dtype).kind
    same_kind = array.dtype.kind == kind or (array.dtype.kind in "iu" and kind in "iuf")
    converted = array.astype(dtype) if same_kind else None
    if converted is None or (kind in "iu" and not np.array_equal(converted, array)):
        raise DtypeError(
            f"input '{name}': expected {dtype}, got {array.dtype}.",
            fix=f"pass values as they were recorded, of type {dtype}.",
        )
    return converted
