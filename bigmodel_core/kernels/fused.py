"""What a fused elementwise kernel computes, whatever the device: operands, parts and results.

A `Chain` is a small program over one iteration space: it reads operands, applies scalar functions one after
the other and writes some of the results. Shapes are first reduced to as few axes as the broadcasting pattern
allows, with named dimensions kept symbolic, so that one compiled kernel serves every size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from bigmodel_core.errors import KernelError
from bigmodel_core.graph.dtypes import DTYPES, FLOATS
from bigmodel_core.graph.kernel import ANY_DEVICE, Kernel
from bigmodel_core.graph.spec import Dim, Shape, dim_multiply
from bigmodel_core.kernels.definition import Scalar
from bigmodel_core.kernels.scalar import Inlined, inline, parameters


@dataclass(frozen=True)
class Elementwise(Kernel):
    """The kernel of an elementwise op: a function of one number from each input, then of attributes by name.

    An argument called `index` gets the position of the element in the flattened output.
    """

    device: ClassVar[str] = ANY_DEVICE
    function: Scalar

    @property
    def is_elementwise(self) -> bool:
        return True

    @property
    def uses_index(self) -> bool:
        return "index" in parameters(self.function)


def elementwise(function: Scalar) -> tuple[Elementwise, Elementwise]:
    """The CPU and the CUDA kernel of an elementwise op, from one scalar function.

    >>> cpu, cuda = elementwise(lambda x, slope: x if x > 0 else slope * x)
    """
    kernel = Elementwise(function)
    return kernel, kernel


def check_arguments(op: Any, function: Scalar, inputs: int) -> None:
    """Refuse a scalar function whose arguments are not those of an op.

    Args:
        op: the op.
        function: what its kernel computes.
        inputs: how many inputs it has.

    Raises:
        KernelError: an input is left out, or an argument is no field.
    """
    names = parameters(function)
    name = type(op).__name__
    fix = "its arguments are one number from each input, then fields of the op by name, and `index`."
    if len(names) < inputs:
        raise KernelError(
            f"the scalar function '{function.__name__}' takes {len(names)} arguments, and {name} has {inputs}"
            " inputs.",
            fix=fix,
        )
    for missing in names[inputs:]:
        if missing != "index" and not hasattr(op, missing):
            raise KernelError(
                f"the scalar function '{function.__name__}' takes '{missing}', which is no attribute of"
                f" {name}.",
                fix=fix,
            )


@dataclass(frozen=True)
class Part:
    """One scalar function of a chain.

    Args:
        function: the scalar function.
        operands: what its leading arguments are: numbers below the count of the chain's operands name those,
            others earlier parts.
        attributes: the values of its other arguments, by name; in a chain that is compiled their types.
        dtype: the type of the result.
        compute: the type that numbers in the function take.
    """

    function: Scalar
    operands: tuple[int, ...]
    attributes: tuple[tuple[str, Any], ...]
    dtype: str
    compute: str


@dataclass(frozen=True)
class Chain:
    """A fused kernel's program.

    Args:
        operands: the number type of each operand, and whether it varies along the innermost axis.
        parts: scalar functions, in order.
        results: which parts are written, and the operand whose memory each overwrites (-1 for memory of its
            own).
        axes: how many axes the iteration space has after reduction.
        watched: results that are floats and reported if some are not finite, after they are written.
    """

    operands: tuple[tuple[str, bool], ...]
    parts: tuple[Part, ...]
    results: tuple[tuple[int, int], ...]
    axes: int
    watched: tuple[int, ...] = ()

    def inlined(self) -> list[Inlined]:
        """The scalar functions of the parts, as source."""
        return [inline(part.function, part.compute) for part in self.parts]

    def typed(self) -> Chain:
        """The same with types of attributes in the place of values: what must be compiled."""
        parts = []
        for part in self.parts:
            types = ((name, attribute_type(value, part.compute)) for name, value in part.attributes)
            parts.append(replace(part, attributes=tuple(types)))
        return replace(self, parts=tuple(parts))

    def weight(self) -> int:
        """A rough cost of one element, to choose how many elements a chunk holds."""
        calls = sum(8 for inlined in self.inlined() if inlined.math_names or inlined.helpers)
        return len(self.parts) + len(self.operands) + calls


def attribute_type(value: Any, compute: str) -> str:
    """The type of an attribute inside a kernel: floats take the type that the function computes in."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int) and compute not in FLOATS:
        return "int64"
    return compute if compute in FLOATS else "float64"


def part_source(chain: Chain, number: int, names: Sequence[str], attribute_names: Sequence[str]) -> str:
    """The right-hand side that computes a part, given the names of operands and parts and of this part's
    attributes."""
    part = chain.parts[number]
    inlined = inline(part.function, part.compute)
    expected = parameters(part.function)
    arguments = dict(zip(expected, (names[operand] for operand in part.operands), strict=False))
    arguments.update(zip((name for name, _ in part.attributes), attribute_names, strict=True))
    if "index" in expected:
        arguments["index"] = "index"
    convert = DTYPES[part.dtype].converter
    return f"{convert}({inlined.call(arguments)})" if part.dtype != "bool" else inlined.call(arguments)


# Iteration spaces -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Space:
    """A broadcasting pattern reduced to few axes.

    Args:
        axes: the sizes of the axes, outermost first.
        varies: for each operand, whether it varies along each axis.
    """

    axes: Shape
    varies: tuple[tuple[bool, ...], ...]

    def strides(self, operand: int, sizes: Sequence[int]) -> list[int]:
        """Elements between neighbours of an operand along each axis (0 if it is repeated)."""
        strides, step = [], 1
        for axis in reversed(range(len(self.axes))):
            varies = self.varies[operand][axis]
            strides.append(step if varies else 0)
            step *= sizes[axis] if varies else 1
        return strides[::-1]


def space(shape: Shape, operands: Sequence[Shape]) -> Space:
    """Reduce an iteration space: axes of size 1 go, neighbours that every operand treats alike become one.

    >>> space(("N", 4, 5), [("N", 4, 5), (5,)])
    Space(axes=('4*N', 5), varies=((True, True), (False, True)))
    """
    axes: list[Dim] = []
    columns: list[tuple[bool, ...]] = []
    for position, dim in enumerate(shape):
        if dim == 1:
            continue
        column = tuple(_varies(operand, position - len(shape)) for operand in operands)
        if columns and columns[-1] == column:
            axes[-1] = dim_multiply(axes[-1], dim)
        else:
            axes.append(dim)
            columns.append(column)
    varies = tuple(tuple(column[number] for column in columns) for number in range(len(operands)))
    return Space(tuple(axes), varies)


def _varies(shape: Shape, position: int) -> bool:
    return -position <= len(shape) and shape[position] != 1
