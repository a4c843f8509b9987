"""Boxes and masks as pages show them, pixel by pixel."""

from __future__ import annotations

import numpy as np

from bigmodel_core.charts.colours import class_colours
from bigmodel_core.reporting.places import EDGES, drawn


def test_a_box_is_drawn_around_what_it_holds() -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    found = drawn(pixels, [{"label": "dog", "box": [2, 1, 5, 6]}], 4, ["cat", "dog"])
    is_edge = (found == EDGES[1]).all(-1)
    expected = np.zeros((40, 40), bool)
    expected[4:26, 8:22] = True
    expected[6:24, 10:20] = False
    np.testing.assert_array_equal(is_edge, expected)
    assert not found[~is_edge].any()


def test_a_box_that_reaches_outside_is_drawn_at_the_border() -> None:
    found = drawn(np.zeros((8, 8, 3), np.uint8), [{"label": "cat", "box": [-3, -3, 99, 99]}], 1, ["cat"])
    assert (found[[0, 0, 7, 7], [0, 7, 0, 7]] == EDGES[0]).all() and not found[2:6, 2:6].any()


def test_the_image_itself_stays_as_it_is() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    drawn(pixels, [{"label": "cat", "box": [1, 1, 4, 4]}], 1, ["cat"])
    assert not pixels.any()


def test_colours_of_classes_are_those_of_pascal_voc() -> None:
    """As published with the data set: background, aeroplane, bicycle, bird, ..., tv monitor."""
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 8: (64, 0, 0), 20: (0, 64, 128)}
    assert {number: tuple(class_colours()[number].tolist()) for number in known} == known
