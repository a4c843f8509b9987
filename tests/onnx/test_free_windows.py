"""Strided windows, pools, slices and masks over free sizes, beside PyTorch: outputs, losses, gradients at
several sizes after each other, files in ONNX Runtime, and models that were saved or read back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ShapeError
from tests.onnx.conftest import run

layers, ops = bm.layers, bm.ops


@dataclass(frozen=True)
class UNet(bm.Layer):
    """Two levels, cropped where the image is not even: any height and width from 2 on."""

    def __call__(self, x: Any) -> Any:
        skip = layers.Conv2d(4, 3, padding=1)(x)
        low = layers.Conv2d(4, 3, stride=2, padding=1)(ops.relu(skip))
        up = layers.ConvTranspose2d(4, 2, stride=2)(ops.relu(low))
        up = up[:, :, : skip.shape[2], : skip.shape[3]]
        return layers.Conv2d(2, 1)(ops.concatenate([skip, up], 1))


@dataclass(frozen=True)
class PaddedUNet(bm.Layer):
    """Pooled down and brought up again, padded to the size of the skip."""

    def __call__(self, x: Any) -> Any:
        skip = layers.Conv2d(4, 3, padding=1)(x)
        up = ops.upsample_nearest(ops.max_pool(skip, 2), 2)
        more = (skip.shape[2] - up.shape[2], skip.shape[3] - up.shape[3])
        return layers.Conv2d(2, 1)(ops.concatenate([skip, ops.zero_pad(up, (0, 0, *more))], 1))


@dataclass(frozen=True)
class Attention(bm.Layer):
    """Causal attention with learned positions, and the last step beside the mean of all."""

    def __call__(self, x: Any) -> Any:
        t = x.shape[1]
        p = ops.positions(x, 1)
        x = x + layers.Embedding(64, 4)(p)
        scores = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
        mask = p.reshape(-1, 1) >= p
        y = ops.matmul(ops.softmax(ops.where(mask, scores, -1e9)), x)
        return layers.Dense(3)(
            ops.concatenate([y[:, t - 1], ops.sum(y, 1) / t, y[:, : (t + 1) // 2][:, 0]], 1)
        )


@dataclass(frozen=True)
class EverySecond(bm.Layer):
    """Each second step."""

    def __call__(self, x: Any) -> Any:
        return x[:, :, ::2] * 2.0


def _torch_unet(functional: Any, torch: Any, x: Any, w: list[Any]) -> Any:
    skip = functional.conv2d(x, w[0], w[1], padding=1)
    low = functional.conv2d(skip.relu(), w[2], w[3], stride=2, padding=1)
    up = functional.conv_transpose2d(low.relu(), w[6], w[7], stride=2)
    up = up[:, :, : skip.shape[2], : skip.shape[3]]
    return functional.conv2d(torch.cat([skip, up], 1), w[4], w[5])


def _torch_padded(functional: Any, torch: Any, x: Any, w: list[Any]) -> Any:
    skip = functional.conv2d(x, w[0], w[1], padding=1)
    up = functional.interpolate(functional.max_pool2d(skip, 2), scale_factor=2)
    more = (0, skip.shape[3] - up.shape[3], 0, skip.shape[2] - up.shape[2])
    return functional.conv2d(torch.cat([skip, functional.pad(up, more)], 1), w[2], w[3])


def _torch_attention(functional: Any, torch: Any, x: Any, w: list[Any]) -> Any:
    weight, bias, table = w
    t = x.shape[1]
    x = x + table[:t]
    y = functional.scaled_dot_product_attention(x, x, x, is_causal=True, scale=1.0)
    whole = torch.cat([y[:, t - 1], y.mean(1), y[:, 0]], 1)
    return functional.linear(whole, weight, bias)


def _same(functional: Any, x: Any, window: int, stride: int, fill: float = 0.0) -> Any:
    pads: list[int] = []
    for size in (x.shape[3], x.shape[2]):
        total = max((-(-size // stride) - 1) * stride + window - size, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(x, pads, value=fill)


def _torch_same(functional: Any, torch: Any, x: Any, w: list[Any]) -> Any:
    y = functional.conv2d(_same(functional, x, 3, 2), w[0], w[1], stride=2).relu()
    y = functional.max_pool2d(_same(functional, y, 3, 2, -float("inf")), 3, 2)
    return functional.conv2d(y, w[2], w[3], stride=2)


IMAGES = [{"H": 2, "W": 2}, {"H": 7, "W": 64}, {"H": 8, "W": 5}]
SERIES = [{"T": size} for size in (1, 2, 7, 64)]
CASES: dict[str, tuple[Callable[[], bm.Layer], Any, tuple[Any, ...], list[dict[str, int]]]] = {
    "strides": (
        lambda: bm.Sequential(
            layers.Conv2d(4, 3, stride=2, padding=1),
            layers.Relu(),
            layers.MaxPool2d(2, 2, 1),
            layers.AveragePool2d(3, 2, 1),
            layers.Conv2d(2, 1, stride=2),
        ),
        lambda f, torch, x, w: f.conv2d(
            f.avg_pool2d(f.max_pool2d(f.conv2d(x, w[0], w[1], 2, 1).relu(), 2, 2, 1), 3, 2, 1), w[2], w[3], 2
        ),
        ("N", 3, "H", "W"),
        [{"H": 1, "W": 1}, *IMAGES],
    ),
    "same": (
        lambda: bm.Sequential(
            layers.Conv2d(4, 3, stride=2, padding="same"),
            layers.Relu(),
            layers.MaxPool2d(3, 2, "same"),
            layers.Conv2d(2, 1, stride=2, padding="same"),
        ),
        _torch_same,
        ("N", 3, "H", "W"),
        [{"H": 1, "W": 1}, *IMAGES],
    ),
    "volumes": (
        lambda: bm.Sequential(
            layers.Conv3d(4, 3, stride=2, padding=1),
            layers.Relu(),
            layers.MaxPool3d(2, 1, 1),
            layers.AveragePool3d(2),
            layers.ConvTranspose3d(2, (1, 2, 3), stride=(1, 2, 1)),
        ),
        lambda f, torch, x, w: f.conv_transpose3d(
            f.avg_pool3d(f.max_pool3d(f.conv3d(x, w[0], w[1], 2, 1).relu(), 2, 1, 1), 2),
            w[2],
            w[3],
            (1, 2, 1),
        ),
        ("N", 3, "D", "H", "W"),
        [{"D": 1, "H": 2, "W": 1}, {"D": 7, "H": 4, "W": 9}, {"D": 4, "H": 12, "W": 5}],
    ),
    "adaptive": (
        lambda: bm.Sequential(layers.AdaptiveAveragePool2d((3, 2)), layers.Flatten(), layers.Dense(2)),
        lambda f, torch, x, w: f.linear(f.adaptive_avg_pool2d(x, (3, 2)).flatten(1), w[0], w[1]),
        ("batch", 3, "H", "W"),
        [{"H": 1, "W": 1}, *IMAGES],
    ),
    "unet": (UNet, _torch_unet, ("N", 3, "H", "W"), IMAGES),
    "padded unet": (PaddedUNet, _torch_padded, ("unk__653", 3, "H", "W"), IMAGES),
    "attention": (Attention, _torch_attention, ("N", "T", 4), SERIES),
    "series": (
        lambda: bm.Sequential(
            layers.Conv1d(4, 3, stride=2, padding=1), EverySecond(), layers.GlobalAveragePool()
        ),
        lambda f, torch, x, w: (f.conv1d(x, w[0], w[1], 2, 1)[:, :, ::2] * 2).mean(2),
        ("N", 3, "T"),
        SERIES,
    ),
}


def drawn(shape: tuple[Any, ...], sizes: dict[str, int], samples: int) -> np.ndarray:
    known = [sizes.get(dim, samples) if isinstance(dim, str) else dim for dim in shape]
    return np.random.default_rng(samples).normal(size=known).astype("float32")


def weights_of(model: bm.Layer, torch: Any) -> tuple[list[str], list[Any]]:
    """The parameters as PyTorch has them: matrices the other way."""
    paths = sorted(model.state(), key=lambda path: (path.rpartition("/")[0], path.endswith("bias")))
    return paths, [torch.tensor(model.state()[path], requires_grad=True) for path in paths]


@pytest.mark.parametrize("name", CASES)
def test_outputs_losses_and_gradients_are_those_of_pytorch_at_every_size(name: str, torch: Any) -> None:
    make, reference, shape, sizes = CASES[name]
    model = make()
    model.build(bm.Spec(shape), seed=3)
    paths, weights = weights_of(model, torch)
    matrices = [w.T if w.ndim == 2 and "dense" in path else w for path, w in zip(paths, weights, strict=True)]
    step = bm.value_and_grad(model, "mean_squared_error")
    for samples, given in enumerate(sizes, 2):
        x = drawn(shape, given, samples)
        wanted = reference(torch.nn.functional, torch, torch.tensor(x), matrices)
        np.testing.assert_allclose(model(x), wanted.detach().numpy(), rtol=1e-5, atol=1e-5)
        y = np.random.default_rng(9).normal(size=wanted.shape).astype("float32")
        loss = torch.nn.functional.mse_loss(wanted, torch.tensor(y))
        found, slopes = step(x, y)
        np.testing.assert_allclose(found, loss.item(), rtol=1e-5)
        for path, slope in zip(paths, torch.autograd.grad(loss, weights), strict=True):
            np.testing.assert_allclose(slopes[path], slope.numpy(), rtol=1e-4, atol=1e-5, err_msg=path)


@pytest.mark.parametrize("name", CASES)
def test_files_and_saved_models_run_at_every_size(name: str, tmp_path: Path) -> None:
    make, _, shape, sizes = CASES[name]
    model = make()
    model.build(bm.Spec(shape), seed=3)
    bm.export(model, tmp_path / "model.onnx")
    bm.save(model, tmp_path / "model.bm")
    read, loaded = bm.from_onnx(tmp_path / "model.onnx"), bm.load(tmp_path / "model.bm")
    bm.export(read, tmp_path / "again.onnx")
    for samples, given in enumerate(sizes, 1):
        x = drawn(shape, given, samples)
        wanted = model(x)
        np.testing.assert_array_equal(loaded(x), wanted)
        for found in (read(x), *(run(tmp_path / file, x)[0] for file in ("model.onnx", "again.onnx"))):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("example", [1, 6])
def test_no_size_of_the_example_is_special(example: int, tmp_path: Path) -> None:
    """A model that first saw the smallest array is not bound to its size."""
    model = bm.Sequential(
        layers.Conv1d(3, 3, stride=2, padding=1), layers.GlobalAveragePool(), layers.Dense(2)
    )
    model.build(bm.Spec(("rows", 2, "T")), seed=0)
    model(drawn(("rows", 2, "T"), {"T": 1}, example))
    bm.export(model, tmp_path / "model.onnx", samples=drawn(("rows", 2, "T"), {"T": 1}, example))
    for samples in (1, 2, 7, 64):
        for steps in (1, 2, 7, 64):
            x = drawn(("rows", 2, "T"), {"T": steps}, samples)
            np.testing.assert_allclose(run(tmp_path / "model.onnx", x)[0], model(x), rtol=1e-4, atol=1e-5)


def test_a_fixed_number_of_samples_is_kept_and_named(tmp_path: Path) -> None:
    model = bm.Sequential(layers.Dense(3), layers.Relu())
    model.build(bm.Spec((6, 4)))
    x = np.ones((6, 4), "float32")
    bm.export(model, tmp_path / "model.onnx")
    np.testing.assert_allclose(run(tmp_path / "model.onnx", x)[0], model(x), rtol=1e-5)
    with pytest.raises(ShapeError, match=r"expected \(6, 4\), got \(5, 4\)"):
        model(x[:5])


def test_what_does_not_fit_in_all_sizes_names_layer_and_dimensions() -> None:
    @dataclass(frozen=True)
    class Broken(bm.Layer):
        def __call__(self, x: Any) -> Any:
            return ops.concatenate([x, ops.upsample_nearest(ops.max_pool(x, 2), 2)], 1)

    with pytest.raises(ShapeError, match=r"(?s)Broken.*2\*\(H // 2\)"):
        Broken().build(bm.Spec(("N", 3, "H", "W")))
    fixed = bm.Sequential(layers.MaxPool2d(2), layers.Flatten(), layers.Dense(2))
    with pytest.raises(ShapeError, match=r"(?s)dense_1 \(Dense\).*H // 2"):
        fixed.build(bm.Spec(("N", 3, "H", "W")))


def test_an_image_that_no_window_fits_is_refused() -> None:
    model = layers.Conv2d(2, 5, stride=2).build(bm.Spec(("N", 1, "H", "W")))
    with pytest.raises(ShapeError, match=r"would be -1 with H = 1|does not fit an image of 1 x 9"):
        model(np.zeros((1, 1, 1, 9), "float32"))
