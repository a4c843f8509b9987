"""Saliency, SmoothGrad, occlusion, Grad-CAM and attention beside NumPy, and whether they look at weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.nn.probabilities import softmax
from tests.explaining import models


def test_saliency_is_the_size_of_the_slope() -> None:
    model = models.perceptron()
    found = bm.explain(model, models.TABLE, "saliency", target=2).values
    for feature in range(4):
        step = np.zeros(4)
        step[feature] = 1e-5
        ends = [models.numpy_scores(model, models.TABLE + sign * step)[:, 2] for sign in (1, -1)]
        np.testing.assert_allclose(found[:, feature], np.abs(ends[0] - ends[1]) / 2e-5, rtol=1e-4)


def test_without_noise_smooth_grad_is_saliency() -> None:
    model = models.perceptron()
    smooth = bm.explain(model, models.TABLE, "smooth-grad:noise=0,copies=3")
    np.testing.assert_allclose(smooth.values, bm.explain(model, models.TABLE, "saliency").values, rtol=1e-6)


def test_the_same_seed_draws_the_same_noise() -> None:
    model = models.perceptron()
    first, again, other = (
        bm.explain(model, models.TABLE, f"smooth-grad:copies=3,seed={seed}").values for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and not np.allclose(first, other)


def test_occlusion_is_what_the_score_loses() -> None:
    model = models.perceptron()
    found = bm.explain(model, models.TABLE, "occlusion", target=0).values
    for feature in range(4):
        covered = models.TABLE.astype(np.float64)
        covered[:, feature] = 0
        lost = models.numpy_scores(model, models.TABLE)[:, 0] - models.numpy_scores(model, covered)[:, 0]
        np.testing.assert_allclose(found[:, feature], lost, atol=1e-5)


def test_grad_cam_is_stretched_to_the_image() -> None:
    found = bm.explain(models.convolutions(), models.IMAGES, "grad-cam:layer=max_pool2d_1")
    (small,) = found.maps.values()
    assert small.shape == (3, 1, 4, 4) and found.values.shape == (3, 1, 8, 8)
    assert small.max() > 0 and found.values.min() >= 0
    np.testing.assert_allclose(found.values[:, :, 0, 0], small[:, :, 0, 0])


def attention_weights(model: Any, tokens: np.ndarray) -> np.ndarray:
    """softmax(q @ k.T / sqrt(width)) of the first block, in NumPy, from what the block is given."""
    x = bm.activations(model, tokens, "norm").astype(np.float64)
    state = model.state()
    heads = []
    for name in ("query", "key"):
        y = x @ state[f"block_1/attention/{name}/weight"] + state[f"block_1/attention/{name}/bias"]
        heads.append(y.reshape(*y.shape[:2], 2, 4).transpose(0, 2, 1, 3))
    scores = heads[0] @ heads[1].swapaxes(2, 3) / math.sqrt(4)
    return softmax(np.where(tokens[:, None, None] >= 0, scores, -np.inf))


def test_attention_maps_are_the_softmax_of_queries_and_keys() -> None:
    model = models.reader()
    found = bm.explain(model, models.TOKENS, "attention")
    (weights,) = found.maps.values()
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(weights, attention_weights(model, models.TOKENS), atol=1e-5)


def test_attention_of_a_token_is_the_mean_of_what_it_gets() -> None:
    found = bm.explain(models.reader(), models.TOKENS, "attention")
    (weights,) = found.maps.values()
    np.testing.assert_allclose(found.values[0], weights[0].mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(found.values[1], weights[1, :, :3].mean((0, 1)), rtol=1e-5, atol=1e-9)


def test_a_language_model_attends_from_the_step_that_is_explained() -> None:
    model = bm.models.build("gpt", vocabulary=9, context=8, layers=1, heads=2, width=8)
    models.built(model, bm.Spec(("N", "T"), "int64"))
    tokens = np.abs(models.TOKENS)
    found = bm.explain(model, tokens, "attention", target=(2, None))
    (weights,) = found.maps.values()
    assert (np.triu(weights, 1) == 0).all(), "a step sees one after it"
    np.testing.assert_allclose(found.values, weights[:, :, 2].mean(1), rtol=1e-5)


def test_attention_of_patches_lies_over_the_image() -> None:
    model = bm.models.build("vit", image=(8, 8), patch=4, layers=1, heads=2, width=8, classes=3)
    models.built(model, bm.Spec(("N", 1, 8, 8)))
    found = bm.explain(model, models.IMAGES, "attention")
    (weights,) = found.maps.values()
    assert found.values.shape == models.IMAGES.shape
    corners = found.values[:, 0][:, [0, 0, 7, 7], [0, 7, 0, 7]]
    np.testing.assert_allclose(corners, weights[:, :, 0, 1:].mean(1), rtol=1e-5)


# Adebayo et al., 2018: what does not change with the weights explains the image, not the model.


@pytest.mark.parametrize(
    "method", ["integrated-gradients", "saliency", "smooth-grad", "grad-cam", "occlusion"]
)
def test_randomised_weights_change_the_map(method: str) -> None:
    own = bm.explain(models.convolutions(0), models.IMAGES, method, target=0).values
    other = bm.explain(models.convolutions(1), models.IMAGES, method, target=0).values
    shared = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1]
        for a, b in zip(own, other, strict=True)
        if a.std() and b.std()
    ]
    assert shared and np.mean(shared) < 0.8, "the same map would have 1"


def test_a_saved_model_is_explained_as_before(tmp_path: Any) -> None:
    model = models.convolutions()
    bm.save(model, tmp_path / "model.safetensors")
    for method in ("integrated-gradients", "grad-cam"):
        before = bm.explain(model, models.IMAGES, method).values
        again = bm.explain(tmp_path / "model.safetensors", models.IMAGES, method).values
        np.testing.assert_array_equal(before, again)
