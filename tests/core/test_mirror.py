"""Families of ops, and their kernels: one file in `ops`, and one of its name in the folder of each device."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bigmodel_core import kernels, ops
from bigmodel_core.graph import Op
from bigmodel_core.kernels.fused import Elementwise

FAMILIES = sorted(module.name for module in pkgutil.iter_modules(ops.__path__))
DEVICES = ("cpu", "cuda")
SHARED = {
    "bigmodel_core.kernels.attention_sizes.sizes_of",
    "bigmodel_core.kernels.borders.MODES",
    "bigmodel_core.kernels.fused.elementwise",
    "bigmodel_core.kernels.interpolation.METHODS",
    "bigmodel_core.kernels.random_words.random_bits",
    "bigmodel_core.kernels.random_words.random_words",
    "bigmodel_core.kernels.recurrence.GATES",
    "bigmodel_core.kernels.recurrence.SAVED",
}
"""What no device owns: kernels from functions of numbers, and what shape rules share with kernels."""

DERIVED = {
    "bigmodel_core.kernels.definition.FUNCTIONS",
    "bigmodel_core.kernels.definition.Scalar",
    "bigmodel_core.kernels.derivatives.derivative",
    "bigmodel_core.kernels.expressions.Algebra",
    "bigmodel_core.kernels.expressions.Expression",
    "bigmodel_core.kernels.expressions.as_function",
    "bigmodel_core.kernels.expressions.in_order",
    "bigmodel_core.kernels.fused.Elementwise",
    "bigmodel_core.kernels.fused.check_arguments",
    "bigmodel_core.kernels.reading.read",
}
"""What `derived` makes ops of: scalar functions as expressions. No other family looks into them."""


def family(name: str) -> ModuleType:
    return importlib.import_module(f"bigmodel_core.ops.{name}")


def own_kernels(name: str, device: str) -> Iterator[tuple[str, Any]]:
    """The kernels that the ops of a file declare by themselves, not by a function of numbers."""
    for op in vars(family(name)).values():
        if inspect.isclass(op) and issubclass(op, Op) and op.__module__ == family(name).__name__:
            kernel = vars(op).get(device)
            if kernel is not None and not isinstance(kernel, Elementwise):
                yield op.__name__, kernel


def modules_of(device: str) -> set[str]:
    return {module.name for module in pkgutil.iter_modules([str(Path(kernels.__path__[0]) / device)])}


def imported_from_kernels(module: ModuleType) -> set[str]:
    assert module.__file__ is not None
    found = set()
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {name for name in found if name.startswith("bigmodel_core.kernels")}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", FAMILIES)
def test_kernels_stand_in_the_file_of_their_op_s_name(name: str, device: str) -> None:
    needed = dict(own_kernels(name, device))
    if needed:
        assert name in modules_of(device)
        there = vars(importlib.import_module(f"bigmodel_core.kernels.{device}.{name}")).values()
        assert [op for op, kernel in needed.items() if not any(kernel is one for one in there)] == []


@pytest.mark.parametrize("name", FAMILIES)
def test_ops_take_their_kernels_and_nothing_else_from_kernels(name: str) -> None:
    """What runs over arrays, and what chooses how, is no part of an op's file."""
    allowed = {f"bigmodel_core.kernels.{device}.{name}" for device in DEVICES} | SHARED
    allowed |= DERIVED if name == "derived" else set()
    assert imported_from_kernels(family(name)) <= allowed


@pytest.mark.parametrize("name", sorted(modules_of("cuda") & set(FAMILIES)))
def test_a_file_of_cuda_kernels_has_its_like_for_the_cpu(name: str) -> None:
    assert name in modules_of("cpu")
    assert dict(own_kernels(name, "cpu")).keys() >= dict(own_kernels(name, "cuda")).keys()


@pytest.mark.parametrize("device", DEVICES)
def test_the_engine_of_a_device_knows_none_of_its_kernels(device: str) -> None:
    folder = f"bigmodel_core.kernels.{device}"
    engine = importlib.import_module(f"{folder}.engine")
    found = set()
    for module in pkgutil.iter_modules(engine.__path__, f"{folder}.engine."):
        found |= imported_from_kernels(importlib.import_module(module.name))
    assert len(found) > 5
    assert [
        name for name in found if name.startswith(folder) and not name.startswith(f"{folder}.engine.")
    ] == []
