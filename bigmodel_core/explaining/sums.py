"""Whether values add up to what they are to explain."""

from __future__ import annotations

import numpy as np

from bigmodel_core.errors import NumericsError
from bigmodel_core.explaining.attribution import Attribution
from bigmodel_core.explaining.explainer import Explainer

TOLERANCE = 0.01
"""The share by which values may miss what they are to add up to."""
ROUNDING = 1e-5
"""Of all that is added up, the share that float32 may lose."""


def check_sums(found: Attribution, explainer: Explainer) -> None:
    """Raise unless the values of an additive explainer add up, to within 1 %.

    Raises:
        NumericsError: they do not, or some are not finite.
    """
    name = found.method
    if not all(np.isfinite(array).all() for array in found.parts.values()):
        raise NumericsError(
            "some values are NaN or infinite.", where=name, fix="look for such numbers in the inputs."
        )
    if not explainer.is_additive or found.outputs is None or found.baseline is None:
        return
    wrong = np.flatnonzero(~adds_up(found.total, found.outputs, found.baseline, _sizes(found)))
    if wrong.size:
        sample = int(wrong[0])
        wanted = found.outputs[sample] - found.baseline[sample]
        raise NumericsError(
            f"the values of sample {sample} add up to {found.total[sample]:.6g}, and not to"
            f" {wanted:.6g}, which is {found.outputs[sample]:.6g} less {found.baseline[sample]:.6g} at the"
            " baseline: they explain nothing.",
            where=name,
            fix="allow more steps, or choose another baseline or method.",
        )


def adds_up(
    total: np.ndarray, outputs: np.ndarray, baseline: np.ndarray, sizes: np.ndarray | float = 0.0
) -> np.ndarray:
    """(N,) whether values add up to `outputs - baseline`, to within 1 % and what float32 loses.

    Args:
        total: the sums of the values.
        outputs, baseline: what is explained, at the samples and at the baseline.
        sizes: the sums of the values without their signs.

    >>> adds_up(np.array([0.995, 0.98]), np.ones(2), np.zeros(2)).tolist()
    [True, False]
    """
    wanted = outputs - baseline
    lost = ROUNDING * (np.abs(outputs) + np.abs(baseline) + sizes)
    found: np.ndarray = np.abs(total - wanted) <= TOLERANCE * np.abs(wanted) + lost
    return found


def _sizes(found: Attribution) -> np.ndarray:
    return np.sum([np.abs(array).reshape(len(array), -1).sum(1) for array in found.parts.values()], axis=0)
