"""The importance of the features of tables for all samples: by weights, and by what shuffling them costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import UsageError

MOST_FEATURES = 4096


@dataclass(frozen=True)
class Weights(bm.Explainer):
    """The weights by which a model multiplies its features first, each times the standard deviation of its
    feature, so that units do not matter.

    Of a linear model, and one target, they have the sign of the weight; of one with layers behind, it is the
    length of all weights of the feature, which says less the more layers there are.
    """

    is_global: ClassVar[bool] = True

    def explain(self, question: bm.Question) -> bm.Attribution:
        path, matrix, is_last = question.first_weight()
        (x,) = question.points
        if len(question) < 2:
            raise UsageError(
                "the spread of features cannot be told from one sample.", where="weights", fix="pass several."
            )
        chosen = set(question.targets.classes.tolist()) if is_last and question.steps is None else set()
        wide = matrix.astype(np.float64)
        if len(chosen) == 1:
            single = wide.shape[1] == 1
            weights = wide[:, 0 if single else chosen.pop()] * (question.targets.signs[0] if single else 1)
        else:
            weights = np.sqrt((wide**2).sum(1))
        deviations = x.reshape(len(x), -1).std(0, dtype=np.float64)
        return question.answer(self, [(weights * deviations).reshape(x.shape[1:])], weight=path)


@dataclass(frozen=True)
class Permutation(bm.Explainer):
    """What a measure loses where the values of a feature are shuffled among the samples (Breiman, 2001;
    Fisher et al., 2019): near 0 for a feature that the model does not use.

    `deviations` are those of the single shuffles, of several inputs by their names, and `measured` is the
    metric of the samples as they are.

    Args:
        repeats: how often each feature is shuffled.
        seed: of the shuffles.
    """

    is_global: ClassVar[bool] = True
    repeats: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        bm.check_number(self, "repeats", whole=True, at_least=1)
        bm.check_number(self, "seed", whole=True, at_least=0)

    def explain(self, question: bm.Question) -> bm.Attribution:
        if question.measure is None:
            raise UsageError(
                "there are no true targets to measure by.", where="permutation", fix="pass them: y=..."
            )
        count = sum(math.prod(array.shape[1:]) for array in question.points)
        if any(question.is_embedded) or count > MOST_FEATURES:
            what = (
                "tokens" if any(question.is_embedded) else f"{count:,} features, more than {MOST_FEATURES:,}"
            )
            raise UsageError(
                f"the samples have {what}.",
                where="permutation",
                fix="use another method, such as integrated-gradients.",
            )
        if len(question) < 2:
            raise UsageError("one sample cannot be shuffled.", where="permutation", fix="pass several.")
        measured = question.measure(question.predictions(question.points))
        means, deviations = [], {}
        for number, (name, point) in enumerate(zip(question.point_names, question.points, strict=True)):
            lost = self._lost(question, number, measured)
            means.append(lost.mean(0).reshape(point.shape[1:]))
            deviations[name] = lost.std(0).reshape(point.shape[1:])
        spread = next(iter(deviations.values())) if len(deviations) == 1 else deviations
        measure = question.measure
        return question.answer(
            self,
            means,
            deviations=spread,
            metric=measure.name,
            measured=measure.sign * measured,
        )

    def _lost(self, question: bm.Question, number: int, measured: float) -> np.ndarray:
        """(repeats, features) what the measure loses for each shuffle of a feature of a point."""
        assert question.measure is not None
        point = question.points[number]
        flat = point.reshape(len(point), -1)
        found = np.zeros((self.repeats, flat.shape[1]))
        for feature in range(flat.shape[1]):
            for turn in range(self.repeats):
                draw = np.random.default_rng([self.seed, number, feature, turn])
                mixed = flat.copy()
                mixed[:, feature] = flat[draw.permutation(len(flat)), feature]
                points = list(question.points)
                points[number] = mixed.reshape(point.shape)
                found[turn, feature] = measured - question.measure(question.predictions(points))
        return found
