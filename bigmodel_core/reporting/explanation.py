"""A page about one answer of a model: what of its inputs it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bigmodel_core.charts import Chart, bars, heatmap, picture
from bigmodel_core.charts.chart import LIGHT
from bigmodel_core.charts.colours import image, png
from bigmodel_core.charts.texts import number
from bigmodel_core.explaining.attribution import Attribution
from bigmodel_core.explaining.inside import first_filters
from bigmodel_core.nn.activations import activations
from bigmodel_core.nn.network import Network
from bigmodel_core.reporting.page import (
    Block,
    Charts,
    Facts,
    Folded,
    Gallery,
    Page,
    Picture,
    Section,
    Shaded,
    Table,
    Text,
)

LAYERS, MAPS, FILTERS, HEADS, STEPS = 6, 8, 32, 12, 48
"""Layers, feature maps of each, filters and heads that are shown, and the longest text whose attention is."""


@dataclass(frozen=True, eq=False)
class Explained:
    """An answer of a model, and what its inputs are to people.

    Args:
        found: how much of it came from each part of the inputs, of one sample or of all.
        title: what is explained, such as "Class 7 of test sample 3".
        facts: what else is to be said, by name.
        network: the model.
        inputs: the sample as the model takes it.
        image: the sample as pixels, (H, W) or (H, W, 3), if it is an image.
        features: the names of a table's columns.
        recorded: the sample's numbers as they were recorded.
        tokens: by the name of an input, the tokens of a text in it, as texts.
    """

    found: Attribution
    title: str
    facts: dict[str, str]
    network: Network
    inputs: Sequence[np.ndarray] = ()
    image: np.ndarray | None = None
    features: Sequence[str] = ()
    recorded: Sequence[str] = ()
    tokens: dict[str, list[str]] = field(default_factory=dict)

    @property
    def map(self) -> np.ndarray:
        """(H, W) how much each pixel of an image counts: the sum over channels."""
        assert self.image is not None
        (values,) = self.found.parts.values()
        own = np.asarray(values if self.found.is_global else values[0], np.float64)
        return own.reshape(-1, *self.image.shape[:2]).sum(0)

    def ranked(self) -> list[tuple[str, float, float | None, str]]:
        """The features of a table, those that count most first: name, value, deviation if it is known, and
        the recorded number. Where a metric was measured, what is below 0 did no harm, and comes last."""
        flat = np.concatenate([array.reshape(-1) for array in self.found.parts.values()])
        spread = self.found.facts.get("deviations", [None] * len(flat))
        parts = spread.values() if isinstance(spread, Mapping) else [spread]
        deviations = np.concatenate([np.reshape(part, -1) for part in parts]).tolist()
        own = list(self.recorded) or [""] * len(flat)
        rows = list(zip(self.features, flat.tolist(), deviations, own, strict=True))
        is_loss = "metric" in self.found.facts
        return sorted(rows, key=lambda row: -row[1] if is_loss else -abs(row[1]))

    def weighed(self, name: str) -> list[tuple[str, float]]:
        """The tokens of an input with their values."""
        values = self.found.parts[name][0].reshape(-1).tolist()
        return list(zip(self.tokens[name], values, strict=False))

    def rest(self) -> dict[str, float]:
        """Of inputs that are no texts, such as segments, the sum of the values."""
        return {
            name: float(array.sum()) for name, array in self.found.parts.items() if name not in self.tokens
        }


def explanation_page(explained: Explained, foot: str = "") -> Page:
    """The page."""
    found = explained.found
    if explained.image is not None:
        sections = [Section("Pixels", _pixels(explained)), *_inside(explained)]
    elif explained.tokens:
        sections = [Section("Tokens", _tokens(explained)), *_attention(explained)]
    else:
        sections = [Section("Features", _features(explained))]
    how = " Values below 0 speak against it." if found.is_signed and not found.is_global else ""
    return Page(
        explained.title,
        f"What the answers come from, by {found.method}."
        if found.is_global
        else f"What of the input it came from, by {found.method}.{how}",
        {},
        [Section("What is explained", [Facts(explained.facts)]), *sections],
        foot,
    )


# Images ---------------------------------------------------------------------------------------------------


def coloured(values: np.ndarray, is_signed: bool) -> np.ndarray:
    """Numbers as an image (H, W, 3) uint8: white where nothing counts, blue for what speaks for the answer,
    orange for what speaks against it.

    >>> coloured(np.array([[0.0, 2.0]]), True).tolist()
    [[[255, 255, 255], [9, 105, 218]]]
    """
    if not is_signed:
        return picture(values)
    largest = np.abs(values).max()
    share = np.abs(values / largest if largest else values)[..., None]
    ends = np.where(values[..., None] < 0, _rgb(LIGHT["cold"]), _rgb(LIGHT["heat"]))
    return np.rint(255 + share * (ends - 255)).astype(np.uint8)


def _rgb(code: str) -> np.ndarray:
    return np.array([int(code[at : at + 2], 16) for at in (1, 3, 5)], np.float64)


def laid_over(pixels: np.ndarray, values: np.ndarray, is_signed: bool) -> np.ndarray:
    """A map over its image in grey, (H, W, 3) uint8."""
    grey = pixels if pixels.ndim == 2 else pixels.mean(-1)
    pale = 160 + grey[..., None] * (95 / 255) if is_signed else grey[..., None] * 1.0
    seen = coloured(values, is_signed) / 255
    found = pale * seen if is_signed else 0.45 * pale + 0.55 * 255 * seen
    return np.rint(found).astype(np.uint8)


def side_by_side(explained: Explained) -> list[tuple[str, np.ndarray]]:
    """The image, the map, and both in one, each (H, W, 3), with what it shows."""
    assert explained.image is not None
    own, values = image(explained.image), explained.map
    wide = own if own.ndim == 3 else np.repeat(own[..., None], 3, -1)
    signed = explained.found.is_signed
    return [
        ("the sample", wide),
        ("what counts", coloured(values, signed)),
        ("both", laid_over(own, values, signed)),
    ]


def _pixels(explained: Explained) -> list[Block]:
    signed = "Blue pixels speak for the answer, orange ones against it."
    about = signed if explained.found.is_signed else "The lighter a pixel, the more it counts."
    pictures = [Picture(png(_large(array)), f"{text}", [text]) for text, array in side_by_side(explained)]
    return [Gallery(pictures), Text(about)]


def _large(array: np.ndarray, side: int = 192) -> np.ndarray:
    """A small image with whole pixels repeated."""
    times = max(1, side // max(array.shape[:2]))
    return array.repeat(times, 0).repeat(times, 1)


def _inside(explained: Explained) -> list[Section]:
    """The filters of the first convolution, and what layers return for the sample."""
    parts: list[Block] = []
    filters = first_filters(explained.network)
    if filters is not None and min(filters[1].shape[2:]) > 1:
        path, weights = filters
        shown = [
            Picture(png(_large(_filter(weight), 64)), f"filter {at}", [f"{at}"])
            for at, weight in enumerate(weights[:FILTERS])
        ]
        parts.append(Folded(f"Filters of the first convolution, {path}", [Gallery(shown)]))
    returned = activations(explained.network, tuple(explained.inputs))
    maps = {path: array[0] for path, array in returned.items() if getattr(array, "ndim", 0) == 4}
    for path, array in list(maps.items())[:LAYERS]:
        shown = [
            Picture(png(_large(picture(item), 96)), f"map {at} of {path}", [f"{at}"])
            for at, item in enumerate(array[:MAPS])
        ]
        parts.append(Folded(f"What {path} returns, {array.shape}", [Gallery(shown)]))
    return [Section("Inside of the model", parts)] if parts else []


def _filter(weight: np.ndarray) -> np.ndarray:
    """A filter (C, H, W) as an image."""
    return image(weight) if len(weight) == 3 else coloured(weight.mean(0, dtype=np.float64), True)


# Texts and tables -----------------------------------------------------------------------------------------


def _tokens(explained: Explained) -> list[Block]:
    blocks: list[Block] = []
    for name in explained.tokens:
        rows = explained.weighed(name)
        most = max((abs(value) for _, value in rows), default=0.0) or 1.0
        pieces = [
            (piece, value / most, f"{quoted(token)}: {number(value)}")
            for piece, (token, value) in zip(spaced(explained.tokens[name]), rows, strict=False)
        ]
        signed = "Blue tokens speak for the answer, orange ones against it"
        about = signed if explained.found.is_signed else "The darker a token, the more it counts"
        which = f"{name}: " if len(explained.tokens) > 1 else ""
        blocks.append(Shaded(f"{which}{about}", pieces))
        table = [
            (quoted(token), number(value)) for token, value in sorted(rows, key=lambda row: -abs(row[1]))
        ]
        columns = ("Token", "Value")
        blocks.append(Folded(f"{which}In numbers", [Table("Tokens", columns, table, columns[1:])]))
    rest = {f"{name}, in all": number(value) for name, value in explained.rest().items()}
    return [*blocks, *([Facts(rest)] if rest else [])]


def quoted(token: str) -> str:
    """A token in a table: in quotes if it has white space.

    >>> quoted("good"), quoted(" good")
    ('good', "' good'")
    """
    return token if token and token == "".join(token.split()) else repr(token)


def spaced(tokens: Sequence[str]) -> list[str]:
    """Tokens as they stand in a text: words have a space in front, unless tokens bring their own or are
    letters.

    >>> spaced(["a", "good", "##ly"]), spaced(["a", " good"]), spaced(["a", "b"])
    ([' a', ' good', 'ly'], ['a', ' good'], ['a', 'b'])
    """
    if any(token[:1].isspace() for token in tokens) or all(len(token) == 1 for token in tokens):
        return list(tokens)
    return [token[2:] if token.startswith("##") else f" {token}" for token in tokens]


def _attention(explained: Explained) -> list[Section]:
    """The weights of attention among the tokens, by layer and head."""
    blocks: list[Block] = []
    for path, array in explained.found.maps.items():
        if array.ndim != 4 or max(array.shape[2:]) > STEPS:
            continue
        charts: list[Chart] = []
        for head, weights in enumerate(array[0][:HEADS]):
            names = [
                next((own for own in explained.tokens.values() if len(own) == size), None)
                for size in weights.shape
            ]
            charts.append(heatmap(weights, rows=names[0], columns=names[1], title=f"{path}, head {head + 1}"))
        blocks.append(Folded(path, [Charts(charts)]))
    about = Text("Each row is a step, and what it takes of each other.")
    return [Section("Attention", [about, *blocks])] if blocks else []


def feature_bars(explained: Explained) -> Chart:
    """The features of a table as bars, those that count most first."""
    return bars({name: value for name, value, _, _ in explained.ranked()}, title=explained.title)


def _features(explained: Explained) -> list[Block]:
    rows, chart = explained.ranked(), feature_bars(explained)
    columns = ["Feature", "Value"]
    table: list[list[Any]] = [[name, number(value)] for name, value, _, _ in rows]
    if any(row[2] is not None for row in rows):
        columns.append("Deviation")
        for cells, row in zip(table, rows, strict=True):
            cells.append("" if row[2] is None else number(row[2]))
    if any(row[3] for row in rows):
        columns.append("In the sample")
        for cells, row in zip(table, rows, strict=True):
            cells.append(row[3])
    return [Charts([chart]), Table("Features, those that count most first", columns, table, columns[1:])]
