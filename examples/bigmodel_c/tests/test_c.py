"""The exporter keeps every promise of the conformance kit; what its files compute is what models compute."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import bigmodel_core as bm
from bigmodel_c import C, compiled
from bigmodel_core import ops
from bigmodel_core.testing import parametrize_checks

L = bm.layers
pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler 'cc'")
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@parametrize_checks(C())
def test_conformance(check: Callable[[], None]) -> None:
    check()


# What can be written: each case is a model of several parts, compared with the model's own prediction -----


@dataclass(frozen=True)
class Parts(bm.Layer):
    """Outputs by name, each a function of the inputs."""

    parts: Any

    def __call__(self, *inputs: Any) -> Any:
        return {name: part(*inputs) for name, part in self.parts.items()}


def layers(*found: bm.Layer) -> dict[str, Any]:
    return {f"y{number}": layer for number, layer in enumerate(found)}


def halved(carry: Any, part: Any) -> Any:
    return carry * 0.5 + part, ops.tanh(carry) * part


def swapped(carry: Any, part: Any) -> Any:
    return (carry[1], carry[0] + part), carry[0] - part


CASES: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "activations": (
        layers(
            *(
                getattr(L, name)()
                for name in ("Relu", "LeakyRelu", "Elu", "Gelu", "Sigmoid", "Silu", "Softplus")
            ),
            *(getattr(L, name)() for name in ("Softsign", "Tanh", "Softmax", "LogSoftmax", "LayerNorm")),
            L.Gelu(approximate=True),
            bm.Sequential(L.Dense(5), L.BatchNorm(), L.Relu(), L.Dense(3)),
        ),
        [("N", 4)],
    ),
    "convolutions": (
        layers(
            L.Conv2d(4, 3, stride=2, padding=1),
            L.Conv2d(4, (3, 2), stride=2, padding="same"),
            L.Conv2d(4, 3, groups=2, dilation=2),
            L.Conv2d(6, 1, groups=2, use_bias=False),
            bm.Sequential(L.Conv2d(6, 1, stride=2), L.BatchNorm(), L.Relu()),
            L.ConvTranspose2d(4, 3, stride=2, padding=1, output_padding=1),
            L.ConvTranspose2d(4, 3, stride=2, groups=2, dilation=2),
        ),
        [("N", 4, 7, 6)],
    ),
    "convolutions of other ranks": (
        {
            "1": lambda x: L.Conv1d(4, 3, padding=1)(x[:, :, 0, 0]),
            "3": L.Conv3d(4, 3, padding=1, stride=(1, 2, 1)),
            "turned": L.ConvTranspose3d(3, 2, stride=2),
        },
        [("N", 2, 3, 4, 5)],
    ),
    "images": (
        layers(
            *(L.MaxPool2d(3, 2, 1), L.AveragePool2d(3, 2, 1), L.AveragePool2d(3, 2, 1, count_border=False)),
            *(L.GlobalAveragePool(), L.AdaptiveAveragePool2d(3), L.ZeroPad2d(2), L.Upsample2d(2)),
            *(L.Upsample2d(2, method="bilinear"), L.Resize(5), L.Resize((9, 4), method="bicubic")),
            *(L.GroupNorm(2), L.InstanceNorm(), bm.Sequential(L.Flatten(), L.Dense(3))),
        ),
        [("N", 4, 7, 6)],
    ),
    "recurrent": (
        layers(
            L.RNN(5),
            L.RNN(4, "relu", return_sequences=False),
            L.LSTM(5, bidirectional=True, layers=2),
            L.GRU(5, bidirectional=True),
            L.GRU(3, return_sequences=False),
        ),
        [("N", 6, 3)],
    ),
    "loops": (
        {
            "carry": lambda x: ops.scan(halved, x[:, 0] * 0.0, x, axis=1)[0],
            "each": lambda x: ops.scan(halved, x[:, 0] * 0.0, x, axis=1)[1],
            "swapped": lambda x: ops.scan(swapped, (x[:, 0] * 0.0, x[:, 1]), x, axis=1, reverse=True)[0][0],
        },
        [("N", 6, 3)],
    ),
    "products": (
        {
            "attention": lambda x: ops.attention(x[:, None], x[:, None], x[:, None], causal=True),
            "matmul": lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1))),
            "einsum": lambda x: ops.einsum("nij,nkj->nik", x, x),
            "dense": L.Dense(3),
        },
        [("N", 5, 4)],
    ),
    "numbers": (
        {
            "powers": lambda x: abs(x) ** 0.7 + x**3 - x**2 + 2.0**x,
            "rests": lambda x: x % 0.7 + x // 0.3 + ops.mod(x, -0.4),
            "functions": lambda x: (
                ops.exp(x) + ops.log(abs(x) + 1) + ops.sqrt(abs(x)) + ops.sin(x) * ops.cos(x) + ops.erf(x)
            ),
            "rounded": lambda x: (
                ops.floor(x) + ops.ceil(x) + ops.round(x * 3) + ops.sign(x) + ops.clip(x, -0.5, 0.5)
            ),
            "where": lambda x: ops.where((x > 0) & (x < 1) | ~(x != 2.0), x, x * x - 1),
            "whole": lambda x: (x * 10).astype("int64").astype("float32") / 3,
            "any": lambda x: (x > 1).any(1),
            "sums": lambda x: x.max(1) + x.min(1) * x.mean(1) + x.sum(1) + x.prod(1) + x.std(1),
            "places": lambda x: x.argmax(1) * 10 + x.argmin(1),
            "running": lambda x: x.cumsum(1),
            "cut": lambda x: ops.concatenate([x[:, 1:3], x[:, ::-2]], 1) * 2.0 - 1,
            "mirrored": lambda x: ops.pad(x, ((0, 0), (2, 1)), "reflect"),
            "edges": lambda x: ops.pad(x, ((0, 0), (2, 1)), "edge"),
            "border": lambda x: ops.pad(x, ((0, 0), (2, -1)), "constant", 1.5),
            "taken": lambda x: ops.take_along_axis(x, (x > 0).astype("int64"), 1),
            "itself": lambda x: x,
        },
        [("N", 7)],
    ),
    "whole numbers": (
        {
            "rests": lambda x: x % 7 + x // 3 * 2 - x,
            "negative": lambda x: (x - 50) % 7 + (x - 50) // (x % 3 - 1),
            "embedded": L.Embedding(100, 4),
            "one hot": lambda x: ops.one_hot(x, 100),
        },
        [(("N", 5), "int64")],
    ),
    "two inputs": ({"sum": lambda x, y: x * 2 + y, "product": lambda x, y: x * y}, [("N", 4), ("N", 4)]),
    "float64": (layers(bm.Sequential(L.Dense(5), L.Tanh())), [(("N", 4), "float64")]),
}


def built(parts: dict[str, Any], given: list[Any]) -> bm.Layer:
    """A model of these parts, whose parameters are away from special values."""
    model, specs = (
        Parts(parts),
        [bm.Spec(*item) if isinstance(item[0], tuple) else bm.Spec(item) for item in given],
    )
    dtype = "float64" if any(spec.dtype == "float64" for spec in specs) else "float32"
    model.build(*specs, dtype=dtype, seed=0)
    random = np.random.default_rng(1)
    state = model.network.state()
    model.network.load_state(
        {p: (a + 0.3 * random.random(a.shape)).astype(a.dtype) for p, a in state.items()}
    )
    return model


@pytest.mark.parametrize("name", CASES)
def test_a_file_computes_what_the_model_does(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the warnings of a strict compiler, and to what looks for wrong memory and undefined behaviour."""
    monkeypatch.setattr(compiled, "FLAGS", (*compiled.FLAGS, *SANITIZERS))
    model = built(*CASES[name])
    report = bm.export(model, tmp_path / "model.c", exporter=C())
    assert report.agreement.samples == 5
    assert report.agreement.difference < (1e-13 if name == "float64" else 1e-4)


