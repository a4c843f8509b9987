"""GPT-2: a causal Transformer as a language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import bigmodel_core as bm
from bigmodel_models.published import GPT2
from bigmodel_models.sizes import check_heads, fill, rate_for

_GPT2 = {"vocabulary": 50257, "context": 1024}
SIZES: dict[str, dict[str, int]] = {
    "nano": {"layers": 4, "heads": 4, "width": 128, "vocabulary": 65, "context": 64},
    "gpt2": {"layers": 12, "heads": 12, "width": 768, **_GPT2},
    "gpt2-medium": {"layers": 24, "heads": 16, "width": 1024, **_GPT2},
    "gpt2-large": {"layers": 36, "heads": 20, "width": 1280, **_GPT2},
    "gpt2-xl": {"layers": 48, "heads": 25, "width": 1600, **_GPT2},
}


@dataclass(frozen=True)
class Gpt(bm.Model):
    """A language model of GPT-2's form (Radford et al., 2019): scores of the next token at each step.

    Takes tokens (N, T), integers from 0 to vocabulary - 1, or -1 where there is none; gives scores (N, T,
    vocabulary). Published weights of GPT-2 are read by `bm.from_pretrained`.

    Args:
        size: "nano", "gpt2", "gpt2-medium", "gpt2-large" or "gpt2-xl": what the following are if not given.
        vocabulary: how many tokens there are.
        context: how many steps it can look at.
        layers: how many blocks are stacked.
        heads: how many heads attend side by side.
        width: of a step's vector.
        hidden: the width inside of the feed-forward networks; four times `width` if None.
        activation: in them: "gelu_tanh", the approximation that GPT-2 has, "gelu" or "relu".
        dropout: in training, the probability of zeroing numbers of the embedding and of what blocks add.
        epsilon: of the normalisation.
        tied: whether the table of the embedding also gives the scores.
        recompute: whether training keeps less of each block and computes it again; see `Recompute`.

    >>> import bigmodel_core as bm
    >>> Gpt(vocabulary=30)(bm.Spec(("N", "T"), "int64"))
    Spec((N, T, 30), float32)
    """

    name: ClassVar[str] = "gpt"
    pretrained: ClassVar[tuple[bm.Pretrained, ...]] = (GPT2,)
    optimizer: ClassVar[str] = "adamw"
    size: str = "nano"
    vocabulary: int | None = None
    context: int | None = None
    layers: int | None = None
    heads: int | None = None
    width: int | None = None
    hidden: int | None = None
    activation: Literal["gelu_tanh", "gelu", "relu"] = "gelu_tanh"
    dropout: float = 0.0
    epsilon: float = 1e-5
    tied: bool = True
    recompute: bool = False

    def __post_init__(self) -> None:
        fill(self, SIZES)
        check_heads(self)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[bm.Spec]]]:
        """What the conformance kit runs."""
        small = {"vocabulary": 5, "context": 6, "layers": 1, "heads": 2, "width": 4}
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
        x = bm.layers.PositionalEmbedding(own.context).named("position")(x, positions)
        x = bm.layers.Dropout(own.dropout)(x)
        is_tanh = own.activation == "gelu_tanh"
        activation = bm.layers.Gelu(approximate=True) if is_tanh else own.activation
        for number in range(own.layers):
            block = bm.layers.TransformerBlock(
                own.heads,
                own.hidden,
                causal=True,
                activation=activation,
                epsilon=own.epsilon,
                dropout=own.dropout,
                attention_dropout=own.dropout,
                initial="normal",
                recompute=own.recompute,
            )
            x = block.named(f"block_{number + 1}")(x, None, seen, None, positions)
        x = bm.layers.LayerNorm(own.epsilon).named("norm")(x)
        if own.tied:
            return bm.layers.TiedDense(embedding).named("output")(x)
        return bm.layers.Dense(own.vocabulary, use_bias=False, initial="normal").named("output")(x)
