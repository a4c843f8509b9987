"""The bench's own arithmetic and scheduling, and workers at a few steps. Timings are no tests."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench import schedule, workload
from bench.__main__ import chosen_peers, parse, report
from bench.table import Row, in_words, render, significant, verdicts
from bench.workload import Target, Workload

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
    module = SimpleNamespace(WORKLOAD=STEP, ours=len, torch=len, jax=len)
    monkeypatch.setattr(workload, "module", lambda name: module)
    monkeypatch.setattr(workload, "missing", lambda peer: None)
    return module


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
        found = workload.module(name).WORKLOAD
        assert found.name == name
        assert found.title and found.unit
        assert {"ours", "together"} & set(workload.runners(name))


def test_torch_compile_runs_only_when_asked_for() -> None:
    assert "torch_compile" not in chosen_peers("mlp_b64", parse(["mlp_b64"]))
    assert "torch_compile" in chosen_peers("mlp_b64", parse(["mlp_b64", "--torch-compile"]))
    assert chosen_peers("mlp_b64", parse(["--peers", "ours,jax"])) == ["ours", "jax"]


@pytest.mark.parametrize("wrong", [["no-such"], ["--rounds", "0"], ["--threads", "100000"], ["--peers", "x"]])
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
@pytest.mark.parametrize("name", ["mlp_b64", "peak_memory", "first_step_warm"])
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
