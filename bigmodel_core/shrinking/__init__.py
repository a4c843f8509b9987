"""Smaller models: pruning of weights and of whole channels, factors of low rank."""

from bigmodel_core.shrinking.pruning import prune as prune

__all__ = ["prune"]
