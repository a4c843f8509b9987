"""Charts: well-formed SVG with a title and a description, whatever the numbers and the texts are."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import bigmodel_core as bm
from bigmodel_core.charts.colours import photo
from bigmodel_core.charts.scales import along, scale
from bigmodel_core.errors import UsageError

NAMES = "{http://www.w3.org/2000/svg}"
NAN, INF = math.nan, math.inf

ODD: dict[str, Callable[[], bm.charts.Chart]] = {
    "no line": lambda: bm.charts.line({}),
    "an empty line": lambda: bm.charts.line({"a": []}),
    "one point": lambda: bm.charts.line({"a": [0.5]}),
    "only NaN": lambda: bm.charts.line({"a": [NAN, NAN]}),
    "gaps": lambda: bm.charts.line({"a": [1, None, NAN, 2, INF, -INF]}),
    "equal numbers": lambda: bm.charts.line({"a": [3, 3, 3]}),
    "all zero": lambda: bm.charts.line({"a": [0, 0]}),
    "the largest numbers": lambda: bm.charts.line({"a": [-1.7e308, 1.7e308]}),
    "the smallest numbers": lambda: bm.charts.line({"a": [5e-324, 1e-323]}),
    "nothing above 0 on a log axis": lambda: bm.charts.line({"a": [-1, 0]}, log=True),
    "many orders": lambda: bm.charts.line({"a": [1e-300, 1e300]}, log=True),
    "the same place": lambda: bm.charts.line({"a": [1, 2]}, [4, 4]),
    "a long line": lambda: bm.charts.line({"a": np.arange(20_000.0)}),
    "no points": lambda: bm.charts.scatter([], []),
    "one spot": lambda: bm.charts.scatter([1], [1], diagonal=True, level=0),
    "missing spots": lambda: bm.charts.scatter([1, NAN], [INF, 2]),
    "no bars": lambda: bm.charts.bars({}),
    "bars of NaN": lambda: bm.charts.bars({"a": NAN, "b": None}),
    "bars below 0": lambda: bm.charts.bars({"a": -2, "b": -1}),
    "many bars": lambda: bm.charts.bars({str(number): number for number in range(99)}),
    "an empty table": lambda: bm.charts.heatmap(np.zeros((0, 3))),
    "one cell": lambda: bm.charts.heatmap([[0]]),
    "cells of NaN": lambda: bm.charts.heatmap([[NAN, 1.5], [-2.0, NAN]]),
    "a large table": lambda: bm.charts.heatmap(np.random.default_rng(0).random((90, 50))),
    "no box": lambda: bm.charts.flow([]),
    "one box": lambda: bm.charts.flow([bm.charts.Box("")]),
    "many ways around": lambda: bm.charts.flow(
        [bm.charts.Box("a" * 99, "b" * 99, 2, "c")] * 9, [(0, end) for end in range(1, 9)]
    ),
    "no image": lambda: bm.charts.images([]),
    "a flat image": lambda: bm.charts.images([np.zeros((4, 4))]),
    "an image with NaN": lambda: bm.charts.images([np.full((3, 4, 5), NAN)], ["a\nb"]),
}


def read(chart: bm.charts.Chart) -> ElementTree.Element:
    return ElementTree.fromstring(chart.svg)


@pytest.mark.parametrize("name", ODD)
def test_odd_data_give_well_formed_svg_without_nan(name: str) -> None:
    chart = ODD[name]()
    numbers = [value for element in read(chart).iter() for key, value in element.items() if key != "href"]
    assert not any(re.search(r"nan|inf", value, re.IGNORECASE) for value in numbers)


@pytest.mark.parametrize("name", ODD)
def test_everything_is_inside_the_chart(name: str) -> None:
    root = read(ODD[name]())
    wide, high = map(float, root.get("viewBox", "").split()[2:])
    for element in root.iter(f"{NAMES}text"):
        assert 0 <= float(element.get("x", "")) <= wide
        assert 0 <= float(element.get("y", "")) <= high
    for element in root.iter(f"{NAMES}path"):
        for x, y in re.findall(r"[ML](\S+?) (-?[\d.]+)", element.get("d", "")):
            assert -1 <= float(x) <= wide + 1
            assert -1 <= float(y) <= high + 1


def test_screen_readers_are_told_a_title_and_a_description() -> None:
    root = read(bm.charts.line({"loss": [3, 1, 2]}, title="Loss"))
    told = {element.get("id"): element.text for element in root if element.get("id")}
    assert root.get("role") == "img"
    assert [told[name] for name in root.get("aria-labelledby", "").split()] == [
        "Loss",
        "loss: 3 points, from 3 to 2, least 1, most 3.",
    ]


MADE = {
    "line": lambda text: bm.charts.line({text: [1], "b": [2]}, title=text, x_label=text, y_label=text),
    "scatter": lambda text: bm.charts.scatter([1], [1], title=text, x_label=text, y_label=text),
    "bars": lambda text: bm.charts.bars({text: 1}, title=text, x_label=text),
    "heatmap": lambda text: bm.charts.heatmap([[1]], rows=[text], columns=[text], title=text, row_label=text),
    "images": lambda text: bm.charts.images([np.eye(2)], [text], title=text),
    "flow": lambda text: bm.charts.flow([bm.charts.Box(text, text, 1, text)], title=text),
}


@pytest.mark.parametrize("kind", MADE)
def test_text_is_text(kind: str) -> None:
    root = read(MADE[kind]("<b>&\"'\x1b\0"))
    assert not [element for element in root.iter() if element.tag in (f"{NAMES}b", "b")]
    assert any("<b>" in (element.text or "") for element in root.iter(f"{NAMES}title"))


def test_a_line_goes_through_its_points() -> None:
    root = read(bm.charts.line({"a": [0, 1, 0]}, [0, 1, 2]))
    path = next(element.get("d", "") for element in root.iter(f"{NAMES}path") if element.get("class") == "l0")
    (x1, y1), (x2, y2), (x3, y3) = [tuple(map(float, point.split())) for point in re.split("[ML]", path)[1:]]
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.11)
    assert y1 == y3 > y2


def test_a_gap_breaks_the_line() -> None:
    root = read(bm.charts.line({"a": [0, 1, None, 1, 0]}))
    path = next(element.get("d", "") for element in root.iter(f"{NAMES}path") if element.get("class") == "l0")
    assert path.count("M") == 2


def test_equal_ratios_are_equal_heights_on_a_log_axis() -> None:
    axis = scale([np.array([1.0, 1000.0])], is_log=True)
    assert np.diff(axis.share(np.array([1, 10, 100, 1000]))) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "values", [[0, 1], [0.031, 0.97], [-3e5, 2e5], [1e-9, 3e-9], [1e29, 2e30], [7, 7], [-0.2, 0.1]]
)
def test_ticks_are_few_in_order_and_labelled_with_what_they_are(values: list[float]) -> None:
    axis = scale([np.array(values)])
    assert 2 <= len(axis.ticks) <= 12
    assert list(axis.ticks) == sorted(axis.ticks)
    assert len(set(axis.labels)) == len(axis.labels)
    written = [float(label.replace(",", "")) for label in axis.labels]
    assert written == pytest.approx(list(axis.ticks), rel=1e-6, abs=1e-15)


def test_epochs_have_whole_ticks() -> None:
    assert along([np.array([1.0, 2.0, 3.0])]).labels == ("1", "2", "3")


def test_bars_are_as_long_as_their_numbers() -> None:
    root = read(bm.charts.bars({"a": 1, "b": 2, "c": -1}))
    one, two, below = [float(element.get("width", "")) for element in root.iter(f"{NAMES}rect")]
    assert two == pytest.approx(2 * one, abs=0.11)
    assert below == pytest.approx(one, abs=0.11)


def test_cells_have_their_numbers_and_a_colour_as_strong() -> None:
    root = read(bm.charts.heatmap([[8, 2], [0, -4]], rows=["cat", "dog"], columns=["cat", "dog"]))
    cells = [(e[0].text, float(e.get("fill-opacity", ""))) for e in root.iter(f"{NAMES}rect") if len(e)]
    assert [text for text, _ in cells] == ["cat, cat: 8", "cat, dog: 2", "dog, cat: 0", "dog, dog: -4"]
    assert [colour / cells[0][1] for _, colour in cells] == pytest.approx([1, 0.25, 0, 0.5], abs=0.02)


@pytest.mark.parametrize("shape", [(6, 5), (1, 6, 5), (6, 5, 1), (3, 6, 5), (6, 5, 3)])
def test_a_png_holds_the_pixels(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(bm.charts.png(array).partition(",")[2]))))
    there = np.moveaxis(array, 0, -1) if shape[0] in (1, 3) else array
    np.testing.assert_array_equal(found, there[..., 0] if there.shape[-1:] == (1,) else there)


def test_a_photo_is_small_and_looks_the_same() -> None:
    array = np.random.default_rng(0).integers(0, 256, (3, 8, 8)).astype(np.uint8).repeat(12, 1).repeat(12, 2)
    kind, _, text = photo(array).partition(",")
    found = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))), float)
    assert kind == "data:image/jpeg;base64"
    assert np.abs(found - np.moveaxis(array, 0, -1)).mean() < 12


def test_a_large_image_is_reduced() -> None:
    found = Image.open(
        io.BytesIO(base64.b64decode(bm.charts.png(np.eye(900, dtype="u1"), 300).partition(",")[2]))
    )
    assert found.size == (300, 300)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bm.charts.line({"a": [1, 2]}, [1]), "1 places for 2 numbers"),
        (lambda: bm.charts.line({"a": ["x"]}), "expected numbers"),
        (lambda: bm.charts.line({"a": [[1]]}), r"got shape \(1, 1\)"),
        (lambda: bm.charts.scatter([1], [1, 2]), "1 places for 2 numbers"),
        (lambda: bm.charts.heatmap([[1]], rows=["a", "b"]), "2 names for 1 rows"),
        (lambda: bm.charts.images([np.eye(2)], ["a", "b"]), "2 captions for 1 images"),
        (lambda: bm.charts.png(np.zeros((2, 3, 4))), r"got float64 of shape \(2, 3, 4\)"),
        (lambda: bm.charts.flow([bm.charts.Box("a")], [(0, 1)]), "from box 0 to box 1 of 1"),
        (lambda: bm.charts.picture([1, 2]), r"expected \(H, W\)"),
    ],
)
def test_what_cannot_be_drawn_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()


def contrast(one: str, other: tuple[float, float, float]) -> float:
    """By WCAG 2.2."""

    def light(colour: tuple[float, ...]) -> float:
        parts = [part / 255 for part in colour]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([light(rgb(one)), light(other)])
    return (high + 0.05) / (low + 0.05)


def rgb(code: str) -> tuple[float, float, float]:
    red, green, blue = (int(code[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_and_lines_can_be_seen_on_their_ground(mode: str) -> None:
    style = next(read(bm.charts.line({"a": [1]})).iter(f"{NAMES}style")).text or ""
    light, dark = re.findall(r"svg\.bm-chart\{(--[^}]*)", style)
    colours = dict(re.findall(r"--(\w+):var\(--bm-\w+,(#\w+)\)", light if mode == "light" else dark))
    paper = rgb(colours["paper"])
    assert all(contrast(colours[name], paper) >= 4.5 for name in ("ink", "faint"))
    assert all(contrast(colours[str(number)], paper) >= 3 for number in range(8))
    for name in ("heat", "cold"):  # the strongest cell, on which a number stands
        cell = tuple(0.7 * part + 0.3 * under for part, under in zip(rgb(colours[name]), paper, strict=True))
        assert contrast(colours["ink"], cell) >= 4.5
