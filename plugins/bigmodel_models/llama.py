"""Llama: a causal Transformer with rotary positions, grouped heads, RMSNorm and SwiGLU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm
from bigmodel_models.published import LLAMA
from bigmodel_models.sizes import check_heads, fill, rate_for

_LLAMA = {"vocabulary": 32000, "rotary": 10000.0, "epsilon": 1e-5}
_LLAMA3 = {"vocabulary": 128256, "rotary": 500000.0, "context": 8192, "kv_heads": 8, "epsilon": 1e-5}
SIZES: dict[str, dict[str, Any]] = {
    "nano": {
        **_LLAMA,
        "layers": 4,
        "heads": 4,
        "kv_heads": 2,
        "width": 128,
        "hidden": 384,
        "vocabulary": 65,
        "context": 64,
    },
    "tinyllama": {
        **_LLAMA,
        "layers": 22,
        "heads": 32,
        "kv_heads": 4,
        "width": 2048,
        "hidden": 5632,
        "context": 2048,
    },
    "llama2-7b": {
        **_LLAMA,
        "layers": 32,
        "heads": 32,
        "kv_heads": 32,
        "width": 4096,
        "hidden": 11008,
        "context": 4096,
    },
    "llama2-13b": {
        **_LLAMA,
        "layers": 40,
        "heads": 40,
        "kv_heads": 40,
        "width": 5120,
        "hidden": 13824,
        "context": 4096,
    },
    "llama3-8b": {**_LLAMA3, "layers": 32, "heads": 32, "width": 4096, "hidden": 14336},
    "llama3-70b": {**_LLAMA3, "layers": 80, "heads": 64, "width": 8192, "hidden": 28672},
}


@dataclass(frozen=True)
class Llama(bm.Model):
    """A language model of Llama's form (Touvron et al., 2023): scores of the next token at each step.

    Takes tokens (N, T), integers from 0 to vocabulary - 1, or -1 where there is none; gives scores (N, T,
    vocabulary).

    Args:
        size: "nano", "tinyllama", "llama2-7b", "llama2-13b", "llama3-8b" or "llama3-70b": what the following
            are if not given.
        vocabulary: how many tokens there are.
        context: how many steps it can look at.
        layers: how many blocks are stacked.
        heads: how many heads attend side by side.
        kv_heads: how many heads keys and values have (Ainslie et al., 2023).
        width: of a step's vector.
        hidden: the width inside of the feed-forward networks.
        head_width: of a head; width / heads if None.
        rotary: the base of the frequencies by which queries and keys are turned.
        frequencies: of each pair of a head, in place of those of the base; see `MultiHeadAttention`.
        epsilon: of the normalisation.
        dropout: in training, the probability of zeroing numbers of what blocks add.
        tied: whether the table of the embedding also gives the scores.
        recompute: whether training keeps less of each block and computes it again; see `Recompute`.

    >>> import bigmodel_core as bm
    >>> Llama(vocabulary=30)(bm.Spec(("N", "T"), "int64"))
    Spec((N, T, 30), float32)
    """

    name: ClassVar[str] = "llama"
    pretrained: ClassVar[tuple[bm.Pretrained, ...]] = (LLAMA,)
    optimizer: ClassVar[str] = "adamw"
    size: str = "nano"
    vocabulary: int | None = None
    context: int | None = None
    layers: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    width: int | None = None
    hidden: int | None = None
    rotary: float | None = None
    epsilon: float | None = None
    dropout: float = 0.0
    tied: bool = False
    recompute: bool = False
    head_width: int | None = None
    frequencies: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        fill(self, SIZES)
        check_heads(self)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[bm.Spec]]]:
        """What the conformance kit runs."""
        small = {
            "vocabulary": 5,
            "context": 6,
            "layers": 1,
            "heads": 2,
            "width": 4,
            "kv_heads": 1,
            "hidden": 3,
        }
        return [(small, [bm.Spec(("N", 3), "int64")])]

    @property
    def usual_rate(self) -> float:
        own: Any = self
        return rate_for(own.width)

    def input_spec(self) -> bm.Spec:
        return bm.Spec(("N", "T"), "int64")

    def __call__(self, tokens: Any) -> Any:
        own: Any = self  # whose sizes are filled in
        positions, seen = bm.layers.TokenSteps().named("steps")(tokens)
        seen = None if self.training else seen  # in training what is no token is behind the others
        embedding = bm.layers.Embedding(own.vocabulary, own.width, padded=True, deviation=0.02)
        x = embedding.named("embedding")(tokens)
        for number in range(own.layers):
            block = bm.layers.TransformerBlock(
                own.heads,
                own.hidden,
                own.kv_heads,
                causal=True,
                rotary=own.rotary,
                frequencies=own.frequencies,
                head_width=own.head_width,
                gated=True,
                normalization="rms",
                epsilon=own.epsilon,
                use_bias=False,
                dropout=own.dropout,
                initial="normal",
                recompute=own.recompute,
            )
            x = block.named(f"block_{number + 1}")(x, None, seen, None, positions)
        x = bm.layers.RmsNorm(own.epsilon).named("norm")(x)
        if own.tied:
            return bm.layers.TiedDense(embedding).named("output")(x)
        return bm.layers.Dense(own.vocabulary, use_bias=False, initial="normal").named("output")(x)
