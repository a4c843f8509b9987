"""Devices: where arrays live and plans run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from bigmodel_core.errors import DtypeError, KernelError
from bigmodel_core.graph import Input, Kernel, Node, Variable
from bigmodel_core.plan.passes import Passes

if TYPE_CHECKING:
    from bigmodel_core.plan.listing import PlannedStep
    from bigmodel_core.plan.program import Program
    from bigmodel_core.plan.variables import Variables


class Plan(Protocol):
    """A program bound to sizes: buffers assigned, kernels chosen."""

    arena: Any
    """The block of memory that it uses in turns with other plans of its program."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Run once; returns copies of the outputs."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory the plan holds besides variables."""


@runtime_checkable
class Device(Protocol):
    """A place to compute. A device of your own inherits from this class, or has everything that it has.

    A `Program` asks its device for kernels and passes, makes steps of a graph, and hands itself to `plan`,
    which binds the steps to sizes.
    """

    name: str
    dtypes: tuple[str, ...]
    """The number types that its kernels compute with."""
    passes: Passes = Passes()
    """What it does between a graph and the steps of a program."""

    def kernel_of(self, node: Node) -> Kernel:
        """The kernel that computes a node: by default the one that is registered under the device's name.

        Raises:
            KernelError: there is none.
        """
        kernel = node.op.kernel(self.name)
        if kernel is None:
            raise KernelError(
                f"the op {type(node.op).__name__} has no kernel for '{self.name}'.",
                fix=f"set `{self.name} = ...` in the op, or run the model on another device.",
                where=node.place or None,
            )
        return kernel

    def allocate(self, array: np.ndarray) -> Any:
        """Memory that starts with an array's numbers."""

    def read(self, memory: Any) -> np.ndarray:
        """A copy of what memory holds."""

    def write(self, memory: Any, array: np.ndarray) -> None:
        """Overwrite memory, in place."""

    def plan(self, program: Program, sizes: Mapping[str, int], variables: Variables) -> Plan:
        """Bind a program to sizes."""

    def listing(self, program: Program, sizes: Mapping[str, int]) -> list[PlannedStep]:
        """What a plan would run; no memory is taken and nothing is compiled."""

    def kept_nbytes(self, program: Program, sizes: Mapping[str, int]) -> int:
        """Bytes of what a plan would keep from run to run besides variables, as packed weights."""
        return 0


USUAL_DEVICE = "cpu"
"""The default device of programs."""


def check_dtypes(device: Device, nodes: Sequence[Node]) -> None:
    """Raise where nodes have numbers of a type that a device does not compute with.

    Raises:
        DtypeError: the message names the op, its layer and the type.
    """
    for node in nodes:
        for value in node.outputs:
            if value.dtype not in device.dtypes:
                op, what = node.op, f"{type(node.op).__name__} gives"
                if isinstance(op, (Input, Variable)):
                    what = f"the input '{op.name}' is" if isinstance(op, Input) else "the parameter is"
                raise DtypeError(
                    f"{what} {value.dtype}, a number type without kernels on '{device.name}'.",
                    fix=f"convert to one of {', '.join(device.dtypes)}.",
                    where=op.path if isinstance(op, Variable) else node.place or None,
                )
