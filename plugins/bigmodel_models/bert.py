"""BERT: a Transformer that sees both sides of a token, trained on masked texts; and heads for tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_models.sizes import check_heads, fill

_BERT = {"vocabulary": 30522, "context": 512}
SIZES: dict[str, dict[str, int]] = {
    "nano": {"layers": 4, "heads": 4, "width": 128, "vocabulary": 8192, "context": 128},
    "base": {"layers": 12, "heads": 12, "width": 768, **_BERT},
    "large": {"layers": 24, "heads": 16, "width": 1024, **_BERT},
}
HIDDEN = -1e9
"""Added to the scores of places that hold no token."""


@dataclass(frozen=True)
class BertEncoder(bm.Model):
    """The encoder of BERT, which is a model with one of several heads.

    All heads name its parameters alike, so that those of a model that was trained on much text fit.

    Args:
        size: "nano", "base" or "large": what the following are if not given.
        vocabulary: how many tokens there are.
        context: how many steps it can look at.
        layers: how many blocks are stacked.
        heads: how many heads attend side by side.
        width: of a token's vector.
        dropout: in training, the probability of zeroing numbers of the embedding and of what blocks add.
        epsilon: of the normalisation.
        recompute: whether training keeps less of each block and computes it again; see `Recompute`.
    """

    optimizer: ClassVar[str] = "adamw"
    learning_rate: ClassVar[float | None] = 5e-4
    size: str = "nano"
    vocabulary: int | None = None
    context: int | None = None
    layers: int | None = None
    heads: int | None = None
    width: int | None = None
    dropout: float = 0.1
    epsilon: float = 1e-12
    recompute: bool = False

    def __post_init__(self) -> None:
        fill(self, SIZES)
        check_heads(self)
        if hasattr(self, "classes"):
            bm.check_number(self, "classes", whole=True, at_least=1)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[bm.Spec]]]:
        """What the conformance kit runs."""
        small = {"vocabulary": 5, "context": 6, "layers": 1, "heads": 2, "width": 4, "dropout": 0.0}
        return [(small, [bm.Spec(("N", 3), "int64")] * 2)]

    def input_spec(self) -> tuple[bm.Spec, ...]:
        return bm.Spec(("N", "T"), "int64"), bm.Spec(("N", "T"), "int64")

    def embedding(self, name: str, count: int) -> Any:
        """A table of vectors, inside a `__call__`."""
        own: Any = self
        return bm.layers.Embedding(count, own.width, padded=True, deviation=0.02).named(name)

    def encode(self, tokens: Any, segments: Any = None, embedding: Any = None) -> Any:
        """The vectors of tokens (N, T, width), inside a `__call__`; segments are 0 where they are None."""
        own: Any = self  # whose sizes are filled in
        segments = ops.minimum(tokens, 0) if segments is None else segments
        embedding = self.embedding("embedding", own.vocabulary) if embedding is None else embedding
        x = embedding(tokens) + self.embedding("segment", 2)(segments)
        x = bm.layers.PositionalEmbedding(own.context).named("position")(x)
        x = bm.layers.LayerNorm(own.epsilon).named("norm")(x)
        x = bm.layers.Dropout(own.dropout)(x)
        for number in range(own.layers):
            block = bm.layers.TransformerBlock(
                own.heads,
                pre_norm=False,
                epsilon=own.epsilon,
                dropout=own.dropout,
                attention_dropout=own.dropout,
                recompute=own.recompute,
                initial="normal",
            )
            x = block.named(f"block_{number + 1}")(x, None, tokens >= 0)
        return x

    def pooled(self, x: Any) -> Any:
        """One vector for each text, of its first token, inside a `__call__`."""
        pooler = bm.layers.Dense(x.shape[-1], activation="tanh", initial="normal")
        return bm.layers.Dropout(self.dropout)(pooler.named("pooler")(x[:, 0]))

    @staticmethod
    def scores(x: Any, count: int) -> Any:
        """So many scores of each vector, inside a `__call__`."""
        return bm.layers.Dense(count, initial="normal").named("output")(x)


@dataclass(frozen=True)
class Bert(BertEncoder):
    """BERT as it is pre-trained (Devlin et al., 2019): which tokens were masked, and whether the second
    passage follows the first.

    Takes tokens (N, T), integers from 0 to vocabulary - 1, or -1 where there is none, and segments (N, T), 0
    or 1, or tokens alone; gives {"masked": scores (N, T, vocabulary), "next": scores (N, 2)}, or without
    pairs the former alone. Data: `masked-text`.

    Args:
        pairs: whether pairs of passages are told apart.

    >>> import bigmodel_core as bm
    >>> Bert(vocabulary=30, pairs=False)(bm.Spec(("N", "T"), "int64"))
    Spec((N, T, 30), float32)
    """

    name: ClassVar[str] = "bert"
    loss: ClassVar[Any] = {"masked": "cross_entropy", "next": "cross_entropy"}
    metrics: ClassVar[Any] = {"masked": "accuracy", "next": "accuracy"}
    pairs: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.pairs:  # there is one output
            object.__setattr__(self, "loss", "cross_entropy")
            object.__setattr__(self, "metrics", ("accuracy",))

    def fitted(self, data: bm.Data, loss: bm.Loss | None = None) -> Self:
        return replace(super().fitted(data, loss), pairs=isinstance(data.train.x, tuple))

    def __call__(self, tokens: Any, segments: Any = None) -> Any:
        own: Any = self
        embedding = self.embedding("embedding", own.vocabulary)
        x = self.encode(tokens, segments, embedding)
        y = bm.layers.Dense(own.width, activation="gelu", initial="normal").named("transform")(x)
        y = bm.layers.LayerNorm(own.epsilon).named("transform_norm")(y)
        masked = bm.layers.TiedDense(embedding, use_bias=True).named("masked")(y)
        if not self.pairs:
            return masked
        follows = bm.layers.Dense(2, initial="normal").named("next")(self.pooled(x))
        return {"masked": masked, "next": follows}


@dataclass(frozen=True)
class BertClassifier(BertEncoder):
    """BERT with scores of classes of texts, or of pairs of texts (Devlin et al., 2019, section 4.1).

    Takes tokens (N, T), -1 where there is none, and segments (N, T), 0 or 1, or tokens alone; gives scores
    (N, classes). Data: `text-classification`.

    Args:
        classes: how many classes there are.
    """

    name: ClassVar[str] = "bert-classifier"
    classes: int = 2

    def __call__(self, tokens: Any, segments: Any = None) -> Any:
        return self.scores(self.pooled(self.encode(tokens, segments)), self.classes)


@dataclass(frozen=True)
class BertTagger(BertEncoder):
    """BERT with scores of tags for each token (Devlin et al., 2019, section 5.3).

    Takes tokens (N, T), -1 where there is none, and segments (N, T), 0 or 1, or tokens alone; gives scores
    (N, T, classes). Data: `token-tags`.

    Args:
        classes: how many tags there are.
    """

    name: ClassVar[str] = "bert-tagger"
    classes: int = 9

    def __call__(self, tokens: Any, segments: Any = None) -> Any:
        x = bm.layers.Dropout(self.dropout)(self.encode(tokens, segments))
        return self.scores(x, self.classes)


@dataclass(frozen=True)
class BertSpans(BertEncoder):
    """BERT with scores of where an answer begins and ends (Devlin et al., 2019, section 4.2).

    Takes tokens (N, T) of a question and a passage, -1 where there is none, and segments (N, T), 0 or 1;
    gives {"start": scores (N, T), "end": scores (N, T)}, of which those of places without a token are very
    low. The targets are {"start": (N,), "end": (N,)}, the first and the last token of the answer.
    """

    name: ClassVar[str] = "bert-spans"
    loss: ClassVar[Any] = {"start": "cross_entropy", "end": "cross_entropy"}
    metrics: ClassVar[Any] = {"start": "accuracy", "end": "accuracy"}

    def __call__(self, tokens: Any, segments: Any = None) -> Any:
        both = self.scores(self.encode(tokens, segments), 2)
        both = ops.where(ops.expand_dims(tokens >= 0, -1), both, HIDDEN)
        return {"start": both[:, :, 0], "end": both[:, :, 1]}
