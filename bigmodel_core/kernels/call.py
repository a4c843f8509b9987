"""One application of an op at concrete sizes, as kernels see it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from bigmodel_core.errors import KernelError, ShapeError
from bigmodel_core.graph.spec import Spec, format_shape
from bigmodel_core.kernels.scalar import parameters

Views = Callable[..., tuple[Sequence[tuple[Any, ...]], Sequence[tuple[Any, ...]]]]
"""`views(op, inputs, outputs)`: the shapes under which a kernel sees outputs and inputs."""
Extras = Callable[..., dict[str, Any]]
"""`extras(op, inputs, outputs)`: arguments of a kernel besides the fields of the op, by name."""


class FunctionKernel(Protocol):
    """A kernel that is a function on arrays: what `bm.kernel` and `bm.cuda_kernel` make."""

    @property
    def function(self) -> Callable[..., None]:
        """The function."""

    @property
    def extras(self) -> Extras | None:
        """More arguments of it, by name."""

    def launches(self, call: Call) -> list[Any]:
        """The launches of one application."""


@dataclass(frozen=True)
class Operand:
    """An array that launches read or write: an input, an output, or scratch memory.

    Args:
        spec: its shape, all sizes known, and number type.
        buffer: its memory, which the plan places.
    """

    spec: Spec
    buffer: Any

    def reshape(self, *shape: int) -> Operand:
        """The same memory under another shape.

        Raises:
            ShapeError: the shape has another number of elements.
        """
        if math.prod(shape) != math.prod(self.spec.sizes):
            raise ShapeError(f"{format_shape(self.spec.shape)} cannot be seen as {format_shape(shape)}.")
        return Operand(Spec(shape, self.spec.dtype), self.buffer)


@dataclass
class Call:
    """One application of an op at concrete sizes, as a kernel sees it; in use in `help(bm.cpu_launches)`.

    Args:
        op: the op, whose fields are the attributes.
        inputs: specs of the inputs, all sizes known.
        outputs: specs of the outputs.
        input_buffers: memory of the inputs.
        output_buffers: memory of the outputs.
        scratch: gives temporary memory of a number of bytes, alive during this application only.
        status: memory of the plan's status.
        inner: for an op with a body (`Op.inner`): the body's launches, given the memory of its inputs and of
            its outputs.
        unchanging: the positions of the inputs that are the same from run to run until a variable changes:
            what a launch makes of these alone (`CpuLaunch.makes`) is kept.
        unread: the positions of the outputs that nothing reads; they have memory, but need not be written.
    """

    op: Any
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    input_buffers: tuple[Any, ...]
    output_buffers: tuple[Any, ...]
    scratch: Callable[[int], Any]
    status: Any
    inner: Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]] | None = None
    unchanging: frozenset[int] = frozenset()
    unread: frozenset[int] = frozenset()

    @property
    def dtype(self) -> str:
        """The main number type: of the first float output, else of the first float input, else of the first
        output."""
        for spec in (*self.outputs, *self.inputs):
            if spec.is_float:
                return spec.dtype
        return self.outputs[0].dtype

    def input(self, number: int) -> Operand:
        """An input, as launches take it."""
        return Operand(self.inputs[number], self.input_buffers[number])

    def output(self, number: int) -> Operand:
        """An output, as launches take it."""
        return Operand(self.outputs[number], self.output_buffers[number])

    def temporary(self, shape: tuple[int, ...], dtype: str | None = None) -> Operand:
        """Scratch memory: an array that lives during the launches of this application.

        Args:
            shape: its shape.
            dtype: its number type; the main one of the application if None.
        """
        spec = Spec(shape, dtype or self.dtype)
        return Operand(spec, self.scratch(spec.nbytes))

    def launch(
        self,
        kernel: FunctionKernel,
        outputs: Sequence[Operand],
        inputs: Sequence[Operand],
        **attributes: int | float | bool | tuple[int, ...],
    ) -> list[Any]:
        """The launches of a kernel on some arrays.

        Args:
            kernel: what `bm.kernel` (in the launches of a CPU kernel) or `bm.cuda_kernel` makes.
            outputs: what it writes; other launches of the same application may read it later.
            inputs: what it reads.
            attributes: arguments of its function, besides the fields of the op.
        """
        extras = kernel.extras

        def all_extras(op: Any, given: Any, made: Any) -> dict[str, Any]:
            return {**(extras(op, given, made) if extras else {}), **attributes}

        part = replace(
            self,
            inputs=tuple(operand.spec for operand in inputs),
            outputs=tuple(operand.spec for operand in outputs),
            input_buffers=tuple(operand.buffer for operand in inputs),
            output_buffers=tuple(operand.buffer for operand in outputs),
            unchanging=frozenset(),
            unread=frozenset(),
        )
        return replace(kernel, extras=all_extras).launches(part)  # type: ignore[type-var]  # all are dataclasses


def attributes_of(kernel: FunctionKernel, call: Call, special: Sequence[str]) -> dict[str, Any]:
    """The values of a kernel's attribute arguments, by name, in the order it takes them.

    Args:
        kernel: the kernel.
        call: what it is applied to.
        special: the names of arguments that the device gives a value.

    Raises:
        KernelError: it takes an argument of which nothing is known.
    """
    names = parameters(kernel.function)[len(call.outputs) + len(call.inputs) :]
    extras = kernel.extras(call.op, call.inputs, call.outputs) if kernel.extras else {}
    found = {}
    for name in names:
        if name in special:
            continue
        if name not in extras and not hasattr(call.op, name):
            raise KernelError(
                f"the kernel '{kernel.function.__name__}' takes '{name}', which is not an attribute of"
                f" {type(call.op).__name__}.",
                fix=f"arguments are outputs, inputs, then fields of the op, then {', '.join(special)}.",
            )
        found[name] = extras[name] if name in extras else getattr(call.op, name)
    return found


def check_function(function: Any, decorator: str, pairs: Sequence[str], foreign: Sequence[str]) -> None:
    """Refuse what cannot be a kernel's function.

    Args:
        function: what was given.
        decorator: the name of the decorator it was given to.
        pairs: names of arguments that come together or not at all.
        foreign: names of arguments that only kernels of another device have.

    Raises:
        KernelError: it is no function, or takes the arguments of another device.
    """
    if not hasattr(function, "__code__"):
        raise KernelError(
            f"bm.{decorator} takes a Python function, not {function!r}.",
            fix="pass the function itself; it is compiled on first use.",
        )
    if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
        raise KernelError(
            f"the function '{function.__name__}' yields or awaits, so that calling it would compute nothing.",
            fix="write what it computes into the outputs.",
        )
    names = parameters(function)
    given = [name for name in pairs if name in names]
    if given and len(given) < len(pairs):
        missing = next(name for name in pairs if name not in names)
        raise KernelError(
            f"the function '{function.__name__}' takes '{given[0]}' but not '{missing}'.",
            fix=f"take both, or neither: {', '.join(pairs)}.",
        )
    wrong = next((name for name in foreign if name in names), None)
    if wrong is not None:
        raise KernelError(
            f"the function '{function.__name__}' takes '{wrong}', which bm.{decorator} does not give.",
            fix=f"this device's kernels take {', '.join(pairs)} to share the work.",
        )
