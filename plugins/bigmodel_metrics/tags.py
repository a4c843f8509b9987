"""F1 of names and other parts of sentences that tags mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError
from bigmodel_metrics.sequences import added, no_samples, tokens_of


@dataclass(frozen=True)
class SequenceF1(bm.Metric):
    """The F1 of the parts that tags mark, each of which counts if its place and kind are right, as seqeval
    (Nakayama, 2018) computes it: over all parts together, as in CoNLL-2000.

    Takes scores (n, T, C), or labels (n, T), and true labels (n, T), -1 for what counts nothing. Tags are
    "B-PER", "I-PER" and "O", also "E-" and "S-"; others mark parts by runs of one tag.

    Args:
        labels: the tags by number; those of the data if None.

    >>> metric = SequenceF1(("O", "B-PER", "I-PER"))
    >>> metric(np.array([[1, 2, 0, 1]]), np.array([[1, 2, 0, 0]]))
    0.6666666666666666
    """

    name: ClassVar[str] = "sequence_f1"
    whole: ClassVar[bool] = True
    labels: tuple[str, ...] | None = None

    def fitted(self, encoding: bm.Encoding) -> bm.Metric:
        known = encoding.labels
        return replace(self, labels=known) if self.labels is None and known is not None else self

    def empty(self) -> bm.MetricState:
        return {key: np.int64(0) for key in ("hits", "found", "true")}

    def update(self, state: bm.MetricState, prediction: Any, target: Any) -> bm.MetricState:
        if self.labels is None:
            raise ConfigError(
                "nothing says which tags the numbers are.",
                where="SequenceF1",
                fix='pass labels=("O", "B-PER", ...), or measure on data that have labels.',
            )
        true = np.asarray(target)
        scores = np.asarray(prediction)
        if scores.ndim == 2:  # predicted labels count where there are true ones
            scores = np.where(true == -1, -1, scores) if scores.shape == true.shape else scores
        counts = np.zeros(3, np.int64)
        for own, wanted in zip(*tokens_of(scores, true, "SequenceF1"), strict=True):
            found, known = (set(parts_of([self.labels[n] for n in row])) for row in (own, wanted))
            counts += len(found & known), len(found), len(known)
        return added(state, dict(zip(("hits", "found", "true"), counts, strict=True)))

    def merge(self, a: bm.MetricState, b: bm.MetricState) -> bm.MetricState:
        return added(a, b)

    def result(self, state: bm.MetricState) -> float:
        total = int(state["found"] + state["true"])
        if total == 0:
            raise no_samples("SequenceF1")
        return 2 * int(state["hits"]) / total

    @classmethod
    def examples(cls) -> list[tuple[dict[str, Any], list[np.ndarray]]]:
        """Labels of 24 sentences, some of them wrong."""
        generator = np.random.default_rng(0)
        true = generator.integers(0, 3, (24, 9))
        found = np.where(generator.random(true.shape) < 0.3, generator.integers(0, 3, true.shape), true)
        return [({"labels": ("O", "B-PER", "I-PER")}, [found, true])]


def parts_of(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """The kind, the beginning and the end of each part.

    >>> parts_of(["B-PER", "I-PER", "O", "B-LOC"])
    [('PER', 0, 1), ('LOC', 3, 3)]
    """
    found, begin = [], 0
    before, kind_before = "O", ""
    for place, tag in enumerate([*tags, "O"]):
        sign, kind = tag[0], tag[1:].split("-", 1)[-1] or "_"
        is_other = kind != kind_before
        if before not in ("O", ".") and (before in "ES" or sign in "BSO" or is_other):
            found.append((kind_before, begin, place - 1))
        goes_on = before not in ("O", "E", "S") and not is_other
        if sign != "O" and sign != "." and (sign in "BS" or not goes_on):
            begin = place
        before, kind_before = sign, kind
    return found
