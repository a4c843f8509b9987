"""Files of old opsets, constants of every kind, and nodes that behave otherwise while a model is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelError, ExportError
from tests.onnx.conftest import each, run

TYPES = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7, "bool": 9, "float64": 11}
RANDOM = np.random.default_rng(11)


def write(
    path: Path,
    nodes: list[Any],
    inputs: dict[str, Any],
    weights: dict[str, Any],
    opset: int,
    outputs: Any = "y",
) -> Path:
    """A file whose outputs are said to have two axes; nobody checks."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, 1, ["a", "b"]) for name in outputs.split()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8 if opset > 8 else 3), path)
    return path


def write_old(path: Path, node: Any, shape: Any, weights: dict[str, Any], opset: int) -> Path:
    """The same for opsets whose files list their weights as inputs, too."""
    write(path, [node], {"x": shape}, weights, opset)
    model = onnx.load(path)
    for name, array in weights.items():
        model.graph.input.append(
            helper.make_tensor_value_info(name, TYPES[np.asarray(array).dtype.name], np.shape(array))
        )
    onnx.save(model, path)
    return path


# Operands that repeat ------------------------------------------------------------------------------------

FUNCTIONS = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power}


@pytest.mark.parametrize("operator", FUNCTIONS)
@pytest.mark.parametrize(
    ("second", "axis", "aligned"),
    [
        ((3,), 1, (3, 1, 1)),
        ((3, 3), 1, (3, 3, 1)),
        ((3, 3), 2, (3, 3)),
        ((3,), None, (3,)),
        ((3, 3), None, (3, 3)),
        ((3,), -3, (3, 1, 1)),
        ((2, 3), 0, (2, 3, 1, 1)),
        ((1,), 1, ()),
        ((), None, ()),
    ],
)
def test_operands_repeat_as_old_opsets_say(
    operator: str, second: Any, axis: int | None, aligned: Any, tmp_path: Path
) -> None:
    x = RANDOM.uniform(0.5, 2, (2, 3, 3, 3)).astype("float32")
    b = RANDOM.uniform(0.5, 2, second).astype("float32")
    attributes = {"broadcast": 1} | ({} if axis is None else {"axis": axis})
    node = helper.make_node(operator, ["x", "b"], ["y"], **attributes)
    model = bm.from_onnx(write_old(tmp_path / "m.onnx", node, [2, 3, 3, 3], {"b": b}, 6))
    np.testing.assert_allclose(model(x), FUNCTIONS[operator](x, b.reshape(aligned)), rtol=1e-5)
    bm.export(model, tmp_path / "again.onnx")
    np.testing.assert_allclose(run(tmp_path / "again.onnx", x)[0], model(x), rtol=1e-5)


@pytest.mark.parametrize("attributes", [{}, {"broadcast": 1, "axis": 2}, {"broadcast": 1, "axis": 9}])
def test_operands_that_do_not_fit_by_the_old_rule_are_refused(attributes: Any, tmp_path: Path) -> None:
    node = helper.make_node("Add", ["x", "b"], ["y"], name="odd", **attributes)
    path = write_old(tmp_path / "m.onnx", node, [2, 3, 4], {"b": np.ones(3, "float32")}, 6)
    with pytest.raises(ExportError, match=r"(?s)odd.*Add.*Fix: export the model again with opset 7"):
        bm.from_onnx(path)


def test_comparisons_and_logic_repeat_in_old_opsets_too(tmp_path: Path) -> None:
    x, b = RANDOM.normal(size=(2, 3, 4)).astype("float32"), np.float32([0, 0.5, -0.5])
    nodes = [
        helper.make_node("Greater", ["x", "b"], ["g"], broadcast=1, axis=1),
        helper.make_node("Less", ["x", "b"], ["l"], broadcast=1, axis=1),
        helper.make_node("Or", ["g", "l"], ["o"]),
        helper.make_node("And", ["g", "o"], ["a"]),
        helper.make_node("Cast", ["a"], ["y"], to=1),
    ]
    model = bm.from_onnx(write(tmp_path / "m.onnx", nodes, {"x": [2, 3, 4], "b": [3]}, {}, 6))
    np.testing.assert_array_equal(model(x, b), (x > b[:, None]).astype("float32"))


