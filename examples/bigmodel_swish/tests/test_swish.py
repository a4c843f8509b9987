"""The plugin keeps every promise of the conformance kit."""

import numpy as np

from bigmodel_core.testing import parametrize_checks
from bigmodel_swish import Swish


@parametrize_checks(Swish(1.5), inputs=[(4, 7)], reference=lambda x: x / (1 + np.exp(-1.5 * x)))
def test_conformance(check):
    check()
