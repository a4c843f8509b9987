"""A slice of a dimension that is only known when the model runs stays within the array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ShapeError


@dataclass(frozen=True)
class FirstThree(bm.Layer):
    """The first three samples, doubled."""

    def __call__(self, x: Any) -> Any:
        return x[:3] * 2.0


def test_it_is_cut_where_there_is_enough() -> None:
    x = np.arange(10, dtype="float32").reshape(5, 2)
    assert np.array_equal(FirstThree()(x), x[:3] * 2)


def test_it_is_refused_where_there_is_too_little() -> None:
    with pytest.raises(ShapeError, match="leaves axis 0"):
        FirstThree()(np.zeros((2, 2), "float32"))
