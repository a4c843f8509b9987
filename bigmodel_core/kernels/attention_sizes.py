"""The sizes of attention, as the kernels of all devices need them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from bigmodel_core.graph.spec import Spec


class Sizes(NamedTuple):
    """Of q (N, heads, T, width), k and v: `keys` is S, `kv_heads` their heads."""

    samples: int
    heads: int
    kv_heads: int
    steps: int
    keys: int
    width: int
    out_width: int


def sizes_of(op: Any, inputs: Sequence[Spec]) -> Sizes:
    """The sizes that the inputs of an attention op have, whichever of heads and steps come first."""
    q, k, v = (
        (s[0], s[2], s[1], s[3]) if first else s
        for s, first in zip((x.sizes for x in inputs[:3]), op.steps_first, strict=True)
    )
    return Sizes(q[0], q[1], k[1], q[2], k[2], q[3], v[3])


def scale_of(op: Any, sizes: Sizes) -> float:
    """What products are multiplied by."""
    if op.scale is not None:
        return float(op.scale)
    return 1 / math.sqrt(sizes.width) if sizes.width else 1.0
