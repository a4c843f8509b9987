"""Checkpoints: a model's graphs and numbers in one file, and what training needs to continue from there.

A checkpoint is a safetensors file: parameters by path, an optimizer's state under `~optimizer/`, the arrays
of constants under `~constant/`. Its header holds JSON: `model` (the graphs in training and in inference
mode, as op names and fields), `about` (the encoding of the data, metrics) and, for a run, `training`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bigmodel_core.data.data import Data
from bigmodel_core.data.encoding import SAID, UNKNOWN, Encoding
from bigmodel_core.errors import BigmodelError, CheckpointError, DeviceError
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.parameters import Parameter
from bigmodel_core.ops.random import SEED, STEP
from bigmodel_core.registry.plain_values import strict_json
from bigmodel_core.train.checkpoint_file import read_file
from bigmodel_core.train.checkpoint_graph import decode_graph, expect
from bigmodel_core.train.restored import About, RestoredModel, SavedNumbers
from bigmodel_core.train.runs import checkpoint_of
from bigmodel_core.train.snapshot import Snapshot, plain_spec

_RANDOM = {SEED: Spec((), "int64"), STEP: Spec((), "int64")}


def save(model: Layer | Network, path: str | Path | BinaryIO, *, data: Data | None = None) -> None:
    """Write a built model to a file that `load` reads without the code that defined the model.

    Args:
        model: a built model.
        path: where to write; what is there is replaced, at once and only when the new file is complete. Or an
            open file, such as an `io.BytesIO` whose bytes go to another process.
        data: the data it was trained on, whose labels, columns and preprocessing go with it; those that a
            `Trainer` used if None.

    Raises:
        GraphError: the model is not built.
        CheckpointError: an op belongs to no plugin, or the file cannot be written.

    >>> import os, tempfile
    >>> import bigmodel_core as bm
    >>> model = bm.Sequential(bm.layers.Dense(3))
    >>> x = np.ones((2, 4), "float32")
    >>> before = model(x)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     bm.save(model, os.path.join(folder, "model.safetensors"))
    ...     again = bm.load(os.path.join(folder, "model.safetensors"))
    >>> bool((again(x) == before).all())
    True
    """
    network = model if isinstance(model, Network) else model.network
    place = Path(path) if isinstance(path, (str, os.PathLike)) else path
    Snapshot(network, None if data is None else data.encoding).write(place, network.state(), {})


def load(path: str | Path | BinaryIO, *, device: str = "cpu") -> RestoredModel:
    """The model in a checkpoint, built: it predicts, trains on and exports like the one that was saved.

    Nothing in the file is executed or imported; its ops are looked up in the core and in installed plugins.

    Args:
        path: a checkpoint, or the folder of a run, whose best checkpoint is used; or an open file.
        device: "cpu" or "cuda".

    Raises:
        CheckpointError: the file is missing, damaged, tampered with or of another version, or a plugin that
            its ops need is missing.
    """
    if isinstance(path, (str, os.PathLike)) and Path(path).suffix.lower() == ".onnx":
        raise CheckpointError(
            "an ONNX file is not a checkpoint.", where=str(path), fix="read it with bm.from_onnx(path)."
        )
    return read(path).restore(device)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The content of a checkpoint, checked.

    Args:
        path: the file.
        state: the parameters, by path.
        optimizer: the optimizer's state, by path.
        about: the encoding of its data, metrics and the model's configuration.
        training: what a run continues from, as plain values; None for a saved model.
        document: the description of the graphs, as plain values.
    """

    path: Path
    state: Mapping[str, np.ndarray]
    optimizer: Mapping[str, np.ndarray]
    about: About
    training: Mapping[str, Any] | None
    document: Mapping[str, Any] = field(repr=False)
    constants: Mapping[str, np.ndarray] = field(repr=False)

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of the run; empty for a saved model."""
        found: Mapping[str, Any] = (self.training or {}).get("plan", {})
        return found

    def restore(self, device: str = "cpu") -> RestoredModel:
        """The model, built.

        Raises:
            CheckpointError: its graph is malformed, or needs a plugin that is missing.
        """
        try:
            model, inputs, outputs = self._model()
            model.build(
                *inputs.values(),
                seed=expect(self.document.get("seed"), int, "seed"),
                dtype=expect(self.document.get("dtype"), str, "dtype"),
                device=device,
            )
            if [plain_spec(spec) for spec in model.network.outputs] != outputs:
                raise CheckpointError(
                    "its outputs have other shapes than when it was saved.",
                    fix="use the versions of bigmodel and of plugins that wrote it.",
                )
            if set(model.network.parameters) != set(self.state):
                odd = sorted(set(model.network.parameters) ^ set(self.state))
                raise CheckpointError(f"the graph and the arrays do not fit together: '{odd[0]}'.")
        except (DeviceError, MemoryError):
            raise
        except CheckpointError as error:
            error.where = str(self.path)
            raise
        except BigmodelError as error:
            raise _broken(self.path, str(error).partition("\n")[0]) from None
        except (
            Exception
        ) as error:  # whatever a file can make an op do must not look like a mistake of the user
            raise _broken(self.path, f"{type(error).__name__}: {error}") from None
        return model

    def _model(self) -> tuple[RestoredModel, dict[str, Spec], list[Any]]:
        document = self.document
        inputs = {
            expect(item.get("name"), str, "an input's name"): _read_spec(item)
            for item in _dicts(document, "inputs")
        }
        parameters = {}
        for item in _dicts(document, "parameters"):
            path = expect(item.get("path"), str, "a parameter's path")
            if path not in self.state:
                raise CheckpointError(f"the array '{path}' is missing.")
            array = self.state[path]
            parameters[path] = Parameter(
                path,
                Spec(array.shape, array.dtype.name),
                SavedNumbers(array),
                expect(item.get("trainable"), bool, "trainable"),
            )
        graphs = expect(document.get("graphs"), dict, "graphs")
        packages = expect(document.get("plugins"), dict, "plugins")
        decoded = {
            mode == "training": decode_graph(
                graphs.get(mode), {**inputs, **_RANDOM}, parameters, self.constants, packages
            )
            for mode in ("training", "inference")
        }
        model = RestoredModel(inputs, parameters, decoded, self.about)
        return model, inputs, expect(document.get("outputs"), list, "outputs")


def read(path: str | Path | BinaryIO) -> Checkpoint:
    """The content of a checkpoint, without building its model.

    Args:
        path: a checkpoint, or the folder of a run, whose best checkpoint is used; or an open file.

    Raises:
        CheckpointError: the file is missing, damaged, tampered with or of another version.
    """
    if isinstance(path, (str, os.PathLike)):
        source: Path | BinaryIO = checkpoint_of(path)
    else:
        source = path
    path = source if isinstance(source, Path) else Path(getattr(source, "name", "(an open file)"))
    texts, arrays = read_file(source)
    try:
        found = {name: expect(strict_json(text), dict, name) for name, text in texts.items()}
        if not {"model", "about"} <= set(found) <= {"model", "about", "training"}:
            raise CheckpointError(f"expected the parts model and about, got {', '.join(sorted(found))}.")
        kept: dict[str, dict[str, np.ndarray]] = {"": {}, "optimizer": {}, "constant": {}}
        for name, array in arrays.items():
            part = name[1:].partition("/")[0] if name.startswith("~") else ""
            if part not in kept:
                raise CheckpointError(f"the array {name!r} does not belong in a checkpoint.")
            kept[part][name[1:] if part == "optimizer" else name] = array
        about = _read_about(found["about"])
    except (ValueError, BigmodelError) as error:
        raise _broken(path, str(error).partition("\n")[0]) from None
    return Checkpoint(
        path, kept[""], kept["optimizer"], about, found.get("training"), found["model"], kept["constant"]
    )


def recorded_encoding(path: Path) -> Encoding | None:
    """What a checkpoint, or the best one of a run, says of the data of the model's training.

    Raises:
        CheckpointError: as `read` says.
    """
    return read(path).about.encoding


def _broken(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint cannot be used: {reason.rstrip('.')}.",
        where=str(path),
        fix="use another checkpoint, or the versions of bigmodel and of plugins that wrote it.",
    )


def _dicts(document: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    return [expect(item, dict, key) for item in expect(document.get(key), list, key)]


def _read_spec(item: Mapping[str, Any]) -> Spec:
    shape = expect(item.get("shape"), list, "shape")
    if not all(isinstance(dim, str) or type(dim) is int for dim in shape):
        raise CheckpointError("a shape contains something other than sizes and names.")
    return Spec(tuple(shape), expect(item.get("dtype"), str, "dtype"))


def _read_about(item: dict[str, Any]) -> About:
    described, rest = item.get("config"), item.get("encoding")
    found = {key: item.get(key) for key in SAID} | {"name": item.get("data"), "complete": rest is not None}
    encoding = Encoding.from_dict({**found, **(expect(rest, dict, "encoding") if rest is not None else {})})
    return About(
        None if described is None else expect(described, dict, "config"),
        None if encoding == UNKNOWN else encoding,
        expect(item.get("metrics"), dict, "metrics"),
    )
