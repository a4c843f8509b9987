"""What a checkpoint says of a model, and writing it: graphs, arrays, and where training is."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bigmodel_core.data.encoding import REST, SAID, Encoding
from bigmodel_core.errors import CheckpointError
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.network import Network
from bigmodel_core.train.checkpoint_file import write_file
from bigmodel_core.train.checkpoint_graph import encode_graph, op_names
from bigmodel_core.train.checkpoint_ops import plugins_of
from bigmodel_core.train.described import described
from bigmodel_core.train.restored import About, RestoredModel
from bigmodel_core.version import __version__


class Snapshot:
    """What of a model stays the same from one checkpoint of a run to the next.

    Args:
        network: the built model.
        encoding: how the data it is trained on became numbers; what the model itself knows if None.

    Raises:
        CheckpointError: an op belongs to no plugin.
    """

    def __init__(self, network: Network, encoding: Encoding | None = None) -> None:
        self.network = network
        self.constants: dict[str, np.ndarray] = {}
        self.about = _about(network, encoding)
        graphs = {
            mode: encode_graph(network.trace(mode == "training"), self.constants)
            for mode in ("training", "inference")
        }
        names = (name for graph in graphs.values() for name in op_names(graph["nodes"]))
        self._text = _json(
            {
                "dtype": network.dtype,
                "seed": network.seed,
                "inputs": [
                    {"name": name, **plain_spec(spec)}
                    for name, spec in zip(network.input_names, network.inputs, strict=True)
                ],
                "outputs": [plain_spec(spec) for spec in network.outputs],
                "parameters": [
                    {"path": parameter.path, "trainable": parameter.trainable}
                    for parameter in network.parameters.values()
                ],
                "graphs": graphs,
                "plugins": plugins_of(names),
                "versions": versions(),
            }
        )
        if odd := [path for path in network.parameters if path.startswith("~")]:
            raise CheckpointError(
                f"the parameter '{odd[0]}' has a name that checkpoints reserve for other arrays.",
                fix="name it without '~'.",
            )

    def write(
        self,
        path: Path | BinaryIO,
        parameters: Mapping[str, np.ndarray],
        optimizer: Mapping[str, np.ndarray],
        *,
        metrics: Mapping[str, Any] | None = None,
        training: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a checkpoint, whole or not at all.

        Args:
            path: where.
            parameters: by path.
            optimizer: the optimizer's state, by path.
            metrics: what was measured.
            training: what training needs to continue, as plain values.

        Raises:
            CheckpointError: it cannot be written.
        """
        arrays = {**parameters, **{f"~{name}": array for name, array in optimizer.items()}, **self.constants}
        texts = {"model": self._text, "about": _json({**self.about, "metrics": dict(metrics or {})})}
        if training is not None:
            texts["training"] = _json(training)
        write_file(path, texts, arrays)


def _about(network: Network, encoding: Encoding | None) -> dict[str, Any]:
    layer = network.layer
    known = layer.about if isinstance(layer, RestoredModel) else About(described(layer))
    encoding = encoding or network.encoding or known.encoding
    found = (encoding or Encoding()).to_dict()
    return {
        "config": known.config,
        "data": found["name"],
        **{key: found[key] for key in SAID},
        "encoding": None if encoding is None or not encoding.complete else {key: found[key] for key in REST},
    }


def _json(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"a value cannot be saved: {error}.") from None


def plain_spec(spec: Spec) -> dict[str, Any]:
    """A spec as JSON can hold it."""
    return {"shape": list(spec.shape), "dtype": spec.dtype}


def versions() -> dict[str, str]:
    """The versions that a run depends on."""
    return {
        "bigmodel": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
