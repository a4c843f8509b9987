"""Models come back from ONNX files: the same numbers, trainable, and what cannot be read is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, ExportError
from bigmodel_core.registry import config
from bigmodel_onnx import OnnxModel
from tests.onnx.conftest import Function, each, run
from tests.onnx.test_operators import CASES, _inputs


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[Any]]],
    outputs: list[str],
    weights: dict[str, np.ndarray] | None = None,
    opset: int = 17,
) -> Path:
    """A file made by hand, as another exporter would make it."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.save(model, path)
    return path


def agree(path: Path, *arrays: np.ndarray) -> bm.Layer:
    """The imported model, after it computed what ONNX Runtime computes."""
    model = bm.from_onnx(path)
    for got, wanted in zip(each(model(*arrays)), run(path, *arrays), strict=True):
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)
    return model


FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
RANDOM = np.random.default_rng(3)
X = RANDOM.standard_normal((3, 4)).astype("float32")


def test_a_model_comes_back_with_its_weights(mlp: bm.Layer, tmp_path: Path) -> None:
    bm.export(mlp, tmp_path / "model.onnx")
    model = agree(tmp_path / "model.onnx", RANDOM.standard_normal((3, 5)).astype("float32"))
    assert {key: value.tolist() for key, value in model.state().items()} == {
        key: value.tolist() for key, value in mlp.state().items()
    }


def test_export_import_train_export(mlp: bm.Layer, tmp_path: Path) -> None:
    bm.export(mlp, tmp_path / "first.onnx")
    model = bm.from_onnx(tmp_path / "first.onnx")
    x = RANDOM.standard_normal((32, 5)).astype("float32")
    y = (x[:, 0] > 0).astype("int64")
    step = bm.compile(model, loss=bm.losses.CrossEntropy(), optimizer=bm.optimizers.Adam(0.05))
    losses = [step(x, y) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    report = bm.export(model, tmp_path / "second.onnx")
    assert report.operators == {"Gemm": 2, "Relu": 1, "LayerNormalization": 1}
    np.testing.assert_allclose(run(tmp_path / "second.onnx", x)[0], model(x), rtol=1e-4, atol=1e-5)
    names = [
        [node.name for node in onnx.load(tmp_path / name).graph.node]
        for name in ("first.onnx", "second.onnx")
    ]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    "name", sorted(set(CASES) - {"slice_second_half", "slice_middle", "update_slice_free"})
)
def test_every_op_comes_back(name: str, tmp_path: Path) -> None:
    function, _, specs = CASES[name]
    model = Function(function)
    model.build(*specs)
    for opset in (13, 20):
        bm.export(model, tmp_path / "model.onnx", opset=opset)
        agree(tmp_path / "model.onnx", *_inputs(specs, {"N": 2, "T": 5}))


def test_an_imported_model_is_saved_by_name_and_fields(mlp: bm.Layer, tmp_path: Path) -> None:
    bm.export(mlp, tmp_path / "model.onnx")
    model = bm.from_onnx(tmp_path / "model.onnx")
    copy = config.from_config("layer", config.to_config(model))
    assert isinstance(copy, OnnxModel)
    copy.build(*copy.input_specs)
    copy.load_state(model.state())
    x = RANDOM.standard_normal((2, 5)).astype("float32")
    np.testing.assert_array_equal(copy(x), model(x))


def test_an_imported_model_can_be_part_of_another(mlp: bm.Layer, tmp_path: Path) -> None:
    bm.export(mlp, tmp_path / "model.onnx")
    whole = bm.Sequential(bm.from_onnx(tmp_path / "model.onnx"), bm.layers.Dense(2))
    whole.build(bm.Spec(("N", 5)))
    x = RANDOM.standard_normal((2, 5)).astype("float32")
    first = mlp(x)
    expected = first @ whole.state()["dense_1/weight"] + whole.state()["dense_1/bias"]
    np.testing.assert_allclose(whole(x), expected, rtol=1e-5, atol=1e-6)
    assert "onnx_model_1/dense_1/weight" in whole.state()


def test_an_imported_model_computes_in_float64_where_asked(mlp: bm.Layer, tmp_path: Path) -> None:
    bm.export(mlp, tmp_path / "model.onnx", opset=13)
    model = bm.from_onnx(tmp_path / "model.onnx")
    x = RANDOM.standard_normal((2, 5))
    single = model(x.astype("float32"))
    model.build(bm.Spec(("N", 5), "float64"), dtype="float64")
    assert model(x).dtype == np.float64
    np.testing.assert_allclose(model(x), single, rtol=1e-4, atol=1e-5)


