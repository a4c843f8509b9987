"""Sizes of models by name: what fills in the fields that were not given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError

Sizes = Mapping[str, Mapping[str, Any]]


def fill(model: bm.Model, sizes: Sizes) -> None:
    """Give fields that are None the values of the size that a model's field `size` names.

    Args:
        model: it has a field `size`.
        sizes: by name; each says all fields that may be None. None names the smallest.

    Raises:
        ConfigError: there is no such size, or a number of it is no positive whole number.
    """
    wanted = getattr(model, "size")  # noqa: B009  # models in general have none
    if wanted not in sizes:
        raise ConfigError(
            f"there is no size '{wanted}'.",
            where=type(model).__name__,
            fix=f"use one of {', '.join(sizes)}, or give layers, heads and width.",
        )
    for name, value in sizes[wanted].items():
        if getattr(model, name) is None:
            object.__setattr__(model, name, value)
        elif isinstance(value, int) and not isinstance(value, bool):
            bm.check_number(model, name, whole=True, at_least=1)
        elif isinstance(value, float):
            bm.check_number(model, name, above=0)


def rate_for(width: int) -> float:
    """The learning rate that suits a language model: 0.4 / width, near those of GPT-3 (Brown et al., 2020,
    table 2.1: 6e-4 for 768, 2e-4 for 2,048); narrower models take more."""
    return 0.4 / width


def check_heads(model: Any) -> None:
    """Raise unless heads divide the width, those of keys and values the heads, and dropout is a probability.

    Raises:
        ConfigError: they do not.
    """
    bm.check_number(model, "dropout", at_least=0, below=1)
    if model.width % model.heads:
        raise ConfigError(
            f"a width of {model.width} cannot be split into {model.heads} heads.",
            where=type(model).__name__,
            fix="let heads divide width.",
        )
    shared = getattr(model, "kv_heads", 1)
    if model.heads % shared:
        raise ConfigError(
            f"{model.heads} heads cannot share {shared} heads of keys and values evenly.",
            where=type(model).__name__,
            fix="let kv_heads divide heads.",
        )
