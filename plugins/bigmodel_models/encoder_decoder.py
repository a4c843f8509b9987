"""What models that write a target text for a source text share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm


@dataclass(frozen=True)
class EncoderDecoder(bm.Model):
    """An encoder of source texts and a decoder of target texts, parts of these names.

    Takes source tokens (N, S) and the target tokens so far (N, T), -1 where there is none; gives scores of
    the target token that comes next (N, T, target_vocabulary).

    `bm.encoder_decoder` gives the two to write targets with.
    """

    optimizer: ClassVar[str] = "adamw"
    learning_rate: ClassVar[float | None] = 1e-3

    def input_spec(self) -> tuple[bm.Spec, ...]:
        return bm.Spec(("N", "S"), "int64"), bm.Spec(("N", "T"), "int64")

    def encode(self, source: Any) -> Any:
        """What the decoder sees of sources (N, S): a tuple of arrays.

        Raises:
            GraphError: the model is not built.
        """
        return bm.encoder_decoder(self)[0](source)

    def decode(self, target: Any, memory: Any) -> Any:
        """Scores of what comes after each token of targets (N, T), given what `encode` gave.

        Raises:
            GraphError: the model is not built.
        """
        return bm.encoder_decoder(self)[1](target, *memory)
