"""The conformance kit for plugin authors, which this project's own tests use too.

    @parametrize_checks(Swish(1.5), inputs=[(4, 7)], reference=lambda x: x / (1 + np.exp(-1.5 * x)))
    def test_conformance(check): check()

One pytest id a check. `bigmodel plugins check NAME` runs the same checks without a test file, on examples
that the kit makes itself. What cannot run is shown as skipped, with the reason; if nothing ran, that is a
failure.
"""

from __future__ import annotations

from bigmodel_core.testing.catalogue import checks_for, checks_for_plugin
from bigmodel_core.testing.checks import Check, CheckSkipped, Outcome, Report, run_checks
from bigmodel_core.testing.evaluate import compute, compute_gradients
from bigmodel_core.testing.gradients import check_gradients
from bigmodel_core.testing.parametrize import parametrize_checks

__all__ = [
    "Check",
    "CheckSkipped",
    "Outcome",
    "Report",
    "check_gradients",
    "checks_for",
    "checks_for_plugin",
    "compute",
    "compute_gradients",
    "parametrize_checks",
    "run_checks",
]
