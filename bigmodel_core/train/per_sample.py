"""The gradients of single samples: each is differentiated alone, and counts by its share of the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bigmodel_core.train.objective import samples_in
from bigmodel_core.train.step_programs import WEIGHT, StepPrograms


def gradients_of_samples(
    programs: StepPrograms,
    given: Mapping[str, np.ndarray],
    run: Callable[[dict[str, Any], int], list[np.ndarray]],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The losses of the samples of a batch, (N,), and the gradients of each by path, (N, ...).

    Args:
        programs: of the step.
        given: the batch as graph inputs.
        run: gives the results of the program "terms" for a sample and its place in the batch.

    Raises:
        GraphError: a sample has no gradient of its own.
    """
    programs.check_samples_apart()
    count, trained, terms = samples_in(given), programs.groups.trained, range(programs.terms)
    losses, counts = np.empty((len(terms), count)), np.empty((len(terms), count))
    found = [
        {path: np.empty((count, *spec.sizes), spec.dtype) for path, spec in trained.items()} for _ in terms
    ]
    for number in range(count):
        sample: dict[str, Any] = {
            name: array[number : number + 1] if array.ndim else array for name, array in given.items()
        }
        results = iter(run({**sample, WEIGHT: 1.0}, number))
        for term in terms:
            losses[term, number], counts[term, number] = next(results), next(results)
            for array in found[term].values():
                array[number] = next(results)
    # Each is a mean of its own, and counts by its share of what all samples count.
    shares = counts * count / np.where(counts.any(1), counts.sum(1), 1.0)[:, None]
    for term in terms:
        for path, array in found[term].items():
            array *= shares[term].reshape(-1, *(1,) * (array.ndim - 1)).astype(array.dtype)
            if term:
                found[0][path] += array
    return (losses * shares).sum(0), found[0]
