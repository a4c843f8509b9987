"""Metrics of language models and of written texts: perplexity, BLEU, ROUGE, the rate of wrong tokens."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError
from bigmodel_metrics.labels import check_logits, counted, predicted_and_true
from bigmodel_metrics.sequences import added, common, edits, no_samples, runs, texts_of, tokens_of

BLOCK = 4096
"""Rows of scores that are taken to float64 at a time."""


@dataclass(frozen=True)
class Perplexity(bm.Metric):
    """e to the mean over tokens of -log of the chance that a model gives them.

    Takes scores (..., V) and tokens (...).

    Args:
        ignore: a token that is left out, such as -1; what the data ignore is left out anyway.

    >>> round(Perplexity()(np.zeros((2, 3, 50), "float32"), np.ones((2, 3), "int64")), 6)
    50.0
    """

    name: ClassVar[str] = "perplexity"
    higher_is_better: ClassVar[bool | None] = False
    ignore: int | None = None

    def empty(self) -> bm.MetricState:
        return {"sum": np.float64(0), "count": np.int64(0)}

    def update(self, state: bm.MetricState, prediction: np.ndarray, target: np.ndarray) -> bm.MetricState:
        scores, labels = counted(prediction, target, self.ignore)
        check_logits(scores, labels, "Perplexity")
        _, true, classes = predicted_and_true(scores, labels, "Perplexity")
        rows, total = scores.reshape(-1, classes), 0.0
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK].astype(np.float64)
            block -= block.max(1, keepdims=True)
            own = block[np.arange(len(block)), true[start : start + BLOCK]]
            total += float(np.sum(np.log(np.exp(block).sum(1)) - own))
        return added(state, {"sum": np.float64(total), "count": np.int64(true.size)})

    def merge(self, a: bm.MetricState, b: bm.MetricState) -> bm.MetricState:
        return added(a, b)

    def result(self, state: bm.MetricState) -> float:
        if state["count"] == 0:
            raise no_samples("Perplexity")
        return float(np.exp(min(state["sum"] / state["count"], 700.0)))


class _OfTexts(bm.Metric):
    """A metric of what is written; the data say what tokens are of."""

    whole: ClassVar[bool] = True
    tokenizer: Any

    def fitted(self, encoding: bm.Encoding) -> bm.Metric:
        known, own = encoding.target_tokenizer, self.tokenizer
        made: Any = self  # each subclass is a dataclass
        return self if own is not None or known is None else replace(made, tokenizer=known)

    def merge(self, a: bm.MetricState, b: bm.MetricState) -> bm.MetricState:
        return added(a, b)

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[np.ndarray]]]:
        """Tokens of 24 samples, a third of them wrong."""
        generator = np.random.default_rng(0)
        true = generator.integers(0, 9, (24, 12))
        found = np.where(generator.random(true.shape) < 0.3, generator.integers(0, 9, true.shape), true)
        return [({}, [found, true])]


@dataclass(frozen=True)
class BLEU(_OfTexts):
    """How many runs of one to four words of the texts written are in the true ones, 0 to 100 (Papineni et
    al., 2002): that of a whole corpus, as sacrebleu (Post, 2018) computes it.

    Takes tokens (n, T) that a model wrote and true ones, with -1 behind their ends; or lists of texts:
    `bm.metrics.BLEU()(written, true)`. From scores (n, T, V), as in evaluation, the most probable token at
    each place is taken, where the model is given the true tokens before: that is higher than what it writes
    alone.

    Args:
        words: how texts become words: "13a", as usual for Western languages; "zh", with Chinese characters as
            words; "char"; or "none", at blanks.
        tokenizer: what tokens are of; that of the data if None.

    >>> round(BLEU()(["the cat sat on the mat"], ["the cat sat on a mat"]), 2)
    53.73
    """

    name: ClassVar[str] = "bleu"
    words: str = "13a"
    tokenizer: Any = None

    def __post_init__(self) -> None:
        if self.words not in WORDS:
            raise ConfigError(f"words is {self.words!r}, expected one of {', '.join(WORDS)}.", where="BLEU")

    def empty(self) -> bm.MetricState:
        zeros = np.zeros(4, np.int64)
        return {"hits": zeros, "written": zeros, "sizes": np.zeros(2, np.int64)}

    def update(self, state: bm.MetricState, prediction: Any, target: Any) -> bm.MetricState:
        hits, written, sizes = (np.array(state[key]) for key in ("hits", "written", "sizes"))
        split = WORDS[self.words]
        for found, true in texts_of(prediction, target, self.tokenizer, "BLEU"):
            own, wanted = split(found.rstrip()), split(true.rstrip())
            sizes += len(own), len(wanted)
            for place in range(4):
                counts = Counter(runs(own, place + 1))
                hits[place] += (counts & Counter(runs(wanted, place + 1))).total()
                written[place] += counts.total()
        return {"hits": hits, "written": written, "sizes": sizes}

    def result(self, state: bm.MetricState) -> float:
        own, wanted = map(int, state["sizes"])
        if wanted == 0:
            raise no_samples("BLEU")
        if not state["hits"].any() or not state["written"].all():
            return 0.0
        shares, halves = [], 1.0
        for hits, written in zip(state["hits"].tolist(), state["written"].tolist(), strict=True):
            if hits == 0:  # a run that is nowhere counts as if half of one were, then a quarter
                halves *= 2
            shares.append(hits / written if hits else 1 / (halves * written))
        brevity = min(1.0, math.exp(1 - wanted / own))
        return 100 * brevity * math.exp(sum(map(math.log, shares)) / 4)


@dataclass(frozen=True)
class ROUGE(_OfTexts):
    """How much of the true texts is in those written, 0 to 1: the mean over texts of an F1 (Lin, 2004), as
    the package rouge_score computes it, without stemming.

    Takes what BLEU takes. Words are runs of the letters a to z and digits; texts in other scripts have none.

    Args:
        kind: "L", of the longest sequence of words that both have; "1" of words, "2" of pairs of them.
        tokenizer: what tokens are of; that of the data if None.

    >>> round(ROUGE("1")(["the cat sat"], ["The cat sat down."]), 4)
    0.8571
    """

    name: ClassVar[str] = "rouge"
    kind: str = "L"
    tokenizer: Any = None

    def __post_init__(self) -> None:
        if self.kind not in ("1", "2", "L"):
            raise ConfigError(f"kind is {self.kind!r}, expected 1, 2 or L.", where="ROUGE")

    def empty(self) -> bm.MetricState:
        return {"sum": np.float64(0), "count": np.int64(0)}

    def update(self, state: bm.MetricState, prediction: Any, target: Any) -> bm.MetricState:
        pairs = texts_of(prediction, target, self.tokenizer, "ROUGE")
        total = sum(self._score(re.findall("[a-z0-9]+", a.lower()), re.findall("[a-z0-9]+", b.lower()))
                    for a, b in pairs)  # fmt: skip
        return added(state, {"sum": np.float64(total), "count": np.int64(len(pairs))})

    def _score(self, found: list[str], true: list[str]) -> float:
        if self.kind == "L":
            hits, own, wanted = common(found, true), len(found), len(true)
        else:
            counts, known = (Counter(runs(words, int(self.kind))) for words in (found, true))
            hits, own, wanted = (counts & known).total(), counts.total(), known.total()
        return 2 * hits / (own + wanted) if hits else 0.0

    def result(self, state: bm.MetricState) -> float:
        if state["count"] == 0:
            raise no_samples("ROUGE")
        return float(state["sum"] / state["count"])


@dataclass(frozen=True)
class TokenErrorRate(_OfTexts):
    """How many tokens of what was written have to be put in, left out or replaced, for each true one: the
    error of phonemes, or of characters.

    Takes tokens (n, T) that a model wrote and true ones, with -1 behind their ends, or scores as BLEU does;
    special tokens, such as that for the end, count nothing where the data name a tokenizer.

    >>> TokenErrorRate()(np.array([[3, 5, 5, -1]]), np.array([[3, 4, 5, 6]]))
    0.5
    """

    name: ClassVar[str] = "token_error_rate"
    higher_is_better: ClassVar[bool | None] = False
    tokenizer: Any = None

    def empty(self) -> bm.MetricState:
        return {"edits": np.int64(0), "count": np.int64(0)}

    def update(self, state: bm.MetricState, prediction: Any, target: Any) -> bm.MetricState:
        special = [] if self.tokenizer is None else list(self.tokenizer.specials.values())
        wrong = size = 0
        for found, true in zip(*tokens_of(prediction, target, "TokenErrorRate"), strict=True):
            own, wanted = (row[~np.isin(row, special)] for row in (found, true))
            wrong, size = wrong + edits(own, wanted), size + len(wanted)
        return added(state, {"edits": np.int64(wrong), "count": np.int64(size)})

    def result(self, state: bm.MetricState) -> float:
        if state["count"] == 0:
            raise no_samples("TokenErrorRate")
        return float(state["edits"] / state["count"])


# Texts as words ---------------------------------------------------------------------------------------------

_PUNCTUATION = (
    (re.compile(r"([\{-\~\[-\` -\&\(-\+\:-\@\/])"), r" \1 "),
    (re.compile(r"([^0-9])([\.,])"), r"\1 \2 "),
    (re.compile(r"([\.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)
"""What the script mteval-v13a of NIST takes apart."""
# From U+2001 on as in sacrebleu, whose range of rare characters begins with the first half of their numbers.
_CHINESE = re.compile(
    "([\u2001-\u2a6d\u2e80-\u2eff\u2f00-\u2fdf\u2ff0-\u303f\u3100-\u312f\u31a0-\u31bf\u31c0-\u31ef\u3200-\u33ff"
    "\u3400-\u4db5\u4e00-\u9fbb\uf900-\ufa2d\ufa30-\ufa6a\ufa70-\ufad9\ufe10-\ufe1f\ufe30-\ufe4f\uff00-\uffef])"
)


def _apart(text: str) -> list[str]:
    for pattern, form in _PUNCTUATION:
        text = pattern.sub(form, text)
    return text.split()


def _western(text: str) -> list[str]:
    text = text.replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for name, sign in (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(name, sign)
    return _apart(f" {text} ")


def _chinese(text: str) -> list[str]:
    return _apart(_CHINESE.sub(r" \1 ", text.strip()))


def _characters(text: str) -> list[str]:
    return " ".join(text).split()


WORDS: dict[str, Callable[[str], list[str]]] = {
    "13a": _western,
    "zh": _chinese,
    "char": _characters,
    "none": str.split,
}
