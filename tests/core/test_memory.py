"""Memory stays bounded whatever sizes come by, and what cannot fit is refused before it is taken."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.cli.app import main
from bigmodel_core.plan.program import MOST_PLANS
from tests.processes import run_code

SIZES = """
import numpy as np
import bigmodel_core as bm

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

{make}
for size in (1, 2, 500):
    run(size)
before = resident()
for size in range(1, 501):
    run(size)
print(resident() - before)
"""
TRAINING = """
model = bm.Sequential(bm.layers.LSTM(16, return_sequences=False), bm.layers.Dense(1))
step = bm.compile(model.build(bm.Spec(("N", "T", 4))), "mean_squared_error", bm.optimizers.Adam())
def run(steps):
    step(np.zeros((16, steps, 4), "float32"), np.zeros((16, 1), "float32"))
"""
PREDICTION = """
model = bm.Sequential(bm.layers.Dense(1024), bm.layers.Softmax(), bm.layers.Dense(1))
model.build(bm.Spec(("N", 8)))
def run(samples):
    model(np.zeros((samples, 8), "float32"))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is read from /proc")
@pytest.mark.parametrize("make", [TRAINING, PREDICTION], ids=["training", "prediction"])
def test_five_hundred_sizes_take_little_more_memory_than_the_largest(make: str) -> None:
    done = run_code(SIZES.format(make=make))
    # docs/performance.md: at most 64 plans of a program, which share one block of scratch memory.
    assert float(done.stdout) < 64


def test_a_size_comes_back_after_its_plan_went() -> None:
    model = bm.layers.Dense(3)
    x = np.random.default_rng(0).standard_normal((2 * MOST_PLANS, 5)).astype("float32")
    expected = model(x)
    for _ in range(2):
        for size in range(1, len(x)):
            np.testing.assert_allclose(model(x[:size]), expected[:size], rtol=1e-5, atol=1e-6)


def test_plans_on_a_block_that_became_too_small_go_with_it() -> None:
    model = bm.Sequential(bm.layers.Dense(64), bm.layers.Softmax(), bm.layers.Dense(1))
    network = model.build(bm.Spec(("N", 4)))
    program = network._inference().program
    for size in (8, 1, 64, 4, 512):
        model(np.zeros((size, 4), "float32"))
        assert len({id(plan.arena) for plan in program._plans.values()}) == 1
    model(np.zeros((3, 4), "float32"))  # a smaller one uses the same block
    assert len(program._plans) == 2


def test_threads_that_run_several_sizes_of_one_model_do_not_mix_their_numbers() -> None:
    model = bm.Sequential(bm.layers.Dense(64), bm.layers.Tanh(), bm.layers.Dense(4))
    x = np.random.default_rng(1).standard_normal((300, 16)).astype("float32")
    weights = model.build(bm.Spec(("N", 16))).state()
    hidden = np.tanh(x.astype("float64") @ weights["dense_1/weight"] + weights["dense_1/bias"])
    expected = hidden @ weights["dense_2/weight"] + weights["dense_2/bias"]

    def check(seed: int) -> None:
        for size in np.random.default_rng(seed).integers(1, 300, 60):
            np.testing.assert_allclose(model(x[:size]), expected[:size], atol=1e-5)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check, range(4)))


# What cannot fit ---------------------------------------------------------------------------------------


def test_parameters_that_no_machine_holds_are_refused_by_name() -> None:
    model = bm.Sequential(bm.layers.Dense(10**9), bm.layers.Dense(10**9))
    with pytest.raises(bm.errors.OutOfMemoryError, match=r"dense_2/weight.*parameters need .* GiB"):
        model(np.zeros((1, 4), "float32"))


def test_the_state_of_an_optimizer_that_no_machine_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from bigmodel_core.plan import capacity

    monkeypatch.setattr(capacity, "capacity", lambda: 3 * 1000 * 1000 * 4 // 2)
    step = bm.compile(bm.layers.Dense(1000, use_bias=False), "mean_squared_error", bm.optimizers.Adam())
    with pytest.raises(bm.errors.OutOfMemoryError, match="the state of the optimizer needs"):
        step(np.zeros((1, 1000), "float32"), np.zeros((1, 1000), "float32"))


@pytest.mark.parametrize("padding", [10**6, 10**9, 10**12])
def test_an_image_that_no_machine_holds_is_refused(padding: int) -> None:
    model = bm.Sequential(bm.layers.Conv2d(4, 3, padding=padding))
    with pytest.raises(bm.errors.OutOfMemoryError, match=r"conv2d_1.*N = 1 needs .* GiB"):
        model(np.zeros((1, 3, 8, 8), "float32"))


def test_what_the_system_does_not_give_is_refused_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    model = bm.layers.Dense(4)

    def refuse(*_: object) -> np.ndarray:
        raise MemoryError

    monkeypatch.setattr("bigmodel_core.nn.initializers.draw", refuse)
    with pytest.raises(bm.errors.OutOfMemoryError, match="which the system does not provide"):
        model(np.zeros((1, 3), "float32"))


@pytest.mark.parametrize("command", [["train", "mlp"], ["info", "mlp"]], ids=lambda command: command[0])
def test_models_of_absurd_size_on_the_command_line(
    command: list[str], capsys: pytest.CaptureFixture[str], tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    code = main([*command, "--set", "widths=1000000000,1000000000"])
    said = capsys.readouterr()
    if command[0] == "info":  # shapes are all it needs
        assert code == 0 and "1,000,000,000" in said.out
    else:
        assert code == 1 and "the model's parameters need" in said.err and "GiB of memory" in said.err
        assert "dense_2/weight" in said.err  # the layer that needs the most


# Threads -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", ["99999", "1" + "0" * 5000])
def test_more_threads_than_make_sense_are_refused(count: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bigmodel_core.kernels.cpu.engine import threads

    monkeypatch.setenv("BIGMODEL_NUM_THREADS", count)
    with pytest.raises(bm.errors.ConfigError, match="BIGMODEL_NUM_THREADS is .*at most 1024"):
        threads._default()
    with pytest.raises(bm.errors.ConfigError, match="at most 1024"):
        bm.set_num_threads(99_999)


def test_a_system_without_enough_threads_is_a_clear_error() -> None:
    code = """
import threading
import bigmodel_core as bm
import numpy as np
def refuse(self):
    raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
bm.set_num_threads(7)
try:
    bm.layers.Dense(2)(np.ones((1, 2), "float32"))
except bm.errors.ConfigError as error:
    print(error)
bm.set_num_threads(1)
print(bm.layers.Dense(2)(np.ones((1, 2), "float32")).shape)
"""
    done = run_code(code)
    assert "does not give 7 threads" in done.stdout and "(1, 2)" in done.stdout
