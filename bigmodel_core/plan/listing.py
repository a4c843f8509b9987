"""What a plan runs, for people to read: its steps, their kernels, and what was chosen for their shapes."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bigmodel_core.graph import Value
from bigmodel_core.graph.spec import Spec

if TYPE_CHECKING:
    from bigmodel_core.kernels.cpu.engine.launch import CpuLaunch
    from bigmodel_core.plan.steps import Step


@dataclass(frozen=True)
class PlannedKernel:
    """One native kernel of a step.

    Args:
        name: of the kernel.
        chunks: into how many independent pieces its work is cut, whatever the number of threads.
        choice: the algorithm chosen for this shape; empty if there is only one.
        epilogue: what runs on each chunk right after it, as in "Relu, then MaxPool".
        is_kept: whether it runs only after parameters have changed, its result being kept.
    """

    name: str
    chunks: int
    choice: str = ""
    epilogue: str = ""
    is_kept: bool = False


@dataclass(frozen=True)
class PlannedStep:
    """One step of a plan.

    Args:
        op: the op, or those of a fused chain, as in "Multiply+Add"; ", then" is before one that runs after it
            in the same step, "and 3 more" means updates that run beside it.
        path: the layer it belongs to; empty for the model itself, and for updates of several layers.
        layer: the class of that layer.
        kernels: what runs, in order; nothing if the step has no work.
        multiply_adds: how many multiplications with an addition its products take.
        scratch: bytes of temporary memory that its kernels take besides inputs and outputs.
    """

    op: str
    path: str
    layer: str
    kernels: tuple[PlannedKernel, ...]
    multiply_adds: int
    scratch: int

    @property
    def choice(self) -> str:
        """What was chosen for the shape, by all kernels."""
        return "; ".join(dict.fromkeys(kernel.choice for kernel in self.kernels if kernel.choice))

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-able values."""
        return asdict(self)


LONG_CHAIN = 4
"""Chains of more ops than this are shown by their first ones and their number."""


def shortened(ops: str) -> str:
    """The ops of a chain; of a long one the first and how many there are.

    >>> shortened("Add+Relu"), shortened("Multiply+Add+Square+Sqrt+Divide")
    ('Add+Relu', 'Multiply+Add+... (5 ops)')
    """
    parts = ops.split("+")
    return ops if len(parts) <= LONG_CHAIN else f"{'+'.join(parts[:2])}+... ({len(parts)} ops)"


def listed(
    step: Step,
    spec: Callable[[Value], Spec],
    launches: Sequence[CpuLaunch],
    epilogues: Mapping[int, Sequence[Step]],
    scratch: int,
    kept: Container[int],
) -> PlannedStep:
    """One line of a listing.

    Args:
        step: which.
        spec: gives a value's spec with all sizes known.
        launches: those that are rows of the plan's table.
        epilogues: by the id of a launch, the steps that run on each of its chunks after it.
        scratch: bytes.
        kept: the ids of launches that run only after a variable has changed.
    """
    on_chunks = {id(part) for launch in launches for part in epilogues.get(id(launch), ())}
    chain = [part.ops for part in step.chain() if part is step or id(part) not in on_chunks]
    more = len(step.beside)
    places = {(part.node.path, part.node.layer) for part in (step, *step.beside)}
    path, layer = places.pop() if len(places) == 1 else ("", "")
    work = sum(
        node.op.multiply_adds([spec(v) for v in node.inputs], [spec(v) for v in node.outputs])
        for part in step.parts()
        for node in part.nodes
    )
    return PlannedStep(
        op=", then ".join(chain) + (f" and {more} more" if more else ""),
        path=path,
        layer=layer,
        kernels=tuple(
            PlannedKernel(
                launch.kernel.name,
                launch.chunks,
                launch.choice,
                ", then ".join(part.ops for part in epilogues.get(id(launch), ())),
                id(launch) in kept,
            )
            for launch in launches
        ),
        multiply_adds=work,
        scratch=scratch,
    )