@pytest.mark.parametrize("name", ["mlp", "lenet"])
def test_a_model_gives_what_onnx_runtime_gives(name: str, tmp_path: Path) -> None:
    model = bm.models.build(name)
    model.build(model.input_spec(), seed=0)
    x = np.random.default_rng(3).standard_normal((4, *model.input_spec().shape[1:])).astype("float32")
    bm.export(model, tmp_path / "model.c", samples=x, exporter=C())
    bm.export(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {session.get_inputs()[0].name: x})
    command = ["cc", "-O2", "-std=c99", "-DMODEL_MAIN", "model.c", "-o", "model", "-lm"]
    subprocess.run(command, cwd=tmp_path, check=True)
    text = "\n".join(" ".join(map(repr, row.reshape(-1).tolist())) for row in x)
    done = subprocess.run([tmp_path / "model"], input=text, capture_output=True, text=True, check=True)
    found = np.array([line.split() for line in done.stdout.splitlines()], "float64").reshape(expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def ten_times(out, x, start, stop):
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = 10 * x[i, j]


@dataclass(frozen=True)
class TenTimes(bm.Op):
    cpu, exported = bm.kernel(ten_times), False

    def infer(self, x: bm.Spec) -> bm.Spec:
        return x

    def c(self, emit: Any, x: Any) -> None:
        (y,) = emit.outputs
        with emit.loop("i", x.size):
            emit.line(f"{y}[i] = {emit.number(10, x.dtype)} * {x}[i];")


def test_an_op_of_a_stranger_writes_itself(tmp_path: Path) -> None:
    model = built({"y": lambda x: TenTimes()(x) + 1.0}, [("N", 3)])
    assert bm.export(model, tmp_path / "model.c", exporter=C()).agreement.difference < 1e-6


# What cannot be ---------------------------------------------------------------------------------------------


NO, CONFIG = bm.errors.ExportError, bm.errors.ConfigError
WRONG: dict[str, tuple[Any, C, str, type[Exception]]] = {
    "an op without words": (lambda x: ops.top_k(x, 2)[0], C(), "1 op cannot be written as C: .*TopK", NO),
    "no compiler": (lambda x: x, C(compiler="no-such-cc"), "there is no C compiler", NO),
    "an unknown size": (lambda x: x, C(sizes=("T=5",)), "no input has the dimension T", CONFIG),
    "samples that are one": (lambda x: x - x.mean(0, keepdims=True), C(), "0 of 5 samples", NO),
    "too many parameters": (L.Dense(9), C(parameter_limit=20), "has 45 parameters, more than", NO),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_written_is_named_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    part, exporter, said, kind = WRONG[name]
    model = built({"y": part}, [("N", 4)])
    with pytest.raises(kind, match=said):
        bm.export(model, tmp_path / "model.c", exporter=exporter)
    assert not list(tmp_path.iterdir())


def test_free_sizes_are_asked_for_and_given(tmp_path: Path) -> None:
    model = bm.Sequential(L.LSTM(4), L.Dense(2))
    model.build(bm.Spec(("N", "T", 3)))
    with pytest.raises(bm.errors.ConfigError, match=r"the size of T is free[^$]*sizes=\('T=50',\)"):
        bm.export(model, tmp_path / "model.c", exporter=C())
    assert bm.export(model, tmp_path / "model.c", exporter=C(sizes=("T=6",))).agreement.samples == 5


def test_parameters_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = built(layers(L.Dense(2)), [("N", 3)])
    model.network.load_state({path: np.full_like(a, np.nan) for path, a in model.network.state().items()})
    with pytest.raises(bm.errors.BigmodelError, match="finite"):
        bm.export(model, tmp_path / "model.c", exporter=C())
    assert not list(tmp_path.iterdir())


def test_raw_values_go_in_and_probabilities_come_out(tmp_path: Path) -> None:
    data = bm.datasets.load("digits")
    model = bm.models.build("mlp")
    model.build(bm.Spec(("N", 1, 8, 8)), seed=0)
    report = bm.export(model, tmp_path / "model.c", data=data, exporter=C(with_preprocessing=True))
    assert report.agreement.samples == 5 and "uint8_t" in report.function


REGRESSION = bm.Encoding(
    task="regression",
    preprocessing=bm.Preprocessing(2.0, (1.0, 2.0, -1.0), (3.0, 0.5, 1.5), "float64", (3,)),
    target_preprocessing=bm.Preprocessing(0.5, (7.0,), (2.0,), "float32", (1,)),
)


def ran(folder: Path, text: str, source: str = "") -> subprocess.CompletedProcess[str]:
    """What the program in model.c gives for a text; `source` has a main function in place of its own."""
    (folder / "main.c").write_text(source or '#define MODEL_MAIN\n#include "model.c"\n')
    command = ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "main.c", "-o", "model", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    return subprocess.run([folder / "model"], input=text, capture_output=True, text=True, check=False)


def test_a_regression_answers_in_the_units_of_its_targets(tmp_path: Path) -> None:
    model = built(layers(L.Dense(1)), [("N", 3)])
    state = model.network.state()
    weight, bias = (next(a for path, a in state.items() if path.endswith(end)) for end in ("weight", "bias"))
    bm.export(model, tmp_path / "model.c", exporter=C(with_preprocessing=True), encoding=REGRESSION)
    x = (np.array([4.0, -1.5, 0.25]) * 2 - [1.0, 2.0, -1.0]) / [3.0, 0.5, 1.5]
    wanted = ((x @ weight + bias)[0] * 2.0 + 7.0) / 0.5
    assert float(ran(tmp_path, "4 -1.5 0.25").stdout) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("verify", [True, False])
def test_raw_values_of_another_shape_are_refused(verify: bool, tmp_path: Path) -> None:
    exporter = C(with_preprocessing=True, verify=verify)
    with pytest.raises(bm.errors.ExportError, match=r"raw samples are \(3,\), the model takes \(4,\)"):
        bm.export(
            built(layers(L.Dense(1)), [("N", 4)]),
            tmp_path / "model.c",
            exporter=exporter,
            encoding=REGRESSION,
        )
    assert not list(tmp_path.iterdir())


def test_a_file_that_nobody_ran_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", "no-such-cc")
    model = built(layers(L.Dense(1)), [("N", 3)])
    report = bm.export(model, tmp_path / "model.c", exporter=C(verify=False))
    assert "NOT VERIFIED" in str(report) and report.to_dict()["verified"] is False


def test_names_that_c_or_the_file_has_are_changed(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Named(bm.Layer):
        def __call__(self, number: Any, printf: Any) -> Any:
            return {"workspace": number + printf, "int": printf * 2.0, "2 b": number}

    model = Named()
    model.build(bm.Spec(("N", 3)), bm.Spec(("N", 3)))
    report = bm.export(model, tmp_path / "model.c", exporter=C())
    assert "const float *number_, const float *printf_, float *workspace_" in report.function


def test_an_index_out_of_range_ends_the_prediction(tmp_path: Path) -> None:
    model = bm.Sequential(L.Embedding(11, 4), L.Flatten(), L.Dense(2))
    model.build(bm.Spec(("N", 2), "int64"))
    bm.export(model, tmp_path / "model.c", exporter=C())
    assert ran(tmp_path, "0 10").returncode == 0
    for text in ("0 11", "-1 0"):
        done = ran(tmp_path, text)
        assert done.returncode == 1 and not done.stdout


TWO = """
#define MODEL_NO_STATIC
#include "model.c"
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
    const float x[2][3] = {{1, 2, 3}, {-1, 0, 4}};
    float y[2][2], again[2][2];
    model_workspace *w = malloc(sizeof *w);
    if (w == NULL || model_predict_in(w, 2, x[0], y[0]) != 0)
        return 1;
    for (int i = 1; i >= 0; i--)
        if (model_predict_in(w, 1, x[i], again[i]) != 0)
            return 1;
    free(w);
    printf("%d", memcmp(y, again, sizeof y));
    return 0;
}
"""


def test_a_batch_is_samples_one_by_one_in_memory_of_the_caller(tmp_path: Path) -> None:
    model = bm.Sequential(L.Dense(5), L.Tanh(), L.Dense(2))
    model.build(bm.Spec(("N", 3)))
    bm.export(model, tmp_path / "model.c", exporter=C())
    done = ran(tmp_path, "", TWO)
    assert (done.returncode, done.stdout) == (0, "0")
