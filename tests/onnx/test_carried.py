"""State that layers carry from call to call, as inputs and outputs of files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
import pytest

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ExportError, ShapeError
from bigmodel_core.kernels.fused import elementwise
from bigmodel_core.ops.elementwise import ElementwiseOp
from bigmodel_onnx import Onnx
from bigmodel_onnx.session import OnnxSession
from tests.ops.test_updates import Decoder

RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Cache(bm.Layer):
    """Attention without heads over steps that are kept in a cache, which begins with learned numbers."""

    size: int = 12

    def __call__(self, x: Any) -> Any:
        position = self.carried("position", (), "int64")
        keys = self.carried("keys", ("N", self.size, x.shape[2]), initial=self.parameter("start", (3,)))
        keys = ops.update_slice(keys, bm.layers.Dense(3)(x), (0, position, 0))
        self.assign("keys", keys)
        self.assign("position", position + ops.size_of(x, (1,), "int64"))
        scores = ops.softmax(ops.matmul(x, ops.transpose(keys, (0, 2, 1))))
        return ops.matmul(scores, keys)


MODELS = {
    "rnn": (bm.layers.RNN(4, carry=True), ("N", "T", 3)),
    "lstm": (bm.Sequential(bm.layers.LSTM(4, layers=2, carry=True), bm.layers.Dense(2)), ("N", "T", 3)),
    "gru": (bm.layers.GRU(4, carry=True, return_sequences=False), ("N", 1, 3)),
    "cache": (Cache(), ("N", 1, 3)),
    "cache of any number of steps": (Cache(48), ("N", "T", 3)),
    "batch of two": (bm.layers.LSTM(4, carry=True), (2, "T", 3)),
}


@pytest.mark.parametrize("name", MODELS)
def test_plain_onnx_runtime_goes_on_from_what_it_is_given(name: str, tmp_path: Path) -> None:
    model, shape = MODELS[name]
    network = model.build(bm.Spec(shape))
    report = bm.export(network, tmp_path / "model.onnx")
    runtime = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    ours = network.session(batch_size=2)
    first, *states = (item.name for item in runtime.get_inputs())
    assert first == "x" and states == list(ours.state())
    assert [item.name for item in runtime.get_outputs()] == ["y", *(f"{path}/next" for path in states)]
    assert list(report.outputs) == ["y", *(f"{path}/next" for path in states)]
    about = json.loads(runtime.get_modelmeta().custom_metadata_map["carried"])
    assert {path: entry["output"] for path, entry in about.items()} == {p: f"{p}/next" for p in states}
    given = {
        path: np.broadcast_to(np.asarray(about[path]["initial"], array.dtype), array.shape)
        for path, array in ours.state().items()
    }
    assert all(np.allclose(given[path], array) for path, array in ours.state().items())
    for _ in range(5):
        x = RNG.normal(size=(2, 1, 3)).astype("float32")
        y, *after = runtime.run(None, {"x": x, **given})
        given = dict(zip(states, after, strict=True))
        np.testing.assert_allclose(y, ours(x), atol=2e-6, rtol=1e-5)
        for path, array in ours.state().items():
            np.testing.assert_allclose(given[path], array, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"cache of any number of steps"}))
def test_a_file_that_is_read_has_states_as_inputs_and_outputs(name: str, tmp_path: Path) -> None:
    model, shape = MODELS[name]
    network = model.build(bm.Spec(shape))
    bm.export(network, tmp_path / "model.onnx")
    read = bm.from_onnx(tmp_path / "model.onnx")
    session = network.session(batch_size=2)
    for _ in range(2):
        x = RNG.normal(size=(2, 1, 3)).astype("float32")
        found = read(x, *session.state().values())
        np.testing.assert_allclose(found[0], session(x), atol=2e-6, rtol=1e-5)
        for array, wanted in zip(found[1:], session.state().values(), strict=True):
            np.testing.assert_allclose(array, wanted, atol=2e-6, rtol=1e-5)
    bm.export(read, tmp_path / "again.onnx")


def test_a_decoder_in_a_file_equals_its_whole_forward_step_by_step(tmp_path: Path) -> None:
    """Keys and values of the past are in and out, as in files of other tools."""
    decoder = Decoder()
    x = RNG.normal(size=(2, 9, 12)).astype("float32")
    whole = decoder(x)
    bm.export(decoder.build(bm.Spec(("N", 1, 12))), tmp_path / "step.onnx")
    runtime = onnxruntime.InferenceSession(tmp_path / "step.onnx")
    given = {
        item.name: np.zeros([2 if dim == "N" else dim for dim in item.shape], "float32")
        for item in runtime.get_inputs()[1:]
    }
    given |= {name: array.astype("int64") for name, array in given.items() if name.endswith("position")}
    assert sorted(name.split("/")[1] for name in given) == [
        "keys",
        "keys",
        "position",
        "position",
        *["values"] * 2,
    ]
    pieces = []
    for t in range(9):
        y, *after = runtime.run(None, {"x": x[:, t : t + 1], **given})
        given = dict(zip(given, after, strict=True))
        pieces.append(y)
    np.testing.assert_allclose(np.concatenate(pieces, 1), whole, atol=2e-6, rtol=1e-5)
    stored = onnx.load(tmp_path / "step.onnx").graph.initializer
    weights = sum(np.prod(item.dims) for item in stored)
    assert weights < 1.1 * sum(array.size for array in decoder.state().values())  # stored once


def test_blocks_of_any_size_are_written_in_files_and_read(tmp_path: Path) -> None:
    model, shape = MODELS["cache of any number of steps"]
    network = model.build(bm.Spec(shape))
    bm.export(network, tmp_path / "model.onnx")
    runtime = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    session = network.session(batch_size=2)
    given = session.state()
    for steps in (5, 1, 2):
        x = RNG.normal(size=(2, steps, 3)).astype("float32")
        y, *after = runtime.run(None, {"x": x, **given})
        given = dict(zip(given, after, strict=True))
        np.testing.assert_allclose(y, session(x), atol=2e-6, rtol=1e-5)
    read = bm.from_onnx(tmp_path / "model.onnx")
    given = session.state()
    for found, expected in zip(read(x, *given.values()), runtime.run(None, {"x": x, **given}), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-6, rtol=1e-5)


def test_one_call_of_a_file_begins_anew(tmp_path: Path) -> None:
    for name, (model, shape) in MODELS.items():
        model.build(bm.Spec(shape))
        bm.export(model, tmp_path / f"{name}.onnx")
        x = RNG.normal(size=(2, 1, 3)).astype("float32")
        found = OnnxSession(tmp_path / f"{name}.onnx").run(x)
        assert list(found) == ["y"]
        np.testing.assert_allclose(found["y"], model(x), atol=2e-6, rtol=1e-5)


def test_preprocessing_stands_before_the_input_alone(tmp_path: Path) -> None:
    model = bm.Sequential(bm.layers.LSTM(4, carry=True, return_sequences=False), bm.layers.Dense(3))
    network = model.build(bm.Spec(("N", 2, 3)))
    steps = bm.Preprocessing(raw_shape=(2, 3), raw_dtype="uint8", scale=1 / 255)
    Onnx(with_preprocessing=True).export(
        network, tmp_path / "m.onnx", preprocessing=steps, task="classification", labels=("a", "b", "c")
    )
    outputs = [item.name for item in onnx.load(tmp_path / "m.onnx").graph.output]
    assert {"label", "probability"} <= set(outputs)
    assert outputs[-2:] == ["lstm_1/hidden/next", "lstm_1/cell/next"]
    raw = RNG.integers(0, 256, (2, 2, 3)).astype("uint8")
    (prediction, _) = OnnxSession(tmp_path / "m.onnx").classify(raw)
    scores = model((raw / 255).astype("float32"))[0]
    assert prediction.label == "abc"[scores.argmax()]


@dataclass(frozen=True)
class Doubled(ElementwiseOp):
    """x * 2, but not in files."""

    exported: ClassVar[bool] = True
    cpu, cuda = elementwise(lambda x: x * 2)

    def onnx(self, emit: Any, x: Any) -> Any:
        return emit.Identity(x)


def test_a_state_that_differs_in_a_later_call_is_found(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Powers(bm.Layer):
        def __call__(self, x: Any) -> Any:
            factor = self.carried("factor", (), initial=0.0)
            self.assign("factor", Doubled()(factor) + 1.0)
            return x * factor

    model = Powers()
    model.build(bm.Spec(("N", 2)))
    with pytest.raises(ExportError, match="call 2, output factor/next"):
        bm.export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_cache_that_is_full_before_the_last_call_ends_the_comparison(tmp_path: Path) -> None:
    model = Cache(2)
    model.build(bm.Spec(("N", 1, 3)))
    bm.export(model, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").exists()


def test_a_state_whose_size_is_free_is_refused(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Whole(bm.Layer):
        def __call__(self, x: Any) -> Any:
            self.assign("whole", self.carried("whole", x.shape) + x)
            return x

    model = Whole()
    model.build(bm.Spec(("N", "T")))
    with pytest.raises(ShapeError, match="only the batch may be free"):
        bm.export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_says_nonsense_of_its_states_is_refused(tmp_path: Path) -> None:
    model = bm.layers.GRU(4, carry=True)
    model.build(bm.Spec(("N", 1, 3)))
    bm.export(model, tmp_path / "model.onnx")
    file = onnx.load(tmp_path / "model.onnx")
    for entry in file.metadata_props:
        if entry.key == "carried":
            entry.value = '{"hidden": {"output": "hidden/next", "initial": "zero"}, "x": 3}'
    onnx.save(file, tmp_path / "model.onnx")
    with pytest.raises(ExportError, match="cannot begin with what the file says"):
        OnnxSession(tmp_path / "model.onnx").run(np.zeros((2, 1, 3), "float32"))
