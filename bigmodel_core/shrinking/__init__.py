"""Smaller models: pruning of weights and of whole channels, factors of low rank."""

from bigmodel_core.shrinking.masks import make_zero as make_zero
from bigmodel_core.shrinking.masks import smallest as smallest

__all__ = ["make_zero", "smallest"]
