"""The block of which Transformers are stacked."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import bigmodel_core as bm

Example = tuple[dict[str, Any], list[tuple[int, ...]]]


@dataclass(frozen=True)
class TransformerBlock(bm.Layer):
    """Attention, then a feed-forward network for each step, each added to its input and normalised (Vaswani
    et al., 2017): (N, T, K) becomes (N, T, K).

    Called with a memory, (N, S, any), the steps also attend to that: the block of a decoder.

    Parts: `attention`, `cross_attention` where there is a memory, `feed_forward`, and before (or, with
    pre_norm=False, behind) each of them `attention_norm`, `cross_attention_norm`, `feed_forward_norm`.

    Args:
        heads: how many heads attend side by side.
        hidden: the width inside of the feed-forward network; 4 K if None.
        kv_heads, causal, rotary, frequencies, head_width: of the attention; see `MultiHeadAttention`.
        activation: of the feed-forward network, a layer or its name; with `gated`, it is SwiGlu.
        gated: whether the feed-forward network is `SwiGlu`.
        normalization: "layer" (`LayerNorm`) or "rms" (`RmsNorm`).
        epsilon: of the normalisation; its default if None.
        pre_norm: whether inputs of the parts are normalised, else the sums behind them, as in the paper.
        use_bias: whether dense layers have biases.
        dropout: in training, the probability that a number that a part adds is dropped.
        attention_dropout: in training, the probability that a step does not see another.
        initial: how the first weights are drawn, a name of `bigmodel_core.nn.initializers`.
        recompute: whether training computes what is inside again for gradients, rather than keeping it; see
            `Recompute`.

    >>> import bigmodel_core as bm
    >>> TransformerBlock(4, causal=True)(bm.Spec(("N", "T", 32)))
    Spec((N, T, 32), float32)
    """

    heads: int
    hidden: int | None = None
    kv_heads: int | None = None
    causal: bool = False
    rotary: bool | float = False
    head_width: int | None = None
    activation: str | bm.Layer = "gelu"
    gated: bool = False
    normalization: Literal["layer", "rms"] = "layer"
    epsilon: float | None = None
    pre_norm: bool = True
    use_bias: bool = True
    dropout: float = 0.0
    attention_dropout: float = 0.0
    initial: str = "glorot_uniform"
    recompute: bool = False
    frequencies: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.hidden is not None:
            bm.check_number(self, "hidden", whole=True, at_least=1)
        for name in ("dropout", "attention_dropout"):
            bm.check_number(self, name, at_least=0, below=1)
        self._attention()  # which checks what is its own

    @classmethod
    def examples(cls) -> list[Example]:
        """What the conformance kit runs."""
        modern = {"kv_heads": 1, "causal": True, "rotary": True, "gated": True, "normalization": "rms"}
        return [
            ({"heads": 2, "hidden": 3}, [(2, 3, 4)]),
            ({"heads": 2, "hidden": 3, **modern}, [(2, 3, 4)]),
            ({"heads": 1, "hidden": 3, "pre_norm": False}, [(2, 3, 2), (2, 2, 3)]),
        ]

    def __call__(
        self, x: Any, memory: Any = None, mask: Any = None, memory_mask: Any = None, positions: Any = None
    ) -> Any:
        """What the block makes of x.

        Args:
            x: (N, T, K).
            memory: (N, S, any), which the steps also see.
            mask: which steps of x are seen: (N, T) truth values, or as `MultiHeadAttention` takes it.
            memory_mask: which steps of the memory are seen, (N, S), likewise.
            positions: of the steps of x, where attention is `rotary`.
        """
        with bm.recomputing() if self.recompute else nullcontext():
            return self._computed(x, memory, mask, memory_mask, positions)

    def _computed(self, x: Any, memory: Any, mask: Any, memory_mask: Any, positions: Any) -> Any:
        hidden = 4 * x.shape[-1] if self.hidden is None else self.hidden
        more: dict[str, Any] = {"use_bias": self.use_bias, "initial": self.initial}
        if self.gated:
            feed_forward = bm.layers.SwiGlu(hidden, **more)
        else:
            feed_forward = bm.layers.FeedForward(hidden, self.activation, **more)
        attention = self._attention().named("attention")
        x = self._added("attention", x, lambda y: attention(y, None, mask, positions))
        if memory is not None:
            cross = self._attention(is_cross=True).named("cross_attention")
            x = self._added("cross_attention", x, lambda y: cross(y, memory, memory_mask))
        return self._added("feed_forward", x, feed_forward.named("feed_forward"))

    def _added(self, name: str, x: Any, part: Any) -> Any:
        """x, plus what a part makes of it, normalised before or behind."""
        kind = bm.layers.RmsNorm if self.normalization == "rms" else bm.layers.LayerNorm
        norm = kind() if self.epsilon is None else kind(self.epsilon)
        norm = norm.named(f"{name}_norm")
        found = part(norm(x) if self.pre_norm else x)
        if self.dropout:
            found = bm.layers.Dropout(self.dropout)(found)
        return x + found if self.pre_norm else norm(x + found)

    def _attention(self, is_cross: bool = False) -> Any:
        return bm.layers.MultiHeadAttention(
            self.heads,
            self.kv_heads,
            self.causal and not is_cross,
            False if is_cross else self.rotary,
            self.head_width,
            self.use_bias,
            self.attention_dropout,
            self.initial,
            None if is_cross else self.frequencies,
        )
