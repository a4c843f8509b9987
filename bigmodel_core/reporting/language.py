"""A language model on a page: perplexity, what each token costs, and what it writes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bigmodel_core.charts import line
from bigmodel_core.errors import BigmodelError
from bigmodel_core.generating.writer import writes
from bigmodel_core.nn.quantities import count
from bigmodel_core.registry.askers import CORE
from bigmodel_core.registry.config import make
from bigmodel_core.reporting.page import Block, Charts, Code, Facts, Section, Shaded, Table, Text
from bigmodel_core.reporting.tested import Tested
from bigmodel_core.train.generation import generate
from bigmodel_core.train.samples import Samples

SCORES, MOST = 10_000_000, 512
"""Scores and samples that are looked at, at most."""
SHOWN, PROMPT, WRITTEN, DEAREST, PAIRS = 220, 12, 120, 12, 8
"""Tokens of a text shown, of a prompt, written, and in the table of the dearest; and pairs that are shown."""
STRATEGIES: dict[str, Any] = {
    "The most probable token each time": "greedy",
    "Tokens drawn by their probability, temperature 0.8": {"name": "sample", "temperature": 0.8, "seed": 0},
}


def is_language(tested: Tested) -> bool:
    """Whether tokens of texts are predicted: targets are the inputs one step later, or texts themselves."""
    target = tested.target
    if target is None or target.ndim != 2 or target.dtype.kind != "i":
        return False
    if tested.data.target_tokenizer is not None:
        return True
    if len(tested.split.inputs) != 1 or tested.split.inputs[0].dtype.kind != "i":
        return False
    (x,) = tested.inputs(np.arange(min(4, len(tested.split))))
    steps = min(x.shape[1], target.shape[1])
    after, y = x[:, 1:steps], target[: len(x), : steps - 1]
    counts = (after >= 0) & (y >= 0)
    return bool(counts.any()) and bool((after == y)[counts].mean() > 0.9)


def of_language(tested: Tested) -> list[Section]:
    """What there is to see of a language model."""
    classes = tested.data.classes or 2
    split = tested.some(max(1, min(MOST, SCORES // (tested.target.shape[1] * classes))))
    samples = Samples.of(split, model=tested.trainer.network)
    part = next(iter(samples.parts(len(samples), 0)))
    x, y = np.asarray(part.inputs[0]), np.asarray(part.labelled())
    chances = tested.trainer.predict_proba(split)
    steps = min(chances.shape[1], y.shape[1])  # beyond the longest text nothing counts
    chances, y = chances[:, :steps], y[:, :steps]
    counts = y >= 0 if tested.data.ignore is None else (y >= 0) & (y != tested.data.ignore)
    own = np.take_along_axis(chances, np.maximum(y, 0)[..., None], -1)[..., 0]
    losses = np.where(counts, -np.log(np.maximum(own, np.finfo(np.float64).tiny)), np.nan)
    right = float((chances.argmax(-1) == y)[counts].mean())
    written = _pairs(tested, x, y) if len(part.inputs) > 1 else _written(tested, x)
    return [
        Section("Tokens", _tokens(tested, x, y, losses, right)),
        Section("What it writes", written),
    ]


def _tokens(tested: Tested, x: np.ndarray, y: np.ndarray, losses: np.ndarray, right: float) -> list[Block]:
    mean = float(np.nanmean(losses))
    facts = {
        "Perplexity": f"{math.exp(min(mean, 700)):,.4g}",
        "Loss of a token": f"{mean:.4f} nats, {mean / math.log(2):.4f} bits",
        "Most probable token is right": f"{right:.2%}",
        "Measured on": f"{count(int(np.isfinite(losses).sum()))} tokens of {count(len(losses))} samples",
    }
    known = np.isfinite(losses)
    by_place = np.where(known, losses, 0).sum(0) / np.maximum(known.sum(0), 1)
    chart = line(
        {"loss": np.where(known.any(0), by_place, np.nan)},
        np.arange(1, losses.shape[1] + 1),
        title="Loss by the place of a token",
        x_label="tokens before it, and itself",
        y_label="mean loss",
    )
    return [Facts(facts), Charts([chart]), _shaded(tested, x, y, losses), _dearest(tested, y, losses)]


def _text(tested: Tested, tokens: Sequence[int] | np.ndarray) -> str:
    """Tokens that are predicted, as text."""
    tokenizer = tested.data.target_tokenizer or tested.data.tokenizer
    if tokenizer is not None:
        return tokenizer.decode(tokens)
    return "".join(tested.names[token] if token < len(tested.names) else f"[{token}]" for token in tokens)


def _piece(tested: Tested, token: int) -> str:
    """One of them, also where it stands for no text."""
    tokenizer = tested.data.target_tokenizer or tested.data.tokenizer
    return _text(tested, [token]) if tokenizer is None else tokenizer.decode([token], keep_special=True)


def _shaded(tested: Tested, x: np.ndarray, y: np.ndarray, losses: np.ndarray) -> Shaded:
    """A text of the split, each token the darker the more it costs."""
    tokens, own = y[0][:SHOWN], losses[0][:SHOWN]
    most = max(float(np.nanmax(own)) if np.isfinite(own).any() else 1.0, 1e-9)
    is_pair = tested.data.target_tokenizer is not None
    pieces = [] if is_pair else [(_piece(tested, int(x[0, 0])), 0.0, "given")]
    for token, loss in zip(tokens.tolist(), own.tolist(), strict=True):
        if token >= 0 and math.isfinite(loss):
            pieces.append(
                (_piece(tested, token), loss / most, f"loss {loss:.3f}, probability {math.exp(-loss):.4f}")
            )
    caption = f"The first text of the samples: the darker a token, the higher its loss (most {most:.2f})"
    return Shaded(caption, pieces)


def _dearest(tested: Tested, y: np.ndarray, losses: np.ndarray) -> Table:
    """The tokens with the highest loss on average, among those that occur some times."""
    known = np.isfinite(losses)
    tokens, places = np.unique(y[known], return_inverse=True)
    counts = np.bincount(places)
    means = np.bincount(places, losses[known]) / counts
    usual = np.flatnonzero(counts >= min(5, counts.max()))
    order = usual[np.argsort(-means[usual], kind="stable")][:DEAREST]
    rows = [
        (repr(_piece(tested, int(tokens[at]))), count(int(counts[at])), f"{means[at]:.4f}") for at in order
    ]
    columns = ("Token", "Times", "Mean loss")
    return Table("Tokens that are hardest to guess, of those met 5 times or more", columns, rows, columns[1:])


def _written(tested: Tested, x: np.ndarray) -> list[Block]:
    """What it writes after the beginning of a sample."""
    if not writes(tested.trainer.network):
        return [Text("The model carries nothing from call to call, so it cannot be asked to write on.")]
    is_letters = tested.data.labels is not None
    prompt = x[0][x[0] >= 0][: 3 * PROMPT if is_letters else PROMPT]
    blocks: list[Block] = [Facts({"Prompt, from the samples": _text(tested, prompt)})]
    for title, strategy in STRATEGIES.items():
        try:
            chosen = make("strategy", strategy, owner=CORE)
            tokens = generate(tested.trainer, prompt, chosen, max_tokens=WRITTEN, stop=[])
        except BigmodelError as error:
            return [*blocks, Text(f"It wrote nothing: {error.message}")]
        text = _text(tested, tokens)
        blocks += [Text(title, "title"), Code(text, title) if text.strip() else Text("White space alone.")]
    return blocks


def _pairs(tested: Tested, x: np.ndarray, y: np.ndarray) -> list[Block]:
    """What it writes for some sources, beside the true targets."""
    sources = [row[row >= 0] for row in x[:PAIRS]]
    try:
        found = generate(tested.trainer, sources, make("strategy", "greedy", owner=CORE), max_tokens=WRITTEN)
    except BigmodelError as error:
        return [Text(f"It wrote nothing: {error.message}")]
    source = tested.data.tokenizer
    rows = [
        (
            "" if source is None else source.decode(given),
            _text(tested, tokens),
            _text(tested, true[true >= 0]),
        )
        for given, tokens, true in zip(sources, found, y, strict=False)
    ]
    return [
        Table(
            "Written for the first sources, the most probable token each time",
            ("Source", "Written", "True"),
            rows,
        )
    ]
