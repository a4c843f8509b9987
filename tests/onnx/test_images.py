"""Convolutions, pools and normalisations become single operators; batch normalisation goes into weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import bigmodel_core as bm
from bigmodel_core import ops
from tests.onnx.conftest import Function, run

layers = bm.layers


def exported(layer: bm.Layer, path: Path, *shapes: Any, **options: Any) -> list[tuple[str, str]]:
    """Operators and names of the file's nodes; the numbers in it are far from a fresh model's."""
    dtype = options.pop("dtype", "float32")
    network = layer.build(*(bm.Spec(shape, dtype) for shape in shapes), seed=0, dtype=dtype)
    generator = np.random.default_rng(5)
    state = {
        name: generator.uniform(0.2, 3, array.shape)
        if "variance" in name
        else array + generator.normal(0, 0.5, array.shape)
        for name, array in network.state().items()
    }
    network.load_state(state)
    bm.export(network, path, **options)
    for batch in (1, 3):
        arrays = [
            generator.normal(size=spec.bind({"N": batch}).sizes).astype(dtype) for spec in network.inputs
        ]
        wanted = network(*arrays)
        np.testing.assert_allclose(run(path, *arrays)[0], wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
    return [(node.op_type, node.name) for node in onnx.load(path).graph.node]


def weights(path: Path) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}


def operators(layer: bm.Layer, path: Path, *shapes: Any, **options: Any) -> list[str]:
    return [operator for operator, _ in exported(layer, path, *shapes, **options)]


IMAGE, SEQUENCE, VOLUME = ("N", 4, 9, 8), ("N", 4, 15), ("N", 4, 5, 6, 4)
FOLDED = {
    "conv": (layers.Conv2d(6, 3, 2, 1), IMAGE, "Conv"),
    "conv without bias": (layers.Conv2d(6, (3, 2), use_bias=False), IMAGE, "Conv"),
    "grouped conv": (layers.Conv2d(6, 3, groups=2), IMAGE, "Conv"),
    "conv of sequences": (layers.Conv1d(6, 3, 2, 2, dilation=2), SEQUENCE, "Conv"),
    "transpose": (layers.ConvTranspose2d(6, 3, 2, output_padding=1), IMAGE, "ConvTranspose"),
    "grouped transpose": (layers.ConvTranspose2d(6, 3, groups=2, use_bias=False), IMAGE, "ConvTranspose"),
    "conv of volumes": (layers.Conv3d(6, 3, 2, 1), VOLUME, "Conv"),
    "transpose of volumes": (layers.ConvTranspose3d(6, 2, 2, groups=2), VOLUME, "ConvTranspose"),
    "dense": (layers.Dense(6), ("N", 4), "Gemm"),
    "dense without bias": (layers.Dense(6, use_bias=False), ("N", 4), "Gemm"),
}


@pytest.mark.parametrize("name", [*FOLDED, "dense in float64"])
def test_batch_normalisation_goes_into_what_comes_before(name: str, tmp_path: Path) -> None:
    layer, shape, operator = FOLDED[name.removesuffix(" in float64")]
    dtype = "float64" if "float64" in name else "float32"  # the runtime's Conv takes no float64
    model = bm.Sequential(layer, layers.BatchNorm(epsilon=1e-3), layers.Relu())
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    nodes = exported(model, first, shape, dtype=dtype)
    assert [node for node, _ in nodes] == [operator, "Relu"]
    assert nodes[0][1] == f"{next(iter(model.state())).split('/')[0]}/{operator}"
    assert operators(model, second, shape, dtype=dtype) == [operator, "Relu"]
    assert first.read_bytes() == second.read_bytes()


def test_folded_weights_are_computed_in_double_precision_and_rounded_once(tmp_path: Path) -> None:
    model = bm.Sequential(layers.Conv2d(3, 2), layers.BatchNorm(epsilon=1e-3))
    exported(model, tmp_path / "model.onnx", IMAGE)
    before = {name.split("/")[1]: array.astype("float64") for name, array in model.state().items()}
    rate = before["scale"] / np.sqrt(before["running_variance"] + 1e-3)
    found = weights(tmp_path / "model.onnx")
    assert set(found) == {"conv2d_1/weight_folded", "conv2d_1/bias_folded"}
    wanted = (before["weight"] * rate[:, None, None, None]).astype("float32")
    np.testing.assert_array_equal(found["conv2d_1/weight_folded"], wanted)
    wanted = ((before["bias"] - before["running_mean"]) * rate + before["shift"]).astype("float32")
    np.testing.assert_array_equal(found["conv2d_1/bias_folded"], wanted)


def test_folding_can_be_switched_off(tmp_path: Path) -> None:
    model = bm.Sequential(layers.Conv1d(3, 2), layers.BatchNorm())
    assert operators(model, tmp_path / "m.onnx", SEQUENCE, fold=False) == ["Conv", "BatchNormalization"]
    assert "batch_norm_1/running_mean" in weights(tmp_path / "m.onnx")


def test_normalisation_stays_where_the_convolution_has_other_readers(tmp_path: Path) -> None:
    def both(x: Any) -> Any:
        y = layers.Conv2d(4, 3, padding=1)(x)
        return layers.BatchNorm()(y) + y

    found = operators(Function(both), tmp_path / "model.onnx", IMAGE)
    assert sorted(found) == ["Add", "BatchNormalization", "Conv"]


def test_normalisation_stays_where_weights_are_used_twice(tmp_path: Path) -> None:
    conv = layers.Conv2d(4, 3, padding=1)

    def twice(x: Any) -> Any:
        return layers.BatchNorm()(conv(x)) + layers.BatchNorm()(conv(ops.relu(x)))

    found = operators(Function(twice), tmp_path / "model.onnx", IMAGE)
    assert found.count("BatchNormalization") == 2
    assert len([name for name in weights(tmp_path / "model.onnx") if name.endswith("weight")]) == 1


@pytest.mark.parametrize("shape", [("N", 4), SEQUENCE, IMAGE], ids=str)
def test_normalisation_alone_is_one_operator_at_any_rank(shape: Any, tmp_path: Path) -> None:
    model = bm.Sequential(layers.Relu(), layers.BatchNorm())
    assert operators(model, tmp_path / "model.onnx", shape) == ["Relu", "BatchNormalization"]


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("mean", [0.0, 10.0, 100.0, 1e4, 1e6])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [(layers.Conv2d(4, 1), IMAGE), (layers.Conv1d(4, 1), SEQUENCE), (layers.Relu(), ("N", 4))],
    ids=str,
)
def test_means_far_from_0_cost_no_digits_in_files(
    layer: bm.Layer, shape: Any, mean: float, fold: bool, tmp_path: Path
) -> None:
    """Whether a mean is folded, left to the runtime or subtracted first; right is NumPy in float64."""
    x = (mean + 0.1 * np.random.default_rng(0).standard_normal((9, *shape[1:]))).astype("float32")
    x = np.abs(x)
    axes, column = (0, *range(2, x.ndim)), (-1,) + (1,) * (x.ndim - 2)
    network = bm.Sequential(layer, layers.BatchNorm()).build(bm.Spec(shape))
    state = dict(network.state())
    state["batch_norm_1/running_mean"] = x.mean(axes, dtype="float64").astype("float32")
    state["batch_norm_1/running_variance"] = x.var(axes, dtype="float64").astype("float32")
    for path in state:
        if path.startswith("conv"):  # each channel as it is
            state[path] = np.zeros_like(state[path])
            if path.endswith("weight"):
                np.einsum("ii...->i...", state[path])[...] = 1
    network.load_state(state)
    wide = {path.split("/")[1]: array.astype("float64") for path, array in state.items() if "norm" in path}
    rate = 1 / np.sqrt(wide["running_variance"] + 1e-5)
    right = (x - wide["running_mean"].reshape(column)) * rate.reshape(column)
    bm.export(network, tmp_path / "m.onnx", fold=fold)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(found, right, atol=3e-5)
    np.testing.assert_allclose(network(x), right, atol=1e-6)
    used = {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    assert ("Sub" in used) == (mean >= 100)


def test_normalisation_over_computed_moments_is_not_folded(tmp_path: Path) -> None:
    def computed(x: Any, mean: Any) -> Any:
        graph = x.node.graph
        weight = graph.constant(np.random.default_rng(0).normal(size=(4, 4, 1, 1)).astype("float32"))
        ones = graph.constant(np.ones(4, "float32"))
        return ops.fixed_norm(ops.conv2d(x, weight), ones, ones, mean, ones)

    found = operators(Function(computed), tmp_path / "model.onnx", IMAGE, (4,))
    assert found == ["Conv", "BatchNormalization"]


def test_sequences_need_no_reshaping(tmp_path: Path) -> None:
    model = bm.Sequential(
        layers.Conv1d(5, 3, padding="same", groups=1),
        layers.BatchNorm(),
        layers.MaxPool1d(3, 2, 1),
        layers.Conv1d(6, 2, dilation=2, use_bias=False),
        layers.AveragePool1d(2, padding=1),
        layers.Flatten(),
        layers.Dense(3),
    )
    found = operators(model, tmp_path / "model.onnx", SEQUENCE)
    assert found == ["Conv", "MaxPool", "Conv", "AveragePool", "Flatten", "Gemm"]


def test_images_of_one_row_stay_images(tmp_path: Path) -> None:
    model = bm.Sequential(layers.Reshape((4, 1, 15)), layers.Conv2d(3, (1, 3)))
    assert operators(model, tmp_path / "model.onnx", SEQUENCE) == ["Reshape", "Conv"]


def test_enlargement_is_resize(tmp_path: Path) -> None:
    assert operators(layers.Upsample2d((2, 3)), tmp_path / "model.onnx", IMAGE) == ["Resize"]
    found = operators(layers.Upsample2d(2), tmp_path / "model.onnx", IMAGE, dtype="float64")
    assert found == ["Reshape", "Expand", "Reshape"]  # the runtime's Resize takes no float64


@pytest.mark.parametrize("name", ["resnet20", "inception", "densenet121"])
def test_networks_for_images_have_no_normalisation_left(name: str, tmp_path: Path) -> None:
    options = {
        "resnet20": {"width": 4},
        "inception": {"width": 8},
        "densenet121": {"growth": 4, "depths": (2, 2)},
    }
    model = bm.models.get(name)(classes=3, **options[name])
    found = operators(model, tmp_path / "model.onnx", ("N", 3, 32, 32))
    left = found.count("BatchNormalization")
    assert left == (0 if name != "densenet121" else 6)  # there most come before the convolution
    assert not {"Identity", "Unsqueeze", "Squeeze"} & set(found)
