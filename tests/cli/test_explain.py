"""`bigmodel explain`: what people, programs and browsers get of a table, an image and a text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bigmodel_core as bm

from .conftest import Result, run_here


def saved(folder: Path, model: Any, data: Any, **state: Any) -> Path:
    """A checkpoint of a model, some of whose parameters are given."""
    model.build(bm.Spec(("N", *data.input_shape), data.input_dtype), seed=0)
    if state:
        model.load_state({path: np.float32(array) for path, array in state.items()}, partial=True)
    path = folder / "model.safetensors"
    bm.save(model, path, data=data)
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A classifier that reads the width alone, and its data."""
    folder = tmp_path_factory.mktemp("table")
    draw, rows = np.random.default_rng(0), ["height,width,kind"]
    for number in range(60):
        kind = number % 2
        rows.append(f"{draw.normal():.3f},{draw.normal() + 4 * kind:.3f},{('thin', 'thick')[kind]}")
    (folder / "kinds.csv").write_text("\n".join(rows))
    data = bm.datasets.load("csv", folder / "kinds.csv")
    thick = data.labels.index("thick")
    weight = np.zeros((2, 2))
    weight[1, thick], weight[1, 1 - thick] = 3, -3
    return saved(folder, bm.layers.Dense(2), data, weight=weight), folder / "kinds.csv"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layers = bm.layers.Conv2d(3, 3), bm.layers.Relu(), bm.layers.Flatten(), bm.layers.Dense(10)
    return saved(tmp_path_factory.mktemp("images"), bm.Sequential(*layers), bm.datasets.load("digits"))


class Mean(bm.Layer):
    """The mean of what words say of two classes."""

    def __call__(self, tokens: Any) -> Any:
        return bm.layers.Dense(2)(bm.ops.mean(bm.layers.Embedding(40, 2, padded=True)(tokens), 1))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A classifier to which "good" says good, and other words nothing."""
    folder = tmp_path_factory.mktemp("texts")
    kinds = ("good", "bad")
    starts = [f"{start} {{}} {end}" for start in ("a", "so") for end in ("film", "cast")]
    rows = [f"{start.format(kind)},{kind}" for start in starts for kind in kinds]
    (folder / "films.csv").write_text("\n".join(["text,label", *rows]))
    data = bm.datasets.load("text-classification", folder / "films.csv")
    (token,) = data.tokenizer.encode("good").ids
    vectors = np.zeros((40, 2))
    vectors[token] = np.eye(2)[data.labels.index("good")]
    state = {"embedding_1/weight": vectors, "dense_1/weight": np.eye(2)}
    return saved(folder, Mean(), data, **state), folder / "films.csv"


def explained(path: Path, *options: object) -> Result:
    result = run_here("explain", path, *options)
    assert result.code == 0, result.err
    return result


def test_a_table_is_explained_by_features_in_order_of_what_they_are_worth(table: Any) -> None:
    result = explained(table[0], "--data-dir", table[1])
    lines = [line.split() for line in result.out.splitlines() if "width" in line or "height" in line]
    assert [line[0] for line in lines] == ["width", "height"]
    assert float(lines[0][1]) > 0.1 and lines[1][1] == "0"
    assert "what accuracy loses if the feature is shuffled" in result.out


def test_a_row_of_a_table_is_explained_by_shapley_values(table: Any) -> None:
    found = explained(table[0], "--data-dir", table[1], "--sample", 1, "--json").json
    assert found["method"] == "shapley"
    values = {item["name"]: item["value"] for item in found["features"]}
    assert values["height"] == 0
    np.testing.assert_allclose(values["width"], found["outputs"][0] - found["baseline"][0], rtol=1e-5)


def test_another_class_is_explained_by_its_label(table: Any) -> None:
    thin, thick = (
        explained(table[0], "--data-dir", table[1], "--sample", 1, "--target", kind, "--json").json
        for kind in ("thin", "thick")
    )
    np.testing.assert_allclose(thin["values"], -np.array(thick["values"]), atol=1e-6)
    assert "Why class thin for test sample 1 of csv" in thin["title"]


def test_an_image_becomes_a_page(images: Path) -> None:
    result = explained(images, "--sample", 2)
    page = (images.parent / "explanation.html").read_text()
    assert f"Wrote {images.parent / 'explanation.html'}" in result.out
    assert len(re.findall("data:image/png", page)) >= 6, "sample, map, both, and filters"
    assert "Filters of the first convolution, conv2d_1" in page and "://" not in page


@pytest.mark.parametrize("method", ["grad-cam", "occlusion:size=2"])
def test_an_image_becomes_a_picture(images: Path, method: str) -> None:
    out = images.parent / "map.png"
    explained(images, "--method", method, "--out", out)
    with Image.open(out) as picture:
        assert picture.size == (3 * 256, 256) and len(picture.getcolors(1 << 20) or ()) > 3


def test_a_text_is_explained_by_its_tokens(texts: Any) -> None:
    result = explained(texts[0], "--text", "so good cast", "--target", "good", "--json")
    weights = {item["token"]: item["value"] for item in result.json["tokens"]["x"]}
    assert set(weights) >= {"so", "good", "cast"}
    assert max(weights, key=lambda token: weights[token]) == "good"
    assert weights["so"] == 0 and weights["good"] > 0.1


def test_a_page_shows_a_text_in_colours(texts: Any) -> None:
    out = texts[0].parent / "page.html"
    explained(texts[0], "--text", "so good cast", "--target", "bad", "--baseline", 5, "--out", out)
    assert re.search(r'<span style="--s:\d+%" title="[^"]+">', out.read_text())


def test_a_language_model_is_asked_for_what_comes_after_a_text(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("to be or not to be. " * 20)
    data = bm.datasets.load("text:length=5", tmp_path / "lines.txt")
    size = data.tokenizer.size
    layers = bm.layers.Embedding(size, size), bm.layers.Dense(size, use_bias=False)
    tables = {"embedding_1/weight": np.eye(size), "dense_1/weight": np.eye(size)}
    path = saved(tmp_path, bm.Sequential(*layers), data, **tables)
    result = explained(path, "--text", "to be")
    assert "the token e at step 4 (e)" in result.out, "it says the last token again"
    rows = [line.split() for line in result.out.splitlines() if re.match(r"^(t|o|' '|b|e) ", line)]
    assert [float(row[-2] if "█" in row[-1] else row[-1]) for row in rows] == [0, 0, 0, 0, 1]


def test_a_row_of_categories_is_explained_by_its_cells(tmp_path: Path) -> None:
    rows = [f"{'ab'[n % 2]},{'xyz'[n % 3]},{('no', 'yes')[n % 2]}" for n in range(60)]
    (tmp_path / "table.csv").write_text("\n".join(["first,second,answer", *rows]))
    data = bm.datasets.load("csv", tmp_path / "table.csv", categories="embed")
    model = bm.models.build("tabular-mlp", widths=(4,)).fitted(data)
    model.build(bm.Spec(("N", 2), "int64"), seed=0)
    bm.save(model, tmp_path / "model.safetensors", data=data)
    given = (tmp_path / "model.safetensors", "--data-dir", tmp_path / "table.csv")
    found = explained(*given, "--json").json
    assert sorted(item["name"] for item in found["features"]) == ["first", "second"]
    assert found["method"] == "permutation"
    lines = [line.split() for line in explained(*given, "--sample", 1).out.splitlines()]
    assert {line[2] for line in lines if line[:1] == ["first"]} < {"a", "b"}


class Both(bm.Layer):
    """What two tables say of two classes: the second's one feature decides."""

    def __call__(self, first: Any, second: Any) -> Any:
        return bm.layers.Dense(2)(first) + second * np.float32([-9, 9])


