"""Threads and forks: the same bits at any count, nothing aborts, the cap is obeyed."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError
from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
from bigmodel_core.kernels.cpu.engine.memory import load_int, store_int
from bigmodel_core.kernels.cpu.engine.native import NativeFunction
from bigmodel_core.kernels.cpu.engine.table import Table
from tests.processes import run_code, run_in_threads

TRAIN = """
import hashlib, os, sys, threading
import numpy as np
import bigmodel_core as bm

KIND = "dense"
SHAPES = {"dense": (256, 96), "images": (48, 3, 16, 16), "sequences": (64, 12, 8)}

def batches(count=4):
    random = np.random.default_rng(0)
    shape = SHAPES[KIND]
    return [(random.standard_normal(shape).astype("float32"), random.integers(0, 10, shape[0]))
            for _ in range(count)]

def model():
    layers = bm.layers
    if KIND == "images":
        return bm.Sequential(
            layers.Conv2d(12, 5), layers.BatchNorm(), layers.Relu(), layers.MaxPool2d(2),
            layers.Conv2d(24, 3, padding=1), layers.BatchNorm(), layers.Relu(), layers.AveragePool2d(2),
            layers.Conv2d(24, 3, stride=2, padding=1, groups=2), layers.Flatten(), layers.Dense(10))
    if KIND == "sequences":
        return bm.Sequential(layers.LSTM(48, bidirectional=True), layers.GRU(32), layers.Dropout(0.25),
                             layers.RNN(32, return_sequences=False), layers.Dense(10))
    return bm.Sequential(layers.Dense(320), layers.Relu(), layers.Dropout(0.25), layers.LayerNorm(),
                         layers.Dense(192), layers.Gelu(), layers.Dense(10))

def train(step, data):
    digest = hashlib.sha256()
    for x, y in data:
        digest.update(np.float64(step(x, y)).tobytes())
    for path, array in sorted(step.state().items()):
        digest.update(path.encode() + array.tobytes())
    return digest.hexdigest()

def fresh():
    return bm.compile(model(), "cross_entropy", bm.optimizers.Adam(1e-3, clip_norm=1.0), seed=3)

def workers():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("bigmodel-")]
"""

every_kind = pytest.mark.parametrize("kind", ["dense", "images", "sequences"])


def training(kind: str) -> str:
    """The script for networks of a kind."""
    return TRAIN.replace('KIND = "dense"', f'KIND = "{kind}"')


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture
def thread_count() -> Iterator[Callable[[int], None]]:
    """Set the number of threads; it is put back afterwards."""
    before = bm.num_threads()
    yield bm.set_num_threads
    bm.set_num_threads(before)


def test_training_gives_the_same_bits_at_one_two_and_eight_threads() -> None:
    code = TRAIN + "for KIND in SHAPES: print(KIND, train(fresh(), batches()))\nprint(len(workers()))"
    found = {
        count: run_code(code, BIGMODEL_NUM_THREADS=str(count)).stdout.splitlines() for count in (1, 2, 8)
    }
    assert [lines.pop() for lines in found.values()] == ["0", "1", "7"]  # those threads were there
    assert len(found[1]) == 3
    assert found[1] == found[2] == found[8]


@every_kind
def test_work_of_a_step_is_cut_into_chunks_for_several_threads(kind: str) -> None:
    scope: dict[str, Any] = {}
    exec(training(kind), scope)
    step = scope["fresh"]()
    x, y = scope["batches"](1)[0]
    step.build([x], y)
    names = {"dense": "product", "images": "convolution", "sequences": "recurrent_forward"}
    kernels = [kernel for planned in step.kernels(len(x)) for kernel in planned.kernels]
    assert max(kernel.chunks for kernel in kernels if kernel.name.startswith(names[kind])) > 1


@every_kind
def test_training_gives_the_same_bits_after_the_count_changes(
    thread_count: Callable[[int], None], kind: str
) -> None:
    scope: dict[str, Any] = {}
    exec(training(kind), scope)
    data = scope["batches"]()
    digests = set()
    for count in (1, 3, 2):
        thread_count(count)
        digests.add(scope["train"](scope["fresh"](), data))
    assert len(digests) == 1


def count_chunk(ctx: Any, chunk: Any) -> None:
    place = load_int(ctx, 0)
    store_int(place, chunk, load_int(place, chunk) + 1)


@pytest.mark.parametrize("chunks", [1, 2, 5, 3_000_000])
def test_each_of_many_chunks_runs_once(thread_count: Callable[[int], None], chunks: int) -> None:
    thread_count(3)
    counts = np.zeros(chunks, np.int64)
    launch = CpuLaunch(NativeFunction(count_chunk), [counts.ctypes.data], chunks)
    assert Table([launch]).run() == -1
    assert (counts == 1).all()


def test_eight_threads_run_plans_at_once(thread_count: Callable[[int], None]) -> None:
    thread_count(4)
    model = bm.Sequential(bm.layers.Dense(256), bm.layers.Relu(), bm.layers.Dense(64))
    random = np.random.default_rng(0)
    given = [random.standard_normal((50 + 30 * number, 64)).astype("float32") for number in range(8)]
    shared = given[0]
    expected, expected_shared = [model(x) for x in given], model(shared)
    problems: list[str] = []
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for _ in range(30):
            if not np.array_equal(model(given[number]), expected[number]):  # a plan of its own
                problems.append(f"own plan of thread {number}")
            if not np.array_equal(model(shared), expected_shared):  # one plan for all
                problems.append(f"shared plan in thread {number}")

    run_in_threads(8, work)
    assert problems == []


@every_kind
def test_eight_threads_train_models_of_their_own(thread_count: Callable[[int], None], kind: str) -> None:
    thread_count(2)
    scope: dict[str, Any] = {}
    exec(training(kind), scope)
    data = scope["batches"](count=2)
    expected = scope["train"](scope["fresh"](), data)
    found: list[str] = []
    run_in_threads(8, lambda _: found.append(scope["train"](scope["fresh"](), data)))
    assert found == [expected] * 8


def test_the_count_changes_while_plans_run(thread_count: Callable[[int], None]) -> None:
    model = bm.Sequential(bm.layers.Dense(256), bm.layers.Relu(), bm.layers.Dense(64))
    x = np.random.default_rng(0).standard_normal((300, 64)).astype("float32")
    expected, stop, problems = model(x), threading.Event(), []

    def work() -> None:
        while not stop.is_set():
            if not np.array_equal(model(x), expected):
                problems.append("other bits")

    thread = threading.Thread(target=work)
    thread.start()
    for count in (1, 4, 2, 8, 1, 3) * 5:
        thread_count(count)
        assert np.array_equal(model(x), expected)
    stop.set()
    thread.join()
    assert problems == []


def test_one_thread_starts_no_worker() -> None:
    done = run_code(
        TRAIN + "fresh()(*batches()[0]); print(workers(), bm.num_threads())", BIGMODEL_NUM_THREADS="1"
    )
    assert done.stdout.strip() == "[] 1"


def test_the_environment_sets_the_number_of_workers() -> None:
    code = TRAIN + "print(workers()); fresh()(*batches()[0]); print(workers(), bm.num_threads())"
    lines = run_code(code, BIGMODEL_NUM_THREADS="3").stdout.splitlines()
    assert lines == ["[]", "['bigmodel-1', 'bigmodel-2'] 3"]  # none before the first plan runs


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system sets no affinity")
def test_the_default_is_the_cores_of_the_process() -> None:
    code = """
    import os
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    import bigmodel_core as bm
    print(bm.num_threads())
    """
    assert run_code(code, BIGMODEL_NUM_THREADS=None).stdout.strip() == "1"


@pytest.mark.parametrize("text", ["0", "-2", "two", "1.5", "\u00b2", " "])
def test_a_bad_number_in_the_environment_is_refused(text: str) -> None:
    done = run_code("import bigmodel_core as bm; bm.num_threads()", BIGMODEL_NUM_THREADS=text, ends=1)
    assert "ConfigError: BIGMODEL_NUM_THREADS" in done.stderr
    assert "Fix: set it to a positive integer" in done.stderr


@pytest.mark.parametrize("count", [0, -1, 2.0, "2", True, None])
def test_a_bad_number_is_refused(count: Any) -> None:
    before = bm.num_threads()
    with pytest.raises(ConfigError, match="number of threads"):
        bm.set_num_threads(count)
    assert bm.num_threads() == before


@forks
@every_kind
def test_a_forked_child_trains_on(kind: str) -> None:
    code = (
        training(kind)
        + """