def test_dropout_comes_back_for_training_only(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx",
        [helper.make_node("Dropout", ["x", "rate"], ["y"])],
        {"x": (FLOAT, ["N", 4])},
        ["y"],
        {"rate": np.float32(0.5)},
    )
    model = bm.from_onnx(path)
    np.testing.assert_array_equal(model(X), X)
    assert any("Drop" in type(node.op).__name__ for node in model.network.trace(training=True).graph.nodes)


def with_dropout_inside(path: Path) -> Path:
    """An encoder of a product and Dropout, and a head, by the names that their nodes and weights have."""
    return save(
        path,
        [
            helper.make_node("Gemm", ["x", "encoder/dense/weight"], ["h"], name="encoder/dense/Gemm"),
            helper.make_node("Dropout", ["h", "rate"], ["d"], name="encoder/dropout/Dropout"),
            helper.make_node("Gemm", ["d", "head/weight"], ["y"], name="head/Gemm"),
        ],
        {"x": (FLOAT, ["N", 4])},
        ["y"],
        {
            "encoder/dense/weight": RANDOM.standard_normal((4, 16)).astype("float32"),
            "head/weight": RANDOM.standard_normal((16, 2)).astype("float32"),
            "rate": np.float32(0.5),
        },
    )


@pytest.mark.parametrize("place", ["", "onnx_model_1/"], ids=["alone", "inside"])
def test_what_is_frozen_by_pattern_computes_as_in_inference(place: str, tmp_path: Path) -> None:
    def first_loss(freeze: str) -> float:
        model: bm.Layer = bm.from_onnx(with_dropout_inside(tmp_path / "m.onnx"))
        if place:
            model = bm.Sequential(model, bm.layers.Relu())
        target = model(X) + 1  # a squared error of 1 as long as nothing is dropped
        step = bm.compile(model, "mean_squared_error", "sgd", freeze=freeze)
        return float(step(X, target))

    assert first_loss(f"{place}encoder/*") == pytest.approx(1, abs=1e-5)
    assert abs(first_loss(f"{place}head/*") - 1) > 0.1


# Files of others ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "shapes"),
    [
        ({"transB": 1}, ((4,), (5, 4), (5,))),
        ({"transB": 1, "alpha": 0.5, "beta": 2.0}, ((4,), (5, 4), (1, 5))),
        ({"beta": 0.0}, ((4,), (4, 5), (5,))),
        ({}, ((4,), (4, 5), ())),
    ],
)
def test_gemm_in_all_its_forms(tmp_path: Path, attributes: dict[str, Any], shapes: Any) -> None:
    weights = {"w": RANDOM.standard_normal(shapes[1]), "b": RANDOM.standard_normal(shapes[2])}
    path = save(
        tmp_path / "m.onnx",
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], **attributes)],
        {"x": (FLOAT, ["batch size", 4])},
        ["y"],
        {name: np.asarray(array, "float32") for name, array in weights.items()},
    )
    agree(path, X)