def test_several_tables_are_explained_by_all_their_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).normal(size=(60, 5)).astype("float32")
    split = bm.Split({"first": x[:, :4], "second": x[:, 4:]}, (x[:, 4] > 0).astype("int64"))
    data = bm.Data("tables", split, split, labels=("no", "yes"))
    monkeypatch.setattr("bigmodel_core.cli.explained.load_data", lambda *_: data)
    model = Both()
    model.build(bm.Spec(("N", 4)), bm.Spec(("N", 1)), seed=0)
    bm.save(model, tmp_path / "model.safetensors", data=data)
    everything = explained(tmp_path / "model.safetensors", "--method", "permutation", "--json").json
    one = explained(tmp_path / "model.safetensors", "--method", "shapley", "--sample", 3, "--json").json
    for found in (everything, one):
        names = [item["name"] for item in found["features"]]
        assert names[0] == "second column 1"
        assert sorted(names[1:]) == [f"first column {number}" for number in range(1, 5)]
    assert "deviation" in everything["features"][0]
    assert "second column 1" in explained(tmp_path / "model.safetensors", "--method", "permutation").out


REFUSED = [
    (("--sample", 0, "--metric", "f1"), 2, "a metric is for methods that measure"),
    (("--sample", 99), 2, "there is no sample 99: csv has 12 test samples.*use 0 to 11"),
    (("--sample", 0, "--text", "a"), 2, "a sample and a text were both given"),
    (("--text", "a"), 2, "trained on csv, whose samples are no texts"),
    (("--sample", 0, "--method", "permutation"), 2, "permutation concerns all samples together"),
    (("--method", "grad-cam"), 2, "the model takes no image"),
    (("--method", "saliences"), 2, "saliences.*saliency"),
    (("--sample", 0, "--target", "huge"), 2, "there is no class 'huge'.*thick"),
    (("--out", "page.pdf"), 2, "ends in .html"),
    (("--split", "holidays"), 2, "no split 'holidays'"),
]


@pytest.mark.parametrize(("options", "code", "says"), REFUSED)
def test_what_makes_no_sense_is_refused(table: Any, options: Any, code: int, says: str) -> None:
    result = run_here("explain", table[0], "--data-dir", table[1], *options)
    assert result.code == code
    assert re.search(says, result.err, re.DOTALL), result.err


def test_a_text_without_a_word_is_refused(texts: Any) -> None:
    result = run_here("explain", texts[0], "--text", " ")
    assert result.code == 1 and "the text is empty" in result.err
