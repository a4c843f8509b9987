"""The importance of the features of tables for all samples: by weights, and by what shuffling them costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

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
    Fisher et al., 2019): near 0 for a feature that the model does not use. All features that a column of a
    table became are shuffled together, and so are the codes of a column of categories.

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
        looked_up = zip(question.point_names, question.is_embedded, strict=True)
        coded = dict(zip(question.network.input_names, question.is_coded, strict=True))
        tokens = any(is_embedded and not coded[name] for name, is_embedded in looked_up)
        shuffled = [
            number for number, name in enumerate(coded) if coded[name] or name in question.point_names
        ]
        names = [name for number in shuffled for name in question.columns_of(number)[0]]
        count = len(names)
        if tokens or count > MOST_FEATURES:
            many = f"{count:,} features, more than {MOST_FEATURES:,}"
            raise UsageError(
                f"the samples have {'tokens' if tokens else many}.",
                where="permutation",
                fix="use another method, such as integrated-gradients.",
            )
        if len(question) < 2:
            raise UsageError("one sample cannot be shuffled.", where="permutation", fix="pass several.")
        measure = question.measure
        measured = measure(question.predictions_of(question.inputs))
        means, deviations = list[np.ndarray | None]([None] * len(coded)), {}
        for number in shuffled:
            lost = self._lost(question, number, measured)
            shape = question.inputs[number].shape[1:] if question.origins[number] is None else lost.shape[1:]
            means[number] = lost.mean(0).reshape(shape)
            deviations[list(coded)[number]] = lost.std(0).reshape(shape)
        (first, *more) = deviations.values()
        facts: dict[str, Any] = {"deviations": deviations if more else first}
        facts |= {"columns": names} if question.has_columns else {}
        return question.answer_by_input(
            self, means, metric=measure.name, measured=measure.sign * measured, **facts
        )

    def _lost(self, question: bm.Question, number: int, measured: float) -> np.ndarray:
        """(repeats, columns) what the measure loses for each shuffle of a column of an input."""
        assert question.measure is not None
        own = question.inputs[number]
        flat = own.reshape(len(own), -1)
        names, of = question.columns_of(number)
        found = np.zeros((self.repeats, len(names)))
        for column in range(len(names)):
            for turn in range(self.repeats):
                draw = np.random.default_rng([self.seed, number, column, turn])
                mixed, places = flat.copy(), of == column
                mixed[:, places] = flat[draw.permutation(len(flat))][:, places]
                inputs = list(question.inputs)
                inputs[number] = mixed.reshape(own.shape)
                found[turn, column] = measured - question.measure(question.predictions_of(inputs))
        return found