step, data = fresh(), batches()
train(step, data)
sys.stdout.flush()
child = os.fork()
if child == 0:
    print("child", train(step, data), len(workers()), flush=True)
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print("parent", train(step, data), len(workers()))
"""
    )
    lines = [line.split() for line in run_code(code, BIGMODEL_NUM_THREADS="4").stdout.splitlines()]
    assert [line[0] for line in lines] == ["child", "parent"]
    assert lines[0][1:] == lines[1][1:]  # the same bits, and three workers of its own


@forks
def test_a_child_of_a_child_trains_and_ends_by_itself() -> None:
    code = (
        TRAIN
        + """
step, data = fresh(), batches(2)
train(step, data)
for generation in range(2):
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.exit(code)
    train(step, data)
print("grandchild", len(workers()))
"""
    )
    assert run_code(code, BIGMODEL_NUM_THREADS="3").stdout.split() == ["grandchild", "2"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pool_of_processes_trains(tmp_path: Any, method: str) -> None:
    if method == "fork" and (not hasattr(os, "fork") or sys.platform == "darwin"):
        pytest.skip("this system does not fork pools")
    module = tmp_path / "training.py"
    module.write_text(
        TRAIN + "\ndef job(count):\n    bm.set_num_threads(count)\n    return train(fresh(), batches(2))\n"
    )
    code = f"""
    import multiprocessing, sys
    sys.path.insert(0, {str(tmp_path)!r})
    import training
    if __name__ == "__main__":
        expected = training.job(2)
        with multiprocessing.get_context({method!r}).Pool(2) as pool:
            print(set(pool.map(training.job, [1, 2, 3])) == {{expected}})
    """
    file = tmp_path / "main.py"
    file.write_text(__import__("textwrap").dedent(code))
    done = run_code(
        f"import runpy, sys; sys.argv = [{str(file)!r}]; runpy.run_path({str(file)!r}, run_name='__main__')"
    )
    assert done.stdout.strip() == "True"


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("", 0),
        ("sys.exit(5)", 5),
        ("raise ValueError('over')", 1),
        ("import atexit; atexit.register(lambda: step(*data[0]))", 0),
        ("threading.Thread(target=lambda: [step(*data[0]) for _ in range(10**9)], daemon=True).start()", 0),
        ("import time; time.sleep(0.3)", 0),
        ("bm.set_num_threads(1); bm.set_num_threads(5); step(*data[0])", 0),
    ],
    ids=["end", "exit", "error", "at-exit", "daemon", "asleep", "changed"],
)
def test_a_process_ends_while_workers_are_parked(ending: str, code: int) -> None:
    body = TRAIN + f"\nstep, data = fresh(), batches(1)\nstep(*data[0])\nprint(len(workers()))\n{ending}\n"
    assert run_code(body, BIGMODEL_NUM_THREADS="4", ends=code).stdout.startswith("3")
