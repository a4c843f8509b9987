"""Explanations beside those of Captum, of the same weights in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from tests.explaining import models

pytestmark = pytest.mark.filterwarnings("ignore")  # Captum's own
TARGETS = [2, 0, 1]


@pytest.fixture(scope="module")
def captum(torch: Any) -> Any:
    pytest.importorskip("captum")
    import captum.attr

    return captum.attr


def same(ours: Any, theirs: Any) -> None:
    wanted = theirs.detach().numpy()
    assert np.abs(wanted).max() > 1e-3
    np.testing.assert_allclose(np.broadcast_to(ours, wanted.shape), wanted, rtol=1e-4, atol=1e-5)


def images_in_torch(torch: Any, model: Any) -> Any:
    state = {path: torch.tensor(array) for path, array in model.state().items()}
    made = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(64, 3),
    )
    made.load_state_dict(
        {
            "0.weight": state["conv2d_1/weight"],
            "0.bias": state["conv2d_1/bias"],
            "4.weight": state["dense_1/weight"].T,
            "4.bias": state["dense_1/bias"],
        }
    )
    return made.eval()


@pytest.fixture(scope="module")
def pair(torch: Any) -> Any:
    """A model of images, the same in PyTorch, and the images there."""
    model = models.convolutions()
    theirs = images_in_torch(torch, model)
    x = torch.tensor(models.IMAGES)
    np.testing.assert_allclose(model(models.IMAGES), theirs(x).detach().numpy(), rtol=1e-4, atol=1e-5)
    return model, theirs, x


def test_integrated_gradients(captum: Any, pair: Any, torch: Any) -> None:
    model, theirs, x = pair
    base = torch.full_like(x, 0.25)
    found = bm.explain(model, models.IMAGES, "integrated-gradients:steps=64", TARGETS, baseline=0.25)
    assert found.facts["steps"].tolist() == [64] * 3
    wanted = captum.IntegratedGradients(theirs).attribute(
        x, base, TARGETS, n_steps=64, method="gausslegendre"
    )
    same(found.values, wanted)


def test_saliency(captum: Any, pair: Any) -> None:
    model, theirs, x = pair
    for absolute in (True, False):
        found = bm.explain(model, models.IMAGES, f"saliency:absolute={str(absolute).lower()}", TARGETS)
        same(found.values, captum.Saliency(theirs).attribute(x, TARGETS, abs=absolute))


def test_smooth_grad(captum: Any, pair: Any, torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, theirs, x = pair
    explainer = bm.explainers.SmoothGrad(copies=3, noise=0.1, seed=5, absolute=False)
    noise = np.stack([explainer.noisy(models.IMAGES, 0, copy) - models.IMAGES for copy in range(3)], 1)
    drawn = torch.tensor(noise.reshape(9, 1, 8, 8))  # Captum repeats each sample in a row
    monkeypatch.setattr(torch, "normal", lambda mean, std: drawn)
    tunnel = captum.NoiseTunnel(captum.Saliency(theirs))
    wanted = tunnel.attribute(x, nt_type="smoothgrad", nt_samples=3, target=TARGETS, abs=False)
    same(bm.explain(model, models.IMAGES, explainer, TARGETS).values, wanted)


def test_grad_cam(captum: Any, pair: Any) -> None:
    model, theirs, x = pair
    found = bm.explain(model, models.IMAGES, "grad-cam", TARGETS)
    assert found.facts["layer"] == "conv2d_1"
    wanted = captum.LayerGradCam(theirs, theirs[0]).attribute(x, TARGETS, relu_attributions=True)
    same(found.maps["conv2d_1"], wanted)


def test_stretched_grad_cam(captum: Any, pair: Any) -> None:
    model, theirs, x = pair
    found = bm.explain(model, models.IMAGES, "grad-cam:layer=max_pool2d_1", TARGETS)
    small = captum.LayerGradCam(theirs, theirs[2]).attribute(x, TARGETS, relu_attributions=True)
    wanted = captum.LayerAttribution.interpolate(small, (8, 8), interpolate_mode="bilinear")
    same(found.values, wanted)


@pytest.mark.parametrize(("size", "stride"), [(3, 2), (2, 2), (4, 3)])
def test_occlusion(captum: Any, pair: Any, size: int, stride: int) -> None:
    model, theirs, x = pair
    found = bm.explain(model, models.IMAGES, f"occlusion:size={size},stride={stride}", TARGETS, baseline=0.5)
    wanted = captum.Occlusion(theirs).attribute(
        x, (1, size, size), (1, stride, stride), baselines=0.5, target=TARGETS
    )
    same(found.values, wanted)


def test_exact_shapley_values(captum: Any, torch: Any) -> None:
    model = models.perceptron()
    state = {path: torch.tensor(array) for path, array in model.state().items()}

    def theirs(x: Any) -> Any:
        hidden = torch.tanh(x @ state["dense_1/weight"] + state["dense_1/bias"])
        return hidden @ state["dense_2/weight"] + state["dense_2/bias"]

    found = bm.explain(model, models.TABLE, "shapley", target=1)
    same(found.values, captum.ShapleyValues(theirs).attribute(torch.tensor(models.TABLE), target=1))


def test_token_attributions(captum: Any, torch: Any) -> None:
    model = models.reused()
    state = {path: torch.tensor(array) for path, array in model.state().items()}
    first, second = np.abs(models.TOKENS), np.abs(models.TOKENS[:, ::-1]).copy()
    table = state["embedding/weight"]

    def theirs(a: Any, b: Any) -> Any:
        x = a + b * 0.5
        for _ in range(3):
            x = torch.relu(x @ state["hidden/weight"] + state["hidden/bias"])
        return torch.relu(x.mean(1)) @ state["scores/weight"] + state["scores/bias"]

    found = bm.explain(model, (first, second), "integrated-gradients:steps=64", target=2)
    vectors = table[torch.tensor(first)], table[torch.tensor(second)]
    for ours, wanted in zip(
        found.values,
        captum.IntegratedGradients(theirs).attribute(vectors, target=2, n_steps=64, method="gausslegendre"),
        strict=True,
    ):
        same(ours, wanted.sum(-1))
