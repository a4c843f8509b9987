"""What predictions come from: maps of images, the importance of columns, tokens that count, attention."""

from __future__ import annotations

import numpy as np

from bigmodel_core.charts import Chart, bars, heatmap
from bigmodel_core.charts.colours import image, photo, picture
from bigmodel_core.errors import BigmodelError
from bigmodel_core.explaining.explain import explain
from bigmodel_core.reporting.page import Block, Charts, Gallery, Picture, Section, Shaded, Text
from bigmodel_core.reporting.tested import Tested

IMAGES, TEXTS, ROWS, COLUMNS = 6, 3, 1000, 20
"""Images and texts that are shown; rows that importance is measured on, and columns of its chart."""
TOKENS, LAYERS = 24, 4
"""Tokens of a text whose attention is shown, and layers."""


def explained(tested: Tested) -> Section | None:
    """What the model's predictions come from; None where nothing tells."""
    if tested.kind == "image" and tested.trainer.network.outputs[0].ndim > 2:
        return None  # each pixel has an answer of its own
    told = {"image": _images, "row": _columns, "text": _texts}.get(tested.kind)
    blocks = [] if told is None else told(tested)
    return Section("What predictions come from", blocks) if blocks else None


def _spread(tested: Tested, most: int) -> list[int]:
    """Some samples in even distances."""
    return np.unique(np.linspace(0, len(tested.split) - 1, most).astype(int)).tolist()


# Images -----------------------------------------------------------------------------------------------------


def _images(tested: Tested) -> list[Block]:
    places = _spread(tested, IMAGES)
    (x,) = tested.inputs(places)
    titles = {"saliency": "saliency", "grad-cam": "Grad-CAM"}
    maps: dict[str, np.ndarray] = {}
    targets = None
    for method, title in titles.items():
        try:
            found = explain(tested.trainer, x, method)
        except BigmodelError as error:
            if not maps:
                return [Text(f"There are no maps: {error.message}", "faint")]
            continue
        maps[title], targets = np.asarray(found.values).reshape(len(x), -1, *x.shape[2:]).sum(1), found.target
    pictures = []
    for number, (at, item) in enumerate(zip(places, x, strict=True)):
        panels = [_coloured(tested.image(item)), *(picture(found[number]) for found in maps.values())]
        what = "prediction"
        if targets is not None and tested.data.task in ("classification", "multilabel"):
            what = f"score of {tested.name(int(np.ravel(targets)[number]))}"
        about = f"sample {at}, and what the {what} depends on"
        wide = photo(np.concatenate(panels, 1), 128 * len(panels))
        pictures.append(Picture(wide, about, [f"sample {at}, {what}"], max(item.shape[1:]) <= 64))
    text = (
        f"Beside each image its {' and its '.join(maps)}. Saliency is the size of the gradient: the lighter a"
        " pixel, the more the score changes with it. Grad-CAM shows where the last convolution sees what"
        " speaks for the score."
    )
    return [Text(text), Gallery(pictures, is_wide=True)]


def _coloured(pixels: np.ndarray) -> np.ndarray:
    """An image as (H, W, 3) uint8."""
    found = image(pixels)
    return found if found.ndim == 3 else np.repeat(found[..., None], 3, -1)


# Tables -----------------------------------------------------------------------------------------------------


def _columns(tested: Tested) -> list[Block]:
    places = _spread(tested, ROWS)
    (x,) = tested.inputs(places)
    try:
        found = explain(tested.trainer, x, "permutation", y=tested.target[places])
    except BigmodelError as error:
        return [Text(f"The importance of columns is not told: {error.message}", "faint")]
    values = np.ravel(np.asarray(found.values))
    order = np.argsort(-values, kind="stable")[:COLUMNS]
    names = tested.columns(len(values))
    chart = bars(
        {names[at]: float(values[at]) for at in order},
        title="Importance of columns",
        x_label="what the metric loses where the column is shuffled",
    )
    return [Charts([chart])]


# Texts ------------------------------------------------------------------------------------------------------


def _texts(tested: Tested) -> list[Block]:
    if len(tested.split.inputs) > 1 or tested.data.tokenizer is None:
        return []
    (x,) = tested.inputs(_spread(tested, TEXTS))
    blocks: list[Block] = []
    if tested.target is not None and tested.target.ndim == 1:
        blocks += _tokens(tested, x)
    try:
        maps = explain(tested.trainer, x[:1], "attention").maps
    except BigmodelError:  # there is none
        return blocks
    names = _pieces(tested, x[0])[:TOKENS]
    charts: list[Chart] = []
    for path, weights in list(maps.items())[:LAYERS]:
        table = weights[0].mean(0)[: len(names), : len(names)]
        if table.shape == (len(names), len(names)):
            title = f"Attention of {path}, mean of {weights.shape[1]} heads"
            labels = {"row_label": "looks from", "column_label": "to"}
            charts.append(heatmap(table, rows=names, columns=names, title=title, **labels))
    return [*blocks, *([Charts(charts)] if charts else [])]


def _tokens(tested: Tested, x: np.ndarray) -> list[Block]:
    """Texts, each token the darker the more it counts for the class."""
    try:
        found = explain(tested.trainer, x, "integrated-gradients")
    except BigmodelError as error:
        return [Text(f"What tokens count is not told: {error.message}", "faint")]
    blocks: list[Block] = []
    for row, tokens in enumerate(x):
        values = np.asarray(found.values)[row]
        most = float(np.abs(values).max()) or 1.0
        pieces = [
            (f"{piece} ", abs(float(value)) / most, f"{value:+.3f}")
            for piece, value in zip(_pieces(tested, tokens), values[tokens >= 0], strict=True)
        ]
        name = "the class" if found.target is None else tested.name(int(np.ravel(found.target)[row]))
        caption = f"What counts for {name}, by integrated gradients: the darker a token, the more"
        blocks.append(Shaded(caption, pieces))
    return blocks


def _pieces(tested: Tested, tokens: np.ndarray) -> list[str]:
    assert tested.data.tokenizer is not None
    kept = tokens[tokens >= 0].tolist()
    return [tested.data.tokenizer.decode([token], keep_special=True) for token in kept]
