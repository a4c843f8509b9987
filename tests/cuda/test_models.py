"""Models of the registry train on the CUDA device as on the CPU, at sizes that the simulator can do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm

MODELS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "lenet": (lambda: bm.models.Lenet(classes=3), (2, 1, 16, 16)),
    "resnet20": (lambda: bm.models.Resnet20(classes=3, width=2), (3, 1, 5, 5)),
    "bigmodel-cnn": (lambda: bm.models.BigmodelCnn(3, (4, 6), 10, 0.25), (3, 2, 8, 8)),
    "lstm-classifier": (lambda: bm.models.LstmClassifier(3), (3, 4, 3)),
}
"""Each with the shape of a batch. Normalisation over few numbers magnifies how float32 rounds."""


@pytest.mark.parametrize("name", MODELS)
def test_two_steps_are_those_of_the_cpu(name: str) -> None:
    make, shape = MODELS[name]
    x = np.random.default_rng(21).standard_normal(shape).astype("float32")
    labels = np.arange(shape[0]) % 3
    found: dict[str, Any] = {}
    for device in ("cpu", "cuda"):
        network = make().build(bm.Spec(("N", *shape[1:])), seed=3, device=device)
        optimizer = bm.optimizers.SGD(0.01, momentum=0.9)
        step = bm.compile(network, loss="cross_entropy", optimizer=optimizer, seed=4)
        losses = [step(x, labels) for _ in range(2)]  # the second one finds what the first left
        found[device] = losses, network.state(), network(x)
    (losses, state, scores), (our_losses, our_state, our_scores) = found["cpu"], found["cuda"]
    assert losses[1] != losses[0]
    np.testing.assert_allclose(our_losses, losses, rtol=1e-5)
    np.testing.assert_allclose(our_scores, scores, rtol=1e-5, atol=1e-5)
    for path, array in state.items():
        np.testing.assert_allclose(our_state[path], array, rtol=1e-5, atol=1e-5, err_msg=path)
