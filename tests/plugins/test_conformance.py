"""The conformance sweep: every check of the kit, over everything that plugins offer."""

from __future__ import annotations

from bigmodel_core import registry
from bigmodel_core.testing import Check, parametrize_checks

FIRST_PARTY = ("layers", "losses", "optimizers", "metrics", "models", "datasets", "onnx")


def offered() -> list[type]:
    """All classes that this project's own plugins offer."""
    found = []
    for kind in registry.KINDS:
        for cls in registry.classes(kind):
            origin = registry.origin(cls)
            assert origin is not None
            if origin.plugin.name in FIRST_PARTY:
                found.append(cls)
    return found


@parametrize_checks(*offered())
def test_conformance(check: Check) -> None:
    check()