@pytest.mark.parametrize(("shape", "wanted"), [((3,), (3, 1)), ((1,), (1,))])
def test_slopes_of_old_files_belong_to_channels(shape: Any, wanted: Any, tmp_path: Path) -> None:
    x, slope = RANDOM.normal(size=(2, 3, 4)).astype("float32"), RANDOM.normal(size=shape).astype("float32")
    node = helper.make_node("PRelu", ["x", "s"], ["y"])
    model = bm.from_onnx(write_old(tmp_path / "m.onnx", node, [2, 3, 4], {"s": slope}, 6))
    np.testing.assert_allclose(model(x), np.where(x < 0, x * slope.reshape(wanted), x), rtol=1e-6)


def test_gemm_of_old_files_repeats_its_bias_where_told(tmp_path: Path) -> None:
    x, w, b = (RANDOM.normal(size=shape).astype("float32") for shape in ((2, 3), (3, 4), (4,)))
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], broadcast=1)
    model = bm.from_onnx(write_old(tmp_path / "m.onnx", node, ["N", 3], {"w": w, "b": b}, 6))
    np.testing.assert_allclose(model(x), x @ w + b, rtol=1e-5, atol=1e-6)
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"])
    with pytest.raises(ExportError, match="does not broadcast"):
        bm.from_onnx(write_old(tmp_path / "m.onnx", node, ["N", 3], {"w": w, "b": b}, 6))


def test_concat_of_opset_1_joins_the_second_axis(tmp_path: Path) -> None:
    model = bm.from_onnx(
        write(tmp_path / "m.onnx", [helper.make_node("Concat", ["x", "x"], ["y"])], {"x": [2, 3]}, {}, 3)
    )
    x = RANDOM.normal(size=(2, 3)).astype("float32")
    np.testing.assert_array_equal(model(x), np.concatenate([x, x], 1))


