"""Kernels on rows that are wrong, and an op of any two of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import bigmodel_core as bm
from tests.plugins.wrong.table import FAULTS, SECTIONS, Fault


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


def draws_numbers(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] + np.random.random()


MEMORY, INPUTS, CUTS = "stays in its memory", "inputs unmodified", "same bits however it is cut"
WRONG = {
    "reads what the piece before wrote": (sums_from_before, CUTS),
    "adds 1 to the first row of each piece": (adds_in_first_row, CUTS),
    "leaves the last row of a piece out": (leaves_last_row_out, MEMORY),
    "adds to an output that holds nothing yet": (adds_to_what_is_there, MEMORY),
    "writes one number past each row": (writes_one_past_rows, MEMORY),
    "reads one number past each row": (reads_one_past_rows, MEMORY),
    "writes 40 rows past the end": (writes_rows_past_the_end, MEMORY),
    "writes thousands of rows past the end": (writes_thousands_of_rows_away, MEMORY),
    "writes before the beginning": (writes_before_the_beginning, MEMORY),
    "writes into what it reads": (writes_into_what_it_reads, INPUTS),
    "draws random numbers of its own": (draws_numbers, MEMORY),
}
"""Kernels by what they do, and the check that finds each."""


def op_of(forward: Any, backward: Any) -> type[bm.Op]:
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

    return Forth


SECTION = list(SECTIONS)[1]
for text, (function, check) in WRONG.items():
    says = rf"kernel {function.__name__}\b"
    for place, pair in {"kernel": (function, right), "gradient": (right, function)}.items():
        FAULTS.append(Fault(SECTION, f"a {place} that {text}", check, says, op_of(*pair), ([(4, 7)],)))
