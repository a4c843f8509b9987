"""Saved models: the same numbers in a fresh process, without the code that defined them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import bigmodel_core as bm
from bigmodel_core.errors import CheckpointError, GraphError, ShapeError
from bigmodel_core.train.checkpoint import read
from tests.processes import run_code

from .conftest import labelled, network_with_dropout


@dataclass(frozen=True)
class Centre(bm.Layer):
    """Takes away a running mean that training updates: a parameter that no optimizer changes."""

    def __call__(self, x: Any) -> Any:
        mean = self.parameter("mean", x.shape[1:], 0.0, trainable=False)
        if self.training:
            self.assign("mean", mean * 0.9 + bm.ops.mean(x, 0) * 0.1)
        return x - mean


@dataclass(frozen=True)
class Twins(bm.Layer):
    """Two inputs through one shared layer; two outputs, with a constant array and a slice between."""

    def __call__(self, a: Any, b: Any) -> Any:
        shared = bm.layers.Dense(4)
        left, right = shared(Centre()(a)), shared(b)
        joined = bm.ops.concatenate([left, right], 1)
        table = joined.node.graph.constant(np.arange(8, dtype="float32"))
        return joined * table, bm.ops.gelu(joined[:, 2:6] + 0.5)


def twins() -> tuple[Twins, tuple[np.ndarray, np.ndarray]]:
    draw = np.random.default_rng(3)
    arrays = draw.normal(size=(5, 3)).astype("float32"), draw.normal(size=(5, 3)).astype("float32")
    model = Twins()
    model(*arrays)
    return model, arrays


def saved(model: bm.Layer, path: Path) -> Any:
    bm.save(model, path)
    return bm.load(path)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_any_batch_gives_the_same_bits(tmp_path: Path, rows: int) -> None:
    model, (a, b) = twins()
    a, b = np.resize(a, (rows, 3)), np.resize(b, (rows, 3))
    again = saved(model, tmp_path / "m.safetensors")
    for ours, theirs in zip(again(a, b), model(a, b), strict=True):
        assert np.array_equal(ours, theirs)


def test_parameters_lie_in_the_file_by_path(tmp_path: Path) -> None:
    model, _ = twins()
    bm.save(model, tmp_path / "m.safetensors")
    arrays = load_file(tmp_path / "m.safetensors")
    for path, array in model.state().items():
        assert np.array_equal(arrays[path], array)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    model, _ = twins()
    for name in ("a", "b"):
        bm.save(model, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_restored_model_trains_to_the_same_bits(tmp_path: Path) -> None:
    x, y = labelled()
    model = bm.Sequential(Centre(), network_with_dropout())
    model.build(bm.Spec(("N", 5)), seed=3)
    again = saved(model, tmp_path / "m.safetensors")
    steps = [bm.compile(m, "cross_entropy", bm.optimizers.Adam(0.01), seed=4) for m in (model, again)]
    for at in range(0, 80, 10):
        losses = [step(x[at : at + 10], y[at : at + 10]) for step in steps]
        assert losses[0] == losses[1]
    ours, theirs = again.state(), model.state()
    assert all(np.array_equal(ours[path], theirs[path]) for path in theirs)
    assert not np.array_equal(ours["centre_1/mean"], np.zeros(5))


def test_only_trainable_parameters_are_trained(tmp_path: Path) -> None:
    model, _ = twins()
    again = saved(model, tmp_path / "m.safetensors")
    trainable = {path: item.trainable for path, item in again.network.parameters.items()}
    assert trainable == {path: item.trainable for path, item in model.network.parameters.items()}
    assert not all(trainable.values())


def test_a_restored_model_is_saved_and_restored_again(tmp_path: Path) -> None:
    model, arrays = twins()
    once = saved(model, tmp_path / "a")
    twice = saved(once, tmp_path / "b")
    assert all(np.array_equal(a, b) for a, b in zip(model(*arrays), twice(*arrays), strict=True))


def test_a_restored_model_is_a_layer_of_another(tmp_path: Path) -> None:
    x, y = labelled()
    trunk = network_with_dropout()
    trunk.build(bm.Spec(("N", 5)))
    model = bm.Sequential(saved(trunk, tmp_path / "m"), bm.layers.Relu(), bm.layers.Dense(3))
    model.build(bm.Spec(("N", 5)))
    state = model.state()
    for path, array in trunk.state().items():
        assert np.array_equal(state[f"restored_model_1/{path}"], array)
    step = bm.compile(model, "cross_entropy", bm.optimizers.Adam(0.01))
    first = step(x, y)
    for _ in range(30):
        last = step(x, y)
    assert last < first


def test_a_double_precision_model_stays_one(tmp_path: Path) -> None:
    model = bm.layers.Dense(2)
    model.build(bm.Spec(("N", 3), "float64"), dtype="float64")
    again = saved(model, tmp_path / "m")
    x = np.random.default_rng(0).normal(size=(4, 3))
    assert again(x).dtype == np.float64 and np.array_equal(again(x), model(x))


def test_another_input_is_refused(tmp_path: Path) -> None:
    model = bm.layers.Dense(2)
    model.build(bm.Spec(("N", 3)))
    again = saved(model, tmp_path / "m")
    with pytest.raises(ShapeError, match="saved for"):
        again.build(bm.Spec(("N", 4)))


def test_labels_and_preprocessing_come_along(tmp_path: Path) -> None:
    data = bm.datasets.load("digits")
    model = bm.models.build("mlp")
    model.build(bm.Spec(("N", *data.input_shape)))
    bm.save(model, tmp_path / "m", data=data)
    about = bm.load(tmp_path / "m").about
    assert (about.labels, about.task, about.data) == (data.labels, "classification", "digits")
    assert about.preprocessing == data.preprocessing and about.input_meaning == data.input_meaning
    assert about.config is not None and about.config["name"] == "models:Mlp"
    bm.save(bm.load(tmp_path / "m"), tmp_path / "n")
    assert bm.load(tmp_path / "n").about == about


def test_a_model_that_is_not_built_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="not built"):
        bm.save(bm.layers.Dense(2), tmp_path / "m")
    assert not (tmp_path / "m").exists()


# Fresh processes ------------------------------------------------------------------------------------------

DEFINES = """
from dataclasses import dataclass
import numpy as np, bigmodel_core as bm

