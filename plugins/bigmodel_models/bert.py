"""BERT: a Transformer that sees both sides of a token, trained on masked texts; and heads for tasks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_models.published_berts import families
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
    """The encoder of BERT (Devlin et al., 2019): a vector for each token that knows of those on both sides.

    Takes tokens (N, T), -1 where there is none, and segments (N, T), 0 or 1, or tokens alone; gives vectors
    (N, T, width). The models with heads name its parameters alike, so that those of a model that was trained
    on much text fit.

    Its options make it that of DistilBERT (Sanh et al., 2019), RoBERTa (Liu et al., 2019) and ALBERT (Lan et
    al., 2020), too; `bm.from_pretrained` reads published weights of all four.

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
        hidden: the width inside of the feed-forward networks; four times `width` if None.
        activation: in them and in the head of masked tokens: "gelu", "gelu_tanh" or "relu".
        segments: how many kinds of segments have a vector; with fewer than two, given segments count nothing.
        embedding_width: of the vectors of tokens, segments and positions, if a dense layer makes those of
            `width` of them, as ALBERT has it.
        groups: into how many groups layers are divided, one after the other, of which each is one block that
            is called several times, as ALBERT has it; each layer has its own if None.
        first_position: the row of the table of positions that the first token has, 2 in RoBERTa.
        pooling: the activation of the layer behind the first token's vector: "tanh", or "relu" in DistilBERT.
    """

    name: ClassVar[str] = "bert-encoder"
    pretrained: ClassVar[tuple[bm.Pretrained, ...]] = families("encoder")
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
    hidden: int | None = None
    activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu"
    segments: int = 2
    embedding_width: int | None = None
    groups: int | None = None
    first_position: int = 0
    pooling: Literal["tanh", "relu"] = "tanh"

    def __post_init__(self) -> None:
        fill(self, SIZES)
        check_heads(self)
        for name in ("hidden", "embedding_width", "groups"):
            if getattr(self, name) is not None:
                bm.check_number(self, name, whole=True, at_least=1)
        for name in ("segments", "first_position"):
            bm.check_number(self, name, whole=True, at_least=0)
        if hasattr(self, "classes"):
            bm.check_number(self, "classes", whole=True, at_least=1)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[bm.Spec]]]:
        """What the conformance kit runs."""
        small = {
            "vocabulary": 3,
            "context": 2,
            "layers": 1,
            "heads": 2,
            "width": 2,
            "hidden": 2,
            "dropout": 0.0,
        }
        return [(small, [bm.Spec(("N", 2), "int64")] * 2)]

    def input_spec(self) -> bm.Spec | tuple[bm.Spec, ...]:
        tokens = bm.Spec(("N", "T"), "int64")
        return (tokens, tokens) if self.segments > 1 else tokens

    def __call__(self, tokens: Any, segments: Any = None) -> Any:
        return self.encode(tokens, segments)

    def embedding(self, name: str, count: int) -> Any:
        """A table of vectors, inside a `__call__`."""
        own: Any = self
        width = own.embedding_width or own.width
        return bm.layers.Embedding(count, width, padded=True, deviation=0.02).named(name)

    @property
    def nonlinearity(self) -> Any:
        """The activation as `Dense` takes it."""
        return bm.layers.Gelu(approximate=True) if self.activation == "gelu_tanh" else self.activation

    def encode(self, tokens: Any, segments: Any = None, embedding: Any = None) -> Any:
        """The vectors of tokens (N, T, width), inside a `__call__`; segments are 0 where they are None."""
        own: Any = self  # whose sizes are filled in
        if segments is None or own.segments < 2:
            segments = ops.minimum(tokens, 0)
        embedding = self.embedding("embedding", own.vocabulary) if embedding is None else embedding
        x = embedding(tokens)
        if own.segments:
            x = x + self.embedding("segment", own.segments)(segments)
        x = bm.layers.PositionalEmbedding(own.context, first=own.first_position).named("position")(x)
        x = bm.layers.LayerNorm(own.epsilon).named("norm")(x)
        x = bm.layers.Dropout(own.dropout)(x)
        if own.embedding_width is not None:
            x = bm.layers.Dense(own.width, initial="normal").named("widening")(x)
        groups = own.groups or own.layers
        blocks = [self._block().named(f"block_{number + 1}") for number in range(groups)]
        for number in range(own.layers):
            x = blocks[number * groups // own.layers](x, None, tokens >= 0)
        return x

    def _block(self) -> Any:
        own: Any = self
        return bm.layers.TransformerBlock(
            own.heads,
            own.hidden,
            activation=self.nonlinearity,
            pre_norm=False,
            epsilon=own.epsilon,
            dropout=own.dropout,
            attention_dropout=own.dropout,
            recompute=own.recompute,
            initial="normal",
        )

    def pooled(self, x: Any) -> Any:
        """One vector for each text, of its first token, inside a `__call__`."""
        pooler = bm.layers.Dense(x.shape[-1], activation=self.pooling, initial="normal")
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
    pretrained: ClassVar[tuple[bm.Pretrained, ...]] = families("pairs", "masked")
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
        width = own.embedding_width or own.width
        y = bm.layers.Dense(width, activation=self.nonlinearity, initial="normal").named("transform")(x)
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
    pretrained: ClassVar[tuple[bm.Pretrained, ...]] = families("classifier")
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
    pretrained: ClassVar[tuple[bm.Pretrained, ...]] = families("tagger")
    classes: int = 9

    def __call__(self, tokens: Any, segments: Any = None) -> Any:
        x = bm.layers.Dropout(self.dropout)(self.encode(tokens, segments))
        return self.scores(x, self.classes)


@dataclass(frozen=True)
class BertSpans(BertEncoder):
    """BERT with scores of where an answer begins and ends (Devlin et al., 2019, section 4.2).

    Takes tokens (N, T) of a question and a passage, -1 where there is none, and segments (N, T), 0 or 1;
    gives {"start": scores (N, T), "end": scores (N, T)}, of which those of places without a token are very
    low. The targets are {"start": (N,), "end": (N,)}, the first and the last token of the answer. Data:
    `question-answers`.
    """

    name: ClassVar[str] = "bert-spans"
    pretrained: ClassVar[tuple[bm.Pretrained, ...]] = families("spans")
    loss: ClassVar[Any] = {"start": "cross_entropy", "end": "cross_entropy"}
    metrics: ClassVar[Any] = {"start": "accuracy", "end": "accuracy"}

    def __call__(self, tokens: Any, segments: Any = None) -> Any:
        both = self.scores(self.encode(tokens, segments), 2)
        both = ops.where(ops.expand_dims(tokens >= 0, -1), both, HIDDEN)
        return {"start": both[:, :, 0], "end": both[:, :, 1]}
