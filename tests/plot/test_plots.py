"""What plots draw: lines and their data, labels, texts; no pixels."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import bigmodel_core as bm
from bigmodel_core.errors import DataError, MissingPackageError, ShapeError, UnknownNameError
from bigmodel_core.train.history import History

matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")


@pytest.fixture(autouse=True)
def _headless() -> Iterator[None]:
    from matplotlib import pyplot

    before = matplotlib.get_backend()
    pyplot.switch_backend("Agg")
    yield
    pyplot.close("all")
    pyplot.switch_backend(before)


HISTORY = History(
    [
        {"epoch": 1, "loss": 0.9, "val_loss": 1.0, "val_accuracy": 0.5},
        {"epoch": 2, "loss": 0.5, "val_loss": 0.8, "val_accuracy": None},
        {"epoch": 3, "loss": 0.4, "val_loss": 0.9, "val_accuracy": 0.75},
    ]
)


def lines(ax: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in ax.get_lines()}


def test_a_history_draws_its_losses() -> None:
    drawn = lines(HISTORY.plot())
    assert drawn.keys() == {"loss", "val loss"}
    np.testing.assert_array_equal(drawn["loss"].get_xydata(), [[1, 0.9], [2, 0.5], [3, 0.4]])
    np.testing.assert_array_equal(drawn["val loss"].get_ydata(), [1.0, 0.8, 0.9])


def test_training_and_validation_share_a_colour() -> None:
    drawn = lines(HISTORY.plot())
    assert drawn["loss"].get_color() == drawn["val loss"].get_color()
    assert (drawn["loss"].get_linestyle(), drawn["val loss"].get_linestyle()) == ("-", "--")


def test_what_was_not_measured_is_a_gap() -> None:
    (line,) = HISTORY.plot("accuracy").get_lines()
    np.testing.assert_array_equal(line.get_ydata(), [0.5, np.nan, 0.75])


def test_a_measure_that_is_not_there_is_told() -> None:
    with pytest.raises(UnknownNameError, match="recall"):
        HISTORY.plot("recall")


def test_given_axes_are_drawn_on() -> None:
    from matplotlib import pyplot

    _, ax = pyplot.subplots()
    assert HISTORY.plot(ax=ax) is ax
    assert bm.plot.confusion_matrix(np.eye(2), ax=ax) is ax
    assert bm.plot.forecast([1.0], [2.0], ax=ax) is ax
    assert pyplot.get_fignums() == [ax.figure.number]


COUNTS = np.array([[3, 1], [2, 4]])


def test_a_confusion_matrix_has_its_counts_and_labels() -> None:
    ax = bm.plot.confusion_matrix(COUNTS, ["cat", "dog"])
    np.testing.assert_array_equal(ax.get_images()[0].get_array(), COUNTS)
    assert [text.get_text() for text in ax.texts] == ["3", "1", "2", "4"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["cat", "dog"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")


def test_shares_are_those_of_a_true_class() -> None:
    ax = bm.plot.confusion_matrix([[3, 1], [0, 0]], normalise=True)
    assert [text.get_text() for text in ax.texts] == ["0.75", "0.25", "0.00", "0.00"]


def test_the_metric_draws_predictions() -> None:
    prediction, target = np.array([0, 1, 1, 1]), np.array([0, 1, 0, 1])
    ax = bm.metrics.ConfusionMatrix().plot(prediction, target, ["a", "b"])
    np.testing.assert_array_equal(ax.get_images()[0].get_array(), [[1, 1], [0, 2]])


@pytest.mark.parametrize(("matrix", "labels"), [(np.zeros((2, 3)), None), (COUNTS, ["cat"])])
def test_a_matrix_that_does_not_fit_is_told(matrix: Any, labels: Any) -> None:
    with pytest.raises(ShapeError):
        bm.plot.confusion_matrix(matrix, labels)


def test_images_are_titled_with_both_labels() -> None:
    x = np.arange(12, dtype="float32").reshape(3, 1, 2, 2)
    chances = np.array([[0.9, 0.1], [0.75, 0.25], [0.2, 0.8]])
    places = bm.plot.predictions((x, np.array([0, 1, 1])), chances, ["cat", "dog"], count=2)
    assert [place.get_title() for place in places] == ["cat (0.90)", "cat (0.75)\nis dog"]
    shown = [place.get_images()[0].get_array() for place in places]
    np.testing.assert_array_equal(shown, 2 * [[[0, 85], [170, 255]]])


def test_images_of_a_data_set_are_as_they_were_recorded() -> None:
    data = bm.datasets.load("digits")
    place, *_ = bm.plot.predictions(data.test, data.test.y, count=3)
    raw = data.preprocessing.invert(data.test.x[:1])[0, 0]
    np.testing.assert_array_equal(place.get_images()[0].get_array(), raw)
    assert place.get_title() == str(data.test.y[0])


def test_numbers_are_points_around_the_diagonal() -> None:
    ax = bm.plot.predictions((np.zeros((3, 2)), np.array([1.0, 2.0, 4.0])), np.array([[1.5], [2.0], [3.0]]))
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), [[1, 1.5], [2, 2], [4, 3]])
    np.testing.assert_array_equal(ax.get_lines()[0].get_xydata(), [[1, 1], [4, 4]])


def test_numbers_are_in_the_units_of_the_truth() -> None:
    steps = bm.Preprocessing(1.0, (10.0,), (2.0,), "float64", (1,))
    split = bm.Split(
        np.zeros((2, 1)), np.array([[0.0], [1.0]]), encoding=bm.Encoding(target_preprocessing=steps)
    )
    ax = bm.plot.predictions(split, np.array([[10.5], [12.0]]))
    np.testing.assert_allclose(ax.collections[0].get_offsets(), [[10, 10.5], [12, 12]])


def test_predictions_that_do_not_fit_are_told() -> None:
    x = np.zeros((3, 1, 2, 2))
    with pytest.raises(ShapeError, match="3 samples and 2"):
        bm.plot.predictions((x, np.zeros(3, int)), np.zeros((2, 4)))
    with pytest.raises(DataError, match="confusion_matrix"):
        bm.plot.predictions((np.zeros((3, 5)), np.zeros(3, int)), np.zeros((3, 4)))


def test_a_forecast_is_a_line_beside_what_came() -> None:
    truth = np.arange(10.0).reshape(5, 2)
    drawn = lines(bm.plot.forecast(truth, truth + 0.5, step=1))
    np.testing.assert_array_equal(drawn["true"].get_ydata(), [1, 3, 5, 7, 9])
    np.testing.assert_array_equal(drawn["forecast"].get_ydata(), [1.5, 3.5, 5.5, 7.5, 9.5])


def test_a_step_that_is_not_there_is_told() -> None:
    with pytest.raises(ShapeError, match="step 2"):
        bm.plot.forecast(np.zeros((5, 2)), np.zeros((5, 2)), step=2)


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

    monkeypatch.setattr("bigmodel_core.extras.importlib.import_module", missing)
    with pytest.raises(MissingPackageError, match=r'pip install "bigmodel\[plot\]"'):
        HISTORY.plot()


def test_matplotlib_is_imported_when_something_is_drawn() -> None:
    code = "import sys, bigmodel_core as bm; bm.plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
