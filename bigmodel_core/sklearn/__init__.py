"""Models as scikit-learn's estimators (the extra `sklearn`): in pipelines, grid searches, cross-validation.

>>> import bigmodel_core as bm
>>> from sklearn.datasets import load_iris
>>> x, y = load_iris(return_X_y=True)
>>> classifier = bm.sklearn.Classifier("mlp", epochs=30, random_state=0).fit(x, y)
>>> classifier.score(x, y) > 0.9
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bigmodel_core.extras import optional

if TYPE_CHECKING:
    from bigmodel_core.sklearn.classifier import Classifier as Classifier
    from bigmodel_core.sklearn.regressor import Regressor as Regressor

_HOMES = {"Classifier": "classifier", "Regressor": "regressor"}

__all__ = ["Classifier", "Regressor"]


def __getattr__(name: str) -> Any:
    """Estimators are made of scikit-learn's classes, so it is needed from here on, and not before."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    optional("sklearn", "sklearn", "scikit-learn's estimators")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
