"""Small files that stand for endless work or memory, or contradict themselves, are refused at once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelError, ExportError

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def write(
    path: Path, nodes: list[Any], shape: list[Any], opset: int = 17, weights: Any = None, **more: Any
) -> Path:
    """A file with the input x and the output y."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, ["rows", "columns"])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8, **more), path)
    return path


def functions(calls: int, depth: int) -> list[onnx.FunctionProto]:
    """Functions f0, f1, ... each of which calls the one before it so many times."""
    made = []
    for level in range(depth):
        inner = (
            [helper.make_node("Relu", ["a"], ["b"])]
            if level == 0
            else [
                helper.make_node(f"f{level - 1}", ["a" if i == 0 else f"t{i - 1}"], [f"t{i}"], domain="own")
                for i in range(calls)
            ]
        )
        if level:
            inner[-1].output[0] = "b"
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        made.append(helper.make_function("own", f"f{level}", ["a"], ["b"], inner, opsets))
    return made


def call_of(level: int) -> list[Any]:
    return [helper.make_node(f"f{level}", ["x"], ["y"], domain="own", name="outer")]


def test_functions_that_call_others_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", call_of(3), ["N", 3], functions=functions(2, 4))
    x = np.float32([[-1, 0, 2]])
    np.testing.assert_array_equal(bm.from_onnx(path)(x), np.maximum(x, 0))


