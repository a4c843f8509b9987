"""`bm.elementwise`: what checks a scalar function of an author before anything is compiled; `bm.expression`:
what it computes.

Functions of the core skip the check, which reads their source: a test does it once for all of them.
"""

from __future__ import annotations

from bigmodel_core.graph import Op
from bigmodel_core.graph.op import DEVICES
from bigmodel_core.kernels import fused
from bigmodel_core.kernels.definition import Scalar, check
from bigmodel_core.kernels.expressions import Expression, in_order
from bigmodel_core.kernels.reading import read


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


def expression(op: Op, *inputs: str) -> Expression | None:
    """What an elementwise op computes of the numbers at one place, as a tree: for exporters that write it in
    another language.

    Numbers in it take the type of the data (of the output if it is a float, else of the first float among the
    inputs). Equal parts are one object. `Expression.parts` lists it in an order in which it can be computed.

    Args:
        op: the op.
        inputs: what its inputs are called in the expression.

    Returns:
        The expression, whose leaves are numbers, the names of inputs and `index`; None if the op is not
        elementwise.

    Raises:
        KernelError: the function is not one expression; the message names the file and line.

    >>> from dataclasses import dataclass
    >>> import bigmodel_core as bm
    >>> @dataclass(frozen=True)
    ... class Steep(bm.Op):
    ...     slope: float
    ...     cpu, cuda = bm.elementwise(lambda x, slope: slope * x if x > 0 else 0)
    >>> for part in bm.expression(Steep(2.0), "x").parts():
    ...     print(part.operator, part.value)
    argument x
    number 0
    > None
    number 2.0
    * None
    where None
    """
    kernels = (op.kernel(device) for device in DEVICES)
    kernel = next((found for found in kernels if isinstance(found, fused.Elementwise)), None)
    if kernel is None:
        return None
    fused.check_arguments(op, kernel.function, len(inputs))
    found = read(kernel.function)
    names = dict(zip(found.parameters, inputs, strict=False))
    made: dict[int, Expression] = {}
    for item in in_order(found.result):
        if item.operator != "argument":
            made[id(item)] = found.algebra.rebuilt(item, [made[id(part)] for part in item.arguments])
        elif item.value in names or item.value == "index":
            made[id(item)] = found.algebra.argument(names.get(item.value, "index"))
        else:
            made[id(item)] = found.algebra.number(getattr(op, item.value))
    return made[id(found.result)]