# What behaves otherwise in training ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "attributes", "opset", "wanted"),
    [
        ("Reshape", {"shape": [0, -1]}, 1, lambda x: x.reshape(len(x), -1)),
        ("Cast", {"to": "INT32"}, 1, lambda x: x.astype("int32")),
        (
            "Pad",
            {"paddings": [0, 0, 1, 0, 0, 0, 0, 2]},
            1,
            lambda x: np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 2))),
        ),
        ("Upsample", {"height_scale": 2.0, "width_scale": 3.0}, 1, lambda x: x.repeat(2, 2).repeat(3, 3)),
        ("ReduceSum", {"axes": [1]}, 1, lambda x: x.sum(1, keepdims=True)),
        ("Clip", {"min": -0.5, "max": 0.5, "consumed_inputs": [0]}, 1, lambda x: x.clip(-0.5, 0.5)),
    ],
)
def test_attributes_of_old_files_are_those_inputs_of_new_ones(
    operator: str, attributes: Any, opset: int, wanted: Any, tmp_path: Path
) -> None:
    node = helper.make_node(operator, ["x"], ["y"], **attributes)
    model = bm.from_onnx(write(tmp_path / "m.onnx", [node], {"x": ["N", 3, 2, 4]}, {}, opset))
    x = RANDOM.normal(size=(2, 3, 2, 4)).astype("float32") * 3
    found = model(x)
    assert found.dtype == wanted(x).dtype
    np.testing.assert_allclose(found, wanted(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "opset"),
    [
        ("BatchNormalization", "x a b c d", {}, 6),
        ("BatchNormalization", "x a b c d", {"is_test": 0}, 6),
        ("BatchNormalization", "x a b c d", {"training_mode": 1}, 15),
        ("BatchNormalization", "x a b c d", {"spatial": 0}, 7),
        ("Dropout", "x", {}, 6),
        ("Dropout", "x rate yes", {}, 13),
    ],
)
def test_nodes_that_are_in_training_mode_are_refused(
    operator: str, inputs: str, attributes: Any, opset: int, tmp_path: Path
) -> None:
    weights: dict[str, Any] = {name: np.ones(3, "float32") for name in "abcd"}
    weights |= {"rate": np.float32(0.5), "yes": np.bool_(True)}
    used = {name: weights[name] for name in inputs.split()[1:]}
    node = helper.make_node(operator, inputs.split(), ["y"], name="odd", **attributes)
    path = write_old(tmp_path / "m.onnx", node, ["N", 3], used, opset)
    with pytest.raises(ExportError, match=rf"(?s)odd.*{operator}.*Fix:"):
        bm.from_onnx(path)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "opset"),
    [
        ("BatchNormalization", "x a b c d", {"is_test": 1}, 6),
        ("BatchNormalization", "x a b c d", {"spatial": 1}, 7),
        ("BatchNormalization", "x a b c d", {"training_mode": 0}, 15),
        ("Dropout", "x", {"is_test": 1}, 6),
        ("Dropout", "x", {}, 7),
        ("Dropout", "x rate no", {}, 13),
        ("Dropout", "x zero yes", {}, 13),
    ],
)
def test_nodes_that_are_not_are_read(
    operator: str, inputs: str, attributes: Any, opset: int, tmp_path: Path
) -> None:
    weights: dict[str, Any] = {name: np.float32([1, 2, 3]) for name in "abcd"}
    weights |= {"rate": np.float32(0.5), "zero": np.float32(0), "yes": np.bool_(True), "no": np.bool_(False)}
    used = {name: weights[name] for name in inputs.split()[1:]}
    node = helper.make_node(operator, inputs.split(), ["y"], **attributes)
    model = bm.from_onnx(write_old(tmp_path / "m.onnx", node, ["N", 3], used, opset))
    x, a = RANDOM.normal(size=(2, 3)).astype("float32"), weights["a"]
    wanted = (x - a) / np.sqrt(a + 1e-5) * a + a if operator == "BatchNormalization" else x
    np.testing.assert_allclose(model(x), wanted, rtol=1e-4, atol=1e-5)


# Constants -----------------------------------------------------------------------------------------------


def constant(name: str, array: Any) -> Any:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(array), name))


def test_integer_constants_are_those_of_onnx_runtime(tmp_path: Path) -> None:
    """Quotients are cut towards zero, numbers wrap in their own type."""
    cases: dict[str, tuple[str, list[Any]]] = {
        "q": ("Div", [np.int64([-7, 7, -7, 6]), np.int64([2, -2, -2, 3])]),
        "q32": ("Div", [np.int32([-7, 9]), np.int32([2, -2])]),
        "wide": ("Add", [np.int32([2**31 - 1]), np.int32([1])]),
        "times": ("Mul", [np.int32([2**30]), np.int32([4])]),
        "power": ("Pow", [np.int64([-2, 3, 7]), np.int64([3, 0, 2])]),
        "least": ("Min", [np.int64([3, -4]), np.int64([2])]),
        "whole": ("Cast", [np.float32([-1.7, 1.7, 0.0])]),
        "fewer": ("Sub", [np.int64(3), np.int64([5])]),
    }
    nodes, total = [], []
    for name, (operator, arrays) in cases.items():
        inputs = [f"{name}{place}" for place in range(len(arrays))]
        nodes += [constant(given, array) for given, array in zip(inputs, arrays, strict=True)]
        nodes.append(helper.make_node(operator, inputs, [name], **({"to": 7} if operator == "Cast" else {})))
        nodes.append(helper.make_node("Cast", [name], [f"{name}_f"], to=1))
        nodes.append(helper.make_node("ReduceSum", [f"{name}_f"], [f"{name}_s"], keepdims=0))
        nodes.append(helper.make_node("Add", ["x", f"{name}_s"], [f"{name}_y"]))
        total.append(f"{name}_y")
    path = write(tmp_path / "m.onnx", nodes, {"x": ["N", 3]}, {}, 17, " ".join(total))
    x = np.zeros((2, 3), "float32")
    model = bm.from_onnx(path)
    for name, found, wanted in zip(total, each(model(x)), run(path, x), strict=True):
        np.testing.assert_array_equal(found, wanted, err_msg=name)


