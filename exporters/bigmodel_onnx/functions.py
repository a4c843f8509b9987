"""Functions of a file are written out where they are called, if that does not make it too large."""

from __future__ import annotations

from typing import Any

from bigmodel_core.errors import ExportError

MOST_NODES = 30_000
DEEPEST = 50
"""How large a file may become, and how deep its functions may call each other."""


def inlined(model: Any) -> Any:
    """The model without functions.

    Raises:
        ExportError: functions call themselves, or the model would become too large.
    """
    if not model.functions:
        return model
    sizes = _Sizes(
        {(item.domain, item.name, getattr(item, "overload", "")): item for item in model.functions}
    )
    if sizes.of(model.graph.node, 0) > MOST_NODES:
        raise ExportError(
            f"its functions call each other so often that the model would have more than {MOST_NODES} nodes.",
            fix="export the model again, without functions.",
        )
    from onnx.inliner import inline_local_functions

    return inline_local_functions(model)


class _Sizes:
    """How many nodes functions expand to, each counted once."""

    def __init__(self, functions: dict[tuple[str, str, str], Any]) -> None:
        self.functions = functions
        self.known: dict[tuple[str, str, str], int] = {}
        self.open: set[tuple[str, str, str]] = set()

    def of(self, nodes: Any, depth: int) -> int:
        """How many nodes these become."""
        total = 0
        for node in nodes:
            total += self.function((node.domain, node.op_type, node.overload), depth)
            for attribute in node.attribute:
                for graph in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                    total += self.of(graph.node, depth + 1)
        return total

    def function(self, key: tuple[str, str, str], depth: int) -> int:
        """How many nodes a call expands to."""
        if key not in self.functions:
            return 1
        if key in self.open or depth > DEEPEST:
            reason = "calls itself" if key in self.open else f"is called more than {DEEPEST} functions deep"
            raise ExportError(f"the function {key[1]} {reason}.", fix="export the model again.")
        if key not in self.known:
            self.open.add(key)
            self.known[key] = self.of(self.functions[key].node, depth + 1)
            self.open.discard(key)
        return self.known[key]
