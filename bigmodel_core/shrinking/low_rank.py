"""Factors of low rank: a large matrix, or the filters of a convolution, as two small ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bigmodel_core.errors import GraphError
from bigmodel_core.graph import Node, Op, Variable
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.patterns import Patterns, matching, patterns_of
from bigmodel_core.ops.filters import ConvolutionForward
from bigmodel_core.ops.linear import Affine, MatMul
from bigmodel_core.registry.field_limits import check_number
from bigmodel_core.shrinking.pruning import built
from bigmodel_core.shrinking.rewriting import Rewriting, rewritten


@dataclass(frozen=True)
class LowRank:
    """What `factorize` does; `bigmodel shrink --method low-rank:...` takes the same options."""

    energy: float = 0.9
    rank: int | None = None
    only: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        check_number(self, "energy", above=0, at_most=1)
        if self.rank is not None:
            check_number(self, "rank", whole=True, at_least=1)

    def __call__(self, model: Layer | Network) -> Layer:
        """The smaller model."""
        network = built(model)
        weights = _weights(network)
        layers = [path.rpartition("/")[0] for path in weights]
        chosen = set(matching(self.only, list(dict.fromkeys([*weights, *layers])), "only"))
        state, factors = network.state(), dict[str, tuple[np.ndarray, np.ndarray]]()
        for path, layer in zip(weights, layers, strict=True):
            if chosen & {path, layer} and (found := self._factors(state[path])) is not None:
                factors[path] = found
        if not factors:
            asked = f"rank {self.rank}" if self.rank is not None else f"{self.energy:.0%} of the energy"
            raise GraphError(
                f"no layer becomes smaller by factors that keep {asked}.",
                fix="ask for a lower rank, or less energy.",
            )
        arrays = {path: array for path, array in state.items() if path not in factors}
        for path, (first, second) in factors.items():
            arrays[f"{path}_down"], arrays[f"{path}_up"] = first, second
        return rewritten(
            network,
            arrays,
            lambda to, node: _write(to, node, factors),
            {"method": "low-rank", **asdict(self)},
        )

    def _factors(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """What comes first and what follows; None if they are not smaller than the weight."""
        is_matrix = weight.ndim == 2
        matrix = (weight if is_matrix else weight.reshape(len(weight), -1).T).astype("float64")
        left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
        rank = self.rank
        if rank is None:
            kept = np.cumsum(sizes**2) / max(float((sizes**2).sum()), np.finfo("float64").tiny)
            rank = min(int(np.searchsorted(kept, self.energy - 1e-12)) + 1, len(sizes))
        if rank * sum(matrix.shape) >= matrix.size:
            return None
        root = np.sqrt(sizes[:rank])
        first, second = left[:, :rank] * root, root[:, None] * right[:rank]
        if not is_matrix:
            first = first.T.reshape(rank, *weight.shape[1:])
            second = second.T.reshape(len(weight), rank, *(1,) * (weight.ndim - 2))
        first, second = (np.ascontiguousarray(part.astype(weight.dtype)) for part in (first, second))
        return first, second


def factorize(
    model: Layer | Network, energy: float = 0.9, *, rank: int | None = None, only: Patterns = "*"
) -> Layer:
    """A copy of a built model in which two small layers stand for a large one, wherever that is smaller.

    A matrix (K, N) becomes (K, R) and (R, N), filters (F, C, rows, columns) become R filters and a 1x1
    convolution of them to F channels, by the singular values that are largest: no other factors of that rank
    are nearer (Eckart and Young, 1936). What is used in other ways, as a table that is shared, stays, as do
    grouped convolutions. Parameters: `weight_down` and `weight_up` in the place of each `weight`.

    Args:
        model: a built model.
        energy: the share of the sum of squared singular values that stays, which decides R for each layer.
        rank: R of all layers, in place of that.
        only: patterns of the weights, or of their layers.

    Returns:
        A model that trains, saves, exports and reloads as any other.

    Raises:
        GraphError: the model is not built, or no layer becomes smaller.
        UnknownNameError: a pattern matches nothing.
        ConfigError: an option is out of range.

    >>> import bigmodel_core as bm
    >>> model = bm.Sequential(bm.layers.Dense(64), bm.layers.Dense(3))
    >>> network = model.build(bm.Spec(("N", 32)))
    >>> small = factorize(model, rank=4)
    >>> [small.state()[f"dense_1/weight_{part}"].shape for part in ("down", "up")]
    [(32, 4), (4, 64)]
    """
    return LowRank(energy, rank, patterns_of(only, "only"))(model)


def _weights(network: Network) -> list[str]:
    """The paths of the weights that are only multiplied with what comes from the left."""
    uses: dict[str, list[bool]] = {}
    for mode in (True, False):
        for node in network.trace(mode).graph.nodes:
            for place, value in enumerate(node.inputs):
                if isinstance(op := value.node.op, Variable):
                    uses.setdefault(op.path, []).append(place == 1 and _multiplies(node))
    taken = network.parameters
    return [
        path
        for path, found in uses.items()
        if all(found) and not {f"{path}_down", f"{path}_up"} & taken.keys()
    ]


def _multiplies(node: Node) -> bool:
    op = node.op
    if isinstance(op, MatMul):
        return not op.transpose_a and not op.transpose_b and node.inputs[1].ndim == 2
    return isinstance(op, Affine) or (isinstance(op, ConvolutionForward) and op.groups == 1)


def _write(to: Rewriting, node: Node, factors: Mapping[str, Any]) -> Op | int:
    weight = node.inputs[1].node.op if len(node.inputs) > 1 else None
    if not isinstance(weight, Variable) or weight.path not in factors:
        return node.op
    x, *bias = (to.here(value) for place, value in enumerate(node.inputs) if place != 1)
    first, second = (to.variable(f"{weight.path}_{part}", node) for part in ("down", "up"))
    is_image = isinstance(node.op, ConvolutionForward)
    narrow = to.add(node.op if is_image else MatMul(), [x, first], node)
    return to.add(type(node.op)(), [narrow, second, *bias], node)[0]
