"""Which ops have no kernel on a device: the table, and the list of those that are known to have none."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

import bigmodel_core as bm
from bigmodel_core.graph import Constant, Input, Op, Variable
from bigmodel_core.graph.op import DEVICES
from bigmodel_core.ops.shape import Reshape
from bigmodel_core.plan.kernel_table import known_ops, needs_kernel, without_kernel

CORE = known_ops(["bigmodel_core"])
MISSING: dict[str, list[str]] = {"cpu": [], "cuda": []}
"""Ops that wait for a kernel. One that gets its kernel leaves the list; none joins it unseen."""


def table() -> str:
    """All ops of the core and the devices that they run on."""
    lines = [f"{'op':40} " + " ".join(f"{device:5}" for device in DEVICES)]
    for op in CORE:
        marks = ["yes" if op.kernel(device) else "-" for device in DEVICES]
        name = f"{op.__module__.rpartition('.')[2]}.{op.__name__}"
        lines.append(f"{name:40} " + " ".join(f"{mark:5}" for mark in marks))
    return "\n".join(lines)


@pytest.mark.parametrize("device", MISSING)
def test_every_other_op_has_a_kernel(device: str) -> None:
    print(table())  # pytest -s shows it
    assert without_kernel(device, CORE) == MISSING[device], table()


def test_leaves_and_other_shapes_of_one_array_need_none() -> None:
    assert not any(needs_kernel(op) for op in (Input, Variable, Constant, Reshape, Reshape((2, 3))))
    assert without_kernel("cuda", [Reshape((2, 3))]) == []


def test_ops_of_others_count_and_carry_their_package() -> None:
    @dataclass(frozen=True)
    class Tripled(bm.Op):
        cpu = bm.kernel(lambda out, x: None)

    package = __name__.partition(".")[0]
    assert Tripled in known_ops() and Tripled in known_ops([package]) and Tripled not in CORE
    assert without_kernel("cuda", [Tripled(), Tripled]) == [f"{package}.Tripled"]
    assert without_kernel("cpu", [Tripled()]) == []


def test_ops_that_are_only_derived_from_are_not_counted() -> None:
    class Base(Op):
        """What several ops share."""

    assert Base not in known_ops()
