"""The models that come with bigmodel."""

from __future__ import annotations

from bigmodel_core.hookspecs import hookimpl
from bigmodel_core.model import Model
from bigmodel_models.lenet import Lenet
from bigmodel_models.linear import LinearRegression, LinearSvm, LogisticRegression
from bigmodel_models.mlp import Mlp

__all__ = ["Lenet", "LinearRegression", "LinearSvm", "LogisticRegression", "Mlp"]


@hookimpl
def bigmodel_models() -> list[type[Model]]:
    """The models of this package."""
    return [LinearRegression, LogisticRegression, LinearSvm, Mlp, Lenet]
