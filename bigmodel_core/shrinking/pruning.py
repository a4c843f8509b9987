"""Pruning: what counts least is taken out of a model, weights one by one or whole channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bigmodel_core.errors import ConfigError
from bigmodel_core.nn.buildable import clone
from bigmodel_core.nn.given import check_model
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.patterns import Patterns, patterns_of
from bigmodel_core.registry.field_limits import check_number
from bigmodel_core.shrinking.masks import smallest
from bigmodel_core.shrinking.structured import Widths, narrowed

SCOPES = ("layer", "global")
IMPORTANCES = ("l1", "l2", "scale")


@dataclass(frozen=True)
class Prune:
    """What `prune` does; `bigmodel shrink --method prune:...` takes the same options."""

    amount: float = 0.5
    structured: bool = False
    scope: str = "layer"
    importance: str = "l2"
    only: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        check_number(self, "amount", at_least=0, below=1)
        for name, known in (("scope", SCOPES), ("importance", IMPORTANCES)):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}.",
                    where="prune",
                    fix=f"use one of {', '.join(known)}.",
                )

    def __call__(self, model: Layer | Network) -> Layer:
        """The smaller model."""
        network = built(model)
        if not self.structured:
            return _with_zeros(network, smallest(network, self.amount, self.scope, self.only))
        widths = Widths.of(network, self.importance, self.only)
        gone = widths.chosen(self.amount, is_global=self.scope == "global")
        return narrowed(network, widths.followed, gone, {"method": "prune", **asdict(self)})


def prune(
    model: Layer | Network,
    amount: float = 0.5,
    *,
    structured: bool = False,
    scope: str = "layer",
    importance: str = "l2",
    only: Patterns = "*",
) -> Layer:
    """A copy of a built model without what counts least; the model itself stays as it is.

    Single weights become zeros: the file is as large as before, and compresses better. Structured pruning
    takes whole filters, units and attention heads out, with all that depends on them in the layers that
    follow: the model is smaller and faster. Layers whose outputs are added up lose the same channels. What a
    recurrent layer, a normalisation over channels or the model's output needs stays whole.

    Train the copy on: `callbacks=[bm.callbacks.Prune(amount)]` keeps the zeros of single weights.

    Args:
        model: a built model.
        amount: the share that goes, of the weights or the units of each layer; with the scope "global", of
            all of them.
        structured: whether whole units go.
        scope: "layer" or "global". Globally, weights are compared by their size, units by their importance
            beside the mean of their layer, of which at least a tenth stays.
        importance: of a unit: "l1" or "l2", the norm of the weights that make it (Li et al., 2017), or
            "scale", what batch normalisation multiplies it with (Liu et al., 2017), where there is one.
        only: patterns of the weights, or of their layers, that may be pruned.

    Returns:
        A model that trains, saves, exports and reloads as any other.

    Raises:
        GraphError: the model is not built, or has nothing that can go.
        UnknownNameError: a pattern matches nothing.
        ConfigError: an option is out of range.

    >>> import bigmodel_core as bm
    >>> model = bm.Sequential(bm.layers.Dense(8, activation="relu"), bm.layers.Dense(3))
    >>> network = model.build(bm.Spec(("N", 4)))
    >>> small = prune(model, 0.5, structured=True)
    >>> {path: array.shape for path, array in small.state().items() if array.ndim == 2}
    {'dense_1/weight': (4, 4), 'dense_2/weight': (4, 3)}
    >>> zeros = prune(model, 0.75).state()["dense_1/weight"] == 0
    >>> int(zeros.sum())
    24
    """
    patterns = patterns_of(only, "only")
    return Prune(amount, structured, scope, importance, patterns)(model)


def built(model: Layer | Network) -> Network:
    """The built model that is made smaller.

    Raises:
        GraphError: it is not built.
    """
    found = check_model(model)
    return found if isinstance(found, Network) else found.network


def _with_zeros(network: Network, masks: Mapping[str, np.ndarray]) -> Any:
    """A copy of a model with zeros at some places of its weights."""
    found = clone(network.layer)
    if not found.is_built:
        found.build(*network.inputs)
    state = network.state()
    found.load_state({path: np.where(masks.get(path, False), 0, array) for path, array in state.items()})
    found.network.encoding = network.encoding
    return found
