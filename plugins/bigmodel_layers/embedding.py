"""The embedding: a vector for each token; and scores of tokens by the same vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ConfigError, DtypeError, ShapeError, UnknownParameterError, short


@dataclass(frozen=True)
class Embedding(bm.Layer):
    """Each integer becomes its row of a learned table (Bengio et al., 2003): (...) becomes (..., width).

    Parameters: `weight` (vocabulary, width), which starts normal with a deviation of `deviation`.

    Args:
        vocabulary: how many tokens there are; inputs run from 0 to vocabulary - 1.
        width: the width of the vectors.
        padded: whether -1 is no token, such as padding, and becomes zeros.
        deviation: of the first values; 0.02 suits Transformers whose output is tied to the table.

    Raises:
        ConfigError: a field is out of range.
        DtypeError: the input is not int32 or int64.
        DataError: at run time, an input is out of range.

    >>> import bigmodel_core as bm
    >>> Embedding(65, 16)(bm.Spec(("N", "T"), "int64"))
    Spec((N, T, 16), float32)
    """

    vocabulary: int
    width: int
    padded: bool = False
    deviation: float = 1.0

    def __post_init__(self) -> None:
        bm.check_number(self, "deviation", at_least=0)
        bm.check_number(self, "vocabulary", whole=True, at_least=1)
        bm.check_number(self, "width", whole=True, at_least=1)

    def __call__(self, tokens: Any) -> Any:
        if tokens.dtype not in bm.dtypes.INDICES:
            raise DtypeError(
                f"the input is {tokens.dtype}, expected {' or '.join(bm.dtypes.INDICES)} tokens.",
                fix="give token numbers, converted with x.astype('int64').",
            )
        table = self.parameter(
            "weight",
            (self.vocabulary, self.width),
            lambda generator, shape: generator.normal(0, self.deviation, shape),
        )
        return ops.gather(table, tokens, padded=self.padded)


@dataclass(frozen=True)
class TiedDense(bm.Layer):
    """Scores of all tokens by the table of an embedding (Press and Wolf, 2017): (..., width) becomes (...,
    vocabulary), x @ embedding.weight.T.

    The table is one parameter, and its gradient the sum of both uses. Parameters of its own: `bias`
    (vocabulary,), which starts at zero, if one is added.

    Args:
        embedding: a layer of tokens with a parameter `weight` (vocabulary, width).
        use_bias: whether a bias is added.

    Raises:
        ConfigError: `embedding` is no layer.
        ShapeError: the input is not as wide as the table.

    ```python
    @dataclass(frozen=True)
    class Tied(bm.Layer):
        def __call__(self, tokens):
            embedding = bm.layers.Embedding(65, 16).named("embedding")
            return bm.layers.TiedDense(embedding)(embedding(tokens))
    ```
    """

    embedding: bm.Layer
    use_bias: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.embedding, bm.Layer):
            raise ConfigError(
                f"embedding is {short(self.embedding)}, expected a layer.",
                where="TiedDense",
                fix="pass the Embedding whose table is to be used.",
            )

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[tuple[int, ...]]]]:
        """What the conformance kit runs."""
        return [({"embedding": Embedding(5, 4), "use_bias": True}, [(2, 3, 4)])]

    def __call__(self, x: Any) -> Any:
        try:
            table = self.embedding.weight
        except UnknownParameterError:  # it was not called yet
            self.embedding(ops.constant(0, "int64"))
            table = self.embedding.weight
        if x.ndim < 1 or x.shape[-1] != table.shape[1]:
            raise ShapeError(
                f"the input is {bm.format_shape(x.shape)}, and the table is {bm.format_shape(table.shape)}.",
                fix=f"pass (..., {table.shape[1]}).",
            )
        bias = self.parameter("bias", table.shape[:1], 0.0) if self.use_bias else None
        return ops.affine(x, ops.transpose(table), bias)
