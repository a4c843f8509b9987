"""Charts as SVG, made of numbers alone: for notebooks, and for pages that need no network and no script.

>>> import bigmodel_core as bm
>>> chart = bm.charts.line({"loss": [2.3, 0.9, 0.4]}, x=[1, 2, 3], title="Loss", x_label="epoch")
>>> chart.description
'loss: 3 points, from 2.3 to 0.4, least 0.4, most 2.3.'

A chart shows itself in a notebook; `chart.svg` is its text, which a page holds as it is, or a file `.svg`.
Screen readers are told its title and description. Colours follow the system's choice of light or dark; a
page chooses its own by setting the CSS variables `--bm-paper`, `--bm-ink`, `--bm-faint`, `--bm-grid`,
`--bm-heat`, `--bm-cold` and `--bm-0` to `--bm-7`. Text is escaped, and numbers that are missing, NaN or
infinite are gaps.
"""

from bigmodel_core.charts.bars import bars as bars
from bigmodel_core.charts.chart import Chart as Chart
from bigmodel_core.charts.colours import picture as picture
from bigmodel_core.charts.colours import png as png
from bigmodel_core.charts.flow import Box as Box
from bigmodel_core.charts.flow import flow as flow
from bigmodel_core.charts.heat import heatmap as heatmap
from bigmodel_core.charts.images import images as images
from bigmodel_core.charts.lines import line as line
from bigmodel_core.charts.points import scatter as scatter

__all__ = ["Box", "Chart", "bars", "flow", "heatmap", "images", "line", "picture", "png", "scatter"]
