"""What a plan launches is recorded at its second run and replayed from then on; the results are the same."""

from __future__ import annotations

import gc
import sys
import types
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import DataError
from bigmodel_core.kernels.cuda.engine import recording
from bigmodel_core.kernels.cuda.engine.runtime import simulated
from bigmodel_core.plan import cuda_plan as plans

X = np.random.default_rng(3).standard_normal((8, 6)).astype("float32")
Y = np.arange(8) % 3


def trained(device: str, steps: int) -> tuple[list[float], dict[str, np.ndarray], Any]:
    model = bm.Sequential(bm.layers.Dense(10), bm.layers.Relu(), bm.layers.Dropout(0.2), bm.layers.Dense(3))
    network = model.build(bm.Spec(("N", 6)), seed=1, device=device)
    step = bm.compile(network, loss="cross_entropy", optimizer=bm.optimizers.Adam(0.01), seed=2)
    losses = [step(X + number, np.roll(Y, number)) for number in range(steps)]
    return losses, network.state(), step


def test_replays_take_new_batches_and_go_on_training() -> None:
    losses, state, _ = trained("cpu", 6)
    found, ours, step = trained("cuda", 6)
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    for path, array in state.items():
        np.testing.assert_allclose(ours[path], array, rtol=1e-5, atol=1e-6, err_msg=path)
    assert (step._plan._recording is not None) == (not simulated())


def test_failures_are_reported_by_replays_and_change_nothing() -> None:
    _, state, step = trained("cuda", 4)
    with pytest.raises(DataError, match="out of range"):
        step(X, Y + 1)
    for path, array in step.network.state().items():
        np.testing.assert_array_equal(array, state[path])
    assert np.isfinite(step(X, Y))


def test_plans_of_other_sizes_have_recordings_of_their_own() -> None:
    _, _, step = trained("cuda", 3)
    reference = trained("cpu", 3)[2]
    for rows in (4, 8, 4, 8, 4):
        assert step(X[:rows], Y[:rows]) == pytest.approx(reference(X[:rows], Y[:rows]), rel=1e-5)
    del step
    gc.collect()


class Refusing:
    """CUDA's bindings where one call fails."""

    def __init__(self, failing: str) -> None:
        self.failing, self.called = failing, list[str]()
        self.cudaError_t = types.SimpleNamespace(cudaSuccess=0)
        self.cudaStreamCaptureMode = types.SimpleNamespace(cudaStreamCaptureModeRelaxed=2)

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any) -> tuple[Any, ...]:
            self.called.append(name)
            return (801 if name == self.failing else 0, object())

        return call


@pytest.mark.parametrize(
    "failing", ["cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate"]
)
def test_a_driver_that_refuses_leaves_the_launches(failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Refusing(failing)
    bindings = types.ModuleType("cuda.bindings")
    bindings.runtime = runtime
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.setattr(recording, "simulated", lambda: False)
    done = []
    found = recording.record(types.SimpleNamespace(handle=5), lambda: done.append(1))
    assert found is None
    assert (len(done) == 0) == (failing == "cudaStreamBeginCapture")
    assert ("cudaStreamEndCapture" in runtime.called) == bool(done)  # a capture that began is ended
    assert ("cudaGraphDestroy" in runtime.called) == (failing == "cudaGraphInstantiate")


def test_work_that_raises_ends_the_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Refusing("")
    bindings = types.ModuleType("cuda.bindings")
    bindings.runtime = runtime
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.setattr(recording, "simulated", lambda: False)

    def fail() -> None:
        raise ValueError("no kernel")

    with pytest.raises(ValueError, match="no kernel"):
        recording.record(types.SimpleNamespace(handle=5), fail)
    assert runtime.called[-1] == "cudaStreamEndCapture"


def test_without_a_recording_every_run_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "record", lambda *_: None)
    losses, _, step = trained("cuda", 5)
    assert step._plan._recording is None
    np.testing.assert_allclose(losses, trained("cpu", 5)[0], rtol=1e-5)
