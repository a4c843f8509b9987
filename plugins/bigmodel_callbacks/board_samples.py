"""What a model makes of some samples, to be looked at: a table, and pictures where the samples are images."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import BigmodelError

ACROSS = 4
"""Pictures in a row."""
RIGHT, WRONG, NEUTRAL = (30, 120, 60), (190, 40, 40), (60, 60, 60)
PROMPT, WRITTEN = 16, 40
"""Tokens that a language model is given, and that it writes."""


@dataclass(frozen=True)
class Shown:
    """A sample as it is shown.

    Args:
        true: what it is.
        predicted: what the model says.
        confidence: the probability of that, if there is one.
    """

    true: str
    predicted: str
    confidence: float | None = None

    @property
    def is_right(self) -> bool | None:
        """Whether the prediction is the label; None of numbers."""
        return None if self.confidence is None else self.true == self.predicted


def predicted(trainer: bm.Trainer, x: Any, y: Any) -> list[Shown]:
    """The predictions of samples beside their targets: classes with probabilities, or numbers.

    Nothing of models with several outputs, and of sequences, which no table shows.
    """
    if not isinstance(y, np.ndarray) or y.ndim > 2:
        return []
    encoding = trainer.encoding
    if y.ndim == 1 and y.dtype.kind in "iub":
        try:
            chances = trainer.predict_proba(x)
        except BigmodelError:  # the loss does not compare classes
            return []
        if chances.ndim != 2:
            return []
        named = encoding.labels if encoding is not None else None
        labels = [str(label) for label in named or range(max(chances.shape[1], int(y.max()) + 1))]
        return [
            Shown(labels[int(true)] if true >= 0 else "", labels[row.argmax()], float(row.max()))
            for true, row in zip(y, chances, strict=True)
        ]
    numbers = trainer.predict(x)
    steps = None if encoding is None else encoding.target_preprocessing
    truth = steps.invert(y) if steps is not None and y.shape[1:] == steps.raw_shape else y
    if not isinstance(numbers, np.ndarray) or numbers.shape[0] != len(y) or numbers.ndim > 2:
        return []
    return [Shown(_numbers(true), _numbers(guess)) for true, guess in zip(truth, numbers, strict=True)]


def table(shown: Sequence[Shown]) -> str:
    """The samples as a table in Markdown."""
    columns = ["sample", "true", "predicted"] + ["probability"] * (shown[0].confidence is not None)
    rows = [
        [str(number), item.true, item.predicted]
        + ([] if item.confidence is None else [f"{item.confidence:.3f}" + (" (wrong)" * (not item.is_right))])
        for number, item in enumerate(shown)
    ]
    return markdown(columns, rows)


def matrix(values: Any, labels: Sequence[str] | None) -> str:
    """A confusion matrix as a table in Markdown."""
    names = [str(number) for number in range(len(values))] if labels is None else [*labels]
    rows = [[name, *row] for name, row in zip(names, np.asarray(values).tolist(), strict=True)]
    return markdown(["true, then predicted", *names], rows)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown; what a cell says cannot end it."""
    cells = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in row) + " |" for row in cells)


def _cell(value: Any) -> str:
    return str(value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("\r", " ")


def _numbers(values: Any) -> str:
    listed = [f"{value:.4g}" for value in np.ravel(values)[:4]]
    return ", ".join(listed) + (", ..." if np.size(values) > 4 else "")


def written(trainer: bm.Trainer, x: Any) -> str | None:
    """What a language model writes after the beginning of a sample, in Markdown; None of other models."""
    tokenizer = None if trainer.encoding is None else trainer.encoding.tokenizer
    if tokenizer is None or not isinstance(x, np.ndarray) or x.ndim != 2 or x.dtype.kind not in "iu":
        return None
    prompt = tokenizer.decode([int(token) for token in x[0][:PROMPT] if token >= 0])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = bm.generate(trainer.network, prompt, max_tokens=WRITTEN)
    except BigmodelError:  # it reads texts, and writes none
        return None
    return "\n".join("    " + line for line in f"{prompt}|{found}".splitlines())


# Pictures ---------------------------------------------------------------------------------------------------


def images_in(x: Any, encoding: bm.Encoding | None) -> np.ndarray | None:
    """The images of a batch, (n, height, width, 1 or 3) from 0 to 255; None if the samples are none."""
    if not isinstance(x, np.ndarray) or x.ndim != 4 or x.shape[1] not in (1, 3) or x.dtype.kind not in "fu":
        return None
    steps = None if encoding is None else encoding.preprocessing
    if steps is not None and steps.raw_shape == x.shape[1:]:
        x = steps.invert(x)
    values = x.astype(np.float64)
    lowest, highest = values.min(initial=0.0), values.max(initial=0.0)
    scaled = (values - lowest) * (255 / max(highest - lowest, 1e-12))
    return np.rint(scaled).astype(np.uint8).transpose(0, 2, 3, 1)


def picture(images: np.ndarray, shown: Sequence[Shown]) -> tuple[bytes, int, int]:
    """Images in rows, each with what is said of it underneath, as a PNG file with its width and height."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = images.shape[1:3]
    scale = max(1, 64 // max(height, width))
    height, width, font = height * scale, width * scale, ImageFont.load_default(11)
    room, down = 32 if shown else 0, -(-len(images) // ACROSS)
    cell = max(width, 84) + 8
    sheet = Image.new("RGB", (min(len(images), ACROSS) * cell, down * (height + room + 8)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, image in enumerate(images):
        left, top = number % ACROSS * cell + 4, number // ACROSS * (height + room + 8) + 4
        single = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        sheet.paste(single.resize((width, height), Image.Resampling.NEAREST), (left, top))
        if number < len(shown):
            item = shown[number]
            said = item.predicted if item.confidence is None else f"{item.predicted} ({item.confidence:.2f})"
            colour = {True: RIGHT, False: WRONG, None: NEUTRAL}[item.is_right]
            draw.text((left, top + height), _short(said), colour, font)
            if not item.is_right:
                draw.text((left, top + height + 14), _short(f"is {item.true}"), NEUTRAL, font)
    file = io.BytesIO()
    if images.shape[-1] == 1:  # few shades are enough: a third of the bytes
        sheet = sheet.quantize(48, method=Image.Quantize.FASTOCTREE)
    sheet.save(file, "PNG", compress_level=3)
    return file.getvalue(), sheet.width, sheet.height


def _short(text: str) -> str:
    return text if len(text) <= 15 else text[:14] + "…"
