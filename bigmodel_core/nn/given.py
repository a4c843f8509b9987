"""What users pass as a model, and as its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigmodel_core.errors import DataError, UsageError
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network


def check_model(model: Any) -> Layer | Network:
    """A model that can be trained.

    Raises:
        UsageError: it is none of bigmodel's.
    """
    if isinstance(model, (Layer, Network)):
        return model
    kind = type(model)
    if isinstance(model, type):
        what, fix = f"the class {model.__name__}", f"make an instance: {model.__name__}(...)."
    else:
        home = "" if kind.__module__ == "builtins" else f" of {kind.__module__}"
        what, fix = f"a {kind.__name__}{home}", "pass a layer, such as bm.Sequential(...)."
        if any(base.__module__.startswith("torch.") for base in kind.__mro__):
            fix = "write it to a file with torch.onnx.export, and read that: bm.from_onnx(path)."
    raise UsageError(f"the model is {what}, expected a layer of bigmodel.", fix=fix)


def network_of(model: Layer | Network, inputs: Sequence[Any], seed: int, device: str) -> Network:
    """The built model of a layer, built for some inputs if it was not."""
    if isinstance(model, Network):
        return model
    return model.network if model.is_built else model._built(inputs, device=device, first_seed=seed)


def _input_names(model: Layer | Network, count: int) -> tuple[str, ...]:
    if isinstance(model, Layer) and not model.is_built:
        return model._argument_names(count)
    return (model if isinstance(model, Network) else model.network).input_names


def _layer_of(model: Layer | Network) -> Layer:
    return model.layer if isinstance(model, Network) else model


def inputs_of(model: Layer | Network, x: Any) -> tuple[Any, ...]:
    """What a user passed for the inputs of a model, one item per input.

    A tuple has an item for each input, a dict one by the name of each. A list is one array, unless the model
    takes several inputs, and as many as the list has items.

    Raises:
        DataError: a dict lacks an input, or has one that the model does not take.
    """
    if isinstance(x, tuple):
        return x
    if isinstance(x, Mapping):
        names = _input_names(model, len(x))
        if len(x) == len(names) == 1 and set(x) == set(_layer_of(model)._argument_names(1)):
            return tuple(x.values())
        if set(names) != set(x):
            raise DataError(
                f"the samples have the inputs {', '.join(map(str, x))}; the model takes {', '.join(names)}.",
                fix="pass an array for each input, by its name, or a tuple in their order.",
            )
        return tuple(x[name] for name in names)
    count = len(model.inputs) if isinstance(model, Network) else model._input_count()
    if isinstance(x, list) and count != 1 and len(x) > 1:
        if count == len(x) or (count is None and all(isinstance(item, np.ndarray) for item in x)):
            return tuple(x)
    return (x,)
