"""The Transformer: an encoder of source texts, and a decoder of target texts that attends to what it gave."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ConfigError
from bigmodel_models.encoder_decoder import EncoderDecoder
from bigmodel_models.sizes import check_heads, fill

_SMALL = {"vocabulary": 8192, "target_vocabulary": 8192, "shared": False}
_WMT = {"vocabulary": 37000, "target_vocabulary": 37000, "shared": True}
SIZES: dict[str, dict[str, int]] = {
    "nano": {"layers": 3, "heads": 4, "width": 128, **_SMALL},
    "base": {"layers": 6, "heads": 8, "width": 512, **_WMT},
    "big": {"layers": 6, "heads": 16, "width": 1024, **_WMT},
}


@dataclass(frozen=True)
class Stack:
    """Blocks above each other, inside of a layer's `__call__`."""

    layers: int
    heads: int
    width: int
    pre_norm: bool
    dropout: float
    recompute: bool

    def embedding(self, vocabulary: int) -> Any:
        """A table of tokens."""
        return bm.layers.Embedding(vocabulary, self.width, padded=True, deviation=self.width**-0.5)

    def __call__(self, x: Any, positions: Any, *seen: Any, causal: bool = False) -> Any:
        """What the blocks make of vectors of tokens; `seen` is what a block takes behind its input."""
        x = bm.layers.SinusoidalPositions().named("position")(x * math.sqrt(self.width), positions)
        x = bm.layers.Dropout(self.dropout)(x)
        for number in range(self.layers):
            block = bm.layers.TransformerBlock(
                self.heads,
                causal=causal,
                activation="relu",
                pre_norm=self.pre_norm,
                dropout=self.dropout,
                recompute=self.recompute,
            )
            x = block.named(f"block_{number + 1}")(x, *seen)
        return bm.layers.LayerNorm().named("norm")(x) if self.pre_norm else x


@dataclass(frozen=True)
class TransformerEncoder(bm.Layer):
    """Source tokens (N, S) become vectors (N, S, width), and which of them are there (N, S)."""

    embedding: bm.Layer
    stack: Stack

    def __call__(self, source: Any) -> Any:
        return self.stack(self.embedding(source), None, None, source >= 0), source >= 0


@dataclass(frozen=True)
class TransformerDecoder(bm.Layer):
    """Target tokens (N, T), with what the encoder gave, become scores of the next ones (N, T, vocabulary)."""

    embedding: bm.Layer
    stack: Stack
    shared: bool

    def __call__(self, target: Any, memory: Any, seen: Any) -> Any:
        positions, own = bm.layers.TokenSteps().named("steps")(target)
        own = None if self.training else own  # in training what is no token is behind the others
        # A table that is shared is a part of the encoder; what is done with it here is done by the decoder.
        if self.shared:
            x = ops.gather(self.embedding.weight, target, padded=True)
        else:
            x = self.embedding(target)
        x = self.stack(x, positions, memory, own, seen, causal=True)
        return bm.layers.TiedDense(self.embedding).named("output")(x)


@dataclass(frozen=True)
class Transformer(EncoderDecoder):
    """The Transformer (Vaswani et al., 2017), which writes a target text for a source text: translations,
    summaries, answers.

    Takes source tokens (N, S) and the target tokens so far (N, T), -1 where there is none; gives scores of
    the target token that comes next (N, T, target_vocabulary). The table of target tokens also gives the
    scores. Data: `text-pairs`.

    Args:
        size: "nano", "base" or "big": what the following are if not given.
        vocabulary: how many source tokens there are.
        target_vocabulary: how many target tokens there are.
        layers: how many blocks are stacked in the encoder, and in the decoder.
        heads: how many heads attend side by side.
        width: of a token's vector.
        dropout: in training, the probability of zeroing numbers of the embedding and of what blocks add.
        pre_norm: whether what goes into the parts of a block is normalised, which needs no warm-up (Xiong et
            al., 2020); else what comes out, as in the paper.
        recompute: whether training keeps less of each block and computes it again; see `Recompute`.
        shared: whether source tokens have the table of target tokens, as in the paper, which needs one
            tokenizer for both; so it is with "base" and "big" if None.

    >>> import bigmodel_core as bm
    >>> Transformer(target_vocabulary=30)(bm.Spec(("N", "S"), "int64"), bm.Spec(("N", "T"), "int64"))
    Spec((N, T, 30), float32)
    """

    name: ClassVar[str] = "transformer"
    size: str = "nano"
    vocabulary: int | None = None
    target_vocabulary: int | None = None
    layers: int | None = None
    heads: int | None = None
    width: int | None = None
    dropout: float = 0.1
    pre_norm: bool = True
    recompute: bool = False
    shared: bool | None = None

    def __post_init__(self) -> None:
        fill(self, SIZES)
        check_heads(self)
        if self.shared and self.vocabulary != self.target_vocabulary:
            raise ConfigError(
                f"{self.vocabulary} source tokens cannot share a table with {self.target_vocabulary} target"
                " tokens.",
                where="Transformer",
                fix="use one tokenizer for both, or shared=False.",
            )

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[bm.Spec]]]:
        """What the conformance kit runs."""
        small = {"vocabulary": 5, "target_vocabulary": 6, "layers": 1, "heads": 2, "width": 4, "dropout": 0.0}
        return [(small, [bm.Spec(("N", 3), "int64"), bm.Spec(("N", 2), "int64")])]

    def __call__(self, source: Any, target: Any) -> Any:
        own: Any = self  # whose sizes are filled in
        stack = Stack(own.layers, own.heads, own.width, own.pre_norm, own.dropout, own.recompute)
        target_table = stack.embedding(own.target_vocabulary)
        source_table = target_table if own.shared else stack.embedding(own.vocabulary)
        memory, seen = TransformerEncoder(source_table, stack).named("encoder")(source)
        return TransformerDecoder(target_table, stack, own.shared).named("decoder")(target, memory, seen)
