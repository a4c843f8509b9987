"""What kernels report becomes an error that says what was found, where, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelError, DataError, KernelError, NumericsError
from bigmodel_core.graph import Graph, Op
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels import status
from bigmodel_core.plan import Program, Variables, device_named
from bigmodel_core.plan.failures import FAILURES, Unproven, error_of
from bigmodel_core.plan.steps import Step


def refuse(out, x, start, stop):  # type: ignore[no-untyped-def]  # Numba infers its types
    for i in range(start, stop):
        if x[i] > 0:
            raise ValueError("positive")
        out[i] = x[i]


@dataclass(frozen=True)
class Raising(Op):
    """An op whose kernel takes no positive number."""

    cpu = bm.kernel(refuse)

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]


def placed_step() -> Step:
    graph = Graph()
    with graph.scope("tower/table_1", "Embedding"):
        value = -graph.input("x", Spec((3,)))
    return Step([value.node], list(value.node.inputs), [value])


def reported(code: int, found: int = 0, limit: int = 0, position: int = 0) -> list[int]:
    numbers = [0] * status.WIDTH
    numbers[status.CODE], numbers[status.FOUND] = code, found
    numbers[status.LIMIT], numbers[status.POSITION] = limit, position
    return numbers


def test_every_code_is_in_the_table_once() -> None:
    slots = ("CODE", "FOUND", "LIMIT", "POSITION", "WIDTH")
    codes = [number for name, number in vars(status).items() if name.isupper() and name not in slots]
    assert sorted(codes) == [status.OK, *sorted(FAILURES)] == list(range(len(codes)))
    assert [getattr(status, slot) for slot in slots] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("numbers", "kind", "text"),
    [
        (
            reported(status.LABEL_OUT_OF_RANGE, 7, 5, 2),
            DataError,
            "tower/table_1 (Embedding): the label 7 (sample 2 of the batch) is out of range for 5 classes.\n"
            "  Fix: labels run from 0 to 4; set the model's number of classes, or fix the labels.",
        ),
        (
            reported(status.INDEX_OUT_OF_RANGE, -1, 100, 31),
            DataError,
            "tower/table_1 (Embedding): the index -1 (position 31) is out of range for a table of 100 rows.\n"
            "  Fix: indices run from 0 to 99.",
        ),
        (
            reported(status.LENGTH_OUT_OF_RANGE, 9, 8, 0),
            DataError,
            "tower/table_1 (Embedding): the length 9 (sample 0 of the batch) is out of range for sequences of"
            " 8 steps.\n  Fix: lengths run from 0 to 8.",
        ),
        (
            reported(status.KERNEL_RAISED),
            KernelError,
            "tower/table_1 (Embedding): the kernel of Negate raised an exception.",
        ),
        (
            reported(99),
            KernelError,
            "tower/table_1 (Embedding): the kernel of Negate reported the status 99.",
        ),
    ],
)
def test_messages(numbers: list[int], kind: type[BigmodelError], text: str) -> None:
    error = error_of(placed_step(), numbers)
    assert type(error) is kind
    assert str(error) == text


def test_only_a_written_number_says_that_something_was_written() -> None:
    errors = {code: error_of(placed_step(), reported(code)) for code in FAILURES}
    numeric = {code: error for code, error in errors.items() if isinstance(error, NumericsError)}
    assert [code for code, error in numeric.items() if error.is_written] == [status.WRITTEN_NOT_FINITE]
    assert type(errors[status.UNPROVEN]) is Unproven
    assert errors[status.WRITTEN_NOT_FINITE].where is None  # the step is one of many that overwrite


def test_without_a_step_no_place_is_told() -> None:
    assert str(error_of(None, reported(99))) == "the kernel of an op reported the status 99."


def test_a_kernel_that_raises_stops_the_run() -> None:
    graph = Graph()
    with graph.scope("tower/table_1", "Embedding"):
        value = Raising()(graph.input("x", Spec((3,))))
    with pytest.raises(KernelError, match=r"tower/table_1 \(Embedding\): the kernel of Raising raised"):
        Program(graph, [value]).run(Variables(device_named("cpu")), {"x": np.ones(3, "float32")})


def test_an_index_out_of_range_names_the_function_and_the_op() -> None:
    def chosen(x: Any) -> Any:
        return bm.ops.gather(x, np.array([0, 5]))

    with pytest.raises(DataError, match=r"chosen, Gather: the index 5 \(position 1\) is out of range"):
        bm.function(chosen)(np.eye(3, dtype="float32"))
