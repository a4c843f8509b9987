"""What an exported file promises: proof, free dimensions, versions, names, size, metadata, the same bytes."""

from __future__ import annotations

import getpass
import json
import os
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ConfigError, ExportError, GraphError, UsageError
from bigmodel_core.ops.elementwise import ElementwiseOp
from bigmodel_onnx import Onnx, missing_lowerings
from tests.onnx.conftest import Function, run
from tests.processes import run_code


@dataclass(frozen=True)
class Secret(ElementwiseOp):
    """An op without a lowering, and none follows from positions."""

    cpu, cuda = bm.elementwise(lambda x, index: x + index)


@dataclass(frozen=True)
class Wrong(ElementwiseOp):
    """An op whose lowering computes something else."""

    cpu, cuda = bm.elementwise(lambda x: x * 2)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Mul(x, emit.const(2.01))


@dataclass(frozen=True)
class Doubled(bm.Layer):
    op: Any = Wrong()

    def __call__(self, x: bm.Value) -> bm.Value:
        return self.op(x)


def built(*layers: bm.Layer, features: int = 5) -> bm.Layer:
    model = bm.Sequential(*layers)
    model.build(bm.Spec(("N", features)))
    return model


# Proof ---------------------------------------------------------------------------------------------------


def test_the_report_tells_the_difference_at_two_batch_sizes(mlp: bm.Layer, tmp_path: Path) -> None:
    report = bm.export(mlp, tmp_path / "model.onnx")
    assert set(report.differences) == {"N = 1", "N = 7"}
    assert report.largest_difference < 1e-5
    assert "largest difference" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["nodes"] == report.nodes == 4


def test_the_file_computes_what_the_model_computes(mlp: bm.Layer, tmp_path: Path) -> None:
    bm.export(mlp, tmp_path / "model.onnx")
    for batch in (1, 2, 7, 64):
        x = np.random.default_rng(batch).standard_normal((batch, 5), np.float32)
        np.testing.assert_allclose(run(tmp_path / "model.onnx", x)[0], mlp(x), rtol=1e-5, atol=1e-6)


