"""The base class of ops: what each defines, and the traits that the engine reads off it."""

from __future__ import annotations

import contextvars
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

from bigmodel_core.errors import GraphError, KernelError
from bigmodel_core.graph.kernel import ANY_DEVICE, Kernel
from bigmodel_core.graph.operations import operations
from bigmodel_core.graph.spec import Dim, Spec

if TYPE_CHECKING:
    import numpy as np

    from bigmodel_core.graph.body import Body
    from bigmodel_core.graph.emit import Emit
    from bigmodel_core.graph.graph import Graph
    from bigmodel_core.graph.value import Number, Value


class Op:
    """A primitive of the graph: shape rule, gradient and ONNX lowering, and a kernel for each device.

    Subclasses are frozen dataclasses whose fields are the op's attributes. They define `infer`; `grad` if the
    op is differentiated, and `onnx` if it is exported. Of an op whose kernel is a scalar function
    (`bm.elementwise`) all three follow from that. Kernels are set in the class body (`cpu = ...`,
    `cuda = ...`) or by `register_kernel`. The other names are traits with defaults.

    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> @dataclass(frozen=True)
    ... class Scaled(bm.Op):
    ...     factor: float
    ...     cpu, cuda = bm.elementwise(lambda x, factor: x * factor)
    ...     def infer(self, x):
    ...         return x
    ...     def grad(self, dy, y, x):
    ...         return (Scaled(self.factor)(dy),)
    ...     def onnx(self, emit, x):
    ...         return emit.Mul(x, emit.const(self.factor))
    >>> bm.testing.compute(lambda x: Scaled(3.0)(x), np.array([1.0, 2.0]))
    array([3., 6.])
    """

    cpu: ClassVar[Kernel | None] = None
    """The kernel for CPUs."""
    cuda: ClassVar[Kernel | None] = None
    """The kernel for CUDA devices."""
    exported: ClassVar[bool] = True
    """Whether models use the op; False for one that only training uses, which needs no ONNX lowering."""
    onnx_opset: ClassVar[int] = 0
    """The oldest operator set that `onnx` writes; below it, files have what the op is `decomposed` into."""
    alias: ClassVar[bool] = False
    """Whether the output is the memory of the first input under another shape. Such an op has no kernel."""
    comes_early: ClassVar[bool] = False
    """Whether plans run the op as soon as they can, since it is small and epilogues wait for it."""
    selects: ClassVar[bool] = False
    """Whether each number of the output is that of the first input or 0, as the second input decides there;
    see `at_targets`."""
    renamed_fields: ClassVar[Mapping[str, str]] = {}
    """The names that fields have now, by those that they had when older checkpoints were written."""
    image_inputs: ClassVar[tuple[int, ...]] = ()
    """The positions of the inputs that are images, for an op with `channels_last`."""
    image_outputs: ClassVar[tuple[int, ...]] = ()
    """The positions of the outputs that are images, for an op with `channels_last`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for device in DEVICES:
            if (kernel := cls.__dict__.get(device)) is not None:
                _check_kernel(cls, device, kernel)

    def infer(self, *inputs: Any, **_: Any) -> Spec | tuple[Spec, ...]:
        """The specs of the outputs, given those of the inputs; raises ShapeError or DtypeError.

        An elementwise op that does not define it takes inputs of one number type, which the output has, too,
        and broadcasts their shapes."""
        found: Spec | None = operations().derived.spec_of(self, inputs)
        if found is None:
            raise GraphError(
                f"the op {type(self).__name__} does not say what it gives.",
                fix="define infer(self, ...): of a bm.Spec of each input it makes one of each output.",
            )
        return found

    def grad(self, *values: Any, **_: Any) -> Sequence[Value | None]:
        """`grad(dy, y, *inputs)`: the gradients of the inputs, as more ops.

        `dy` is the gradient of the output `y`; both are tuples for ops of several outputs. None stands for
        no gradient. An op that does not define it has the gradient of what it is `decomposed` into; an
        elementwise one has the derivative of its scalar function."""
        found: Sequence[Value | None] | None = operations().derived.gradients(self, values[0], values[2:])
        if found is None:
            raise GraphError(
                f"the op {type(self).__name__} has no gradient.",
                fix="define grad or decomposed, or put it where no gradient is needed: behind"
                " ops.stop_gradient.",
            )
        return found

    def onnx(self, emit: Emit, *inputs: Any, **_: Any) -> Any:
        """Emit ONNX nodes that compute the same; returns the output's name (a tuple for several outputs)."""
        raise GraphError(
            f"the op {type(self).__name__} has no ONNX lowering.", fix="define onnx(self, emit, ...)."
        )

    def bind(self, sizes: Mapping[str, int]) -> Self:
        """The op with named dimensions in its fields replaced by sizes."""
        return self

    def multiply_adds(self, inputs: Sequence[Spec], outputs: Sequence[Spec]) -> int:
        """How many multiplications with an addition it takes, all sizes known; products alone are counted."""
        return 0

    def terms(self, *inputs: Any) -> Dim | None:
        """For a product of two matrices: how many products of two numbers are added up to each number of the
        output. None for other ops."""
        return None

    def decomposed(self, *inputs: Value) -> Sequence[Value] | None:
        """The outputs as computed by more elementary ops; None if there is no such way. An elementwise op
        that does not define it is made of what its scalar function is made of.

        Devices without a kernel for the op run these instead, and so do all where an op without a kernel is
        an `alias`, and files have these of an op without `onnx`. An op that defines this and no `grad` is
        differentiated as these."""
        found: Sequence[Value] | None = operations().derived.parts(self, inputs)
        return found

    def gradient_of(self) -> Op | None:
        """For the gradient of an activation, the activation itself, if `with_forward` gives both at once."""
        return None

    def with_forward(self, dy: Value, x: Value) -> tuple[Value, Value]:
        """For the gradient of an activation: the activation of x, and the gradient of x, made of what both
        need. Plans do without the first output of the activation then, between forward and backward."""
        raise GraphError(
            f"{type(self).__name__} does not say what it is the gradient of.", fix="define gradient_of."
        )

    def is_spelled_out(self, *inputs: Any) -> bool:
        """Whether files have the op as what it is `decomposed` into, though it has a lowering: where runtimes
        lack the operator for such inputs, or compute something else."""
        return False

    def channels_last(self) -> Op | None:
        """The op that computes the same on images (N, H, W, C) instead of (N, C, H, W).

        Inputs and outputs that are no images stay as they are (`image_inputs`, `image_outputs`). None if the
        op does not compute on images, or does so already."""
        return None

    def permuted(self, order: tuple[int, ...], *inputs: Any) -> Op | None:
        """The op that computes the same on arrays whose axes are in another order.

        Inputs and outputs of as many dimensions as `order` are transposed by it. Inputs of fewer dimensions
        are first broadcast to as many; outputs of fewer dimensions stay as they are. By default it is the op
        itself if it has an elementwise kernel: an op with a shape or an axis among its fields overrides this.

        Args:
            order: which axis comes first, second and so on: the axis `a` becomes `order.index(a)`.
            inputs: the specs of the inputs before that.

        Returns:
            The op; None if it needs the axes as they are.
        """
        kernels = [kernel for kernel in map(self.kernel, DEVICES) if kernel and kernel.is_elementwise]
        return self if kernels and not any(kernel.uses_index for kernel in kernels) else None

    def at_targets(self, like: Value, *inputs: Value) -> Value | None:
        """For an op that moves the numbers of its first input to places of a larger array, and adds up those
        that meet: the numbers of `like`, an array of the output's shape, at the place that each goes to.

        What is selected there may then be selected before it is moved: with an op `s` that `selects`,
        `s(op(x, ...), like)` equals `op(s(x, op.at_targets(like, x, ...)), ...)`.

        Returns:
            A value of the first input's shape; None if there is none in the graph.
        """
        return None

    def __call__(self, *inputs: Value | Number | np.ndarray) -> Any:
        """Apply the op to values, numbers and arrays; returns a Value, or a tuple for several outputs."""
        outputs = graph_of(inputs).apply(self, inputs).outputs
        return outputs[0] if len(outputs) == 1 else outputs

    def inner(self) -> Body | None:
        """For an op that runs a graph of its own, such as a loop: that graph. Programs plan it; the kernel
        gets its launches from `Call.inner`."""
        return None

    @classmethod
    def attribute_names(cls) -> tuple[str, ...]:
        """The names of the op's attributes."""
        return tuple(field.name for field in fields(cls))  # type: ignore[arg-type]  # subclasses are dataclasses

    @classmethod
    def kernel(cls, device: str) -> Kernel | None:
        """The kernel registered for a device, or None."""
        found = getattr(cls, device, None) if device in DEVICES else None
        return found if isinstance(found, Kernel) else None


