"""Files answer in the units of the data: large numbers in, and targets that were scaled out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import bigmodel_core as bm
from bigmodel_core.data.encoding import Encoding


def large_table(folder: Path) -> Path:
    """Timestamps and a feature far from 0; the target is a line of both, a thousand millions high."""
    generator = np.random.default_rng(0)
    t = 1_700_000_000 + generator.permutation(200)
    b = 1000 + generator.normal(size=200) * 0.1
    y = 1e9 + (t - 1.7e9) + 100 * (b - 1000)
    rows = zip(t.tolist(), b.tolist(), y.tolist(), strict=True)
    (folder / "t.csv").write_text("t,b,y\n" + "".join(f"{p},{q!r},{v!r}\n" for p, q, v in rows))
    return folder / "t.csv"


def test_large_numbers_survive_in_the_file_as_in_float64(tmp_path: Path) -> None:
    data = bm.datasets.load("csv", large_table(tmp_path))
    trainer = bm.Trainer(bm.models.build("linear-regression"))
    trainer.fit(data, 60, verbose=False)
    bm.export(trainer.network, tmp_path / "m.onnx", with_preprocessing=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    (port,) = session.get_inputs()
    assert port.type == "tensor(double)"
    raw = data.preprocessing.invert(data.test.x)
    (found,) = session.run(None, {port.name: raw})
    np.testing.assert_allclose(found, trainer.predict(data.test), rtol=0, atol=1e-3)
    np.testing.assert_allclose(found, data.test.truth, rtol=0, atol=5)
    assert len(np.unique(found)) == len(found)  # float32 at 1e9 has steps of 64


def test_a_mean_that_float32_rounds_is_taken_off_in_two_parts(tmp_path: Path) -> None:
    # A sensor around 1000.3 with a deviation of 0.02: float32 rounds the mean by up to 3e-5.
    steps = bm.Preprocessing(1.0, (1000.30001,), (0.02,), "float32", (3,))
    model = bm.Sequential(bm.layers.Dense(1))
    network = model.build(bm.Spec(("N", 3)))
    bm.export(model, tmp_path / "m.onnx", preprocessing=steps, with_preprocessing=True, task="regression")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    raw = (1000.3 + 0.02 * np.random.default_rng(0).normal(size=(50, 3))).astype("float32")
    (found,) = session.run(None, {session.get_inputs()[0].name: raw})
    exact = (raw.astype(np.float64) - 1000.30001) / 0.02
    weight, bias = (network.state()[name].astype(np.float64) for name in ("dense_1/weight", "dense_1/bias"))
    np.testing.assert_allclose(found, exact @ weight + bias, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("with_preprocessing", [False, True])
def test_what_a_file_knows_of_its_data_is_what_the_training_knew(
    tmp_path: Path, with_preprocessing: bool
) -> None:
    data = bm.datasets.load("csv", large_table(tmp_path))
    trainer = bm.Trainer(bm.models.build("linear-regression"))
    trainer.fit(data, 1, verbose=False)
    bm.export(trainer.network, tmp_path / "m.onnx", with_preprocessing=with_preprocessing)
    assert bm.datasets.load("csv", tmp_path / "t.csv", like=tmp_path / "m.onnx").encoding == data.encoding
    assert str(tmp_path).encode() not in (tmp_path / "m.onnx").read_bytes()
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    x = data.preprocessing.invert(data.test.x) if with_preprocessing else data.test.x
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    expected = trainer.predict(data.test) if with_preprocessing else trainer.network(data.test.x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_options_that_are_absolute_paths_stay_out_of_the_file(tmp_path: Path) -> None:
    model = bm.Sequential(bm.layers.Dense(1))
    model.build(bm.Spec(("N", 3)))
    fields = {"place": "/home/somebody/data", "other": r"C:\Users\somebody", "delimiter": "/", "length": 7}
    encoding = Encoding("mine", "regression", dataset={"name": "plugin:Mine", "fields": fields})
    bm.export(model, tmp_path / "m.onnx", encoding=encoding)
    content = (tmp_path / "m.onnx").read_bytes()
    assert b"somebody" not in content and b'"delimiter": "/"' in content and b'"length": 7' in content
