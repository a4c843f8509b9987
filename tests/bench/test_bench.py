"""The bench's own arithmetic and scheduling, and workers at a few steps. Timings are no tests."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench import schedule, workload
from bench.__main__ import chosen_peers, listing, parse, report, rows_of
from bench.table import Row, in_words, render, significant, verdicts
from bench.workload import Target, Workload
from bigmodel_core.graph import Graph
from bigmodel_core.graph.spec import Spec
from bigmodel_core.plan import Program, Variables, device_named

ROOT = Path(__file__).resolve().parents[2]

STEP = Workload("step", "a step", "ms", targets=(Target(ratio=2.0), Target(limit=1.0)))
RATE = Workload(
    "rate", "a rate", "GFLOP/s", higher_is_better=True, targets=(Target(ratio=0.9, against="numpy"),)
)


def test_ratio_is_above_one_where_less_time_is_taken() -> None:
    row = Row(STEP, "", {"ours": 0.25, "torch": 1.0, "jax": 0.5})
    assert row.ratio("torch") == 4.0
    assert row.best_peer() == "jax"


def test_ratio_is_above_one_where_the_rate_is_higher() -> None:
    row = Row(RATE, "512", {"ours": 120.0, "numpy": 100.0})
    assert row.ratio("numpy") == 1.2


def test_best_peer_of_a_rate_is_the_highest() -> None:
    assert Row(RATE, "", {"ours": 1.0, "numpy": 3.0, "torch": 4.0}).best_peer() == "torch"


def test_ratio_is_unknown_without_a_peer() -> None:
    assert Row(STEP, "", {"ours": 1.0}).ratio("torch") is None
    assert Row(STEP, "", {"torch": 1.0}).ratio("torch") is None


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (3.14, "3.1x faster"),
        (1 / 3.14, "3.1x slower"),
        (1.0, "level"),
        (1.25, "1.25x faster"),
        (0.8, "1.25x slower"),
    ],
)
def test_ratios_in_words(ratio: float, text: str) -> None:
    assert in_words(ratio) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.000123, "0.000123"), (1.005, "1"), (14.26, "14.3"), (1234.5, "1234"), (0.0, "0")]
)
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_table_lines_up_and_leaves_out_peers_that_never_ran() -> None:
    rows = [
        Row(STEP, "", {"ours": 0.25, "torch": 1.0}),
        Row(RATE, "512x512x512", {"ours": 120.0, "torch": 240.0}),
    ]
    lines = render(rows).splitlines()
    assert " ".join(lines[0].split()) == "workload unit bigmodel PyTorch eager against the best peer"
    assert "JAX" not in lines[0]
    assert " ".join(lines[2].split()) == "step ms 0.25 1 4.0x faster (PyTorch eager)"
    assert " ".join(lines[3].split()) == "rate 512x512x512 GFLOP/s 120 240 2.0x slower (PyTorch eager)"
    assert lines[3].index("GFLOP/s") == lines[0].index("unit")
    assert lines[2].index("4.0x") == lines[0].index("against")


def test_targets_say_when_they_are_missed() -> None:
    slow = Row(STEP, "", {"ours": 0.6, "torch": 1.0})
    assert verdicts(slow) == [
        (False, "step: MISSED, 1.67 times the best peer, stated 2"),
        (True, "step: kept, 0.6 ms, stated at most 1 ms"),
    ]
    assert [kept for kept, _ in verdicts(Row(STEP, "", {"ours": 1.5, "torch": 3.0}))] == [True, False]
    assert [kept for kept, _ in verdicts(Row(RATE, "", {"ours": 0.89, "numpy": 1.0}))] == [False]


def test_a_target_without_its_peer_is_neither_kept_nor_missed() -> None:
    assert [kept for kept, _ in verdicts(Row(RATE, "", {"ours": 1.0, "torch": 0.1}))] == [None]
    assert [kept for kept, _ in verdicts(Row(STEP, "", {"torch": 0.1}))] == [None, None]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A workload whose peers are there, without a process behind them."""
    loaded = SimpleNamespace(
        workload=STEP,
        runners={"ours": len, "torch": len, "jax": len},
        unavailable=lambda: None,
        is_step=False,
    )
    monkeypatch.setattr(workload, "load", lambda name: loaded)
    monkeypatch.setattr(workload, "missing", lambda peer: None)
    return loaded


