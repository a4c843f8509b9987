"""What an op declares as its `cuda` kernel: a function on arrays, or the name of one that chooses launches.

```python
def scale_rows(out, x, factor, thread, threads):      # outputs, inputs, attributes by name
    for i in range(thread, out.shape[0], threads):    # this thread's share of the rows
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * factor

cuda = bm.cuda_kernel(scale_rows)
```

This module imports neither Numba nor any kernel: kernels are named by text or are plain functions, compiled
at the first launch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bigmodel_core.errors import KernelError
from bigmodel_core.kernels.array import Call, Views

if TYPE_CHECKING:
    from bigmodel_core.kernels.cuda.launch import Launch

SPECIAL = ("thread", "threads", "status")


@dataclass(frozen=True)
class CudaKernel:
    """A kernel on arrays, for CUDA devices.

    Args:
        function: `function(outputs..., inputs..., attributes..., thread, threads, status)`, or "module:name";
            attributes are the op's fields of the same name; `thread` is the number of this thread, `threads`
            how many there are: each does every `threads`-th piece of the work, and no two write one number;
            `status` is an int64 array of four: setting `status[0]` to a code of `kernels.status` fails it.
        views: `views(op, inputs, outputs)` gives the shapes under which outputs and inputs are seen.
        extras: `extras(op, inputs, outputs)` gives more integers by name, besides the op's attributes.
        items: `items(op, inputs, outputs)` is how many independent pieces of work there are; by default the
            numbers of the first output.
    """

    function: Callable[..., None] | str
    views: Views | None = None
    extras: Callable[..., dict[str, Any]] | None = None
    items: Callable[..., int] | None = None

    def launches(self, call: Call) -> list[Launch]:
        """The launches of one application."""
        from bigmodel_core.kernels.cuda import array

        return array.launches(self, call)


def cuda_kernel(
    function: Callable[..., None] | str,
    *,
    views: Views | None = None,
    extras: Callable[..., dict[str, Any]] | None = None,
    items: Callable[..., int] | None = None,
) -> CudaKernel:
    """Make a function on arrays the CUDA kernel of an op; see `CudaKernel`.

    >>> def double(out, x, thread, threads):
    ...     for i in range(thread, out.shape[0], threads):
    ...         out[i] = x[i] + x[i]
    >>> cuda = cuda_kernel(double)
    """
    return CudaKernel(function, views, extras, items)


@dataclass(frozen=True)
class CudaLaunches:
    """A kernel that chooses its own launches: the function "module:name" of this folder, given the call."""

    name: str

    def launches(self, call: Call) -> Sequence[Launch]:
        """The launches of one application."""
        return resolve(f"bigmodel_core.kernels.cuda.{self.name}")(call)


def resolve(reference: Callable[..., Any] | str) -> Callable[..., Any]:
    """The function that a reference names, its module imported now.

    Raises:
        KernelError: there is no such module or function.
    """
    if not isinstance(reference, str):
        return reference
    module, _, name = reference.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise KernelError(
            f"the CUDA kernel '{reference}' cannot be loaded: {error}.",
            fix="name it as 'package.module:function'.",
        ) from error
