"""Attention with several heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ConfigError, ShapeError
from bigmodel_layers.positions import step_positions

Example = tuple[dict[str, Any], list[tuple[int, ...]]]


@dataclass(frozen=True)
class MultiHeadAttention(bm.Layer):
    """Each step gathers what it asks for from all steps (Vaswani et al., 2017): (N, T, K) becomes (N, T, K).

    Called as `layer(x)`, the steps of x see each other; as `layer(x, memory)`, they see those of a memory (N,
    S, any), as a decoder sees what its encoder gave.

    In a session (`model.session()`), causal attention sees the steps of earlier calls, too.

    Parts: `query`, `key`, `value` and `output`, dense layers.

    Args:
        heads: how many heads attend side by side.
        kv_heads: how many heads keys and values have, each for `heads / kv_heads` heads of the query (Ainslie
            et al., 2023); 1 is multi-query attention; as many as `heads` if None.
        causal: whether step t sees steps 0 to t only.
        rotary: whether queries and keys are turned by their positions (Su et al., 2021); or the base of the
            frequencies, 10000 if True.
        frequencies: of each pair of numbers that `rotary` turns, in radians a position, in place of those of
            its base, as models for long texts scale them.
        head_width: the width of a head; K / heads if None.
        use_bias: whether the dense layers have biases.
        dropout: in training, the probability that a step does not see another.
        initial: how the first weights are drawn, a name of `bigmodel_core.nn.initializers`.

    Raises:
        ConfigError: a field is out of range, or the heads do not divide.
        ShapeError: the input is no (N, T, K), K fixed and divisible by `heads`, or a mask does not fit.

    >>> import bigmodel_core as bm
    >>> MultiHeadAttention(4, causal=True)(bm.Spec(("N", "T", 32)))
    Spec((N, T, 32), float32)
    """

    heads: int
    kv_heads: int | None = None
    causal: bool = False
    rotary: bool | float = False
    head_width: int | None = None
    use_bias: bool = True
    dropout: float = 0.0
    initial: str = "glorot_uniform"
    frequencies: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("heads", "kv_heads", "head_width"):
            if name == "heads" or getattr(self, name) is not None:
                bm.check_number(self, name, whole=True, at_least=1)
        bm.check_number(self, "dropout", at_least=0, below=1)
        if not isinstance(self.rotary, bool):
            bm.check_number(self, "rotary", above=0)
        if self.kv_heads is not None and self.heads % self.kv_heads:
            raise ConfigError(
                f"{self.heads} heads cannot share {self.kv_heads} heads of keys and values evenly.",
                where="MultiHeadAttention",
                fix="let kv_heads divide heads.",
            )

    @classmethod
    def examples(cls) -> list[Example]:
        """What the conformance kit runs."""
        return [({"heads": 2}, [(2, 3, 4)]), ({"heads": 2, "kv_heads": 1, "causal": True}, [(2, 3, 4)])]

    def __call__(self, x: Any, memory: Any = None, mask: Any = None, positions: Any = None) -> Any:
        """What each step gathers.

        Args:
            x: (N, T, K).
            memory: (N, S, any), what the steps of x look at; x itself if None.
            mask: truth values, true where a key is seen: (N, S), or what broadcasts to (N, heads, T, S); or
                floats that are added to the scores.
            positions: of the steps of x for `rotary`, (T,) or (N, T) integers; if None 0, 1, 2, ..., which
                goes on from call to call of a session where attention is causal.
        """
        width = self._checked(x, memory)
        source = x if memory is None else memory
        head, shared = self.head_width or width // self.heads, self.kv_heads or self.heads
        query = self._split("query", x, self.heads, head)
        key, value = self._split("key", source, shared, head), self._split("value", source, shared, head)
        if self.rotary is not False:
            where = step_positions(self, x, self.causal) if positions is None else positions
            base = 10000.0 if self.rotary is True else self.rotary
            query, key = (
                ops.rotary(heads, where, base, frequencies=self.frequencies) for heads in (query, key)
            )
        if self.causal:
            key, value = self.remembered("keys", key, 2), self.remembered("values", value, 2)
        if mask is not None and mask.ndim == 2:
            mask = ops.reshape(mask, (mask.shape[0], 1, 1, mask.shape[1]))
        dropout = self.dropout if self.training else 0.0
        found = ops.attention(query, key, value, mask, self.causal, dropout=dropout)
        joined = ops.reshape(ops.transpose(found, (0, 2, 1, 3)), (*x.shape[:2], self.heads * head))
        return self._dense(width).named("output")(joined)

    def _dense(self, units: int) -> Any:
        return bm.layers.Dense(units, use_bias=self.use_bias, initial=self.initial)

    def _split(self, name: str, x: Any, heads: int, width: int) -> Any:
        """A projection of x, as heads (N, heads, T, width)."""
        found = self._dense(heads * width).named(name)(x)
        return ops.transpose(ops.reshape(found, (*x.shape[:2], heads, width)), (0, 2, 1, 3))

    def _checked(self, x: Any, memory: Any) -> int:
        """The width of the input.

        Raises:
            ShapeError: as the class says.
        """
        width = x.shape[2] if x.ndim == 3 else None
        if not isinstance(width, int):
            raise ShapeError(
                f"the input is {bm.format_shape(x.shape)}, expected (N, T, K) with a fixed K.",
                fix="give sequences a time axis, and tokens an Embedding.",
            )
        if self.head_width is None and width % self.heads:
            raise ShapeError(
                f"a width of {width} cannot be split into {self.heads} heads.",
                fix="let heads divide the width, or pass head_width.",
            )
        if memory is not None and (memory.ndim != 3 or memory.shape[0] != x.shape[0]):
            raise ShapeError(
                f"the memory is {bm.format_shape(memory.shape)}, expected (N, S, any) for an input"
                f" {bm.format_shape(x.shape)}.",
                fix="pass what an encoder gave for the same samples.",
            )
        if memory is not None and (self.causal or self.rotary is not False):
            raise ShapeError(
                "steps cannot come after or before those of a memory, so neither causal nor rotary fits.",
                fix="make a layer of its own for the memory, without both.",
            )
        return width
