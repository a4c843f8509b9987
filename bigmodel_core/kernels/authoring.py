"""`bm.elementwise`: what checks a scalar function of an author before anything is compiled.

Functions of the core skip the check, which reads their source: a test does it once for all of them.
"""

from __future__ import annotations

from bigmodel_core.kernels import fused
from bigmodel_core.kernels.definition import Scalar, check


def elementwise(function: Scalar) -> tuple[fused.Elementwise, fused.Elementwise]:
    """The CPU and the CUDA kernel of an elementwise op, from one scalar function: `cpu, cuda =
    bm.elementwise(f)`.

    The function gets one number from each input, then those fields of the op that it takes by name; an
    argument called `index` gets the position of the number in the flattened output. Numbers written in it
    take the type of the data. It may use arithmetic, comparisons, branches, local names, `abs`, `max`, `min`,
    functions of `math`, loops over `range`, and helper functions that are the same.

    What the op does not define follows from the function:

    - `infer`: inputs of one number type, whose shapes are broadcast;
    - `grad`: the derivative, as a kernel that is derived in the same way, so that there are gradients of
      gradients. It is that of the formula as it is written: of equal numbers, `max` and `min` pass it to the
      first; where a branch is not taken, nothing of it counts;
    - `onnx`: nodes that compute the formula.

    For these, loops need a fixed number of steps. Define them yourself where you know better ones, such as a
    gradient that needs the output alone.

    Args:
        function: a plain function or a lambda.

    Raises:
        KernelError: it holds what no kernel can; the message names its file and line, and the mend.

    >>> import math
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> def swish(x, beta):
    ...     return x / (1 + math.exp(-beta * x))
    >>> @dataclass(frozen=True)
    ... class Swish(bm.Op):
    ...     beta: float
    ...     cpu, cuda = bm.elementwise(swish)
    >>> bm.testing.compute(lambda x: Swish(1.0)(x), np.array([-1.0, 0.0, 1.0])).round(3)
    array([-0.269,  0.   ,  0.731])
    >>> square = type("Square", (bm.Op,), {"cpu": bm.elementwise(lambda x: x * x)[0]})()
    >>> bm.testing.compute_gradients(lambda x: bm.ops.sum(square(x)), np.array([1.0, 2.0]))
    [array([2., 4.])]
    """
    check(function)
    return fused.elementwise(function)
