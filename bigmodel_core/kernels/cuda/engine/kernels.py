"""What an op declares as its `cuda` kernel: a function on arrays, or one that chooses launches.

```python
def scale_rows(out, x, factor, thread, threads):      # outputs, inputs, attributes by name
    for i in range(thread, out.shape[0], threads):    # this thread's share of the rows
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * factor

cuda = bm.cuda_kernel(scale_rows)
```

This module imports no Numba: kernels are plain functions, compiled at the first launch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, overload

from bigmodel_core.graph.kernel import Kernel
from bigmodel_core.kernels.call import Call, Extras, Views, check_function

if TYPE_CHECKING:
    from bigmodel_core.kernels.cuda.engine.launch import CudaLaunch

SHARE = ("thread", "threads")
"""The arguments that tell a kernel its share of the work."""


@dataclass(frozen=True)
class CudaKernel(Kernel):
    """A kernel on arrays, for CUDA devices.

    Args:
        function: `function(outputs..., inputs..., attributes..., thread, threads, status)`; attributes are
            the op's fields of the same name; `thread` is the number of this thread, `threads` how many there
            are: each does every `threads`-th piece of the work, and no two write one number; `status` is an
            int64 array of four: setting `status[CODE]` to a code of `kernels.status` fails it.
        views: `views(op, inputs, outputs)` gives the shapes under which outputs and inputs are seen.
        extras: `extras(op, inputs, outputs)` gives more integers by name, besides the op's attributes.
        items: `items(op, inputs, outputs)` is how many independent pieces of work there are; by default the
            numbers of the first output.

    Raises:
        KernelError: the function is none, or takes arguments of kernels for other devices.
    """

    device: ClassVar[str] = "cuda"
    special: ClassVar[tuple[str, ...]] = (*SHARE, "status")
    """Arguments that are not attributes."""
    function: Callable[..., None]
    views: Views | None = None
    extras: Extras | None = None
    items: Callable[..., int] | None = None

    def __post_init__(self) -> None:
        check_function(self.function, "cuda_kernel", SHARE, ("start", "stop"))

    def launches(self, call: Call) -> list[CudaLaunch]:
        """The launches of one application."""
        from bigmodel_core.kernels.cuda.engine import array

        return array.launches(self, call)


def cuda_kernel(
    function: Callable[..., None],
    *,
    views: Views | None = None,
    extras: Extras | None = None,
    items: Callable[..., int] | None = None,
) -> CudaKernel:
    """The CUDA kernel of an op, from a function on arrays: `cuda = bm.cuda_kernel(f)` in the class of the op.

    The function is compiled by Numba at its first launch; in Numba's simulator (`NUMBA_ENABLE_CUDASIM=1`) it
    runs as Python, on any machine. It may use what `bm.kernel` may, and `bm.cuda`, which is `numba.cuda`.

    Args:
        function: `function(outputs..., inputs..., fields..., thread, threads, status)`, all but the arrays by
        name.
            `thread` is the number of this thread, `threads` how many there are: each does every `threads`-th
            piece of the work, and no two write one number. Blocks have a power of two of threads, 256 at
            most. Arrays, fields and `status` are as for `bm.kernel`.
        views: `views(op, inputs, outputs)` gives the shapes under which outputs and inputs are seen, as two
        lists. extras: `extras(op, inputs, outputs)` gives more arguments by name, besides the op's fields.
        items: `items(op, inputs, outputs)` is how many independent pieces of work there are, which decides
        how many
            threads are started; by default the numbers of the first output.

    Raises:
        KernelError: it is no function, or takes arguments of kernels for other devices.

    >>> from dataclasses import dataclass
    >>> import bigmodel_core as bm
    >>> def scale_rows(out, x, factor, thread, threads):
    ...     for i in range(thread, out.shape[0], threads):
    ...         for j in range(x.shape[1]):
    ...             out[i, j] = x[i, j] * factor
    >>> @dataclass(frozen=True)
    ... class ScaleRows(bm.Op):
    ...     factor: float
    ...     cuda = bm.cuda_kernel(scale_rows, items=lambda op, inputs, outputs: inputs[0].shape[0])
    ...     def infer(self, x):
    ...         return x
    """
    return CudaKernel(function, views, extras, items)


Choose = Callable[[Call], "Sequence[CudaLaunch] | None"]


@dataclass(frozen=True)
class CudaLaunches(Kernel):
    """A CUDA kernel that chooses its own launches; see `cuda_launches`."""

    device: ClassVar[str] = "cuda"
    choose: Choose
    in_place: int | None = None

    def launches(self, call: Call) -> Sequence[CudaLaunch]:
        """The launches of one application."""
        return self.choose(call) or []


@overload
def cuda_launches(choose: Choose) -> CudaLaunches: ...


@overload
def cuda_launches(*, in_place: int | None = None) -> Callable[[Choose], CudaLaunches]: ...


def cuda_launches(
    choose: Choose | None = None, *, in_place: int | None = None
) -> CudaLaunches | Callable[[Choose], CudaLaunches]:
    """The CUDA kernel of an op that takes several launches, with scratch memory between them: as
    `bm.cpu_launches`, with launches of `bm.cuda_kernel`s.

    >>> import bigmodel_core as bm
    >>> def means_of_rows(mean, x, thread, threads):
    ...     for i in range(thread, x.shape[0], threads):
    ...         total = x[i, 0]
    ...         for j in range(1, x.shape[1]):
    ...             total += x[i, j]
    ...         mean[i] = total / x.shape[1]
    >>> def without_means(out, x, mean, thread, threads):
    ...     for n in range(thread, x.shape[0] * x.shape[1], threads):
    ...         i, j = n // x.shape[1], n % x.shape[1]
    ...         out[i, j] = x[i, j] - mean[i]
    >>> row_means, subtract_means = bm.cuda_kernel(means_of_rows), bm.cuda_kernel(without_means)
    >>> @bm.cuda_launches
    ... def centred(call):
    ...     x, mean = call.input(0), call.temporary((call.inputs[0].shape[0],))
    ...     return [
    ...         *call.launch(row_means, [mean], [x]),
    ...         *call.launch(subtract_means, [call.output(0)], [x, mean]),
    ...     ]
    >>> class Centre(bm.Op):
    ...     cuda = centred
    ...     def infer(self, x):
    ...         return x

    Args:
        choose: `choose(call)` gives the launches, run in this order; None or an empty list if there is no
            work.
        in_place: the position of the input whose memory the output may be given, where nothing needs the
            input afterwards; `call.output_buffers[0] is call.input_buffers[in_place]` says that it was.
    """

    def made(choose: Choose) -> CudaLaunches:
        check_function(choose, "cuda_launches", (), ())
        return CudaLaunches(choose, in_place)

    return made if choose is None else made(choose)
