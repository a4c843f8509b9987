"""Explainers with one fault each."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

import bigmodel_core as bm
from tests.plugins.wrong.table import fault, sound

NEIGHBOURS = "samples do not matter to each other"


def times_weights(weight: np.ndarray, x: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return x * weight[:, targets].T


def products(question: bm.Question) -> list[np.ndarray]:
    return [a * b for a, b in zip(question.points, question.slopes(question.points), strict=True)]


@sound(None, times_weights)
class SlopeTimesInput(bm.Explainer):
    """The slope times the number."""

    def explain(self, question: bm.Question) -> bm.Attribution:
        return question.answer(self, products(question))


@fault("an explainer that forgets a factor", "reference", "Not equal to tolerance", None, times_weights)
class Slope(bm.Explainer):
    def explain(self, question: bm.Question) -> bm.Attribution:
        return question.answer(self, question.slopes(question.points))


@fault(
    "an explainer that fits no model", "explains a model", "explains none of the models: a table: of nothing"
)
class OfNothing(bm.Explainer):
    def explain(self, question: bm.Question) -> bm.Attribution:
        raise bm.errors.UsageError("of nothing.")


@fault("an explainer that gives one number for each sample", "explains a model", r"the values are \(4,\)")
class OneNumber(bm.Explainer):
    def explain(self, question: bm.Question) -> bm.Attribution:
        sums = [array.reshape(len(array), -1).sum(1) for array in products(question)]
        if question.is_embedded[0]:
            raise bm.errors.UsageError("not of texts.")
        return question.answer(self, sums)


@fault("an explainer that writes to the samples", "explains a model", "wrote to the samples|read-only")
class OverSamples(bm.Explainer):
    def explain(self, question: bm.Question) -> bm.Attribution:
        if question.is_embedded[0]:
            raise bm.errors.UsageError("not of texts.")
        for array in question.points:
            array *= 0.5
        return question.answer(self, products(question))


@fault("an explainer that is not signed, and gives values below 0", "explains a model", "gave values below 0")
class BelowZero(bm.Explainer):
    is_signed: ClassVar[bool] = False

    def explain(self, question: bm.Question) -> bm.Attribution:
        return question.answer(self, products(question))


@fault("an explainer that calls itself additive, and is not", "adds up", "values of sample . add up to")
class NotAdditive(bm.Explainer):
    is_additive: ClassVar[bool] = True

    def explain(self, question: bm.Question) -> bm.Attribution:
        halves = [array / 2 for array in products(question)]
        return question.answer(self, halves, has_baseline=True)


@fault("an explainer that draws without a seed", "the same again", "got another answer")
class Unseeded(bm.Explainer):
    def explain(self, question: bm.Question) -> bm.Attribution:
        noise = np.random.default_rng().normal()
        return question.answer(self, [array * (1 + noise) for array in products(question)])


@fault(
    "an explainer that divides by the largest of all",
    "samples do not matter to each other",
    "other samples changed",
)
class Together(bm.Explainer):
    def explain(self, question: bm.Question) -> bm.Attribution:
        return question.answer(self, [array / np.abs(array).max() for array in products(question)])


@fault(
    "an explainer that looks at the samples alone",
    "depends on the weights",
    "other weights got the same values",
)
class Edges(bm.Explainer):
    def explain(self, question: bm.Question) -> Any:
        if question.is_embedded[0]:
            raise bm.errors.UsageError("not of texts, whose vectors are weights.")
        return question.answer(self, question.points)


@sound()
class Evenly(bm.Explainer):
    """What the score is above the baseline's, the same part of it for each number."""

    is_additive: ClassVar[bool] = True

    def explain(self, question: bm.Question) -> bm.Attribution:
        (x,) = question.points
        share = (question.outputs - question.at_baseline) / x[0].size
        values = np.broadcast_to(share.reshape(-1, *(1,) * (x.ndim - 1)), x.shape)
        return question.answer(self, [values], has_baseline=True)