DEVICES = ["cpu", "cuda"]
"""The names of devices that ops have kernels for; `register_kernel` adds to them."""


def register_kernel(op: type[Op], device: str, kernel: Kernel) -> None:
    """Register a kernel of an op for a device; the op may be anyone's.

    It is then `op.cpu`, `op.cuda` or, for another device, the attribute of that name.

    Args:
        op: the class of the op.
        device: "cpu", "cuda", or the name of a third party's device.
        kernel: what `bm.kernel`, `bm.cpu_launches`, `bm.cuda_kernel` and `bm.cuda_launches` make.

    Raises:
        KernelError: the kernel is none, or for another device, or the op already has one there.

    >>> import bigmodel_core as bm
    >>> class Twice(bm.Op):
    ...     cpu, _ = bm.elementwise(lambda x: x + x)
    >>> register_kernel(Twice, "cuda", Twice.cpu)
    >>> Twice.cuda is Twice.cpu
    True
    """
    is_new = device not in DEVICES
    if is_new and (not device.isidentifier() or hasattr(Op, device)):
        raise KernelError(f"'{device}' cannot name a device.", fix="use a name such as 'metal'.")
    _check_kernel(op, device, kernel)
    if getattr(op, device, None) not in (None, kernel):
        raise KernelError(
            f"the op {op.__name__} already has a kernel for '{device}'.",
            fix="make an op of your own, or leave the kernel it has.",
        )
    setattr(op, device, kernel)
    if is_new:
        DEVICES.append(device)


