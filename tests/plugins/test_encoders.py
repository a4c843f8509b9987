"""Encoders and vision Transformers: numbers of parameters, padding, patches.

That they compute what those of transformers do is shown with their published weights.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, ShapeError

SMALL = {"layers": 2, "heads": 2, "width": 8}
TOKENS = np.array([[1, 5, 3, 6, 2], [4, 2, 0, -1, -1]])
SEGMENTS = np.array([[0, 0, 1, 1, 1], [0, 1, 1, -1, -1]])


def count(model: Any, path: str = "") -> int:
    network = model.build(*_specs(model))  # which allocates no parameters
    return sum(
        math.prod(item.spec.shape)
        for name, item in network.parameters.items()
        if not re.match(path + "$", name)
    )


def _specs(model: Any) -> tuple[Any, ...]:
    found = model.input_spec()
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize(
    ("size", "published"),
    [("tiny", 5_717_416), ("small", 22_050_664), ("base", 86_567_656), ("large", 304_326_632)],
)
def test_sizes_of_vit_have_the_published_number_of_parameters(size: str, published: int) -> None:
    assert count(bm.models.Vit(size=size, classes=1000)) == published


@pytest.mark.parametrize(("size", "published"), [("base", 110_106_428), ("large", 336_226_108)])
def test_sizes_of_bert_have_the_published_number_of_parameters(size: str, published: int) -> None:
    assert count(bm.models.Bert(size=size)) == published


def test_the_encoder_of_bert_has_the_published_number_of_parameters() -> None:
    assert count(bm.models.BertClassifier(size="base"), "output/.*") == 109_482_240


@pytest.mark.torch
@pytest.mark.parametrize("grid", [(14, 14), (3, 5), (9, 4)])
def test_positions_of_another_grid_are_those_of_pytorchs_bicubic(grid: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    layer = bm.layers.PatchEmbedding(2, 6, class_token=True, positions=True, grid=(7, 7))
    layer.build(bm.Spec(("N", 1, 2 * grid[0], 2 * grid[1])))
    state = {name: np.random.default_rng(1).normal(size=v.shape) for name, v in layer.state().items()}
    layer.load_state({name: value * (name == "position") for name, value in state.items()})
    table = torch.tensor(state["position"])
    old = table[1:].reshape(1, 7, 7, 6).permute(0, 3, 1, 2)
    new = torch.nn.functional.interpolate(old, grid, mode="bicubic").permute(0, 2, 3, 1).reshape(-1, 6)
    found = layer(np.zeros((1, 1, 2 * grid[0], 2 * grid[1]), "float32"))[0]
    np.testing.assert_allclose(found, torch.cat([table[:1], new]), atol=1e-5)


@pytest.mark.parametrize(("side", "tokens"), [(28, 49), (64, 64), (8, 16), (29, 841)])
def test_patches_are_cut_to_fit_the_image(side: int, tokens: int) -> None:
    model = bm.models.Vit(**SMALL)
    model.build(bm.Spec(("N", 1, side, side)))
    assert model.state()["embedding/position"].shape == (tokens + 1, 8)


def test_patches_are_read_row_by_row() -> None:
    layer = bm.layers.PatchEmbedding(2, 4)
    layer.build(bm.Spec(("N", 1, 4, 6)))
    layer.load_state({"projection/weight": np.eye(4), "projection/bias": np.zeros(4)})
    x = np.arange(24, dtype="float32").reshape(1, 1, 4, 6)
    np.testing.assert_array_equal(layer(x)[0, [0, 1, 3]], [[0, 1, 6, 7], [2, 3, 8, 9], [12, 13, 18, 19]])


def small_bert(name: str = "bert", **more: Any) -> Any:
    return bm.models.build(name, **SMALL, vocabulary=7, context=9, **more)


@pytest.mark.parametrize("name", ("bert", "bert-classifier", "bert-tagger", "bert-spans"))
def test_padding_changes_nothing(name: str) -> None:
    model = small_bert(name)
    model.build(*model.input_spec())
    short, padded = model(TOKENS[:1, :3], SEGMENTS[:1, :3]), np.array([[1, 5, 3, -1, -1]])
    long = model(padded, np.array([[0, 0, 1, -1, -1]]))
    for one, other in zip(
        *(list(item.values()) if isinstance(item, dict) else [item] for item in (short, long)),
        strict=True,
    ):
        cut = other[:, :3] if other.ndim == 3 or name == "bert-spans" else other
        np.testing.assert_allclose(cut, one, atol=1e-6)


def test_answers_are_never_in_padding() -> None:
    model = small_bert("bert-spans")
    found = model(TOKENS, SEGMENTS)
    assert all(found[part].shape == (2, 5) and found[part][1, 3:].max() < -1e8 for part in ("start", "end"))


@pytest.mark.parametrize("name", ("bert-classifier", "bert-tagger", "bert-spans"))
def test_the_heads_of_bert_share_the_paths_of_its_encoder(name: str) -> None:
    first, other = small_bert(), small_bert(name)
    first(TOKENS, SEGMENTS), other(TOKENS, SEGMENTS)
    report = other.load_state(first.state(), partial=True)
    assert all(path.startswith("output/") for path in report.missing)
    np.testing.assert_array_equal(
        first.state()["block_2/attention/key/weight"], other.state()["block_2/attention/key/weight"]
    )


def test_a_single_text_has_segment_0() -> None:
    model = small_bert("bert-tagger")
    model.build(*model.input_spec())
    alone = small_bert("bert-tagger")
    alone.build(model.input_spec()[0])
    alone.load_state(model.state())
    np.testing.assert_array_equal(alone(TOKENS), model(TOKENS, np.minimum(TOKENS, 0)))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: bm.models.Vit(size="giant"), ConfigError, "there is no size 'giant'"),
        (lambda: bm.models.Vit(width=10), ConfigError, "width of 10 cannot be split into 4 heads"),
        (lambda: bm.models.Bert(heads=3), ConfigError, "width of 128 cannot be split into 3 heads"),
        (
            lambda: bm.layers.PatchEmbedding(3, 4)(bm.Spec(("N", 1, 9, 8))),
            ShapeError,
            "9 x 8 cannot be cut into patches of 3 x 3",
        ),
        (lambda: bm.models.Vit()(bm.Spec(("N", 64))), ShapeError, r"expected images \(N, C, H, W\)"),
    ],
)
def test_what_does_not_fit_is_named(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()
