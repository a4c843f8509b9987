"""The conformance kit finds kernels that are wrong, however right they look on few rows, and lives on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

import bigmodel_core as bm
from bigmodel_core.testing import checks_for, run_checks
from bigmodel_core.testing.child import IS_POSSIBLE

pytestmark = pytest.mark.skipif(not IS_POSSIBLE, reason="needs mmap, mprotect and fork")


def right(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j]


def sums_from_before(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] + (out[i - 1, j] if i > 0 else 0)


def adds_in_first_row(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] + (1 if i == start else 0)


def leaves_last_row_out(out, x, start, stop):
    for i in range(start, max(start + 1, stop - 1)):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j]


def adds_to_what_is_there(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] += x[i, j]


def writes_one_past_rows(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1] + 1):
            out[i, j] = x[i, min(j, x.shape[1] - 1)]


def reads_one_past_rows(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] if x[i, j + 1] < 1e30 else 0


def writes_rows_past_the_end(out, x, start, stop):
    right(out, x, start, stop)
    for i in range(40):
        out[out.shape[0] + i, 0] = 1


def writes_thousands_of_rows_away(out, x, start, stop):
    right(out, x, start, stop)
    out[out.shape[0] + 5000, 0] = 1


def writes_before_the_beginning(out, x, start, stop):
    right(out, x, start, stop)
    out[start - out.shape[0] - 2, 0] = 1


def writes_into_what_it_reads(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j]
            x[i, j] = 0


MEMORY, INPUTS, CUTS = "stays in its memory", "inputs unmodified", "same bits however it is cut"
WRONG = {
    sums_from_before: CUTS,
    adds_in_first_row: CUTS,
    leaves_last_row_out: MEMORY,
    adds_to_what_is_there: MEMORY,
    writes_one_past_rows: MEMORY,
    reads_one_past_rows: MEMORY,
    writes_rows_past_the_end: MEMORY,
    writes_thousands_of_rows_away: MEMORY,
    writes_before_the_beginning: MEMORY,
    writes_into_what_it_reads: INPUTS,
}
"""Kernels, and the check that finds each."""


def op_of(forward: Any, backward: Any) -> bm.Op:
    """An op that copies, by these kernels."""

    class Copying(bm.Op):
        def infer(self, x: bm.Spec) -> bm.Spec:
            return x

        def onnx(self, emit: Any, x: Any) -> Any:
            return emit.Identity(x)

    @dataclass(frozen=True)
    class Back(Copying):
        cpu = bm.kernel(backward)

    @dataclass(frozen=True)
    class Forth(Copying):
        cpu = bm.kernel(forward)

        def grad(self, dy: Any, y: Any, x: Any) -> tuple[Any]:
            return (Back()(dy),)

    return Forth()


def test_right_kernels_pass() -> None:
    report = run_checks(checks_for(op_of(right, right), [(4, 7)], lambda x: x))
    assert report.count("failed") == report.count("skipped") == 0


@pytest.mark.parametrize("place", ["forward", "gradient"])
@pytest.mark.parametrize("kernel", WRONG, ids=lambda kernel: kernel.__name__)
def test_wrong_kernels_are_found(kernel: Any, place: str) -> None:
    op = op_of(kernel, right) if place == "forward" else op_of(right, kernel)
    report = run_checks(checks_for(op, [(4, 7)], lambda x: x))
    failed = {outcome.check.name: outcome.reason for outcome in report.outcomes if outcome.status == "failed"}
    finds = WRONG[kernel]
    assert f"kernel {kernel.__name__}" in failed[finds]
    assert "\n" not in failed[finds]
    if finds == MEMORY:  # others are not tried, as it might end the process
        assert list(failed) == [MEMORY]
        others = {outcome.reason for outcome in report.outcomes if outcome.check.name not in ("runs", MEMORY)}
        assert others == {"the check 'stays in its memory' fails"}
    else:
        assert MEMORY not in failed
