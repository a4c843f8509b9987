"""The layer keeps every promise of the conformance kit; scans are NumPy's, their gradients PyTorch's."""

import math

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.testing import check_gradients, compute, parametrize_checks
from bigmodel_mamba import Mamba, SelectiveScan, SelectiveScanGradients, composed, composed_gradients


def scanned(u, delta, a, b, c, skip):
    """The formula, step by step in float64."""
    u, delta, a, b, c, skip = (array.astype("float64") for array in (u, delta, a, b, c, skip))
    h, y = np.zeros((u.shape[0], *a.shape)), np.empty_like(u)
    for t in range(u.shape[1]):
        step, x = delta[:, t, :, None], u[:, t, :, None]
        h = np.exp(step * a) * h + step * x * b[:, t, None]
        y[:, t] = (h * c[:, t, None]).sum(-1) + skip * u[:, t]
    return y


def softplus(x):
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def silu(x):
    return x / (1 + np.exp(-x))


def reference(x, state):
    """The layer by the paper, from its parameters."""
    states = state["log_rates"].shape[1]
    rank, width = len(state["step_weight"]), len(state["filter"])
    u, gate = np.split(x @ state["input_weight"], 2, -1)
    padded = np.pad(u, ((0, 0), (width - 1, 0), (0, 0)))
    u = sum(padded[:, k : k + x.shape[1]] * state["filter"][k] for k in range(width)) + state["filter_bias"]
    u = silu(u)
    step, b, c = np.split(u @ state["selection_weight"], [rank, rank + states], -1)
    delta = softplus(step @ state["step_weight"] + state["step_bias"])
    y = scanned(u, delta, -np.exp(state["log_rates"]), b, c, state["skip"])
    return (y * silu(gate)) @ state["output_weight"]


def drawn(samples, steps, channels, states, dtype="float64", seed=0):
    """What a scan takes."""
    random = np.random.default_rng(seed)
    shapes = [(samples, steps, channels)] * 2 + [(channels, states)] + [(samples, steps, states)] * 2
    found = [random.standard_normal(shape) for shape in (*shapes, (channels,))]
    found[1], found[2] = softplus(found[1] - 1), -np.exp(found[2])
    return [array.astype(dtype) for array in found]


@parametrize_checks(Mamba(expand=5, states=9, rank=2), inputs=[(2, 34, 2)], reference=reference)
def test_conformance(check):
    check()


SIZES = [(0, 3, 2, 2), (2, 0, 3, 2), (1, 1, 1, 1), (2, 3, 5, 2), (2, 40, 70, 9), (3, 17, 130, 16)]
"""Nothing; one block of channels and several; one piece of the steps and several, the last one shorter."""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scans_equal_numpy(size, dtype):
    arrays, expected = drawn(*size, dtype), scanned(*drawn(*size, dtype))
    rtol = 1e-5 if dtype == "float32" else 1e-12
    found = compute(SelectiveScan(), *arrays)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.abs(expected).max(initial=0))


def test_the_composition_gives_the_same():
    dy, *arrays = drawn(2, 11, 3, 2)[:1] + drawn(2, 11, 3, 2, seed=1)
    np.testing.assert_allclose(compute(composed, *arrays), compute(SelectiveScan(), *arrays), atol=1e-12)
    pairs = (compute(function, dy, *arrays) for function in (composed_gradients, SelectiveScanGradients()))
    for found, expected in zip(*pairs, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_gradients_equal_finite_differences():
    check_gradients(SelectiveScan(), drawn(2, 11, 3, 2))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_equal_those_of_pytorch(size, dtype):
    torch = pytest.importorskip("torch")
    arrays = drawn(*size, dtype)
    dy = np.random.default_rng(9).standard_normal(arrays[0].shape).astype(dtype)
    u, delta, a, b, c, skip = leaves = [torch.tensor(array.astype("float64")) for array in arrays]
    for leaf in leaves:
        leaf.requires_grad_()
    h, outputs = torch.zeros(u.shape[0], *a.shape, dtype=torch.float64), []
    for t in range(u.shape[1]):
        step, x = delta[:, t, :, None], u[:, t, :, None]
        h = torch.exp(step * a) * h + step * x * b[:, t, None]
        outputs.append((h * c[:, t, None]).sum(-1) + skip * u[:, t])
    y = torch.stack(outputs, 1) if outputs else 0 * u
    total = (y * torch.tensor(dy)).sum() + sum(0 * leaf.sum() for leaf in leaves)
    expected = torch.autograd.grad(total, leaves)
    tolerance = 3e-5 if dtype == "float32" else 1e-12
    for found, right in zip(compute(SelectiveScanGradients(), dy, *arrays), expected, strict=True):
        scale = np.abs(right.numpy()).max(initial=0)
        np.testing.assert_allclose(found, right.numpy(), rtol=tolerance, atol=tolerance * scale)


def test_the_layer_begins_as_published():
    network = Mamba(states=5).build(bm.Spec(("N", "T", 40)), seed=0)
    state = network.state()
    assert {name: array.shape for name, array in state.items()} == {
        "input_weight": (40, 160),
        "filter": (4, 80),
        "filter_bias": (80,),
        "selection_weight": (80, 3 + 10),
        "step_weight": (3, 80),
        "step_bias": (80,),
        "log_rates": (80, 5),
        "skip": (80,),
        "output_weight": (80, 40),
    }
    np.testing.assert_allclose(np.exp(state["log_rates"]), np.tile([1, 2, 3, 4, 5], (80, 1)), rtol=1e-6)
    steps = softplus(state["step_bias"].astype("float64"))
    assert 1e-3 * 0.999 < steps.min() < 4e-3 and 3e-2 < steps.max() < 1e-1 * 1.001
    assert np.abs(state["step_weight"]).max() <= 1 / math.sqrt(3)
    assert (state["skip"] == 1).all()


def test_a_step_sees_none_after_it():
    network = Mamba(states=4).build(bm.Spec(("N", "T", 6)), seed=0)
    x = np.random.default_rng(0).standard_normal((2, 20, 6)).astype("float32")
    np.testing.assert_allclose(network(x)[:, :9], network(x[:, :9]), atol=1e-6)


def test_sequences_of_any_length_from_one_file(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    layer, path = Mamba(states=4), tmp_path / "mamba.onnx"
    network = layer.build(bm.Spec(("N", "T", 6)), seed=0)
    bm.export(layer, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for shape in ((1, 1, 6), (3, 7, 6), (2, 40, 6)):
        x = np.random.default_rng(1).standard_normal(shape).astype("float32")
        (found,) = session.run(None, {session.get_inputs()[0].name: x})
        np.testing.assert_allclose(found, network(x), atol=1e-5)


def test_wrong_fields_and_inputs_are_named():
    with pytest.raises(bm.errors.ConfigError, match="states"):
        Mamba(states=0)
    with pytest.raises(bm.errors.ConfigError, match="rank"):
        Mamba(rank=0)
    with pytest.raises(bm.errors.ShapeError, match="expected floats"):
        Mamba().build(bm.Spec(("N", 6)))
    arrays = drawn(2, 4, 3, 2)
    with pytest.raises(bm.errors.ShapeError, match="skip"):
        compute(SelectiveScan(), *arrays[:5], np.ones(4))
