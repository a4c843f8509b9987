"""Plots with matplotlib, the extra `plot`: learning curves, confusion matrices, predictions, forecasts.

Each takes the axes to draw on, makes a figure of its own without, and returns the axes. Nothing is shown:
notebooks do that by themselves, scripts with `matplotlib.pyplot.show()` or `ax.figure.savefig("plot.png")`.
"""

from __future__ import annotations

from bigmodel_core.plot.curves import curves
from bigmodel_core.plot.matrix import confusion_matrix
from bigmodel_core.plot.predicted import forecast, predictions

__all__ = ["confusion_matrix", "curves", "forecast", "predictions"]