@dataclass(frozen=True)
class Gated(bm.Layer):
    width: int = 4
    def __call__(self, x):
        gate = bm.ops.sigmoid(bm.layers.Dense(self.width)(x))
        gated = gate * bm.layers.Dense(self.width)(x)
        return bm.layers.Dropout(0.5)(gated) + self.parameter("shift", (1,), 0.25)

x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
y = x.sum(1, keepdims=True).repeat(4, 1)
model = Gated()
step = bm.compile(model, "mean_squared_error", bm.optimizers.SGD(0.1), seed=5)
for _ in range(3): step(x, y)
bm.save(model, "model.safetensors")
np.save("x.npy", x); np.save("prediction.npy", model(x))
step = bm.compile(model, "mean_squared_error", bm.optimizers.SGD(0.1), seed=6)
np.save("losses.npy", [step(x, y) for _ in range(4)])
"""


def test_a_process_without_the_definition(tmp_path: Path) -> None:
    run_code(DEFINES, cwd=tmp_path)
    model = bm.load(tmp_path / "model.safetensors")
    x = np.load(tmp_path / "x.npy")
    assert np.array_equal(model(x), np.load(tmp_path / "prediction.npy"))
    step = bm.compile(model, "mean_squared_error", bm.optimizers.SGD(0.1), seed=6)
    y = x.sum(1, keepdims=True).repeat(4, 1)
    assert [step(x, y) for _ in range(4)] == np.load(tmp_path / "losses.npy").tolist()


PLUGIN = """
from dataclasses import dataclass
import bigmodel_core as bm

@dataclass(frozen=True)
class TriangleOp(bm.Op):
    slope: float
    cpu, cuda = bm.elementwise(lambda x, slope: x * slope if x > 0 else 0 * x)
    def infer(self, x): return x
    def grad(self, dy, y, x): return (TriangleOp(self.slope)(x) * dy,)
    def onnx(self, emit, x): return emit.Mul(emit.Relu(x), emit.const(self.slope))

@dataclass(frozen=True)
class Triangle(bm.Layer):
    slope: float = 2.0
    def __call__(self, x): return TriangleOp(self.slope)(x)

