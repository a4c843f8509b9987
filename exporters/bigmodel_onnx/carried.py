"""What layers carry from call to call, in a file: inputs named by path, and outputs for the next call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigmodel_core.errors import ExportError
from bigmodel_core.graph.spec import format_shape
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.outputs import listed
from bigmodel_core.ops.carried import PAST

KEY = "carried"
"""The entry of a file's metadata that says what is carried."""


def next_name(path: str) -> str:
    """The output that is a state for the next call."""
    return f"{path}/next"


def described(network: Network) -> dict[str, str]:
    """The metadata of what a model carries: by input its output, and what it begins with, as a number or as
    the array of one sample; nothing if it carries no state."""
    if not network.trace(training=False).carried:
        return {}
    found = {}
    for path, array in network.session(_fixed_batch(network) or 1).state().items():
        same = not array.size or (array == array.flat[0]).all()
        initial = (array.flat[0].item() if array.size else 0) if same else array.tolist()
        found[path] = {"output": next_name(path), "initial": initial}
    return {KEY: json.dumps(found, sort_keys=True)}


def _fixed_batch(network: Network) -> int | None:
    size = network.inputs[0].shape[0]
    return size if isinstance(size, int) else None


class Calls:
    """Calls of a model that follow each other.

    Args:
        network: the model.
        inputs: those of the first call, which tell the batch size.
    """

    def __init__(self, network: Network, inputs: Mapping[str, np.ndarray]) -> None:
        self._names = network.input_names
        self._session = network.session(len(inputs[self._names[0]]))

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return listed(self._session(*(inputs[name] for name in self._names)))

    def state(self) -> dict[str, np.ndarray]:
        """What is carried, by path."""
        return self._session.state()


def initial_states(
    metadata: Mapping[str, Any], inputs: Mapping[str, tuple[str, Sequence[Any]]]
) -> dict[str, tuple[str, Any]]:
    """Of the inputs of a file that are states, the output for the next call and what they begin with.

    Args:
        metadata: what the file says of itself.
        inputs: the number type and shape of each input of the file.
    """
    entries = metadata.get(KEY)
    if not isinstance(entries, dict):
        return {}
    found = {}
    for path, entry in entries.items():
        if path in inputs and isinstance(entry, dict) and isinstance(entry.get("output"), str):
            found[path] = entry["output"], entry.get("initial", 0)
    return found


def begun(initial: Any, dtype: str, shape: Sequence[Any], batch: int) -> np.ndarray:
    """A state that begins, for a batch.

    Raises:
        ExportError: the file says something else of the state than it is.
    """
    sizes = tuple(size if isinstance(size, int) else 0 if size == PAST else batch for size in shape)
    try:
        return np.broadcast_to(np.asarray(initial, dtype), sizes)
    except (ValueError, TypeError, OverflowError) as error:
        raise ExportError(
            f"a state of {dtype} {format_shape(sizes)} cannot begin with what the file says: {error}.",
            fix="export the model again.",
        ) from None
