"""Zeros that stay: which weights are pruned, while training goes on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bigmodel_core.errors import GraphError
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.patterns import Patterns, matching
from bigmodel_core.train.buildable_step import BuildableStep
from bigmodel_core.train.updates import AVERAGE


def smallest(
    network: Network, amount: float, scope: str = "layer", only: Patterns = "*"
) -> dict[str, np.ndarray]:
    """Which weights are the smallest, by path: of all that multiply, as biases and scales do not.

    Args:
        network: the model.
        amount: their share.
        scope: of each array, "layer", or of all of them, "global".
        only: patterns of the weights, or of their layers.

    Returns:
        Truth values in the shape of each weight.

    Raises:
        GraphError: there are none.
        UnknownNameError: a pattern matches nothing.
    """
    weights = [
        path
        for path, parameter in network.parameters.items()
        if parameter.trainable and parameter.spec.is_float and parameter.spec.ndim > 1
    ]
    if not weights:
        raise GraphError("the model has no weights that can be pruned.")
    layers = {path: path.rpartition("/")[0] for path in weights}
    chosen = set(matching(only, list(dict.fromkeys([*weights, *layers.values()])), "only"))
    sizes = {path: np.abs(network.variables.read(path)) for path in weights if chosen & {path, layers[path]}}
    if scope == "layer":
        return {path: _lowest(array, amount) for path, array in sizes.items()}
    whole = _lowest(np.concatenate([array.reshape(-1) for array in sizes.values()]), amount)
    ends = np.cumsum([array.size for array in sizes.values()])[:-1]
    parts = zip(sizes.items(), np.split(whole, ends), strict=True)
    return {path: part.reshape(array.shape) for (path, array), part in parts}


def _lowest(array: np.ndarray, amount: float) -> np.ndarray:
    """Where the lowest numbers of an array are: exactly their share, rounded down."""
    count = int(amount * array.size + 1e-9)
    found = np.zeros(array.size, bool)
    found[np.argsort(array.reshape(-1), kind="stable")[:count]] = True
    return found.reshape(array.shape)


def make_zero(step: BuildableStep, masks: Mapping[str, np.ndarray]) -> None:
    """Set weights of a step's model to zero, and their averages where it keeps some.

    Args:
        step: a built step.
        masks: which, by path.
    """
    variables = step.variables
    if variables is None:
        raise GraphError("the step is not built yet.", fix="run it once, or call build(inputs, target).")
    for path, mask in masks.items():
        for place in (path, f"{AVERAGE}/{path}"):
            if place in variables and (array := variables.read(place))[mask].any():
                array[mask] = 0
                variables.write(place, array)
