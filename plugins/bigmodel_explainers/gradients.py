"""Explanations by gradients: at the sample, around it, and on the way to it from a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import NumericsError

TOGETHER = 64
"""Points on the way, or noisy samples, that are computed at once."""


@dataclass(frozen=True)
class Saliency(bm.Explainer):
    """The size of the gradient at each number of a sample (Simonyan et al., 2014); of the vector of a token
    its length.

    Args:
        absolute: whether the size counts alone; else the gradient with its sign.
    """

    is_signed: ClassVar[bool] = False
    absolute: bool = True

    def explain(self, question: bm.Question) -> bm.Attribution:
        return _of_gradients(self, question, question.slopes(question.points), self.absolute)


@dataclass(frozen=True)
class SmoothGrad(bm.Explainer):
    """The mean of gradients at noisy copies of a sample (Smilkov et al., 2017).

    Args:
        copies: of each sample.
        noise: its standard deviation, as a share of the range of the sample's numbers.
        seed: of the noise.
        absolute: whether the size of the mean counts alone.
    """

    is_signed: ClassVar[bool] = False
    copies: int = 25
    noise: float = 0.15
    seed: int = 0
    absolute: bool = True

    def __post_init__(self) -> None:
        bm.check_number(self, "copies", whole=True, at_least=1)
        bm.check_number(self, "noise", at_least=0)
        bm.check_number(self, "seed", whole=True, at_least=0)

    def explain(self, question: bm.Question) -> bm.Attribution:
        sums = [np.zeros(array.shape) for array in question.points]
        for copy in range(self.copies):
            noisy = [self.noisy(array, number, copy) for number, array in enumerate(question.points)]
            for total, slope in zip(sums, question.slopes(noisy), strict=True):
                total += slope
        return _of_gradients(self, question, [total / self.copies for total in sums], self.absolute)

    def noisy(self, array: np.ndarray, number: int, copy: int) -> np.ndarray:
        """A noisy copy of samples; a sample's noise depends on its place, not on the others.

        Args:
            array: (N, ...).
            number: of the point.
            copy: which copy.
        """
        flat = array.reshape(len(array), -1)
        deviations = self.noise * (flat.max(1, initial=-np.inf) - flat.min(1, initial=np.inf))
        drawn = [
            np.random.default_rng([self.seed, sample, copy, number]).normal(0, deviation, array.shape[1:])
            for sample, deviation in enumerate(deviations)
        ]
        return np.asarray(array + np.stack(drawn), array.dtype)


def _of_gradients(
    explainer: bm.Explainer,
    question: bm.Question,
    slopes: list[np.ndarray] | tuple[np.ndarray, ...],
    absolute: bool,
) -> bm.Attribution:
    sizes = [np.abs(slope) for slope in slopes] if absolute else slopes
    return question.answer(explainer, sizes, norm=absolute)


@dataclass(frozen=True)
class IntegratedGradients(bm.Explainer):
    """The mean gradient on the straight way from a baseline to the sample, times what changes on it
    (Sundararajan et al., 2017): values that add up to what the sample's score is above the baseline's.

    The mean is by Gauss and Legendre's rule. Steps double until the sum is right to within 1 %, which is
    then certain.

    Args:
        steps: on the way, at first.
        most_steps: beyond which a sum that is not right is an error.
    """

    is_additive: ClassVar[bool] = True
    steps: int = 32
    most_steps: int = 4096

    def __post_init__(self) -> None:
        bm.check_number(self, "steps", whole=True, at_least=1, at_most=1024)
        bm.check_number(self, "most_steps", whole=True, at_least=1)

    def explain(self, question: bm.Question) -> bm.Attribution:
        values = [np.zeros(array.shape) for array in question.points]
        taken = np.zeros(len(question), np.int64)
        left, parts = np.arange(len(question)), 1
        while len(left):
            found = self._on_the_way(question, left, parts)
            for whole, own in zip(values, found, strict=True):
                whole[left] = own
            taken[left] = self.steps * parts
            finite = np.all([np.isfinite(own.reshape(len(left), -1)).all(1) for own in found], axis=0)
            left = left[finite & ~question.adds_up(found, left)]  # more steps mend no NaN
            parts *= 2
            if len(left) and self.steps * parts > self.most_steps:
                raise self._unfinished(question, values, int(left[0]), self.steps * parts // 2)
        return question.answer(self, values, has_baseline=True, steps=taken)

    def _on_the_way(self, question: bm.Question, samples: np.ndarray, parts: int) -> list[np.ndarray]:
        """The values of some samples, with the rule applied to equal parts of the way."""
        nodes, weights = np.polynomial.legendre.leggauss(self.steps)
        places = ((nodes + 1) / 2 + np.arange(parts)[:, None]).reshape(-1) / parts
        shares = np.tile(weights / 2, parts) / parts
        changes = [
            own[samples] - base[samples]
            for own, base in zip(question.points, question.baselines, strict=True)
        ]
        sums = [np.zeros(change.shape) for change in changes]
        size = max(1, TOGETHER // len(samples))
        for start in range(0, len(places), size):
            place, share = places[start : start + size], shares[start : start + size]
            rows = np.tile(samples, len(place))
            points = [
                np.concatenate([base[samples] + step * change for step in place]).astype(base.dtype)
                for base, change in zip(question.baselines, changes, strict=True)
            ]
            for total, slope in zip(sums, question.slopes(points, rows), strict=True):
                total += np.tensordot(share, slope.reshape(len(place), *total.shape), 1)
        return [total * change for total, change in zip(sums, changes, strict=True)]

    def _unfinished(
        self, question: bm.Question, values: list[np.ndarray], sample: int, steps: int
    ) -> NumericsError:
        total = sum(float(array[sample].sum()) for array in values)
        wanted = question.outputs[sample] - question.at_baseline[sample]
        return NumericsError(
            f"after {steps} steps the values of sample {sample} add up to {total:.6g}, and not to"
            f" {wanted:.6g} within 1 %: they explain nothing.",
            where="integrated-gradients",
            fix=f"allow more steps, as in integrated-gradients:most_steps={8 * self.most_steps}, or choose"
            " another baseline.",
        )
