"""Which ops have a kernel on which device."""

from __future__ import annotations

from collections.abc import Iterable

import bigmodel_core.ops  # noqa: F401  imports every op of the core
from bigmodel_core.graph import LEAVES, Op
from bigmodel_core.graph.op import DEVICES


def needs_kernel(op: Op | type[Op]) -> bool:
    """Whether an op is computed by a kernel: leaves have their arrays, aliases the memory of their input."""
    kind = op if isinstance(op, type) else type(op)
    return not issubclass(kind, LEAVES) and not kind.alias


def known_ops(packages: Iterable[str] = ()) -> list[type[Op]]:
    """Every op with a kernel on some device: those of the core, and those of plugins that have been imported.

    Args:
        packages: top-level packages to look at; all by default.
    """
    wanted, found, waiting = set(packages), set(), [Op]
    while waiting:
        children = waiting.pop().__subclasses__()
        waiting += children
        found |= {op for op in children if not wanted or op.__module__.partition(".")[0] in wanted}
    with_kernel = [op for op in found if needs_kernel(op) and any(op.kernel(device) for device in DEVICES)]
    return sorted(with_kernel, key=lambda op: (op.__module__, op.__name__))


def without_kernel(device: str, ops: Iterable[Op | type[Op]]) -> list[str]:
    """The names of those ops that cannot run on a device, each once, in alphabetical order; names of ops that
    are not of the core begin with their package."""
    return sorted({_name(op) for op in ops if needs_kernel(op) and op.kernel(device) is None})


def _name(op: Op | type[Op]) -> str:
    kind = op if isinstance(op, type) else type(op)
    package = kind.__module__.partition(".")[0]
    return kind.__name__ if package == __name__.partition(".")[0] else f"{package}.{kind.__name__}"
