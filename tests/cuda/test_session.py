"""Sessions on the CUDA device: what is carried stays there, and is written in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import DataError

X = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")


@dataclass(frozen=True)
class Cache(bm.Layer):
    """Rows written one after the other; `before` says whether the former ones are needed, too."""

    before: bool = False

    def __call__(self, x: Any) -> Any:
        rows = self.carried("rows", (x.shape[0], 4, x.shape[2]))
        place = self.carried("place", (), "int64")
        found = ops.update_slice(rows, x, (0, place, 0))
        self.assign("rows", found)
        self.assign("place", place + 1)
        return ops.sum(found, 1) + (ops.sum(rows * found, 1) if self.before else 0.0)


def session_on(model: bm.Layer, device: str, *shape: Any) -> Any:
    return model.build(bm.Spec(shape), seed=3, device=device).session()


@pytest.mark.parametrize("cell", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_stream_as_on_the_cpu(cell: str) -> None:
    results = []
    for device in ("cpu", "cuda"):
        session = session_on(getattr(bm.layers, cell)(2, carry=True), device, "N", 1, 3)
        steps = [session(X[:, t : t + 1]) for t in range(3)]
        session.reorder([1, 1])
        kept = session.state()
        other = session.copy()
        last = session(X[:, 3:])
        assert (other(X[:, 3:]) == last).all()
        session.reset()
        again = session(X[:, :1])
        assert np.allclose(again, steps[0], atol=1e-6)
        results.append([*steps, *kept.values(), last])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("before", [False, True])
def test_a_cache_is_written_in_place_where_that_may_be(before: bool) -> None:
    found = []
    for device in ("cpu", "cuda"):
        session = session_on(Cache(before), device, "N", 1, 3)
        found.append([*(session(X[:, t : t + 1]) for t in range(4)), *session.state().values()])
        with pytest.raises(DataError, match="would begin at 4; in this array it may begin from 0 to 3"):
            session(X[:, :1])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    (plan,) = session._own.call._plans.values()
    names = [call.function.__name__ for call in plan._bound.launches]
    assert names.count("put_block") == 1 and names.count("copy_all") == before
