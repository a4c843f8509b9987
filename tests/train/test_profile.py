"""Where the time of a step goes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import DeviceError
from bigmodel_core.kernels.cpu.engine.table import Table
from bigmodel_core.plan import clock
from bigmodel_core.train.profiler import Profiler

from .conftest import assert_same_bits, labelled, network_with_dropout


def trainer(**options: Any) -> bm.Trainer:
    return bm.Trainer(network_with_dropout(), "cross_entropy", "adam", ["accuracy"], **options)


def fit(made: bm.Trainer, **options: Any) -> bm.Trainer:
    made.fit(labelled(), **{"epochs": 3, "batch_size": 9, "verbose": False, "profile": True, **options})
    return made


def profile_of(made: bm.Trainer) -> bm.Profile:
    assert made.profile is not None
    return made.profile


def wide_step() -> tuple[Any, np.ndarray, np.ndarray]:
    """A step of half a millisecond, nearly all of it in the layer in the middle."""
    model = bm.Sequential(bm.layers.Dense(512), bm.layers.Dense(512), bm.layers.Dense(3))
    step = bm.compile(model, "cross_entropy", bm.optimizers.SGD(0.01))
    x, y = labelled(64)
    for _ in range(5):
        step(x, y)
    return step, x, y


def test_what_is_learned_is_the_same() -> None:
    plain = trainer()
    plain.fit(labelled(), epochs=3, batch_size=9, verbose=False)
    assert_same_bits(fit(trainer()).network.state(), plain.network.state())


def test_without_it_no_launch_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Table, "run_timed", lambda *given: pytest.fail("a launch was timed"))
    fit(trainer(), profile=False)


def test_the_kernels_are_those_of_the_step() -> None:
    made = fit(trainer())
    planned = [kernel.name for step in made.step.kernels(9) for kernel in step.kernels]
    assert [item.kernel.partition(",")[0] for item in profile_of(made).kernels] == planned


def test_the_layer_that_computes_most_takes_the_most_time() -> None:
    step, x, y = wide_step()
    with bm.profile() as found:
        for _ in range(30):
            step(x, y)
    forward, backward = (max(found.by_layer(), key=lambda path: found.by_layer()[path][n]) for n in (0, 1))
    assert (forward, backward) == ("dense_2", "dense_2")


def test_the_kernels_add_up_to_a_step_about() -> None:
    step, x, y = wide_step()
    times, found = [], clock.Clock()
    for number in range(120):  # in turns, so that both see the same machine
        begun = time.perf_counter()
        if number % 2:
            step(x, y)
            times.append(time.perf_counter() - begun)
        else:
            with found.running():
                step(x, y)
    (runs,) = found._runs.values()
    fastest = min(sum(run) for run in runs.times) / 1e9
    assert len(runs.times) == 60
    assert 0.75 < fastest / min(times) < 1.25


def test_loops_run_through_all_of_their_steps() -> None:
    @bm.function
    def sums(x: Any) -> Any:
        return bm.ops.scan(
            lambda total, item: (total + item, total * item), bm.ops.constant(np.zeros(3, "float32")), x
        )[1]

    x = np.random.default_rng(0).normal(size=(7, 3)).astype("float32")
    sums(np.zeros_like(x))
    with bm.profile() as found:
        timed = sums(x)
    np.testing.assert_allclose(timed, (np.cumsum(x, 0) - x) * x, rtol=1e-4, atol=1e-5)
    assert found.steps == 1


def test_a_failure_is_the_same_error() -> None:
    step, x, y = wide_step()
    with pytest.raises(bm.errors.DataError, match="label"), bm.profile():
        step(x, y + 3)
    assert clock.current is None


def test_other_threads_are_not_timed() -> None:
    step, x, y = wide_step()
    with bm.profile() as found:
        other = threading.Thread(target=step, args=(x, y))
        other.start()
        other.join()
    assert found.steps == 0 and not found.kernels


class Slow(bm.Callback):
    def on_batch_end(self, trainer: bm.Trainer, step: int, logs: Mapping[str, float]) -> None:
        time.sleep(0.002)


def test_waiting_for_data_and_callbacks_are_parts_of_their_own() -> None:
    class Batches:
        def __len__(self) -> int:
            return 10

        def __iter__(self) -> Iterator[Any]:
            x, y = labelled()
            for start in range(0, 90, 9):
                time.sleep(0.004)
                yield x[start : start + 9], y[start : start + 9]

    made = bm.Trainer(network_with_dropout(), "cross_entropy", "adam", callbacks=[Slow()])
    made.fit(Batches(), epochs=3, verbose=False, profile=True)
    parts = profile_of(made).parts
    assert parts["data"] >= 0.004 and parts["rest"] >= 0.002
    assert profile_of(made).seconds == pytest.approx(sum(parts.values()))


def test_updates_of_several_batches_are_shared_by_these() -> None:
    found = profile_of(fit(trainer(accumulate=2)))
    updates = [item for item in found.kernels if item.path == "optimizer"]
    assert updates and found.seconds > sum(item.seconds for item in found.kernels) * 0.5
    assert sum(layer["forward"] + layer["backward"] for layer in found.to_dict()["layers"]) == pytest.approx(
        sum(item.seconds for item in found.kernels)
    )


def test_private_steps_are_measured_whatever_their_batches() -> None:
    made = bm.Trainer(bm.layers.Dense(3), "cross_entropy", "adam", privacy=bm.Privacy(noise=1.0))
    found = profile_of(fit(made, epochs=2))
    assert found.batch_size is None
    assert 0 < sum(kernel.seconds for kernel in found.kernels) <= found.seconds


def test_the_folder_of_the_run_has_it(tmp_path: Path) -> None:
    made = fit(trainer(out=tmp_path / "run"))
    assert json.loads((tmp_path / "run" / "profile.json").read_text()) == profile_of(made).to_dict()


def test_too_few_steps_give_none() -> None:
    assert fit(trainer(), epochs=1, batch_size=45).profile is None


def test_another_device_is_told_before_training() -> None:
    with pytest.raises(DeviceError, match="not timed"):
        Profiler(None, 1, "cuda")


def test_tables_have_a_row_for_each_part_and_each_layer() -> None:
    found = profile_of(fit(trainer()))
    (_, parts), (_, layers), (_, kernels) = found.tables().values()
    assert [row[0] for row in parts][-1] == "Total" and len(parts) == 5
    assert {row[0] for row in layers} == {path or "(model)" for path in found.by_layer()}
    assert [float(row[1]) for row in kernels] == sorted((float(row[1]) for row in kernels), reverse=True)
    assert all(title in str(found) and title in found.to_markdown() for title in found.tables())
