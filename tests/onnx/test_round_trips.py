"""Models for images and sequences come back from their files, and are written by the same operators again."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import bigmodel_core as bm
from bigmodel_core.errors import ExportError
from tests.onnx.conftest import run
from tests.onnx.test_import import save

layers = bm.layers
SMALL = ("N", 3, 32, 32)
ROWS = ("N", 6, 5)
MODELS: dict[str, tuple[str, dict[str, Any], bm.Spec]] = {
    "lenet": ("lenet", {}, bm.Spec(("N", 1, 28, 28))),
    "bigmodel-cnn": ("bigmodel-cnn", {"filters": (4, 6), "units": 12}, bm.Spec(("N", 1, 12, 12))),
    "vgg11": ("vgg11", {"width": 4, "units": 16, "classes": 5}, bm.Spec(SMALL)),
    "resnet20": ("resnet20", {"width": 4}, bm.Spec(("N", 3, 12, 12))),
    "resnet18": ("resnet18", {"width": 4, "classes": 5}, bm.Spec(SMALL)),
    "densenet121": ("densenet121", {"growth": 4, "depths": (2, 2), "classes": 5}, bm.Spec(SMALL)),
    "inception": ("inception", {"width": 8, "classes": 5}, bm.Spec(SMALL)),
    "rnn-regressor": ("rnn-regressor", {}, bm.Spec(("N", "T", 1))),
    "rnn-classifier": ("rnn-classifier", {"units": 7, "layers": 2, "bidirectional": True}, bm.Spec(ROWS)),
    "lstm-classifier": ("lstm-classifier", {"units": 7, "layers": 2, "bidirectional": True}, bm.Spec(ROWS)),
    "gru-classifier": ("gru-classifier", {"units": 7, "layers": 2, "bidirectional": True}, bm.Spec(ROWS)),
    "time-series-forecaster": ("time-series-forecaster", {"units": 6}, bm.Spec(("N", "T", 1))),
    "n-beats": ("n-beats", {"outputs": 3, "width": 8, "quantiles": (0.1, 0.9)}, bm.Spec(("N", 6, 2))),
    "tcn": ("tcn", {"outputs": 3, "channels": 4, "blocks": 2}, bm.Spec(("N", 8, 2))),
    "char-rnn": (
        "char-rnn",
        {"classes": 9, "units": 8, "layers": 2, "carry": False},
        bm.Spec(("N", "T"), "int64"),
    ),
}
LAYERS: dict[str, tuple[bm.Layer, tuple[Any, ...]]] = {
    "convolutions of sequences": (
        bm.Sequential(layers.Conv1d(4, 3, padding="same"), layers.MaxPool1d(2), layers.GlobalAveragePool()),
        ("N", 3, 12),
    ),
    "transposed convolution": (layers.ConvTranspose2d(4, 3, 2, 1, 1, groups=2), ("N", 4, 5, 6)),
    "strides and dilations": (layers.Conv2d(4, (3, 2), (2, 1), (1, 2), (1, 2), groups=2), ("N", 4, 9, 8)),
    "volumes": (
        bm.Sequential(
            layers.Conv3d(4, (2, 3, 3), padding="same"),
            layers.BatchNorm(),
            layers.Relu(),
            layers.MaxPool3d(2),
            layers.ConvTranspose3d(3, 3, 2, 1, 1),
            layers.AveragePool3d(3, 2, 1, count_border=False),
            layers.GlobalAveragePool(),
        ),
        ("N", 2, 6, 8, 7),
    ),
    "average pool": (layers.AveragePool2d(3, 2, 1), ("N", 2, 7, 8)),
    "adaptive pool": (layers.AdaptiveAveragePool2d((2, 3)), ("N", 2, 7, 8)),
    "border": (layers.ZeroPad2d((1, 0, 2, 3)), ("N", 2, 4, 5)),
    "enlargement": (layers.Upsample2d((2, 3)), ("N", 2, 4, 5)),
    "group norm": (layers.GroupNorm(2), ("N", 4, 3, 5)),
    "instance norm": (layers.InstanceNorm(), ("N", 4, 6)),
    "batch norm": (bm.Sequential(layers.Relu(), layers.BatchNorm()), ("N", 4, 6)),
}


def shaken(network: Any) -> Any:
    """The network with numbers unlike those of a fresh one."""
    generator = np.random.default_rng(7)
    network.load_state(
        {
            name: array + generator.uniform(0.0, 0.3, array.shape) * (1 if "variance" in name else 0.3)
            for name, array in network.state().items()
        }
    )
    return network


def draw(spec: bm.Spec, sizes: dict[str, int]) -> np.ndarray:
    generator = np.random.default_rng(sizes["N"])
    shape = spec.bind(sizes).sizes
    return (
        generator.normal(size=shape).astype("float32") if spec.is_float else generator.integers(0, 9, shape)
    )


def comes_back(network: Any, folder: Path) -> Any:
    """The model that was read, after it computed the same and was written by the same operators."""
    report = bm.export(network, folder / "first.onnx")
    model = bm.from_onnx(folder / "first.onnx")
    for sizes in ({"N": 1, "T": 5}, {"N": 3, "T": 8}):
        arrays = [draw(spec, sizes) for spec in network.inputs]
        wanted = network(*arrays)
        scale = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(model(*arrays), wanted, rtol=1e-5, atol=1e-5 * scale)
    assert bm.export(model, folder / "second.onnx").operators == report.operators
    return model


@pytest.mark.parametrize("name", MODELS)
def test_models_come_back(name: str, tmp_path: Path) -> None:
    model, options, spec = MODELS[name]
    comes_back(shaken(bm.models.get(model)(**options).build(spec)), tmp_path)


@pytest.mark.parametrize("name", LAYERS)
def test_layers_come_back(name: str, tmp_path: Path) -> None:
    layer, shape = LAYERS[name]
    comes_back(shaken(layer.build(bm.Spec(shape))), tmp_path)


def test_a_model_that_came_back_can_be_trained(tmp_path: Path) -> None:
    network = bm.models.get("lstm-classifier")(units=8, classes=2, bidirectional=True).build(
        bm.Spec(("N", "T", 3))
    )
    bm.export(network, tmp_path / "model.onnx")
    model = bm.from_onnx(tmp_path / "model.onnx")
    x = np.random.default_rng(0).normal(size=(32, 5, 3)).astype("float32")
    y = (x[:, :, 0].sum(1) > 0).astype("int64")
    step = bm.compile(model, loss=bm.losses.CrossEntropy(), optimizer=bm.optimizers.Adam(0.02))
    losses = [step(x, y) for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]


# Recurrent operators as others write them ----------------------------------------------------------------

T, N, F, H = 5, 3, 4, 6
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("operator", GATES)
def test_recurrent_operators_compute_what_the_runtime_computes(
    operator: str, direction: str, tmp_path: Path
) -> None:
    generator = np.random.default_rng(4)
    count = 2 if direction == "bidirectional" else 1
    rows = GATES[operator] * H
    states = ["h0", "c0"] if operator == "LSTM" else ["h0"]
    drawn = {
        "w": generator.normal(size=(count, rows, F)) * 0.5,
        "r": generator.normal(size=(count, rows, H)) * 0.5,
        "b": generator.normal(size=(count, 2 * rows)) * 0.5,
        **{name: generator.normal(size=(count, N, H)) for name in states},
    }
    weights: dict[str, np.ndarray] = {name: array.astype("float32") for name, array in drawn.items()}
    x = generator.normal(size=(T, N, F)).astype("float32")
    outputs = ["y", "h", "c"][: 1 + len(states)]
    attributes: dict[str, Any] = {"hidden_size": H, "direction": direction}
    if operator == "GRU":
        attributes["linear_before_reset"] = 1
    if operator == "RNN":
        attributes["activations"] = ["Relu", "Tanh"][:count]
    for bias, lengths, initial in itertools.product((False, True), repeat=3):
        inputs = ["x", "w", "r", "b" if bias else "", "lengths" if lengths else ""]
        inputs += states if initial else []
        node = helper.make_node(operator, inputs, outputs, **attributes)
        used = {name: weights[name] for name in inputs if name in weights}
        given: dict[str, Any] = {"x": (TensorProto.FLOAT, ["T", N, F])}
        given |= {"lengths": (TensorProto.INT32, [N])} if lengths else {}
        path = save(tmp_path / "m.onnx", [node], given, outputs, used)
        model = bm.from_onnx(path)
        arrays = [x, np.array([2, 5, 1], "int32")][: 1 + lengths]
        for found, wanted in zip(model(*arrays), run(path, *arrays), strict=True):
            assert found.shape == wanted.shape
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-6)
        trained = {name for name, item in model.network.parameters.items() if item.trainable}
        assert trained == {"w", "r"} | ({"b"} if bias else set())
        report = bm.export(model, tmp_path / "again.onnx")
        assert report.operators[operator] == (2 if operator == "RNN" and count == 2 else 1)  # two activations


@pytest.mark.parametrize(
    ("operator", "attributes", "message"),
    [
        ("RNN", {"activations": ["Affine"]}, "activations affine cannot be read"),
        ("LSTM", {"activations": ["Sigmoid", "Tanh", "Relu"]}, "activations sigmoid, tanh, relu"),
        ("LSTM", {"clip": 3.0}, "LSTM with clip"),
        ("LSTM", {"input_forget": 1}, "LSTM with input_forget"),
        ("GRU", {}, "reset gate before the matrix product"),
        ("GRU", {"linear_before_reset": 1, "direction": "sideways"}, "direction sideways"),
        ("GRU", {"linear_before_reset": 1, "direction": "bidirectional"}, "not those of 2 direction"),
    ],
)
def test_recurrent_operators_of_another_kind_are_refused(
    operator: str, attributes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    rows = GATES[operator] * H
    weights = {"w": np.zeros((1, rows, F), "float32"), "r": np.zeros((1, rows, H), "float32")}
    node = helper.make_node(operator, ["x", "w", "r"], ["y"], name="odd", hidden_size=H, **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", N, F])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["T", 1, N, H])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "m.onnx",
    )
    with pytest.raises(ExportError, match=f"odd: .*{message}"):
        bm.from_onnx(tmp_path / "m.onnx")


# Windows as others write them ----------------------------------------------------------------------------

IMAGE, SEQUENCE, VOLUME = ("N", 4, 9, 8), ("N", 4, 11), ("N", 4, 5, 7, 6)


@pytest.mark.parametrize(
    ("operator", "shape", "attributes"),
    [
        ("Conv", IMAGE, {"auto_pad": "SAME_LOWER", "strides": [2, 3]}),
        ("Conv", IMAGE, {"auto_pad": "VALID", "dilations": [2, 1]}),
        ("Conv", IMAGE, {"pads": [0, 1, 2, 3], "group": 2}),
        ("Conv", SEQUENCE, {"pads": [2, 0], "strides": [2], "dilations": [3]}),
        ("Conv", SEQUENCE, {"auto_pad": "SAME_UPPER", "strides": [2]}),
        ("ConvTranspose", IMAGE, {"strides": [2, 3], "output_padding": [1, 2], "pads": [0, 1, 1, 0]}),
        ("ConvTranspose", IMAGE, {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
        ("ConvTranspose", IMAGE, {"strides": [2, 2], "output_shape": [18, 17]}),
        ("ConvTranspose", SEQUENCE, {"strides": [3], "group": 2, "dilations": [2]}),
        ("Conv", VOLUME, {"auto_pad": "SAME_LOWER", "strides": [2, 1, 3]}),
        ("Conv", VOLUME, {"pads": [0, 1, 2, 1, 0, 1], "group": 2, "dilations": [1, 2, 1]}),
        ("ConvTranspose", VOLUME, {"strides": [2, 1, 2], "pads": [0, 1, 0, 1, 0, 1]}),
        ("ConvTranspose", VOLUME, {"strides": [2, 2, 2], "output_shape": [11, 13, 12]}),
        ("MaxPool", IMAGE, {"ceil_mode": 1, "strides": [2, 3], "pads": [1, 0, 1, 1]}),
        ("MaxPool", IMAGE, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ("MaxPool", SEQUENCE, {"ceil_mode": 1, "strides": [4]}),
        ("AveragePool", IMAGE, {"ceil_mode": 1, "strides": [2, 3]}),
        ("AveragePool", IMAGE, {"count_include_pad": 1, "pads": [1, 2, 0, 1]}),
        ("AveragePool", IMAGE, {"pads": [1, 2, 0, 1], "strides": [2, 1]}),
        ("AveragePool", SEQUENCE, {"auto_pad": "SAME_LOWER", "strides": [2]}),
        ("MaxPool", VOLUME, {"ceil_mode": 1, "strides": [2, 3, 2], "pads": [1, 0, 1, 1, 2, 0]}),
        (
            "AveragePool",
            VOLUME,
            {"ceil_mode": 1, "count_include_pad": 1, "strides": [2, 3, 2], "pads": [1] * 6},
        ),
    ],
    ids=str,
)
def test_windows_in_all_their_forms(
    operator: str, shape: tuple[Any, ...], attributes: dict[str, Any], tmp_path: Path
) -> None:
    generator = np.random.default_rng(1)
    rank = len(shape) - 2
    weights = {}
    if "Conv" in operator:
        groups = attributes.get("group", 1)
        channels = (6, 4 // groups) if operator == "Conv" else (4, 6 // groups)
        weights["w"] = generator.normal(size=(*channels, *[3, 4, 2][:rank])).astype("float32")
        weights["b"] = generator.normal(size=6).astype("float32")
    else:
        attributes = {**attributes, "kernel_shape": [3, 4, 2][:rank]}
    node = helper.make_node(operator, ["x", *weights], ["y"], **attributes)
    path = save(tmp_path / "m.onnx", [node], {"x": (TensorProto.FLOAT, list(shape))}, ["y"], weights)
    model = bm.from_onnx(path)
    for batch in (1, 3):
        x = generator.normal(size=(batch, *shape[1:])).astype("float32")
        wanted = run(path, x)[0]
        assert model(x).shape == wanted.shape
        np.testing.assert_allclose(model(x), wanted, rtol=1e-4, atol=1e-5)