def _answer(figure: float, peer: str) -> dict[str, Any]:
    return {"values": {peer: {"": figure}}, "peak_mib": 10.0, "notes": {}}


def test_peers_take_turns_and_medians_are_over_rounds(fake: SimpleNamespace) -> None:
    order: list[str] = []

    def worker(name: str, peer: str, threads: int, steps: int | None) -> dict[str, Any]:
        order.append(peer)
        return _answer({"ours": 1.0, "torch": 5.0}[peer] + len(order), peer)

    found = schedule.run_workload("step", ["ours", "torch"], rounds=3, threads=2, worker=worker)
    assert order == ["ours", *["ours", "torch"] * 3]  # the first one warms up
    assert found.medians() == {"": {"ours": 5.0, "torch": 10.0}}
    assert found.peaks == {"ours": [10.0] * 3, "torch": [10.0] * 3}


def test_a_peer_that_fails_is_not_tried_again_and_is_reported(fake: SimpleNamespace) -> None:
    tried: list[str] = []

    def worker(name: str, peer: str, threads: int, steps: int | None) -> dict[str, Any]:
        tried.append(peer)
        if peer == "jax":
            raise schedule.WorkerError("out of memory")
        return _answer(1.0, peer)

    found = schedule.run_workload("step", ["ours", "jax"], rounds=3, threads=1, worker=worker)
    assert tried.count("jax") == 1
    text = report({"step": found}, {"threads": 1})
    assert "step: JAX jit FAILED: out of memory" in text


def test_what_is_not_there_is_skipped_with_the_reason(fake: SimpleNamespace) -> None:
    fake.unavailable = lambda: "no files"
    found = schedule.run_workload("step", ["ours"], rounds=1, threads=1, worker=lambda *_: pytest.fail("ran"))
    assert found.skipped == {"ours": "no files"}


def test_workers_get_one_number_of_threads_and_an_unbridled_blas() -> None:
    base = {"PATH": "x", "OPENBLAS_CORETYPE": "a", "OPENBLAS_L2_SIZE": "1", "OMP_NUM_THREADS": "7"}
    made = schedule.environment(3, base)
    assert {made[name] for name in schedule.THREAD_VARIABLES} == {"3"}
    assert made["PATH"] == "x"
    assert not {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"} & set(made)


def test_every_workload_measures_us_and_is_described() -> None:
    for name in workload.names():
        found = workload.load(name)
        assert found.workload.name == name
        assert found.workload.title and found.workload.unit
        assert {"ours", "together"} & set(found.runners)
        assert found.workload.name.partition(":")[0] in listing()


TRAINING = {
    "mlp_b64",
    "lenet_b64",
    "bigmodel_b64",
    "resnet20_b32",
    "conv1d_b32_t1000",
    "rnn10_b1_t50",
    "rnn128_b32_t64",
    "lstm128_b32_t64",
    "gpt_b12_t64",
    "gpt384_b4_t256",
    "bert_b16_t128",
    "vit_b32",
}


def test_every_training_step_has_all_peers_and_a_first_step() -> None:
    assert set(workload.training_rows()) == TRAINING
    for name in TRAINING:
        assert set(workload.load(name).runners) == {"ours", "torch", "torch_compile", "jax"}
        assert workload.load(name).workload.targets[0].ratio
        for kind in ("cold", "warm"):
            assert f"first_step_{kind}:{name}" in workload.names()


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("first_step_cold:mlp_b64", 10),
        ("first_step_cold:lenet_b64", 15),
        ("first_step_cold:resnet20_b32", 15),
        ("first_step_warm:mlp_b64", 1.5),
        ("first_step_warm:lenet_b64", 2),
        ("first_step_warm:resnet20_b32", 2),
    ],
)
def test_first_steps_have_limits(name: str, seconds: float) -> None:
    assert workload.load(name).workload.targets == (Target(limit=seconds),)


def test_a_name_of_several_rows_stands_for_all_of_them() -> None:
    assert parse(["cost_against_size:lenet"]).workloads == ["cost_against_size:lenet"]
    assert parse(["cost_against_size"]).workloads == workload.expanded("cost_against_size")
    assert len(workload.expanded("first_step_cold")) == len(TRAINING)


