"""Kernels on arrays: what an op's author writes when a function of single numbers is not enough.

```python
def scale_rows(out, x, factor, start, stop):      # outputs, inputs, attributes by name
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * factor

cpu = bm.kernel(scale_rows)
```

The wrapper that unpacks addresses and sizes into arrays is generated, one for each combination of number
types and ranks; sizes are read at run time, so that nothing is compiled anew for another batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bigmodel_core.errors import KernelError
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.scalar import parameters

if TYPE_CHECKING:
    from bigmodel_core.kernels.cpu.launch import Launch

Views = Callable[..., tuple[Sequence[tuple[Any, ...]], Sequence[tuple[Any, ...]]]]

SPECIAL = ("start", "stop", "status")


@dataclass(frozen=True)
class ArrayKernel:
    """A kernel on arrays, for the CPU.

    Args:
        function: `function(outputs..., inputs..., attributes..., start, stop, status)`; attributes are the
            op's fields of the same name; a kernel that takes `start` and `stop` does that range of rows of
            its first output and may run in several threads; `status` is an int64 array of four: setting
            `status[0]` to an `errors` code stops the plan.
        views: `views(op, inputs, outputs)` gives the shapes under which the (contiguous) outputs and inputs
            are seen, so that few ranks have to be compiled.
        cost: work of one element of the largest array, relative to an addition.
        extras: `extras(op, inputs, outputs)` gives more integers by name, besides the op's attributes.
    """

    function: Callable[..., None]
    views: Views | None = None
    cost: float = 1.0
    extras: Callable[..., dict[str, Any]] | None = None

    def launches(self, call: Call, rows: int | None = None) -> list[Launch]:
        """The launches of one application.

        Args:
            rows: of the first output in a chunk, where something else says how the work is cut.
        """
        from bigmodel_core.kernels.cpu import array

        return array.launches(self, call, rows)


def kernel(
    function: Callable[..., None],
    *,
    views: Views | None = None,
    cost: float = 1.0,
    extras: Callable[..., dict[str, Any]] | None = None,
) -> ArrayKernel:
    """Make a function on arrays the CPU kernel of an op; see `ArrayKernel`."""
    return ArrayKernel(function, views, cost, extras)


@dataclass(frozen=True)
class NativeKernel:
    """A kernel that chooses its own launches.

    Args:
        choose: `choose(call)` gives the rows of the plan's table.
        behind: `behind(call, tile)` gives launches of which the first runs on each chunk of another kernel,
            right after it: chunk `c` of that one writes the tile number `c` of an input, `tile` being its
            (rows, columns) as in `Launch`. None where that does not fit the sizes.
        follows: the position of that input; None where there is no `behind`.
    """

    choose: Callable[[Call], list[Launch] | None]
    behind: Callable[[Call, tuple[int, int]], list[Launch] | None] | None = None
    follows: int | None = None

    def launches(self, call: Call) -> list[Launch]:
        """The launches of one application."""
        return self.choose(call) or []

    def following(self, call: Call, tile: tuple[int, int]) -> list[Launch] | None:
        """The launches of one application behind another kernel's tiles; None where that cannot be."""
        return self.behind(call, tile) if self.behind else None


@dataclass
class Call:
    """One application of an op at concrete sizes, as a kernel sees it.

    Args:
        op: the op, whose fields are the attributes.
        inputs: specs of the inputs, all sizes known.
        outputs: specs of the outputs.
        input_buffers: memory of the inputs.
        output_buffers: memory of the outputs.
        scratch: gives temporary memory of a number of bytes, alive during this application only.
        status: memory of the plan's status.
    """

    op: Any
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    input_buffers: tuple[Any, ...]
    output_buffers: tuple[Any, ...]
    scratch: Callable[[int], Any]
    status: Any

    @property
    def dtype(self) -> str:
        """The main number type: of the first float output, else of the first float input, else of the first
        output."""
        for spec in (*self.outputs, *self.inputs):
            if spec.is_float:
                return spec.dtype
        return self.outputs[0].dtype


def attributes_of(kernel: ArrayKernel, call: Call) -> dict[str, Any]:
    """The values of a kernel's attribute arguments, by name, in the order it takes them."""
    names = parameters(kernel.function)[len(call.outputs) + len(call.inputs) :]
    extras = kernel.extras(call.op, call.inputs, call.outputs) if kernel.extras else {}
    found = {}
    for name in names:
        if name in SPECIAL:
            continue
        if name not in extras and not hasattr(call.op, name):
            raise KernelError(
                f"the kernel '{kernel.function.__name__}' takes '{name}', which is no attribute of"
                f" {type(call.op).__name__}.",
                fix="arguments are outputs, inputs, then fields of the op, then start, stop, status.",
            )
        found[name] = extras[name] if name in extras else getattr(call.op, name)
    return found
