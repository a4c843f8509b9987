"""`bm.ops` is what the files of ops list as public: a new file needs no entry elsewhere."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import types

import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import GraphError
from bigmodel_core.plan.kernel_table import known_ops


def family(name: str, **functions: object) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(functions, __all__=list(functions))
    return module


def test_two_files_cannot_have_one_name() -> None:
    one, other = family("ops.one", wave=abs, tide=len), family("ops.other", wave=len)
    assert ops.collected([one]) == {"wave": abs, "tide": len}
    with pytest.raises(GraphError, match=r"ops\.one and ops\.other both have an op 'wave'"):
        ops.collected([one, other])


def test_public_ops_are_functions_with_a_docstring() -> None:
    assert dir(bm.ops) == bm.ops.__all__
    for name in bm.ops.__all__:
        function = getattr(bm.ops, name)
        assert callable(function) and function.__doc__, name


def test_type_checkers_are_told_of_files_that_have_public_ops() -> None:
    for home in re.findall(r"from (bigmodel_core\.ops\.\w+) import \*", inspect.getsource(ops)):
        assert set(importlib.import_module(home).__all__) <= set(bm.ops.__all__)


def test_what_an_op_annotates_are_fields_of_a_frozen_dataclass() -> None:
    """A subclass of one needs a decorator of its own if it adds fields: without it they would be none."""
    for op in known_ops(["bigmodel_core"]):
        assert op.__dataclass_params__.frozen, op
        annotated = {
            name for name, kind in inspect.get_annotations(op).items() if "ClassVar" not in str(kind)
        }
        assert annotated <= {item.name for item in dataclasses.fields(op)}, op
