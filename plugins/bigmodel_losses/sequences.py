"""The loss of sequences of labels, such as texts that are read or heard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import bigmodel_core as bm
from bigmodel_core import ops


@dataclass(frozen=True)
class CTC(bm.Loss):
    """-log of the chance that scores of classes, step by step, read as a sequence of labels (connectionist
    temporal classification; Graves et al., 2006).

    Prediction (N, T, C) scores, target (N, L) integer labels, shorter ones followed by the blank. A model
    that also returns how many steps each sample has, `return scores, steps`, has later ones left out. The
    mean is over samples, whatever the lengths of their targets.

    Args:
        blank: the class that is no label.
        zero_infinity: whether samples without an alignment, such as those with more labels than steps, count
            0; else their loss is infinite.

    Raises:
        ShapeError: scores or labels have other axes.
        ConfigError: the blank is no class.
        DataError: at run time, a label is out of range, or a blank stands between labels.
    """

    blank: int = 0
    zero_infinity: bool = False
    target_dtype: ClassVar[str | None] = "int64"
    takes_scores: ClassVar[bool] = True

    def each(self, prediction: Any, target: bm.Value) -> bm.Value:
        steps = None
        if isinstance(prediction, tuple) and len(prediction) == 2:
            prediction, steps = prediction
        scores = bm.one_output(self, prediction)
        counts = None
        if target.ndim == 2:  # the op refuses others
            counts = ops.sum(ops.not_equal(target, self.blank).astype("int64"), 1)
        return ops.ctc_loss(scores, target, steps, counts, self.blank, self.zero_infinity)
