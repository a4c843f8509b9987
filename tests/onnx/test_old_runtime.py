"""Files for an old runtime, in that runtime: BIGMODEL_OLD_RUNTIME_PYTHON names a Python that has one.

python3.11 -m venv old && old/bin/pip install 'onnxruntime==1.17.3' 'numpy<2'
BIGMODEL_OLD_RUNTIME_PYTHON=old/bin/python pytest tests/onnx/test_old_runtime.py
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import bigmodel_core as bm
from tests.onnx.conftest import Function, each
from tests.onnx.test_operators import CASES, _inputs

PYTHON = os.environ.get("BIGMODEL_OLD_RUNTIME_PYTHON")

pytestmark = pytest.mark.skipif(not PYTHON, reason="no Python with an old ONNX Runtime is named")

RUN = """
import sys, pathlib, numpy, onnxruntime
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = dict(numpy.load(path.with_suffix(".in.npz")))
    results = session.run(None, given)
    numpy.savez(path.with_suffix(".out.npz"), *results)
"""


def _version() -> str:
    assert PYTHON is not None
    code = "import onnxruntime; print(onnxruntime.__version__)"
    return subprocess.run([PYTHON, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("choice", ["target_runtime", "default"])
def test_every_op_runs_in_the_old_runtime(choice: str, tmp_path: Path) -> None:
    assert PYTHON is not None
    options = {"target_runtime": _version()} if choice == "target_runtime" else {}
    models = {}
    for name, (function, _, specs) in CASES.items():
        model = Function(function)
        model.build(*specs)
        bm.export(model, tmp_path / f"{name}.onnx", **options)
        arrays = _inputs(specs, {"N": 3, "T": 4})
        np.savez(tmp_path / f"{name}.in.npz", **dict(zip(model.network.input_names, arrays, strict=True)))
        models[name] = model, arrays
    subprocess.run([PYTHON, "-c", RUN, str(tmp_path)], check=True)
    for name, (model, arrays) in models.items():
        with np.load(tmp_path / f"{name}.out.npz") as found:
            for place, wanted in enumerate(each(model(*arrays))):
                np.testing.assert_allclose(found[f"arr_{place}"], wanted, rtol=2e-5, atol=2e-5, err_msg=name)