def test_torch_compile_runs_only_when_asked_for() -> None:
    assert "torch_compile" not in chosen_peers("mlp_b64", parse(["mlp_b64"]))
    assert "torch_compile" in chosen_peers("mlp_b64", parse(["mlp_b64", "--torch-compile"]))
    assert chosen_peers("mlp_b64", parse(["--peers", "ours,jax"])) == ["ours", "jax"]


@pytest.mark.parametrize(
    "wrong",
    [
        ["no-such"],
        ["mlp_b64:x"],
        ["cost_against_size:no-such"],
        ["--rounds", "0"],
        ["--threads", "100000"],
        ["--peers", "x"],
    ],
)
def test_wrong_options_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(wrong)
    assert stopped.value.code == 2
    assert "error" in capsys.readouterr().err


def _worker(name: str, peer: str, *more: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.worker", name, peer, "--steps", "3", "--threads", "1", *more],
        cwd=ROOT,
        env=schedule.environment(1),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_worker_measures_our_training_step() -> None:
    found = _worker("mlp_b64", "ours")
    assert found["values"]["ours"][""] > 0
    assert found["peak_mib"] > 10
    assert 0 < found["notes"]["loss"] < 5  # near log(10) after a few steps of ten classes


@pytest.mark.bench
@pytest.mark.parametrize("peer", ["torch", "jax"])
@pytest.mark.parametrize(
    "name", ["mlp_b64", "lenet_b64", "rnn10_b1_t50", "first_step_warm:mlp_b64", "first_step_cold:mlp_b64"]
)
def test_worker_measures_peers(name: str, peer: str) -> None:
    if importlib.util.find_spec(workload.PEERS[peer][1]) is None:
        pytest.skip(f"{peer} is not installed")
    found = _worker(name, peer)
    assert found["values"][peer][""] > 0
    assert 0 < found["notes"]["loss"] < 5


def test_a_quick_look_makes_no_verdicts(fake: SimpleNamespace) -> None:
    found = schedule.Figures()
    found.add({"values": {"ours": {"": 0.25}, "torch": {"": 1.0}}, "notes": {}}, 10.0)
    assert "kept, 4.00 times the best peer" in report({"step": found}, {"threads": 1})
    assert "kept" not in report({"step": found}, {"threads": 1, "note": "few steps"})


# Peak memory and share of the machine ----------------------------------------------------------------------


def _figures(ours: float, theirs: float, **notes: float) -> schedule.Figures:
    found = schedule.Figures()
    for peer, figure, peak in (("ours", ours, 80.0), ("torch", theirs, 300.0)):
        said = notes if peer == "ours" else {}
        found.add({"values": {peer: {"": figure}}, "notes": said}, peak)
    return found


def test_a_training_step_tells_its_peak_memory_against_pytorch(fake: SimpleNamespace) -> None:
    fake.is_step = True
    time, memory = rows_of("step", _figures(0.25, 1.0))
    assert (memory.title, memory.workload.unit) == ("step peak memory", "MiB")
    assert memory.medians == {"ours": 80.0, "torch": 300.0}
    assert [kept for kept, _ in verdicts(memory)] == [True]
    assert [kept for kept, _ in verdicts(Row(memory.workload, "", {"ours": 301.0, "torch": 300.0}))] == [
        False
    ]
    assert "3.8x less (PyTorch eager)" in render([time, memory])
    fake.is_step = False
    assert len(rows_of("step", _figures(0.25, 1.0))) == 1


def test_a_share_of_the_machine_is_shown_where_it_was_measured(fake: SimpleNamespace) -> None:
    figures = _figures(150.0, 100.0, **{workload.MACHINE_PEAK: 200.0})
    figures.machine_peaks += [220.0, 100.0]
    (row,) = rows_of("step", figures)
    assert row.machine_peak == 200.0
    assert "75%" in render([row]) and "of the machine" in render([row])
    assert "of the machine" not in render([Row(STEP, "", {"ours": 1.0})])


def test_the_loop_on_registers_computes_its_sums_and_gives_a_rate() -> None:
    from bench.peak import machine_peak

    assert 0.1 < machine_peak(seconds=0.01) < 1e5  # it checks its own sums


# Single ops ------------------------------------------------------------------------------------------------


def _product_cases() -> list[Any]:
    from bench.operators_of_products import Convolution, dense, recurrent

    convolutions = (
        Convolution("plain", 2, 6, 3, 4, 3, padding=1),
        Convolution("pointwise", 2, 4, 3, 4, 1),
        Convolution("strided", 2, 8, 4, 6, 3, stride=2, padding=1),
        Convolution("depthwise", 2, 5, 4, 4, 3, padding=1, groups=4),
        Convolution("transposed", 2, 4, 3, 5, 2, stride=2, transposed=True),
        Convolution("volumes", 2, 5, 3, 4, 3, padding=1, depth=4),
    )
    return [
        *dense(6, 5, 4),
        *(case for convolution in convolutions for case in convolution.cases()),
        *(case for cell in ("tanh", "lstm", "gru") for case in recurrent(cell, 3, 2, 5, 4)),
    ]


def _memory_cases() -> list[Any]:
    from bench.operators_of_memory import adam, batch_norm, chain, embedding, pool, softmax

    return [
        *(case for kind in ("max", "average") for case in pool(kind, 2, 4, 4, 3)),
        *pool("max", 2, 4, 2, 6, 3),
        *batch_norm(2, 4, 3),
        *softmax(3, 5),
        *chain(4, 6),
        *embedding(7, 5, 3),
        *adam(4, 3),
    ]


def _array_cases() -> list[Any]:
    from bench import operators_of_arrays as families

    return [
        *families.products(2, 3, 4),
        *families.picking(5, 7, 3),
        *families.order(3, 9, 2),
        *families.sums(4, 5),
        *families.moving(4, 5, (2, 3, 4, 5)),
        *families.functions(9),
        *families.normalisation(4, 6, (2, 7, 3, 3)),
        *families.alignments(2, 7, 4, 3),
    ]


def _our_results(case: Any) -> tuple[list[np.ndarray], int]:
    """What our side of a case computes, and its multiply-adds."""
    graph, variables = Graph(), Variables(device_named("cpu"))
    values = []
    for number, array in enumerate(case.arrays()):
        variables.create(f"x{number}", array)
        values.append(graph.variable(f"x{number}", Spec(array.shape, array.dtype.name)))
    with graph.active():
        program = Program(graph, case.ours(*values))
    return program.run(variables, {}), sum(step.multiply_adds for step in program.listing(1, {}))


@pytest.mark.parametrize("case", _product_cases(), ids=lambda case: case.label)
def test_operations_are_two_for_each_multiply_add_that_runs(case: Any) -> None:
    assert case.amount == 2 * _our_results(case)[1]


@pytest.mark.parametrize("case", [*_product_cases(), *_memory_cases()], ids=lambda case: case.label)
def test_peers_compute_what_we_do(case: Any) -> None:
    jax = pytest.importorskip("jax")
    if case.jax is None:
        pytest.skip("JAX does not take part")
    theirs = [np.asarray(array) for array in jax.tree.leaves(jax.jit(case.jax)(*case.arrays()))]
    ours, _ = _our_results(case)
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(
    "case", [*_product_cases(), *_memory_cases(), *_array_cases()], ids=lambda case: case.label
)
def test_pytorch_computes_what_we_do(case: Any, torch: Any) -> None:
    if "steps" in case.label or "Adam" in case.label:
        pytest.skip("PyTorch's layer draws its own weights; its optimizer returns nothing")
    tensors = [torch.from_numpy(array.copy()) for array in case.arrays()]
    for number in case.images:
        tensors[number] = tensors[number].movedim(-1, 1).contiguous()
    found = case.torch(*tensors)()
    found = [part.detach() for part in (found if isinstance(found, tuple) else (found,)) if part is not None]
    ours, _ = _our_results(case)
    if "with gradient" in case.label:
        ours = ours[1:]  # autograd.grad gives the gradients alone
    for mine, other in zip(ours, found, strict=True):
        is_image = case.images and other.ndim > 3 and "weight" not in case.label
        last = other.movedim(1, -1) if is_image else other
        np.testing.assert_allclose(mine, last.numpy(), atol=2e-5, rtol=2e-5)
