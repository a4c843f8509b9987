"""The table of number types: against NumPy, ml_dtypes, ONNX, safetensors and LLVM; types without kernels."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from llvmlite import binding
from onnx import TensorProto, helper
from safetensors.numpy import save as pack

import bigmodel_core as bm
from bigmodel_core import Graph, Spec, ops
from bigmodel_core.errors import DtypeError
from bigmodel_core.graph.dtypes import COMPUTED, COMPUTED_FLOATS, DTYPES, FLOATS, INTEGERS, DType, dtype_named
from bigmodel_core.kernels.cpu.engine.memory import ir_type
from bigmodel_core.plan import Variables
from bigmodel_core.plan.devices import device_named
from bigmodel_core.plan.program import Program
from bigmodel_core.train.checkpoint_file import read_file, write_file

UNCOMPUTED = sorted(set(DTYPES) - set(COMPUTED))
EVERY = pytest.mark.parametrize("dtype", DTYPES.values(), ids=list(DTYPES))
FLOATING = pytest.mark.parametrize("dtype", [DTYPES[name] for name in FLOATS], ids=FLOATS)


# The table --------------------------------------------------------------------------------------------------


@EVERY
def test_bytes_are_numpys(dtype: DType) -> None:
    assert dtype.nbytes == dtype.numpy.itemsize
    assert dtype.name == dtype.numpy.name


@EVERY
def test_the_number_and_the_name_in_files_are_onnxs(dtype: DType) -> None:
    assert dtype.onnx == helper.np_dtype_to_tensor_dtype(dtype.numpy)
    assert dtype.onnx_name == TensorProto.DataType.Name(dtype.onnx)


@EVERY
def test_the_name_in_checkpoints_is_that_of_safetensors(dtype: DType) -> None:
    raw = pack({"x": np.zeros(2, dtype.numpy)})
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert header["x"]["dtype"] == dtype.safetensors


@EVERY
def test_llvms_type_takes_as_many_bytes(dtype: DType) -> None:
    target = binding.create_target_data("e")
    assert ir_type(dtype.name).get_abi_size(target) == dtype.nbytes


@EVERY
def test_accumulators_hold_more_than_what_is_added_up(dtype: DType) -> None:
    sums = dtype_named(dtype.accumulator)
    assert sums.is_computed
    assert sums.is_float == dtype.is_float
    assert sums.nbytes >= max(dtype.nbytes, 4)


def test_each_type_is_of_one_kind() -> None:
    assert {name for name, dtype in DTYPES.items() if dtype.numpy.kind in "iu"} == set(INTEGERS)
    assert set(FLOATS) == {"float16", "bfloat16", "float32", "float64"}
    assert set(DTYPES) - set(FLOATS) - set(INTEGERS) == {"bool"}
    assert COMPUTED_FLOATS == ("float32", "float64")


@FLOATING
def test_the_bits_of_floats(dtype: DType) -> None:
    found = np.array([np.inf, -0.0, np.nan], dtype.numpy).view(dtype.bits).astype("int64")
    assert found[0] == dtype.infinite
    assert found[1] & dtype.magnitude == 0
    assert found[2] & dtype.magnitude > dtype.infinite


@FLOATING
def test_squares_of_modest_numbers_are_finite(dtype: DType) -> None:
    assert 4 * dtype.modest**2 < float(ml_dtypes.finfo(dtype.numpy).max)
    assert float(ml_dtypes.finfo(dtype.numpy).eps) < dtype.tolerance < dtype.export_tolerance


def test_an_unknown_type_is_refused_with_those_that_kernels_compute_with() -> None:
    with pytest.raises(DtypeError, match="'complex64'") as caught:
        dtype_named("complex64")
    assert caught.value.fix == f"use one of {', '.join(COMPUTED)}."


def test_ml_dtypes_is_imported_where_a_type_of_its_is_named() -> None:
    code = (
        "import sys, bigmodel_core as bm; bm.Spec((1,)); assert 'ml_dtypes' not in sys.modules;"
        "bm.Spec((1,), 'bfloat16'); import numpy; assert numpy.dtype('bfloat16').itemsize == 2"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# No other table ---------------------------------------------------------------------------------------------


def type_of(node: ast.AST | None) -> str | None:
    """The number type that a text, or a name such as `np.float32`, stands for."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value if node.value in DTYPES else None
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.attr if node.attr in DTYPES and node.value.id in ("np", "ml_dtypes", "types") else None
    return None


def tables(text: str) -> list[str]:
    """What in a source lists number types, or tells a number or a type by them."""
    found = []
    for node in ast.walk(ast.parse(text)):
        parts: list[Sequence[ast.AST | None]] = []
        if isinstance(node, ast.Dict):
            parts = [node.keys, node.values]
        elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            parts = [node.elts]
        is_table = any(len({type_of(item) for item in part} - {None}) > 1 for part in parts)
        if isinstance(node, ast.IfExp) and isinstance(node.test, ast.Compare):
            is_number = isinstance(node.body, ast.Constant) and isinstance(node.body.value, int)
            if any(map(type_of, (node.test.left, *node.test.comparators))):
                is_table = is_number or isinstance(node.body, ast.Attribute)
        if is_table:
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize(
    "text",
    [
        "SIZES = {'float32': 4, 'float64': 8}",
        "TYPES = {1: 'float32', 7: 'int64'}",
        "CASTS = {'T32': np.float32, 'T64': np.float64}",
        "x.dtype in ('int32', 'int64')",
        "8 if dtype == 'float64' else 4",
        "np.float32 if dtype == 'float32' else np.float64",
    ],
)
def test_a_table_is_recognised(text: str) -> None:
    assert tables(text)


