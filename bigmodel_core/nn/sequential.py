"""Layers applied one after the other."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from bigmodel_core.errors import ConfigError, UsageError, short
from bigmodel_core.nn.layer import Layer


@dataclass(frozen=True, init=False)
class Sequential(Layer):
    """Layers applied one after the other.

    It has a length, and is indexed as a list: `model[0]` is a layer, `model[:-1]` a `Sequential` that shares
    its layers, parameters included.

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
                    f"Sequential takes layers, got {short(layer)}.",
                    fix=(
                        f"make an instance: {layer.__name__}()." if inspect.isclass(layer) else "pass layers."
                    ),
                )
        object.__setattr__(self, "layers", tuple(layers))

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Layer | Sequential:
        if isinstance(index, slice):
            return Sequential(*self.layers[index])
        if not hasattr(index, "__index__"):
            raise UsageError(
                f"a Sequential is indexed by numbers and slices, got {short(index)}.",
                fix='use model[0], or model.part("dense_1") for a layer by its path.',
            )
        return self.layers[index]

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x
