"""Strategies of generation: the most probable token, one drawn by chance, beam search."""

from __future__ import annotations

import bigmodel_core as bm
from bigmodel_strategies.beam import Beam
from bigmodel_strategies.sampling import Greedy, Sample

__all__ = ["Beam", "Greedy", "Sample"]


@bm.hookimpl
def bigmodel_strategies() -> list[type[bm.Strategy]]:
    """The strategies of this package."""
    return [Beam, Greedy, Sample]
