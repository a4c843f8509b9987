"""The conformance kit: two results that are NaN prove nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import testing
from bigmodel_core.train.metric import Metric


@dataclass(frozen=True)
class Never(bm.Layer):
    """NaN for every input."""

    def __call__(self, x: Any) -> Any:
        return bm.ops.log(-1.0 - x * x)


@dataclass(frozen=True)
class Spoilt(Metric):
    """NaN for every batch."""

    name = "spoilt"

    def empty(self) -> Any:
        return {"count": 0}

    def update(self, state: Any, prediction: Any, target: Any) -> Any:
        return {"count": state["count"] + len(target)}

    def merge(self, a: Any, b: Any) -> Any:
        return {"count": a["count"] + b["count"]}

    def result(self, state: Any) -> Any:
        return float("nan")


def named(subject: Any, name: str, inputs: Any = None) -> Any:
    return next(check for check in testing.checks_for(subject, inputs) if check.name == name)


@pytest.mark.parametrize("name", ["non-contiguous inputs", "same bits at any thread count"])
def test_a_layer_that_gives_nan_does_not_pass_by_it(name: str) -> None:
    with pytest.raises(AssertionError, match="NaN"):
        named(Never(), name, [(4, 7)])()


@pytest.mark.parametrize("name", ["streaming equals one batch", "merging equals one batch"])
def test_a_metric_that_gives_nan_does_not_pass_by_it(name: str) -> None:
    with pytest.raises(AssertionError, match="NaN"):
        named(Spoilt(), name, [np.zeros((24, 1)), np.zeros(24)])()