def test_a_wrong_lowering_is_found_and_the_layer_named(tmp_path: Path) -> None:
    model = built(bm.layers.Dense(4), bm.layers.Relu(), Doubled(), bm.layers.Dense(2), Doubled())
    with pytest.raises(ExportError, match=r"first layer that differs is doubled_1 \(Doubled\)"):
        bm.export(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_keeps_the_old_file(mlp: bm.Layer, tmp_path: Path) -> None:
    bm.export(mlp, tmp_path / "model.onnx")
    before = (tmp_path / "model.onnx").read_bytes()
    with pytest.raises(ExportError):
        bm.export(built(Doubled()), tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["model.onnx"]


def test_tampered_weights_fail_the_proof(
    mlp: bm.Layer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bigmodel_onnx import reading

    check = reading.check_rules

    def tamper(path: Path, **options: Any) -> None:
        if not options:  # a later look at the file
            return
        model = onnx.load(path)
        weight = next(item for item in model.graph.initializer if item.name == "dense_2/weight")
        numbers = onnx.numpy_helper.to_array(weight).copy()
        numbers[0, 0] += 0.5
        weight.CopyFrom(onnx.numpy_helper.from_array(numbers, weight.name))
        onnx.save(model, path)
        check(path, **options)

    monkeypatch.setattr(reading, "check_rules", tamper)
    with pytest.raises(ExportError, match=r"first layer that differs is dense_2 \(Dense\)"):
        bm.export(mlp, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_float64_models_agree_to_float64_precision(tmp_path: Path) -> None:
    model = bm.Sequential(bm.layers.Dense(6), bm.layers.Tanh(), bm.layers.Dense(2))
    model.build(bm.Spec(("N", 3), "float64"), dtype="float64")
    assert bm.export(model, tmp_path / "model.onnx").largest_difference < 1e-13
    assert run(tmp_path / "model.onnx", np.zeros((2, 3)))[0].dtype == np.float64


@pytest.mark.parametrize("opset", [13, 17, 20])
def test_activations_are_exact_in_float64(tmp_path: Path, opset: int) -> None:
    pieces = (ops.relu, ops.sigmoid, ops.tanh, ops.silu, ops.softplus, ops.softsign, ops.gelu_tanh)
    model = Function(lambda x: (*(f(x) for f in pieces), ops.leaky_relu(x, 0.2), ops.elu(x, 0.7)))
    model.build(bm.Spec(("N", 3), "float64"), dtype="float64")
    assert bm.export(model, tmp_path / "m.onnx", opset=opset).largest_difference < 1e-14


def test_what_the_runtime_cannot_run_is_said(tmp_path: Path) -> None:
    model = Function(lambda x: ops.gelu(x))
    model.build(bm.Spec(("N", 3), "float64"), dtype="float64")
    with pytest.raises(ExportError, match=r"Erf(.|\n)*Fix: .*dtype='float32'"):
        bm.export(model, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_samples_serve_as_inputs_of_the_proof(mlp: bm.Layer, tmp_path: Path) -> None:
    report = bm.export(mlp, tmp_path / "model.onnx", samples=np.ones((4, 5), "float32"))
    assert set(report.differences) == {"N = 1", "N = 4"}


# Layers that cannot be exported ---------------------------------------------------------------------------


def test_all_ops_without_lowering_are_named_at_once(tmp_path: Path) -> None:
    model = built(Doubled(Secret()), bm.layers.Dense(2), Doubled(Secret()))
    message = r"doubled_1 \(Doubled\): Secret; doubled_2 \(Doubled\): Secret"
    with pytest.raises(ExportError, match=message):
        bm.export(model, tmp_path / "model.onnx")


def test_missing_lowerings_are_found_without_building() -> None:
    assert missing_lowerings(Doubled(Secret()), [bm.Spec(("N", 3))]) == ["Doubled: Secret"]
    assert missing_lowerings(bm.layers.Dense(3), [bm.Spec(("N", 3))]) == []


def test_a_lowering_that_fails_counts_as_missing() -> None:
    @dataclass(frozen=True)
    class Broken(ElementwiseOp):
        cpu, cuda = bm.elementwise(lambda x: x)

        def onnx(self, emit: Any, x: Any) -> Any:
            return emit.nonsense(x)

    (found,) = missing_lowerings(Doubled(Broken()), [bm.Spec(("N", 3))])
    assert found.startswith("Doubled: Broken")


def test_a_model_that_is_not_built_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="not built"):
        bm.export(bm.layers.Dense(2), tmp_path / "model.onnx")


# Free dimensions ------------------------------------------------------------------------------------------


def test_every_named_dimension_stays_free(tmp_path: Path) -> None:
    model = bm.Sequential(bm.layers.Dense(4), bm.layers.Gelu(), bm.layers.LayerNorm(), bm.layers.Dense(2))
    model.build(bm.Spec(("N", "T", 3)))
    bm.export(model, tmp_path / "model.onnx")
    (item,) = onnx.load(tmp_path / "model.onnx").graph.input
    assert [dim.dim_param or dim.dim_value for dim in item.type.tensor_type.shape.dim] == ["N", "T", 3]
    for shape in ((1, 1, 3), (2, 5, 3), (7, 2, 3)):
        x = np.random.default_rng(0).standard_normal(shape, np.float32)
        np.testing.assert_allclose(run(tmp_path / "model.onnx", x)[0], model(x), rtol=1e-5, atol=1e-6)


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Two(bm.Layer):
        def __call__(self, a: bm.Value, b: bm.Value) -> Any:
            joined = bm.layers.Dense(4)(ops.concatenate([a, b], -1))
            return joined, a, joined

    model = Two()
    model.build(bm.Spec(("N", 2)), bm.Spec(("N", 3)))
    report = bm.export(model, tmp_path / "model.onnx")
    assert report.outputs == ("y_1", "y_2", "y_3")
    a, b = np.ones((2, 2), "float32"), np.ones((2, 3), "float32")
    found = run(tmp_path / "model.onnx", a, b)
    np.testing.assert_allclose(found[0], model(a, b)[0], rtol=1e-5)
    np.testing.assert_array_equal(found[1], a)
    np.testing.assert_array_equal(found[2], found[0])


def test_shared_layers_share_their_weights(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Twice(bm.Layer):
        inner: bm.Layer

        def __call__(self, x: bm.Value) -> bm.Value:
            return self.inner(ops.relu(self.inner(x))) + x

    model = Twice(bm.layers.Dense(5))
    model.build(bm.Spec(("N", 5)))
    bm.export(model, tmp_path / "model.onnx")
    names = [item.name for item in onnx.load(tmp_path / "model.onnx").graph.initializer]
    assert sorted(names) == ["inner/bias", "inner/weight"]


# Versions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "opset", "ir"),
    [
        ({}, 17, 8),
        ({"opset": 13}, 13, 7),
        ({"opset": 20}, 20, 9),
        ({"target_runtime": "1.17"}, 20, 9),
        ({"target_runtime": "1.12.1"}, 17, 8),
        ({"target_runtime": "1.6"}, 13, 7),
        ({"target_runtime": "1.99"}, 21, 10),
        ({"target_runtime": "1.17", "opset": 15}, 15, 8),
    ],
)
def test_opset_and_runtime_choose_the_versions(
    mlp: bm.Layer, tmp_path: Path, options: dict[str, Any], opset: int, ir: int
) -> None:
    bm.export(mlp, tmp_path / "model.onnx", **options)
    model = onnx.load(tmp_path / "model.onnx")
    assert [(item.domain, item.version) for item in model.opset_import] == [("", opset)]
    assert model.ir_version == ir
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize(
    "options",
    [
        {"opset": 12},
        {"opset": 99},
        {"target_runtime": "1.5"},
        {"target_runtime": "newest"},
        {"target_runtime": "1.12", "opset": 18},
        {"batch_sizes": (1,)},
        {"batch_sizes": (0, 3)},
        {"tolerance": -1.0},
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Fix: "):
        Onnx(**options)


def test_layer_norm_and_gelu_are_native_where_the_opset_has_them(tmp_path: Path) -> None:
    model = built(bm.layers.LayerNorm(), bm.layers.Gelu())
    assert bm.export(model, tmp_path / "m.onnx", opset=20).operators == {"LayerNormalization": 1, "Gelu": 1}
    assert "LayerNormalization" in bm.export(model, tmp_path / "m.onnx", opset=17).operators
    assert "LayerNormalization" not in bm.export(model, tmp_path / "m.onnx", opset=16).operators


# Size and names -------------------------------------------------------------------------------------------


def test_node_names_are_layer_paths(mlp: bm.Layer, tmp_path: Path) -> None:
    bm.export(mlp, tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert [node.name for node in graph.node] == [
        "dense_1/Gemm",
        "relu_1/Relu",
        "layer_norm_1/LayerNormalization",
        "dense_2/Gemm",
    ]
    assert {item.name for item in graph.initializer} == set(mlp.state())


MINIMAL: dict[str, tuple[Any, tuple[Any, ...], dict[str, int]]] = {
    "dense": (lambda x, w, b: ops.affine(x, w, b), (("N", 4), (4, 3), (3,)), {"Gemm": 1}),
    "product and bias": (lambda x, w, b: x @ w + b, (("N", 4), (4, 3), (3,)), {"Gemm": 1}),
    "transposed": (lambda x, w: x @ ops.transpose(w), (("N", 4), (3, 4)), {"Gemm": 1}),
    "deep dense": (ops.affine, (("N", "T", 4), (4, 3), (3,)), {"MatMul": 1, "Add": 1}),
    "mean": (lambda x: ops.mean(x, -1), (("N", 4),), {"ReduceMean": 1}),
    "mean of images": (lambda x: ops.mean(x, (0, 2), keepdims=True), (("N", 3, 4),), {"ReduceMean": 1}),
    "mean over the batch": (lambda x: ops.mean(x, 0), (("N", 4),), {"ReduceMean": 1}),
    "sum": (lambda x: ops.sum(x, (0, 2)), (("N", 3, 4),), {"ReduceSum": 1}),
    "element": (lambda x: x[:, 2], (("N", 4),), {"Gather": 1}),
    "corner": (lambda x: x[:, 1:, :2], (("N", 4, 4),), {"Slice": 1}),
    "flatten": (lambda x: ops.flatten(x), (("N", 4, 4),), {"Flatten": 1}),
    "reshapes": (lambda x: x.reshape(-1, 2, 8).reshape(-1, 4), (("N", 4, 4),), {"Reshape": 1}),
    "broadcast": (lambda x, y: x * ops.broadcast_to(y, (3, 4)), (("N", 3, 4), (4,)), {"Mul": 1}),
    "batched": (ops.matmul, (("N", 2, 3, 4), (2, 4, 5)), {"MatMul": 1}),
    "silu": (ops.silu, (("N", 4),), {"Sigmoid": 1, "Mul": 1}),
    "constant": (
        lambda x: x + ops.exp(ops.broadcast_to(x.node.graph.constant([0.5], "float32"), (4,))),
        (("N", 4),),
        {"Add": 1},
    ),
    "one of two": (
        lambda x: ops.softmax(x + ops.reshape(x, ("N", 4))),
        (("N", 4),),
        {"Add": 1, "Softmax": 1},
    ),
}


@pytest.mark.parametrize("name", MINIMAL)
def test_there_are_no_more_nodes_than_needed(name: str, tmp_path: Path) -> None:
    function, specs, operators = MINIMAL[name]
    model = Function(function)
    model.build(*specs)
    assert bm.export(model, tmp_path / "model.onnx").operators == operators


def test_values_used_twice_are_computed_once(tmp_path: Path) -> None:
    model = Function(lambda x, w: (ops.relu(x @ w), x @ w + 1.0))
    model.build(("N", 4), (4, 3))
    assert bm.export(model, tmp_path / "model.onnx").operators == {"MatMul": 1, "Relu": 1, "Add": 1}


def test_dropout_leaves_nothing_behind(tmp_path: Path) -> None:
    report = bm.export(built(bm.layers.Dense(3), bm.layers.Dropout(0.5)), tmp_path / "model.onnx")
    assert report.operators == {"Gemm": 1}


def test_weights_that_only_depend_on_weights_are_folded(tmp_path: Path) -> None:
    def tied(layer: bm.Layer, x: bm.Value) -> bm.Value:
        weight = layer.parameter("weight", (4, 4))
        return ops.matmul(x, ops.transpose(weight) * ops.exp(layer.parameter("scale", (4,))))

    model = Function(tied, wants_layer=True)
    model.build(bm.Spec(("N", 2, 4)))
    assert bm.export(model, tmp_path / "model.onnx").operators == {"MatMul": 1}
    (weight,) = onnx.load(tmp_path / "model.onnx").graph.initializer
    expected = model.state()["weight"].T * np.exp(model.state()["scale"])
    np.testing.assert_allclose(onnx.numpy_helper.to_array(weight), expected, rtol=1e-6)


# Metadata -------------------------------------------------------------------------------------------------


def test_the_file_says_what_it_is(mlp: bm.Layer, tmp_path: Path) -> None:
    bm.export(
        mlp,
        tmp_path / "model.onnx",
        name="flowers",
        labels=("rose", "tulip", "daisy"),
        metrics={"accuracy": 0.97, "epochs": 5},
        dataset="garden",
        input_meaning="five measurements in cm",
    )
    model = onnx.load(tmp_path / "model.onnx")
    assert (model.producer_name, model.producer_version) == ("bigmodel", bm.__version__)
    assert model.graph.name == "flowers"
    found = Onnx().describe(tmp_path / "model.onnx")
    assert found["metadata"]["labels"] == ["rose", "tulip", "daisy"]
    assert found["metadata"]["metrics"] == {"accuracy": 0.97, "epochs": 5}
    assert found["metadata"]["dataset"] == "garden"
    assert found["metadata"]["input_meaning"] == "five measurements in cm"
    assert found["metadata"]["versions"]["onnx"] == onnx.__version__
    assert found["parameters"] == sum(array.size for array in mlp.state().values())
    assert found["layers"][0] == {
        "name": "dense_1/Gemm",
        "operator": "Gemm",
        "output_shape": ["N", 8],
        "parameters": 48,
        "multiply_adds": 40,
    }
    assert json.loads(json.dumps(found)) == found


def test_a_registered_model_leaves_its_configuration(tmp_path: Path) -> None:
    model = bm.layers.Dense(3)
    model.build(bm.Spec(("N", 2)))
    bm.export(model, tmp_path / "model.onnx")
    config = Onnx().describe(tmp_path / "model.onnx")["metadata"]["config"]
    assert config["name"] == "layers:Dense"
    assert config["fields"]["units"] == 3


def test_nothing_of_the_machine_is_in_the_file(mlp: bm.Layer, tmp_path: Path) -> None:
    bm.export(mlp, tmp_path / "model.onnx", labels=("a", "b", "c"), metrics={"accuracy": 1})
    content = (tmp_path / "model.onnx").read_bytes()
    for text in (str(tmp_path), os.getcwd(), socket.gethostname(), os.path.expanduser("~")):
        assert text.encode() not in content
    if len(getpass.getuser()) > 4:
        assert getpass.getuser().encode() not in content


@pytest.mark.parametrize(
    "details", [{"labels": "abc"}, {"labels": [1, 2, 3]}, {"metrics": {"loss": float("nan")}}]
)
def test_metadata_of_the_wrong_kind_is_refused(
    mlp: bm.Layer, tmp_path: Path, details: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError):
        bm.export(mlp, tmp_path / "model.onnx", **details)


def test_two_exports_are_the_same_bytes(mlp: bm.Layer, tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        bm.export(mlp, tmp_path / name, labels=("a", "b", "c"), metrics={"b": 1, "a": 2}, name="m")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    code = (
        "import bigmodel_core as bm, sys\n"
        "model = bm.Sequential(bm.layers.Dense(7), bm.layers.Gelu(), bm.layers.Dense(2))\n"
        "model.build(bm.Spec(('N', 5)), seed=1)\n"
        "bm.export(model, sys.argv[1], labels=('a', 'b'))\n"
    )
    for name, seed in (("a.onnx", "1"), ("b.onnx", "2")):
        run_code(code, tmp_path / name, PYTHONHASHSEED=seed)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


# Choosing the exporter, writing ---------------------------------------------------------------------------


def test_an_unknown_ending_is_refused(mlp: bm.Layer, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'\.tflite'(.|\n)*\.onnx"):
        bm.export(mlp, tmp_path / "model.tflite")


def test_an_unknown_option_is_refused(mlp: bm.Layer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no option 'opzet'"):
        bm.export(mlp, tmp_path / "model.onnx", opzet=17)


@pytest.mark.parametrize("exporter", ["onnx", Onnx(opset=18)])
def test_an_exporter_can_be_named_or_passed(mlp: bm.Layer, tmp_path: Path, exporter: Any) -> None:
    report = bm.export(mlp, tmp_path / "model.bin", exporter=exporter)
    assert report.opset == (18 if isinstance(exporter, Onnx) else 17)
    with pytest.raises(UsageError):
        bm.export(mlp, tmp_path / "model.bin", exporter=replace(Onnx(), opset=18), opset=17)


def test_a_missing_folder_and_a_folder_as_target_are_errors(mlp: bm.Layer, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="does not exist"):
        bm.export(mlp, tmp_path / "no" / "model.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ExportError, match="folder of this name"):
        bm.export(mlp, tmp_path / "folder.onnx")


@pytest.mark.skipif(os.name != "posix", reason="limits of file sizes are POSIX")
def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    import resource

    model = built(bm.layers.Dense(8), features=64)
    bm.export(model, tmp_path / "model.onnx")
    before = (tmp_path / "model.onnx").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, limits[1]))
    try:
        with pytest.raises(ExportError, match="cannot write the file"):
            bm.export(model, tmp_path / "model.onnx")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "model.onnx").read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_an_unwritable_folder_is_an_error(mlp: bm.Layer, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ExportError, match="cannot write the file"):
            bm.export(mlp, tmp_path / "model.onnx")
    finally:
        tmp_path.chmod(0o700)


def test_importing_the_exporter_imports_no_onnx() -> None:
    code = "import sys, bigmodel_onnx; sys.exit('onnx' in sys.modules or 'onnxruntime' in sys.modules)"
    run_code(code)


# A sidecar for large models -------------------------------------------------------------------------------


def test_large_weights_go_to_one_sidecar_that_moves_along(tmp_path: Path) -> None:
    model = built(bm.layers.Dense(64), bm.layers.Relu(), bm.layers.Dense(32), features=32)
    report = bm.export(model, tmp_path / "model.onnx", single_file_limit=4096)
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted(["model.onnx", report.sidecar])
    assert (tmp_path / "model.onnx").stat().st_size < 4096
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    tmp_path.rename(moved)
    x = np.random.default_rng(0).standard_normal((3, 32), np.float32)
    np.testing.assert_allclose(run(moved / "model.onnx", x)[0], model(x), rtol=1e-5, atol=1e-6)
    found = Onnx().describe(moved / "model.onnx")
    assert found["bytes"] == report.size
    assert found["sidecars"] == [report.sidecar]


def test_sidecars_are_the_same_bytes_and_stale_ones_go(tmp_path: Path) -> None:
    model = built(bm.layers.Dense(64), features=32)
    first = bm.export(model, tmp_path / "model.onnx", single_file_limit=4096)
    again = bm.export(model, tmp_path / "model.onnx", single_file_limit=4096)
    assert first.sidecar == again.sidecar
    model.load_state({path: array + 1 for path, array in model.state().items()})
    other = bm.export(model, tmp_path / "model.onnx", single_file_limit=4096)
    assert other.sidecar != first.sidecar
    assert len(list(tmp_path.iterdir())) == 2
    bm.export(model, tmp_path / "model.onnx")
    assert [item.name for item in tmp_path.iterdir()] == ["model.onnx"]