@pytest.mark.parametrize(("calls", "depth"), [(2, 16), (2, 40), (10, 30), (1, 60)])
def test_functions_that_grow_without_end_are_refused(calls: int, depth: int, tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", call_of(depth - 1), ["N", 3], functions=functions(calls, depth))
    begin = time.perf_counter()
    with pytest.raises(ExportError, match=r"functions call each other so often|functions deep"):
        bm.from_onnx(path)
    assert time.perf_counter() - begin < 5


def test_functions_that_call_themselves_are_refused(tmp_path: Path) -> None:
    loop = functions(1, 2)
    loop[0].node[0].CopyFrom(helper.make_node("f1", ["a"], ["b"], domain="own"))
    path = write(tmp_path / "m.onnx", call_of(1), ["N", 3], functions=loop)
    with pytest.raises(ExportError):
        bm.from_onnx(path)


@pytest.mark.parametrize("operator", ["Mul", "Add"])
@pytest.mark.parametrize("shape", [["N", "T"], [3, 5], ["N", 7]])
def test_a_shape_combined_with_itself_again_and_again_ends(
    operator: str, shape: list[Any], tmp_path: Path
) -> None:
    nodes = [helper.make_node("Shape", ["x"], ["s0"])]
    nodes += [helper.make_node(operator, [f"s{i}", f"s{i}"], [f"s{i + 1}"]) for i in range(70)]
    nodes += [helper.make_node("Expand", ["x", "s70"], ["y"])]
    path = write(tmp_path / "m.onnx", nodes, shape)
    begin = time.perf_counter()
    with pytest.raises(BigmodelError, match="Fix:"):
        bm.from_onnx(path)
    assert time.perf_counter() - begin < 5


REFUSED: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "Unsqueeze twice": ([("Unsqueeze", ["x", "axes"], {})], {"axes": [0, 0]}),
    "Unsqueeze far": ([("Unsqueeze", ["x", "axes"], {})], {"axes": [7]}),
    "Squeeze far": ([("Squeeze", ["x", "axes"], {})], {"axes": [5]}),
    "Squeeze of three": ([("Squeeze", ["x", "axes"], {})], {"axes": [1]}),
    "Squeeze of a free axis": ([("Squeeze", ["x"], {})], {}),
    "ReduceSum twice": ([("ReduceSum", ["x", "axes"], {})], {"axes": [1, -1]}),
    "Pad": ([("Pad", ["x", "pads"], {})], {"pads": [0, 0, 0, 2_000_000_000 * 3]}),
    "Pad by reflection": ([("Pad", ["x", "pads"], {"mode": "reflect"})], {"pads": [0, 0, 0, 10**10]}),
    "Pad by too few": ([("Pad", ["x", "pads"], {})], {"pads": [0, 0, 1]}),
    "Pad below nothing": ([("Pad", ["x", "pads"], {})], {"pads": [0, -9, 0, -9]}),
    "Expand": ([("Expand", ["x", "shape"], {})], {"shape": [10**6, 10**6, 1, 3]}),
    "Expand below 0": ([("Expand", ["x", "shape"], {})], {"shape": [-2, 3]}),
    "ConstantOfShape": (
        [("ConstantOfShape", ["shape"], {}, "c"), ("ReduceSum", ["c"], {}, "s"), ("Add", ["x", "s"], {})],
        {"shape": [10**5, 10**5, 3]},
    ),
    "ConstantOfShape below 0": (
        [("ConstantOfShape", ["shape"], {}, "c"), ("Add", ["x", "c"], {})],
        {"shape": [-3]},
    ),
    "Resize": (
        [("Unsqueeze", ["x", "axes"], {}, "u"), ("Resize", ["u", "", "scales"], {"mode": "nearest"})],
        {"axes": [0, 1], "scales": np.float32([1, 1, 1, 1e10])},
    ),
    "Resize to nothing": (
        [("Unsqueeze", ["x", "axes"], {}, "u"), ("Resize", ["u", "", "scales"], {"mode": "nearest"})],
        {"axes": [0, 1], "scales": np.float32([1, 1, 1, np.nan])},
    ),
    "Reshape": ([("Reshape", ["x", "shape"], {})], {"shape": [-1, -1]}),
    "Reshape below 0": ([("Reshape", ["x", "shape"], {})], {"shape": [-3, -1]}),
    "Transpose": ([("Transpose", ["x"], {"perm": [0, 0]})], {}),
    "Transpose far": ([("Transpose", ["x"], {"perm": [0, 5]})], {}),
    "Gather far": ([("Gather", ["x", "i"], {"axis": 1})], {"i": 3}),
    "Gather far, several": ([("Gather", ["x", "i"], {"axis": 1})], {"i": [0, 4]}),
    "Slice without a step": (
        [("Slice", ["x", "a", "b", "axes", "s"], {})],
        {"a": [0], "b": [2], "axes": [1], "s": [0]},
    ),
    "Slice back to INT_MAX": (
        [("Slice", ["x", "a", "b", "axes", "s"], {})],
        {"a": [2], "b": [2**31 - 1], "axes": [1], "s": [-1]},
    ),
    "Slice of different lengths": ([("Slice", ["x", "a", "b"], {})], {"a": [0, 0], "b": [2]}),
    "Flatten far": ([("Flatten", ["x"], {"axis": 5})], {}),
    "Softmax far": ([("Softmax", ["x"], {"axis": 4})], {}),
    "Concat of other ranks": ([("Concat", ["x", "b"], {"axis": 1})], {"b": np.ones(3, "float32")}),
    "Clip of nothing": ([("Clip", ["x", "b"], {})], {"b": np.ones(3, "float32")}),
    "division of integers by 0": (
        [("Div", ["a", "b"], {}, "q"), ("Cast", ["q"], {"to": FLOAT}, "f"), ("Add", ["x", "f"], {})],
        {"a": [3], "b": [0]},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_with_its_node_and_operator(name: str, tmp_path: Path) -> None:
    nodes, weights = REFUSED[name]
    made = [
        helper.make_node(operator, inputs, more[0] if more else "y", name="odd", **attributes)
        for operator, inputs, attributes, *more in nodes
    ]
    for place, node in enumerate(made):
        node.name = f"odd{place}"
        node.output[:] = [nodes[place][3] if len(nodes[place]) > 3 else "y"]
    path = write(tmp_path / "m.onnx", made, ["N", 3], weights=weights)
    begin = time.perf_counter()
    with pytest.raises(BigmodelError, match=r"(?s)odd\d.*Fix:") as caught:
        bm.from_onnx(path)
    assert time.perf_counter() - begin < 5
    assert any(node.op_type in str(caught.value) for node in made)


def test_weights_that_are_sparse_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], ["N", 3])
    model = onnx.load(path)
    values = numpy_helper.from_array(np.float32([1.0]), "w")
    indices = numpy_helper.from_array(np.array([1], "int64"), "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3]))
    onnx.save(model, path)
    with pytest.raises(ExportError, match="w: sparse weights"):
        bm.from_onnx(path)


@pytest.mark.parametrize("kind", ["cycle", "twice", "missing output", "missing input"])
def test_graphs_that_are_none_are_refused(kind: str, tmp_path: Path) -> None:
    nodes = {
        "cycle": [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])],
        "twice": [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Tanh", ["x"], ["y"])],
        "missing output": [helper.make_node("Relu", ["x"], ["z"])],
        "missing input": [helper.make_node("Add", ["x", "w"], ["y"])],
    }[kind]
    if kind == "cycle":
        nodes.append(helper.make_node("Relu", ["b"], ["y"]))
    path = write(tmp_path / "m.onnx", nodes, ["N", 3])
    with pytest.raises(ExportError, match="Fix:"):
        bm.from_onnx(path)