@bm.hookimpl
def bigmodel_layers(): return [Triangle]
"""

USES = """
import numpy as np, bigmodel_core as bm
model = bm.Sequential(bm.layers.Dense(3), bm.layers.Triangle(1.5))
x = np.linspace(-1, 1, 8, dtype="float32").reshape(4, 2)
np.save("x.npy", x); np.save("prediction.npy", model(x))
bm.save(model, "model.safetensors")
"""

LOADS = """
import sys, numpy as np, bigmodel_core as bm
model = bm.load("model.safetensors")
assert np.array_equal(model(np.load("x.npy")), np.load("prediction.npy"))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An installed package with an op of its own."""
    site = tmp_path / "site"
    info = site / "bigmodel_triangle-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "triangle_layers.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bigmodel-triangle\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bigmodel]\ntriangle = triangle_layers\n")
    run_code(USES, beside=[site], cwd=tmp_path)
    return site


def test_a_plugin_that_is_installed_brings_its_ops(package: Path, tmp_path: Path) -> None:
    run_code(LOADS, beside=[package], cwd=tmp_path)


def test_a_plugin_that_is_missing_is_named(package: Path, tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match="TriangleOp of the plugin 'triangle'.*'bigmodel-triangle'"
    ) as caught:
        bm.load(tmp_path / "model.safetensors")
    assert caught.value.fix == "pip install bigmodel-triangle."


def test_a_plugin_that_is_switched_off_is_named(package: Path, tmp_path: Path) -> None:
    code = f"import os\nos.environ['BIGMODEL_DISABLE_PLUGINS'] = 'triangle'\n{LOADS}"
    done = run_code(code, beside=[package], cwd=tmp_path, ends=1)
    assert "TriangleOp of the plugin 'triangle'" in done.stderr
    assert "switched off by BIGMODEL_DISABLE_PLUGINS" in done.stderr


NEXT = PLUGIN.replace("slope", "steep").replace(
    "    steep: float\n",
    "    steep: float\n    bend: float = 0.0\n    renamed_fields = {'slope': 'steep'}\n",
)
"""The next version of the plugin: a field of its op has another name, and a new one has a default."""


def test_what_was_renamed_reads_what_was_saved_before(package: Path, tmp_path: Path) -> None:
    of_another_name = PLUGIN.replace("TriangleOp", "BentOp") + "\nclass TriangleOp(BentOp): pass\n"
    for text in (NEXT, of_another_name):
        (package / "triangle_layers.py").write_text(text)
        run_code(LOADS, beside=[package], cwd=tmp_path)


def test_a_field_that_does_not_fit_is_named(package: Path, tmp_path: Path) -> None:
    for change, named in ((("renamed_fields", "former"), "'slope'"), (("float = 0.0", "float"), "'bend'")):
        (package / "triangle_layers.py").write_text(NEXT.replace(*change))
        done = run_code(LOADS, beside=[package], cwd=tmp_path, ends=1)
        assert f"{named} does not fit" in done.stderr


def test_loading_imports_no_module_that_the_file_names(package: Path, tmp_path: Path) -> None:
    code = LOADS.replace("import sys,", "import sys, importlib,")
    code += "\nassert 'onnx' not in sys.modules and 'torch' not in sys.modules"
    run_code(code, beside=[package], cwd=tmp_path)


def test_an_op_of_nobody_cannot_be_saved(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class HomelessOp(bm.Op):
        cpu, cuda = bm.elementwise(lambda x: x + x)

        def infer(self, x: bm.Spec) -> bm.Spec:
            return x

    @dataclass(frozen=True)
    class Homeless(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return HomelessOp()(x)

    model = Homeless()
    model.build(bm.Spec(("N", 2)))
    with pytest.raises(CheckpointError, match="HomelessOp .* belongs to no plugin"):
        bm.save(model, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_the_record_names_no_machine(tmp_path: Path) -> None:
    """Neither folders nor users nor hosts are written into a run."""
    import platform

    out = tmp_path / "run"
    bm.Trainer(network_with_dropout(), "cross_entropy", out=out).fit(labelled(), verbose=False)
    document = json.dumps([read(out).document, json.loads((out / "run.json").read_text())])
    for private in (str(tmp_path), str(Path.home()), platform.node()):
        assert private not in document
