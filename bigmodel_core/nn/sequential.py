"""Layers applied one after the other."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import ConfigError
from bigmodel_core.nn.layer import Layer


@dataclass(frozen=True, init=False)
class Sequential(Layer):
    """Layers applied one after the other.

    >>> import bigmodel_core as bm
    >>> model = bm.Sequential(bm.layers.Dense(8), bm.layers.Relu(), bm.layers.Dense(2))
    >>> sorted(model.build(bm.Spec(("N", 4))).state())
    ['dense_1/bias', 'dense_1/weight', 'dense_2/bias', 'dense_2/weight']
    """

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer | Sequence[Layer]) -> None:
        if len(layers) == 1 and isinstance(layers[0], (list, tuple)):
            layers = tuple(layers[0])
        for layer in layers:
            if not callable(layer) or inspect.isclass(layer):
                raise ConfigError(
                    f"Sequential takes layers, got {layer!r}.",
                    fix=(
                        f"make an instance: {layer.__name__}()." if inspect.isclass(layer) else "pass layers."
                    ),
                )
        object.__setattr__(self, "layers", tuple(layers))

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x