def test_bytes_wrap(tmp_path: Path) -> None:
    nodes = [
        constant("a", np.uint8([200])),
        constant("b", np.uint8([100])),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Cast", ["c"], ["d"], to=1),
        helper.make_node("Add", ["x", "d"], ["y"]),
    ]
    model = bm.from_onnx(write(tmp_path / "m.onnx", nodes, {"x": ["N", 1]}, {}, 17))
    assert model(np.zeros((1, 1), "float32")).tolist() == [[44]]


def test_weights_in_constant_nodes_are_trained(tmp_path: Path) -> None:
    """As exporters that know no initializers write them."""
    w, b, scale = (RANDOM.normal(size=shape).astype("float32") for shape in ((4, 8), (8,), (1, 8)))
    v = RANDOM.normal(size=(3, 8)).astype("float32")
    nodes = [
        *(constant("w", w), constant("b", b), constant("scale", scale), constant("half", np.float32(0.5))),
        constant("v", v),
        constant("one", RANDOM.normal(size=1).astype("float32")),
        constant("mask", np.float32([[0, 0, -1e9]])),
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["q"]),
        helper.make_node("Mul", ["q", "scale"], ["r"]),
        helper.make_node("Mul", ["r", "half"], ["s"]),
        helper.make_node("Transpose", ["v"], ["vt"], perm=[1, 0]),
        helper.make_node("MatMul", ["s", "vt"], ["t"]),
        helper.make_node("Add", ["t", "one"], ["u"]),
        helper.make_node("Add", ["u", "mask"], ["m"]),
        helper.make_node("Softmax", ["m"], ["y"], axis=-1),
    ]
    path = write(tmp_path / "m.onnx", nodes, {"x": ["N", 4]}, {}, 17)
    model = bm.from_onnx(path)
    assert sorted(model.state()) == ["b", "one", "scale", "v", "w"]
    x = RANDOM.normal(size=(16, 4)).astype("float32")
    np.testing.assert_allclose(model(x), run(path, x)[0], rtol=1e-5, atol=1e-6)
    step = bm.compile(model, loss=bm.losses.MeanSquaredError(), optimizer=bm.optimizers.Adam(0.05))
    before = model.state()
    step(x, np.zeros((16, 3), "float32"))
    assert all((before[name] != array).any() for name, array in model.state().items() if name in "wbv")
    bm.export(model, tmp_path / "again.onnx")


def test_files_without_weights_are_not_trained(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], {"x": ["N", 3]}, {}, 17)
    model = bm.from_onnx(path)
    step = bm.compile(model, loss=bm.losses.MeanSquaredError(), optimizer=bm.optimizers.Adam(0.05))
    with pytest.raises(BigmodelError, match="no trainable parameters"):
        step(np.zeros((4, 3), "float32"), np.zeros((4, 3), "float32"))


@pytest.mark.parametrize("dtype", ["float32", "int64", "int32"])
@pytest.mark.parametrize(("low", "high"), [(-1, 2), (3, 1), (None, 1), (-1, None)])
def test_clip_is_that_of_onnx_runtime(dtype: str, low: Any, high: Any, tmp_path: Path) -> None:
    """Of integers, too; of bounds in the wrong order the upper one counts."""
    nodes = [
        *(constant(name, np.asarray(bound or 0, dtype)) for name, bound in (("low", low), ("high", high))),
        helper.make_node("Cast", ["x"], ["c"], to=TYPES[dtype]),
        helper.make_node("Clip", ["c", "" if low is None else "low", "" if high is None else "high"], ["d"]),
        helper.make_node("Cast", ["d"], ["y"], to=1),
    ]
    path = write(tmp_path / "m.onnx", nodes, {"x": ["N", 7]}, {}, 17)
    x = np.arange(-3, 4, dtype="float32").reshape(1, 7)
    np.testing.assert_array_equal(bm.from_onnx(path)(x), run(path, x)[0])


