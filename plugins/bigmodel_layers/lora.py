"""Fine-tuning by adapters: narrow matrices that learn in the place of trained weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, short


@dataclass(frozen=True)
class LoRA(bm.Layer):
    """A trained model whose weights stay as they are, and to some of which the product of two narrow matrices
    is added, which learn (Hu et al., 2021): weight + alpha / rank * down @ up.

    Parameters: beside each weight (K, N) that is adapted, `weight_down` (K, rank), which begins uniform, and
    `weight_up` (rank, N), which begins with zeros. Nothing else learns, and optimizers keep nothing for it.
    Predictions and exported files have the sum as one weight.

    Args:
        inner: the model; its parameters are shared, so that it goes on by itself as before.
        rank: how narrow the matrices are.
        alpha: what their product counts, times the rank; twice the rank if None.
        pattern: which weights, by the paths of layers or parameters; several are separated by commas.
        dropout: in training, the probability that a number that goes into `down` is dropped.

    Raises:
        ConfigError: a field is out of range.
        UnknownNameError: a pattern matches no weight.

    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> base = bm.models.build("gpt", vocabulary=11, context=8, layers=1, heads=2, width=8)
    >>> model = LoRA(base, rank=2, pattern="*/query, */value")
    >>> model(np.array([[1, 2, 3]])).shape
    (1, 3, 11)
    >>> [path for path in model.state() if path.endswith(("_down", "_up"))][:2]
    ['inner/block_1/attention/query/weight_down', 'inner/block_1/attention/query/weight_up']
    """

    inner: bm.Layer
    rank: int = 8
    alpha: float | None = None
    pattern: str = "*/query, */value"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.inner, bm.Layer):
            raise ConfigError(
                f"inner is {short(self.inner)}, expected a model.",
                where="LoRA",
                fix="pass a built model, such as what bm.load gives.",
            )
        bm.check_number(self, "rank", whole=True, at_least=1)
        if self.alpha is not None:
            bm.check_number(self, "alpha", above=0)
        bm.check_number(self, "dropout", at_least=0, below=1)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[tuple[int, ...]]]]:
        """What the conformance kit runs."""
        return [({"inner": bm.layers.FeedForward(5), "rank": 2, "pattern": "up"}, [(3, 4)])]

    @property
    def scale(self) -> float:
        """What the product of the matrices counts."""
        return 2.0 if self.alpha is None else self.alpha / self.rank

    def __call__(self, *inputs: Any) -> Any:
        patterns = [part.strip() for part in self.pattern.split(",")]
        with bm.adapting(patterns, self.rank, self.scale, self.dropout):
            return self.inner(*inputs)

    def merged(self) -> Any:
        """A copy of the model with the sums as its weights, which needs no adapters any more.

        Raises:
            GraphError: nothing was built.
        """
        network, state = self.network, self.state()
        found = bm.clone(self.inner)
        if not found.is_built:
            found.build(*network.inputs)
        sums = {}
        for path in found.network.parameters:
            weight = state[f"inner/{path}"]
            if f"inner/{path}_down" in state:
                down, up = (state[f"inner/{path}_{part}"].astype("float64") for part in ("down", "up"))
                weight = (weight + self.scale * down @ up).astype(weight.dtype)
            sums[path] = weight
        found.load_state(sums)
        found.network.encoding = network.encoding or found.network.encoding
        return found
