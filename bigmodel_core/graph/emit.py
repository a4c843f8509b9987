"""What an op's ONNX lowering sees of an exporter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from bigmodel_core.graph.body import Body
from bigmodel_core.graph.spec import Dim, Shape, Spec


class Emit(Protocol):
    """What an op's `onnx` method receives: `emit.Add(a, b)` adds a node of that ONNX operator and returns its
    output.

    Keyword arguments are the node's attributes; `outputs=2` gives a tuple of outputs. Inputs and outputs are
    opaque: what `onnx` was given, and what other calls gave.

    ```python
    def onnx(self, emit, x):                                       # x / max(|x|)
        largest = emit.reduce("ReduceMax", emit.Abs(x), (1,), True)
        return emit.Div(x, emit.Max(largest, emit.const(1e-6)))
    ```"""

    opset: int
    """The operator set that is written."""
    inputs: tuple[Spec, ...]
    """The specs of the op's inputs."""
    outputs: tuple[Spec, ...]
    """The specs of the op's outputs."""

    def __getattr__(self, operator: str) -> Any: ...

    def spec(self, x: Any) -> Spec:
        """The shape and the number type of a value, of one made in between, too."""

    def const(self, value: Any, dtype: str | None = None) -> Any:
        """A constant; its type is that of the op's first float input unless said."""

    def ints(self, values: Sequence[int]) -> Any:
        """A constant vector of int64."""

    def shape(self, shape: Shape) -> Any:
        """A shape as an int64 vector, computed at run time if dimensions are free."""

    def reshape(self, x: Any, shape: Shape) -> Any:
        """Reshape to a shape that may have free dimensions."""

    def expand(self, x: Any, shape: Shape) -> Any:
        """The numbers repeated to fill a shape that may have free dimensions."""

    def cast(self, x: Any, dtype: str) -> Any:
        """Convert to a number type."""

    def size(self, x: Any, axes: Sequence[int], dtype: str) -> Any:
        """The number of elements along axes, as a scalar."""

    def slice(self, x: Any, axis: int, start: Dim, length: Dim, step: int = 1) -> Any:
        """`length` elements along an axis."""

    def reduce(self, operator: str, x: Any, axes: Sequence[int], keepdims: bool) -> Any:
        """A reduction, with its axes if the opset wants them."""

    def fold(self, function: Callable[..., Any], *values: Any) -> Any | None:
        """A weight made now of weights, by a function of arrays; None if a value is no weight."""

    def body(self, body: Body, shared: Sequence[Any], further: Sequence[Spec] = ()) -> Any:
        """The graph of a body as an attribute of a node.

        Args:
            body: what it computes.
            shared: its last inputs, which it reads from the graph around it; the others are inputs of the
                graph.
            further: inputs of the graph that nothing reads, after those.
        """

    def swap_last(self, x: Any) -> Any:
        """The last two axes exchanged."""