def test_shapes_that_are_computed_stay_free(tmp_path: Path) -> None:
    """x.view(x.size(0), -1) as exporters write it: Shape, Gather, Unsqueeze, Concat, Reshape."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Constant", [], ["zero"], value=numpy_helper.from_array(np.int64(0))),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "axes"], ["n1"]),
        helper.make_node("Concat", ["n1", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["flat"]),
        helper.make_node("Shape", ["flat"], ["t"]),
        helper.make_node("Gather", ["t", "zero"], ["m"]),
        helper.make_node("Mul", ["m", "two"], ["m2"]),
        helper.make_node("Unsqueeze", ["m2", "axes"], ["m3"]),
        helper.make_node("Concat", ["m3", "rest"], ["other"], axis=0),
        helper.make_node("Reshape", ["flat", "other"], ["y"]),
        helper.make_node("Cast", ["m2"], ["count"], to=FLOAT),
        helper.make_node("Div", ["y", "count"], ["z"]),
    ]
    weights = {"axes": np.array([0]), "rest": np.array([-1]), "two": np.int64(2)}
    path = save(tmp_path / "m.onnx", nodes, {"x": (FLOAT, ["N", 2, 6])}, ["z", "m"], weights)
    for batch in (1, 4):
        agree(path, RANDOM.standard_normal((batch, 2, 6)).astype("float32"))


@pytest.mark.parametrize(
    ("nodes", "weights", "opset"),
    [
        ([("ReduceSum", ["x"], {"axes": [1], "keepdims": 0})], {}, 11),
        ([("ReduceMean", ["x"], {})], {}, 13),
        ([("Softmax", ["x"], {"axis": 1})], {}, 11),
        ([("Clip", ["x"], {"min": -0.5, "max": 0.5})], {}, 6),
        ([("Clip", ["x", "", "top"], {})], {"top": np.float32(0.3)}, 17),
        ([("Squeeze", ["u"], {"axes": [0]}), ("Unsqueeze", ["x"], {"axes": [0]})], {}, 11),
        ([("Slice", ["x"], {"starts": [1], "ends": [-1], "axes": [1]})], {}, 9),
        ([("Gather", ["x", "i"], {"axis": 1})], {"i": np.array([[0, -1], [2, 1]])}, 17),
        ([("Expand", ["x", "shape"], {})], {"shape": np.array([2, 1, 4])}, 17),
        ([("Max", ["x", "a", "b"], {})], {"a": np.float32(0.1), "b": np.float32([0, 1, 0, 1])}, 17),
        ([("Mean", ["x", "x", "a"], {})], {"a": np.float32([1, 2, 3, 4])}, 17),
        ([("HardSigmoid", ["x"], {"alpha": 0.3})], {}, 17),
        ([("Reciprocal", ["x"], {})], {}, 17),
        ([("Pow", ["x", "e"], {})], {"e": np.int64(3)}, 17),
        ([("Flatten", ["x"], {"axis": -1})], {}, 17),
        ([("MatMul", ["x", "v"], {})], {"v": np.float32([1, 2, 3, 4])}, 17),
        ([("Identity", ["x"], {})], {}, 17),
    ],
)
def test_operators_in_their_other_forms(
    tmp_path: Path, nodes: list[Any], weights: dict[str, Any], opset: int
) -> None:
    made = [
        helper.make_node(operator, inputs, ["y" if place == 0 else "u"], **attributes)
        for place, (operator, inputs, attributes) in enumerate(nodes)
    ][::-1]
    path = save(tmp_path / "m.onnx", made, {"x": (FLOAT, ["N", 4])}, ["y"], weights, opset)
    agree(path, X)


def test_batch_normalisation_keeps_its_statistics(tmp_path: Path) -> None:
    weights = {
        name: RANDOM.uniform(0.5, 2, 4).astype("float32") for name in ("scale", "shift", "mean", "variance")
    }
    path = save(
        tmp_path / "m.onnx",
        [helper.make_node("BatchNormalization", ["x", *weights], ["y"])],
        {"x": (FLOAT, ["N", 4])},
        ["y"],
        weights,
    )
    model = agree(path, X)
    trainable = {name for name, item in model.network.parameters.items() if item.trainable}
    assert trainable == {"scale", "shift"}


def test_all_operators_that_cannot_be_read_are_listed_at_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("NonZero", ["a"], ["b"]),
        helper.make_node("Det", ["a"], ["c"]),
        helper.make_node("Thing", ["a"], ["d"], domain="com.example"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [4, 4])],
        [helper.make_tensor_value_info("c", FLOAT, [])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(ExportError, match=r"Det, NonZero, com\.example\.Thing") as caught:
        bm.from_onnx(tmp_path / "m.onnx")
    assert "Relu" not in str(caught.value)


def test_a_shape_that_depends_on_data_is_refused(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx",
        [helper.make_node("Reshape", ["x", "shape"], ["y"], name="odd")],
        {"x": (FLOAT, ["N", 4]), "shape": (INT64, [2])},
        ["y"],
    )
    with pytest.raises(ExportError, match="odd: input 2 of Reshape must be a constant or a shape"):
        bm.from_onnx(path)


def test_computing_in_half_precision_is_refused(tmp_path: Path) -> None:
    path = save(
        tmp_path / "m.onnx",
        [
            helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
            helper.make_node("Add", ["h", "w"], ["y"]),
        ],
        {"x": (FLOAT, ["N", 4])},
        ["y"],
        {"w": np.float16([1, 2, 3, 4])},
    )
    with pytest.raises(ExportError, match="w: numbers of type float16"):
        bm.from_onnx(path)


@pytest.mark.parametrize("structure", ["", "[]", "{}", '{"nodes": 3}', "[" * 100000])
def test_a_structure_that_is_none_is_refused(structure: str) -> None:
    with pytest.raises(ConfigError, match=r"bm\.from_onnx"):
        OnnxModel(structure)
