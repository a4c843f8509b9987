"""Examples of what plugins offer, made from a class alone: small values for fields that have no default."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Sequence
from typing import Any, Literal, Union

import numpy as np

from bigmodel_core.errors import BigmodelError, UsageError, short
from bigmodel_core.graph.dtypes import FLOATS
from bigmodel_core.graph.spec import Spec
from bigmodel_core.registry.field_values import field_types, kind_of_base

LAYER_INPUTS: tuple[tuple[Spec, ...], ...] = (
    (Spec(("N", 7)),),
    (Spec(("N", 3, 8, 8)),),
    (Spec(("N", 5, 7)),),
    (Spec(("N", 6), "int64"),),
    (Spec(("N", 7)), Spec(("N", 7))),
    (Spec(("N", 5, 7)), Spec(("N", 5, 7))),
)
"""What a layer of unknown purpose is tried on, in order."""

PASS_INPUTS = "pass inputs (--input), or describe some in a classmethod examples() of the class."


def given_examples(cls: type[Any]) -> list[tuple[Any, Any]]:
    """The instances that `cls.examples()` describes, each with its inputs; none if it has no such method.

    Raises:
        UsageError: it returns something else than pairs of fields by name and inputs.
    """
    describe = getattr(cls, "examples", None)
    if describe is None:
        return []
    found = []
    for item in describe():
        if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], dict)):
            raise UsageError(
                f"{cls.__name__}.examples() returned {short(item)} as an example.",
                fix='return pairs of fields and inputs, as in [({"heads": 2}, [(2, 4, 6)])].',
            )
        try:
            found.append((cls(**item[0]), item[1]))
        except TypeError as error:
            raise UsageError(
                f"{cls.__name__}.examples(): {error}.", fix="name fields of the class."
            ) from None
    return found


def example_of(cls: type[Any]) -> Any:
    """An instance of a dataclass, with small values for fields that have no default.

    Raises:
        UsageError: no value that the class accepts was found.
    """
    required = [
        field.name
        for field in dataclasses.fields(cls)
        if field.init
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    annotations = field_types(cls) if required else {}
    problem: Exception | None = None
    for attempt in range(3):
        try:
            return cls(**{name: _guess(annotations[name], attempt) for name in required})
        except (BigmodelError, LookupError) as error:
            problem = error
    raise UsageError(
        f"no example of {cls.__name__} could be made: {problem}",
        fix="give its fields defaults, or pass an instance to checks_for.",
    )


def _guess(annotation: Any, attempt: int) -> Any:
    """A value for an annotation; attempts differ in size."""
    origin, members = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is int:
        return (4, 1, 7)[attempt]
    if annotation is float:
        return (0.5, 0.01, 2.0)[attempt]
    if annotation is bool:
        return False
    if origin is Literal:
        return members[attempt % len(members)]
    if origin in (Union, types.UnionType):
        return _guess(members[0], attempt)
    if origin is tuple and members:
        if members[-1] is Ellipsis:
            return (7,) if members[0] is int else (_guess(members[0], attempt),)
        return tuple(_guess(member, attempt) for member in members)
    kind = kind_of_base(annotation) if isinstance(annotation, type) else None
    if kind is not None:
        from bigmodel_core import registry

        return example_of(registry.classes(kind)[attempt])
    raise LookupError(f"a field wants {annotation}")


def input_specs(inputs: Sequence[Any]) -> tuple[Spec, ...]:
    """What to build for: a shape's or array's first dimension is the batch "N"; a Spec is taken as it is."""
    found = []
    for item in inputs:
        if isinstance(item, Spec):
            found.append(item)
        elif isinstance(item, tuple):
            found.append(Spec(("N", *item[1:])))
        else:
            array = np.asarray(item)
            found.append(Spec(("N", *array.shape[1:]), array.dtype.name))
    return tuple(found)


def draw(spec: Spec, batch: int, seed: int = 0, dtype: str | None = None, below: int = 2) -> np.ndarray:
    """An array for a spec: normal floats, or integers from 0 to `below` - 1.

    Args:
        spec: what is wanted.
        batch: the size of every free dimension.
        seed: other seeds give other numbers.
        dtype: the float type to use instead of the spec's.
        below: the limit of integers.
    """
    generator = np.random.default_rng(seed)
    shape = spec.bind(dict.fromkeys(spec.names(), batch)).sizes
    if spec.dtype in FLOATS:
        return generator.normal(size=shape).astype(dtype or spec.dtype)
    return generator.integers(0, below, shape).astype(spec.dtype)