@pytest.mark.parametrize("text", ["Spec((), 'int64'), Spec(('N',), 'bool')", "x.dtype == 'float32'"])
def test_what_is_no_table(text: str) -> None:
    assert not tables(text)


def test_there_is_no_other_table_of_number_types() -> None:
    """A new number type is a row of `graph/dtypes.py`: what depends on the type belongs there."""
    core = Path(bm.__file__).parent
    sources = [
        path
        for folder in ("bigmodel_core", "plugins", "exporters")
        for path in sorted((core.parent / folder).rglob("*.py"))
        if path != core / "graph" / "dtypes.py"
    ]
    assert len(sources) > 200
    strays = [f"{path}: {table}" for path in sources for table in tables(path.read_text("utf-8"))]
    assert not strays, "\n".join(strays)


# Types without kernels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", UNCOMPUTED)
def test_specs_have_them(name: str) -> None:
    spec = Spec(("N", 3), name)
    assert repr(spec) == f"Spec((N, 3), {name})"
    assert spec.number_type is DTYPES[name]
    assert spec == Spec(("N", 3), spec.number_type.numpy)  # type: ignore[arg-type]  # NumPy's types do, too


def computed(function: Callable[[Any], Any], name: str) -> list[np.ndarray]:
    """A function of one (2, 3) input of a number type, on the CPU."""
    graph = Graph()
    x = graph.input("x", Spec((2, 3), name))
    with graph.scope("block/cast", "Rounded"):
        y = function(x)
    cpu = device_named("cpu")
    return Program(graph, [y]).run(Variables(cpu), {"x": np.ones((2, 3), name)})


@pytest.mark.parametrize("name", UNCOMPUTED)
@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + 1,
        lambda x: x + x,
        lambda x: ops.matmul(x, ops.transpose(x)),
        lambda x: ops.sum(x),
        lambda x: ops.cast(x, "float32"),
        lambda x: x.reshape(3, 2),
    ],
    ids=["number", "add", "matmul", "sum", "cast", "reshape"],
)
def test_no_op_runs_on_them(name: str, function: Callable[[Any], Any]) -> None:
    message = f"the input 'x' is {name}, a number type without kernels on 'cpu'|got {name}"
    with pytest.raises(DtypeError, match=message):
        computed(function, name)


@pytest.mark.parametrize("name", UNCOMPUTED)
def test_nothing_is_cast_to_them(name: str) -> None:
    with pytest.raises(DtypeError, match=rf"^block/cast \(Rounded\): Cast gives {name}") as caught:
        computed(lambda x: x.astype(name).astype("float32"), "float32")
    assert all(other in str(caught.value.fix) for other in COMPUTED)


class Halved(bm.Layer):
    """A layer with a parameter of a type without kernels."""

    def __call__(self, x: Any) -> Any:
        return x * self.parameter("scale", (3,), 1.0, dtype="bfloat16").astype(x.dtype)


def test_a_layer_with_such_a_parameter_is_named() -> None:
    network = bm.Sequential(bm.layers.Dense(3), Halved()).build(Spec(("N", 2)))
    with pytest.raises(DtypeError, match=r"halved\w*/scale: the parameter is bfloat16"):
        network(np.zeros((1, 2), "float32"))


@pytest.mark.parametrize("name", UNCOMPUTED)
def test_a_model_of_such_a_type_is_refused(name: str) -> None:
    with pytest.raises(DtypeError, match="'float32' or 'float64'"):
        bm.layers.Dense(2).build(Spec(("N", 3)), dtype=name)


@pytest.mark.parametrize("name", DTYPES)
def test_checkpoint_files_hold_every_type(name: str, tmp_path: Path) -> None:
    array = np.array([[0, 1, 2], [3, 4, 120]]).astype(dtype_named(name).numpy)
    write_file(tmp_path / "file", {"a": "b"}, {"x": array, "empty": array[:0], "number": array[1, 2]})
    _, found = read_file(tmp_path / "file")
    assert found["x"].dtype == array.dtype
    assert found["x"].tobytes() == array.tobytes()
    assert (found["empty"].shape, found["number"].shape) == ((0, 3), ())


def test_a_parameter_of_such_a_type_is_saved_and_loaded(tmp_path: Path) -> None:
    network = bm.Sequential(Halved()).build(Spec(("N", 3)))
    state = {"halved_1/scale": np.array([0.5, 2, 3], "bfloat16")}
    network.load_state(state)
    bm.save(network, tmp_path / "model")
    found = bm.load(tmp_path / "model").state()["halved_1/scale"]
    assert found.dtype == "bfloat16"
    assert found.astype("float32").tolist() == [0.5, 2, 3]


def test_arrays_of_bfloat16_are_floats() -> None:
    model, x = bm.layers.Dense(2), np.arange(6).reshape(2, 3) / 8
    assert (model(x.astype(ml_dtypes.bfloat16)) == model(x.astype("float32"))).all()
