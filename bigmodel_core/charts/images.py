"""Images side by side, each with a caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bigmodel_core.charts.chart import WIDTH, Chart, chart, place, text, told
from bigmodel_core.charts.colours import image, photo
from bigmodel_core.charts.frame import TICK, heading, nothing
from bigmodel_core.charts.texts import shortened
from bigmodel_core.errors import UsageError

LINE = 15.0


def images(
    arrays: Sequence[Any], captions: Sequence[str] | None = None, *, title: str = "", columns: int = 4
) -> Chart:
    """A grid of images.

    Args:
        arrays: (H, W), (C, H, W) or (H, W, C) with 1 or 3 channels; uint8 as it is, other numbers from black,
            the least, to white, the most.
        captions: a text for each, of any number of lines.
        title: of the chart.
        columns: images in a row.

    Raises:
        UsageError: something is no image, or there are more captions than images.

    >>> import numpy as np
    >>> images([np.eye(8), np.ones((8, 8))], ["a line", "nothing"], title="Drawn").description
    '2 images: a line; nothing.'
    """
    texts = [""] * len(arrays) if captions is None else [str(caption) for caption in captions]
    if len(texts) != len(arrays) or columns < 1:
        raise UsageError(
            f"{len(texts)} captions for {len(arrays)} images in {columns} columns.",
            where="images",
            fix="pass a caption for each, and 1 column or more.",
        )
    words = "; ".join(caption.replace("\n", ", ") for caption in texts if caption)
    counted = f"{len(texts)} image{'s' * (len(texts) != 1)}"
    words = f"{counted}: {words}." if words else f"{counted}."
    if not texts:
        parts, height = nothing(title)
        return chart(parts, title, words, height=height)
    parts, top = heading(title, (), "") if title else ([], 6.0)
    side = (WIDTH - 16 + 10) / columns - 10
    shapes = [image(array).shape[:2] for array in arrays]
    ratio = max(high / wide for high, wide in shapes)
    tall = side * min(ratio, 2.0)
    row = tall + 6 + LINE * max(1, *(caption.count("\n") + 1 for caption in texts)) + 6
    for number, (array, caption) in enumerate(zip(arrays, texts, strict=True)):
        x, y = 8 + number % columns * (side + 10), top + number // columns * row
        high, wide = shapes[number]
        blocks = ' style="image-rendering:pixelated"' if max(high, wide) < 96 else ""
        shown = (
            f'<image x="{place(x)}" y="{place(y)}" width="{place(side)}" height="{place(tall)}"{blocks}'
            f' preserveAspectRatio="xMidYMid meet" href="{photo(array, 2 * round(side))}"/>'
        )
        parts.append(told(shown, caption) if caption else shown)
        parts += [
            text(x, y + tall + LINE * (1 + at), shortened(line, side, TICK), size=TICK)
            for at, line in enumerate(caption.split("\n"))
        ]
    return chart(parts, title, words, height=top + -(-len(texts) // columns) * row)
