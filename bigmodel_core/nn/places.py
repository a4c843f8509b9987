"""Where layers are in a model: the names they have in the layer that holds them, or that makes them."""

from __future__ import annotations

import copy
import functools
import re
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from bigmodel_core.errors import GraphError
from bigmodel_core.nn.parameters import Holder

if TYPE_CHECKING:
    from bigmodel_core.nn.layer import Layer


@dataclass(eq=False)
class Call:
    """A call of a layer that is being traced.

    Args:
        layer: which one.
        path: where it is in the model.
        holder: what it owns.
        counts: how many layers without a name of their own were met, by the name of their kind.
        met: the ids of those.
        named: the layers that were given a name, by that.
    """

    layer: Layer
    path: str
    holder: Holder
    counts: dict[str, int] = field(default_factory=dict)
    met: set[int] = field(default_factory=set)
    named: dict[str, Layer] = field(default_factory=dict)

    def given_name(self, layer: Layer) -> str | None:
        """The name that a layer was given where it was made (`Layer.named`); None if none was.

        Raises:
            GraphError: another layer of this call, or a field of the calling layer, has it.
        """
        name: str | None = layer.__dict__.get("_name")
        kind: Any = type(self.layer)
        if name is not None and (
            name in _field_names(kind) or self.named.setdefault(name, layer) is not layer
        ):
            raise GraphError(
                f"two layers inside of {type(self.layer).__name__} have the name '{name}'.",
                fix="make the layer once and call it twice, if it is to share its parameters; else give"
                " each a name of its own.",
                where=self.path or None,
            )
        return name

    def field_of(self, layer: Layer) -> str | None:
        """The field of the calling layer that holds another one; None if none does."""
        kind: Any = type(self.layer)
        for name in _field_names(kind):
            if getattr(self.layer, name, None) is layer:
                return name
        return None

    def counted(self, layer: Layer) -> str:
        """The next name for a layer of this kind: dense_1, dense_2; no field of the calling layer has it."""
        kind: Any = type(self.layer)
        name = _snake(type(layer).__name__)
        self.met.add(id(layer))
        while True:
            self.counts[name] = self.counts.get(name, 0) + 1
            found = f"{name}_{self.counts[name]}"
            if found not in _field_names(kind) and found not in self.named:
                return found


def own_defaults(layer: Layer) -> None:
    """Give a layer copies of those that are its fields' defaults, which all its kind would share."""
    kind: Any = type(layer)
    for name, default in _layer_defaults(kind):
        if getattr(layer, name, None) is default:
            object.__setattr__(layer, name, copy.deepcopy(default))


@functools.cache
def _layer_defaults(kind: type[Any]) -> tuple[tuple[str, Any], ...]:
    if not is_dataclass(kind):
        return ()
    found = ((item.name, item.default) for item in fields(kind))
    return tuple((name, default) for name, default in found if _holds_layers(default))


def _holds_layers(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_holds_layers, value))
    return hasattr(type(value), "parameter")


@functools.cache
def _field_names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind)) if is_dataclass(kind) else ()


@functools.cache
def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower().strip("_")
