"""The embedding: a vector for each token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import DtypeError


@dataclass(frozen=True)
class Embedding(bm.Layer):
    """Each integer becomes its row of a learned table (Bengio et al., 2003): (...) becomes (..., width).

    Parameters: `weight` (vocabulary, width), which starts normal with deviation 1.

    Args:
        vocabulary: how many tokens there are; inputs run from 0 to vocabulary - 1.
        width: the width of the vectors.
        padded: whether -1 is no token, such as padding, and becomes zeros.

    Raises:
        ConfigError: a field is below 1.
        DtypeError: the input is not int32 or int64.
        DataError: at run time, an input is out of range.

    >>> import bigmodel_core as bm
    >>> Embedding(65, 16)(bm.Spec(("N", "T"), "int64"))
    Spec((N, T, 16), float32)
    """

    vocabulary: int
    width: int
    padded: bool = False

    def __post_init__(self) -> None:
        bm.check_number(self, "vocabulary", whole=True, at_least=1)
        bm.check_number(self, "width", whole=True, at_least=1)

    def __call__(self, tokens: Any) -> Any:
        if tokens.dtype not in bm.dtypes.INDICES:
            raise DtypeError(
                f"the input is {tokens.dtype}, expected {' or '.join(bm.dtypes.INDICES)} tokens.",
                fix="give token numbers, converted with x.astype('int64').",
            )
        table = self.parameter(
            "weight", (self.vocabulary, self.width), lambda generator, shape: generator.normal(size=shape)
        )
        return ops.gather(table, tokens, padded=self.padded)