@pytest.mark.parametrize("kind", ["Identity", "Cast", "ConstantOfShape", "Identity of Constant", "int8"])
def test_weights_behind_other_nodes_are_trained(kind: str, tmp_path: Path) -> None:
    w = RANDOM.normal(size=(4, 2)).astype("float16").astype("float32")
    weights: dict[str, Any] = {}
    if kind == "ConstantOfShape":
        w = np.full((4, 2), 0.25, "float32")
        value = numpy_helper.from_array(np.float32([0.25]))
        nodes = [constant("s", np.int64([4, 2])), helper.make_node(kind, ["s"], ["w"], value=value)]
    elif kind == "Identity of Constant":
        nodes = [constant("v", w), helper.make_node("Identity", ["v"], ["w"])]
    elif kind == "Identity":
        weights, nodes = {"v": w}, [helper.make_node("Identity", ["v"], ["w"])]
    else:
        half = w.astype("float16") if kind == "Cast" else np.int8([[1, -2]] * 4)
        w = half.astype("float32")
        weights, nodes = {"v": half}, [helper.make_node("Cast", ["v"], ["w"], to=1)]
    nodes += [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Add", ["z", "z"], ["y"])]
    path = write(tmp_path / "m.onnx", nodes, {"x": ["N", 4]}, weights, 17)
    model = bm.from_onnx(path)
    ((_, found),) = model.state().items()
    np.testing.assert_array_equal(found, w)
    x = RANDOM.normal(size=(3, 4)).astype("float32")
    np.testing.assert_allclose(model(x), run(path, x)[0], rtol=1e-5, atol=1e-6)


def test_weights_that_are_shared_stay_shared(tmp_path: Path) -> None:
    w = RANDOM.normal(size=(4, 4)).astype("float32")
    nodes = [
        helper.make_node("Identity", ["w"], ["v"]),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("MatMul", ["z", "v"], ["y"]),
    ]
    model = bm.from_onnx(write(tmp_path / "m.onnx", nodes, {"x": ["N", 4]}, {"w": w}, 17))
    assert list(model.state()) == ["w"]


# Slices, shapes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "end"), [(-2, -1), (-5, -4), (0, 10), (1, -1), (-3, 2), (2, 2**62)])
@pytest.mark.parametrize("opset", [9, 13])
def test_slices_of_free_axes_are_those_of_onnx_runtime(
    start: int, end: int, opset: int, tmp_path: Path
) -> None:
    bounds: dict[str, Any] = {"starts": [start], "ends": [end], "axes": [1]}
    node = (
        helper.make_node("Slice", ["x"], ["y"], **bounds)
        if opset < 10
        else helper.make_node("Slice", ["x", *bounds], ["y"])
    )
    weights = {} if opset < 10 else {name: np.int64(values) for name, values in bounds.items()}
    path = write(tmp_path / "m.onnx", [node], {"x": ["N", "T"]}, weights, opset)
    model = bm.from_onnx(path)
    for length in (1, 2, 3, 5, 12):
        x = RANDOM.normal(size=(2, length)).astype("float32")
        np.testing.assert_array_equal(model(x), run(path, x)[0])


def test_squeeze_without_axes_needs_sizes_that_are_known(tmp_path: Path) -> None:
    node = helper.make_node("Squeeze", ["x"], ["y"], name="odd")
    model = bm.from_onnx(write(tmp_path / "m.onnx", [node], {"x": [2, 1, 3, 1]}, {}, 13))
    assert model(np.zeros((2, 1, 3, 1), "float32")).shape == (2, 3)
    with pytest.raises(ExportError, match=r"odd.*\(N, 1, 3\).*N may be 1"):
        bm.from_onnx(write(tmp_path / "m.onnx", [node], {"x": ["N", 1, 3]}, {}, 13))


@pytest.mark.parametrize("shape", [["none", "n"], ["n", "none"]])
def test_an_empty_constant_with_a_free_dimension_is_written_again(shape: list[str], tmp_path: Path) -> None:
    weights: dict[str, Any] = {"none": [0], "first": [0], "second": [1]}
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "first", "second"], ["n"]),
        helper.make_node("Concat", shape, ["t"], axis=0),
        helper.make_node("ConstantOfShape", ["t"], ["c"]),
        helper.make_node("Relu", ["x"], ["y"]),
    ]
    path = write(tmp_path / "m.onnx", nodes, {"x": ["N", "N"]}, weights, 17, "c y")
    model = bm.from_onnx(path)
    bm.export(model, tmp_path / "again.onnx")
    x = RANDOM.normal(size=(4, 4)).astype("float32")
    for found in (model(x), run(tmp_path / "again.onnx", x)):
        for got, want in zip(found, run(path, x), strict=True):
            np.testing.assert_array_equal(got, want)


