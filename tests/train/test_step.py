"""The compiled training step: what it shares with other steps and what it does not."""

from __future__ import annotations

import numpy as np

import bigmodel_core as bm


def test_a_new_step_on_a_trained_model_starts_with_a_fresh_optimizer() -> None:
    x, y = np.eye(4, dtype="float32"), np.arange(4)
    trained, untouched = bm.layers.Dense(4), bm.layers.Dense(4)
    first = bm.compile(trained, "cross_entropy", bm.optimizers.Adam(0.1))
    for _ in range(3):
        first(x, y)
    untouched.build(x)
    untouched.load_state(trained.state())
    for model in (trained, untouched):
        bm.compile(model, "cross_entropy", bm.optimizers.Adam(0.1))(x, y)
    for path, array in untouched.state().items():
        np.testing.assert_array_equal(trained.state()[path], array)