def _check_kernel(op: type[Op], device: str, kernel: object) -> None:
    if not isinstance(kernel, Kernel):
        raise KernelError(
            f"the kernel of {op.__name__} for '{device}' is {_described(kernel)}.",
            fix="wrap functions: bm.kernel and bm.cpu_launches for the CPU, bm.cuda_kernel and"
            " bm.cuda_launches for CUDA, bm.elementwise for both.",
        )
    if kernel.device not in (device, ANY_DEVICE):
        raise KernelError(
            f"the kernel of {op.__name__} for '{device}' is one for '{kernel.device}'.",
            fix=f"set `{kernel.device} = ...` instead.",
        )


def _described(value: object) -> str:
    name = getattr(value, "__name__", "")
    return f"the function '{name}'" if callable(value) and name else f"a {type(value).__name__}"


active_graph: contextvars.ContextVar[Graph | None] = contextvars.ContextVar("graph", default=None)
"""The graph that is being built here."""


def current_graph() -> Graph:
    """The graph that is being built.

    Raises:
        GraphError: there is none.
    """
    graph = active_graph.get()
    if graph is None:
        raise GraphError(
            "no graph is being built here, and no Value is among what an op was applied to.",
            fix="ops compose what runs later: call them in a layer's __call__, or in a function that"
            " bm.function compiles; bm.testing.compute(function, *arrays) gives the numbers at once.",
        )
    return graph


def graph_of(items: Iterable[Any]) -> Graph:
    """Where an op on some items belongs: into the graph of the Values among them, of graphs inside each other
    the innermost; into the one that is being built where that is inside of theirs, or there is no Value.

    Raises:
        GraphError: there is neither.
    """
    found: Graph | None = None
    for item in items:
        if hasattr(item, "node"):
            graph = item.node.graph
            if found is None or (graph is not found and graph.is_inside(found)):
                found = graph
    if found is None:
        return current_graph()
    active = active_graph.get()
    return active if active is not None and active is not found and active.is_inside(found) else found


def parts_of(op: Op, inputs: Sequence[Value]) -> Sequence[Value] | None:
    """What an op is `decomposed` into on some inputs; ops without inputs are made in their graph, too."""
    if not inputs:
        return op.decomposed()
    with graph_of(inputs).active():
        return op.decomposed(*inputs)
