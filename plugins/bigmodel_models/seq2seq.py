"""Recurrent networks that write a target text for a source text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_models.encoder_decoder import EncoderDecoder


@dataclass(frozen=True)
class GruEncoder(bm.Layer):
    """Source tokens (N, S) become the state that the decoder begins with, states in both directions (N, S, 2
    units), and which of these are there (N, S)."""

    vocabulary: int
    width: int
    units: int
    layers: int
    dropout: float

    def __call__(self, source: Any) -> Any:
        seen = source >= 0
        x = bm.layers.Embedding(self.vocabulary, self.width, padded=True).named("embedding")(source)
        x = bm.layers.Dropout(self.dropout)(x)
        gru = bm.layers.GRU(
            self.units, layers=self.layers, bidirectional=True, dropout=self.dropout, return_state=True
        )
        states, last = gru.named("gru")(x, ops.sum(seen.astype("int64"), 1))
        start = bm.layers.Dense(self.layers * self.units, activation="tanh").named("start")
        return start(ops.reshape(last, (last.shape[0], 2 * self.layers * self.units))), states, seen


@dataclass(frozen=True)
class GruDecoder(bm.Layer):
    """Target tokens (N, T), with what the encoder gave, become scores of the next ones (N, T, vocabulary)."""

    vocabulary: int
    width: int
    units: int
    layers: int
    dropout: float

    def __call__(self, target: Any, start: Any, memory: Any, seen: Any) -> Any:
        embedding = bm.layers.Embedding(self.vocabulary, self.width, padded=True, deviation=self.width**-0.5)
        x = bm.layers.Dropout(self.dropout)(embedding.named("embedding")(target))
        x = bm.layers.Dense(self.units).named("input")(x)
        gru = bm.layers.GRU(self.units, layers=self.layers, dropout=self.dropout, return_state=True)
        states, last = gru.named("gru")(x, self._begun(start))
        self.assign("state", ops.reshape(last, start.shape))
        self.assign("begun", start[:, :1] * 0 + 1)
        found = bm.layers.MultiHeadAttention(1).named("attention")(states, memory, seen)
        both = bm.layers.Dropout(self.dropout)(ops.concatenate([states, found], -1))
        y = bm.layers.Dense(self.width, activation="tanh").named("attended")(both)
        return bm.layers.TiedDense(embedding, use_bias=True).named("output")(y)

    def _begun(self, start: Any) -> Any:
        """The state that comes before the first token: that of the last call of a session, else the start."""
        begun = self.carried("begun", (start.shape[0], 1), start.dtype, 0.0)
        state = self.carried("state", start.shape, start.dtype, 0.0)
        state = ops.where(begun > 0, state, start)
        if self.layers == 1:
            return state
        return ops.reshape(state, (start.shape[0], self.layers, self.units))


@dataclass(frozen=True)
class Seq2seqGru(EncoderDecoder):
    """Gated recurrent units (Cho et al., 2014) that write a target text for a source text, and attend to it
    at each step (Bahdanau et al., 2015); scores of attention are products, as in Luong et al. (2015).

    Takes source tokens (N, S) and the target tokens so far (N, T), -1 where there is none; gives scores of
    the target token that comes next (N, T, target_vocabulary). The table of target tokens also gives the
    scores. Data: `text-pairs`.

    Args:
        vocabulary: how many source tokens there are.
        target_vocabulary: how many target tokens there are.
        units: the width of the states.
        width: of a token's vector.
        layers: how many recurrent layers are stacked in the encoder, and in the decoder.
        dropout: in training, the probability of zeroing numbers of vectors and states.

    >>> import bigmodel_core as bm
    >>> Seq2seqGru(target_vocabulary=30)(bm.Spec(("N", "S"), "int64"), bm.Spec(("N", "T"), "int64"))
    Spec((N, T, 30), float32)
    """

    name: ClassVar[str] = "seq2seq-gru"
    learning_rate: ClassVar[float | None] = 3e-3
    vocabulary: int = 8192
    target_vocabulary: int = 8192
    units: int = 256
    width: int = 128
    layers: int = 1
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("vocabulary", "target_vocabulary", "units", "width", "layers"):
            bm.check_number(self, name, whole=True, at_least=1)
        bm.check_number(self, "dropout", at_least=0, below=1)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[bm.Spec]]]:
        """What the conformance kit runs."""
        small = {"vocabulary": 5, "target_vocabulary": 6, "units": 3, "width": 4, "dropout": 0.0}
        return [(small, [bm.Spec(("N", 3), "int64"), bm.Spec(("N", 2), "int64")])]

    def __call__(self, source: Any, target: Any) -> Any:
        own = (self.width, self.units, self.layers, self.dropout)
        memory = GruEncoder(self.vocabulary, *own).named("encoder")(source)
        return GruDecoder(self.target_vocabulary, *own).named("decoder")(target, *memory)
