"""What an op declares as its `cpu` kernel: a function on arrays, or one that chooses launches.

```python
def scale_rows(out, x, factor, start, stop):      # outputs, inputs, attributes by name
    for i in range(start, stop):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * factor

cpu = bm.kernel(scale_rows)
```

The wrapper that unpacks addresses and sizes into arrays is generated, one for each combination of number
types and ranks; sizes are read at run time, so nothing is compiled again for another batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, overload

from bigmodel_core.errors import KernelError
from bigmodel_core.graph.kernel import Kernel
from bigmodel_core.graph.spec import Spec
from bigmodel_core.kernels.call import Call, Extras, Views, check_function

if TYPE_CHECKING:
    from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch

ROWS = ("start", "stop")
"""The arguments that tell a kernel which rows of its first output to compute."""


@dataclass(frozen=True)
class ArrayKernel(Kernel):
    """A kernel on arrays, for the CPU.

    Args:
        function: `function(outputs..., inputs..., attributes..., start, stop, status)`; attributes are the
            op's fields of the same name; a kernel that takes `start` and `stop` does that range of rows of
            its first output, or of `items`, and may run in several threads; `status` is an int64 array of
            four: setting `status[CODE]` to a code of `kernels.status` stops the plan.
        views: `views(op, inputs, outputs)` gives the shapes under which the (contiguous) outputs and inputs
            are seen, so that few ranks must be compiled.
        cost: work of one element of the largest array, relative to an addition.
        extras: `extras(op, inputs, outputs)` gives more integers by name, besides the op's attributes.
        rows: of the first output in a chunk, where something else says how the work is cut.
        items: `items(op, inputs, outputs)` is how many independent pieces of work there are, of which `start`
            and `stop` name a range; by default the rows of the first output.

    Raises:
        KernelError: the function is none, or takes arguments of kernels for other devices.
    """

    device: ClassVar[str] = "cpu"
    special: ClassVar[tuple[str, ...]] = (*ROWS, "status")
    """Arguments that are not attributes."""
    function: Callable[..., None]
    views: Views | None = None
    cost: float = 1.0
    extras: Extras | None = None
    rows: int | None = None
    items: Callable[..., int] | None = None

    def __post_init__(self) -> None:
        check_function(self.function, "kernel", ROWS, ("thread", "threads"))

    def launches(self, call: Call) -> list[CpuLaunch]:
        """The launches of one application."""
        from bigmodel_core.kernels.cpu.engine import array

        return array.launches(self, call)


def kernel(
    function: Callable[..., None],
    *,
    views: Views | None = None,
    cost: float = 1.0,
    extras: Extras | None = None,
    items: Callable[..., int] | None = None,
) -> ArrayKernel:
    """The CPU kernel of an op, from a function on arrays: `cpu = bm.kernel(f)` in the class of the op.

    The function is compiled by Numba when it is first used, and kept. It fills its outputs: it may use
    numbers, arrays, loops, branches, `math`, tuples and plain helper functions, and makes no arrays of its
    own.

    Args:
        function: `function(outputs..., inputs..., fields..., start, stop, status)`, all but the arrays by
        name.
            Arrays are contiguous, of the op's shapes; a scalar is an array of one number. Fields are those of
            the op: numbers, truth values and tuples of integers. With `start` and `stop` it computes these
            rows of its first output alone, and may run in several threads at once: it must write nothing
            else, and give the same numbers however rows are cut. `status` is an array of four integers; a
            failure is reported by `status[bm.status.CODE] = bm.status.INDEX_OUT_OF_RANGE`, or any code, and
            stops the run.
        views: `views(op, inputs, outputs)` of `bm.Spec`s gives the shapes under which outputs and inputs are
        seen, as
            two lists: one kernel of a fixed rank then serves arrays of any.
        cost: the work of one number of the largest array, as a multiple of an addition: it decides how many
        rows
            are worth a thread.
        extras: `extras(op, inputs, outputs)` gives more arguments by name, besides the op's fields.
        items: `items(op, inputs, outputs)` is how many independent pieces of work there are, of which `start`
        and
            `stop` name a range, where these are no rows of the first output.

    Raises:
        KernelError: it is no function, or takes arguments of kernels for other devices.

    >>> import numpy as np
    >>> from dataclasses import dataclass
    >>> import bigmodel_core as bm
    >>> def scale_rows(out, x, factor, start, stop):
    ...     for i in range(start, stop):
    ...         for j in range(x.shape[1]):
    ...             out[i, j] = x[i, j] * factor
    >>> def as_rows(op, inputs, outputs):
    ...     shape = (inputs[0].size // inputs[0].shape[-1], inputs[0].shape[-1])
    ...     return [shape], [shape]
    >>> @dataclass(frozen=True)
    ... class ScaleRows(bm.Op):
    ...     factor: float
    ...     cpu = bm.kernel(scale_rows, views=as_rows)
    ...     def infer(self, x):
    ...         return x
    >>> bm.testing.compute(lambda x: ScaleRows(3.0)(x), np.ones((2, 1, 2))).tolist()
    [[[3.0, 3.0]], [[3.0, 3.0]]]
    """
    return ArrayKernel(function, views, cost, extras, items=items)


Choose = Callable[[Call], "Sequence[CpuLaunch] | None"]
ChooseEpilogue = Callable[[Call, tuple[int, int]], "Sequence[CpuLaunch] | None"]
OverReads = Callable[..., tuple[int, ...]]


@dataclass(frozen=True)
class CpuLaunches(Kernel):
    """A CPU kernel that chooses its own launches; see `cpu_launches`."""

    device: ClassVar[str] = "cpu"
    choose: Choose
    epilogue_of: ChooseEpilogue | None = None
    follows: int | None = None
    writes_tiles: bool = False
    in_place: int | None = None
    reads_past: OverReads | None = None

    def launches(self, call: Call) -> Sequence[CpuLaunch]:
        return self.choose(call) or []

    def epilogue(self, call: Call, tile: tuple[int, int]) -> Sequence[CpuLaunch] | None:
        return self.epilogue_of(call, tile) if self.epilogue_of else None

    def over_reads(self, op: Any, inputs: Sequence[Spec]) -> tuple[int, ...]:
        return self.reads_past(op, *inputs) if self.reads_past else ()


@overload
def cpu_launches(choose: Choose) -> CpuLaunches: ...


@overload
def cpu_launches(
    *,
    epilogue: ChooseEpilogue | None = None,
    follows: int | None = None,
    writes_tiles: bool = False,
    in_place: int | None = None,
    over_reads: OverReads | None = None,
) -> Callable[[Choose], CpuLaunches]: ...


def cpu_launches(
    choose: Choose | None = None,
    *,
    epilogue: ChooseEpilogue | None = None,
    follows: int | None = None,
    writes_tiles: bool = False,
    in_place: int | None = None,
    over_reads: OverReads | None = None,
) -> CpuLaunches | Callable[[Choose], CpuLaunches]:
    """The CPU kernel of an op that takes several launches, with scratch memory between them, or that depends
    on sizes.

    A decorator of a function of a `bm.Call`, which has the op, the specs and memory of one application, and
    makes scratch memory (`call.temporary`) and launches of `bm.kernel`s (`call.launch`). It is asked once for
    each set of sizes; the launches then run in this order, each when the one before it has ended.

    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> def means_of_rows(mean, x, start, stop):
    ...     for i in range(start, stop):
    ...         total = 0.0
    ...         for j in range(x.shape[1]):
    ...             total += x[i, j]
    ...         mean[i] = total / x.shape[1]
    >>> def without_means(out, x, mean, start, stop):
    ...     for i in range(start, stop):
    ...         for j in range(x.shape[1]):
    ...             out[i, j] = x[i, j] - mean[i]
    >>> row_means, subtract_means = bm.kernel(means_of_rows), bm.kernel(without_means)
    >>> @bm.cpu_launches
    ... def centred(call):
    ...     x, mean = call.input(0), call.temporary((call.inputs[0].shape[0],))
    ...     return [
    ...         *call.launch(row_means, [mean], [x]),
    ...         *call.launch(subtract_means, [call.output(0)], [x, mean]),
    ...     ]
    >>> class Centre(bm.Op):
    ...     cpu = centred
    ...     def infer(self, x):
    ...         return x
    >>> bm.testing.compute(lambda x: Centre()(x), np.array([[1.0, 3.0]]))
    array([[-1.,  1.]])

    Args:
        choose: `choose(call)` gives the launches, run in this order; None or an empty list if there is no
            work.
        epilogue: `epilogue(call, tile)` gives launches of which the first runs on each chunk of another
            kernel, right after it: chunk `c` of that one writes the tile number `c` of an input, `tile` being
            its (rows, columns). None if that does not fit the sizes.
        follows: the position of that input.
        writes_tiles: whether chunks of the last launch finish the output tile by tile (`CpuLaunch.tile`), so
            that epilogues can run on each.
        in_place: the position of the input whose memory the output may be given, where nothing needs the
            input afterwards; `call.output_buffers[0] is call.input_buffers[in_place]` says that it was.
        over_reads: `over_reads(op, *inputs)`, all sizes known, gives the positions of inputs behind whose end
            the kernel reads (never uses) up to `PADDING` bytes.
    """
    if (epilogue is None) != (follows is None):
        raise KernelError(
            "an epilogue needs the position of the input that it follows, and the other way round.",
            fix="pass both: epilogue=..., follows=0.",
        )

    def made(choose: Choose) -> CpuLaunches:
        check_function(choose, "cpu_launches", (), ())
        return CpuLaunches(choose, epilogue, follows, writes_tiles, in_place, over_reads)

    return made if choose is None else made(choose)