def test_load_points_to_from_onnx(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], {"x": ["N", 3]}, {}, 17)
    with pytest.raises(BigmodelError, match=r"bm\.from_onnx"):
        bm.load(path)


def test_from_onnx_points_to_load(tmp_path: Path) -> None:
    model = bm.layers.Dense(2)
    model.build(bm.Spec(("N", 3)))
    bm.save(model, tmp_path / "m.safetensors")
    with pytest.raises(ExportError, match=r"bm\.load"):
        bm.from_onnx(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("size", "start", "end", "step"),
    [(1, -2, -3, -1), (4, 9, -9, -1), (4, -9, -9, -2), (4, 3, 0, -1), (4, 2, 2, -1), (2, -6, -(2**62), -1)],
)
def test_slices_backwards_are_those_of_onnx_runtime(
    size: int, start: int, end: int, step: int, tmp_path: Path
) -> None:
    """Of an input, of a constant and of a shape."""
    weights = {"a": [start], "b": [end], "axes": [0], "step": [step], "c": np.arange(size)}
    bounds = ["a", "b", "axes", "step"]
    nodes = [
        helper.make_node("Slice", ["x", *bounds], ["y"]),
        helper.make_node("Slice", ["c", *bounds], ["z"]),
        helper.make_node("Shape", ["long"], ["s"]),
        helper.make_node("Slice", ["s", *bounds], ["t"]),
    ]
    long = [3] * size
    path = write(tmp_path / "m.onnx", nodes, {"x": [size, 2], "long": long}, weights, 13, "y")
    model = onnx.load(path)
    model.graph.output.extend([helper.make_tensor_value_info(name, 7, ["k"]) for name in "zt"])
    onnx.save(model, path)
    arrays = RANDOM.normal(size=(size, 2)).astype("float32"), np.zeros(long, "float32")
    for found, wanted in zip(bm.from_onnx(path)(*arrays), run(path, *arrays), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("bounds", [["", ""], ["low", ""], ["", "high"]])
def test_a_bound_that_clip_lacks_is_the_largest_number(bounds: list[str], tmp_path: Path) -> None:
    weights = {name: np.float32(value) for name, value in (("low", -1), ("high", 1)) if name in bounds}
    node = helper.make_node("Clip", ["x", *bounds], ["y"])
    path = write(tmp_path / "m.onnx", [node], {"x": ["N", 4]}, weights, 13)
    x = np.float32([[np.inf, -np.inf, np.nan, 0.5]])
    np.testing.assert_array_equal(bm.from_onnx(path)(x), run(path, x)[0])
