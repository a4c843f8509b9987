"""Which steps of a program wait for which."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from bigmodel_core.graph import Value
from bigmodel_core.plan.steps import Step


class Dependencies:
    """Steps by their numbers, and what each waits for.

    Args:
        steps: the steps, in no particular order.
        roots: by the id of a value, the value whose memory it is.

    Attributes:
        before: by the number of a step, those that it waits for.
        after: by the number of a step, those that wait for it.
    """

    def __init__(self, steps: Iterable[Step], roots: dict[int, Value]) -> None:
        self.steps: list[Step] = []
        self.before: list[set[int]] = []
        self.after: list[set[int]] = []
        self._roots = roots
        self._producers: dict[int, int] = {}
        self._readers: dict[int, list[int]] = {}
        for number, step in enumerate(steps):
            self._producers.update((id(value), number) for value in step.outputs)
            self._append(step)
        for number, step in enumerate(self.steps):
            for value in step.inputs:
                self._readers.setdefault(id(roots[id(value)]), []).append(number)
            self.wait(number, self._computing(step.inputs))

    def add(self, step: Step) -> int:
        """Add a step that waits for what computes its inputs, and that nothing waits for; its number."""
        self._append(step)
        self.wait(len(self.steps) - 1, self._computing(step.inputs))
        return len(self.steps) - 1

    def _append(self, step: Step) -> None:
        self.steps.append(step)
        self.before.append(set())
        self.after.append(set())

    def _computing(self, values: Iterable[Value]) -> list[int]:
        found = (self.producer(self._roots[id(value)]) for value in values)
        return [number for number in found if number is not None]

    def producer(self, value: Value) -> int | None:
        """The step that computes a value; None for inputs, variables and constants."""
        return self._producers.get(id(value))

    def readers(self, value: Value) -> list[int]:
        """The steps that read a value's memory."""
        return self._readers.get(id(value), [])

    def wait(self, number: int, others: Iterable[int]) -> None:
        """Let a step wait for others."""
        for other in others:
            if other != number:
                self.before[number].add(other)
                self.after[other].add(number)

    def delays(self, number: int, others: Collection[int]) -> bool:
        """Whether one of the others is a step itself, or has to wait for it, directly or not."""
        seen, stack = set(), [number]
        while stack:
            at = stack.pop()
            if at in others:
                return True
            if at not in seen:
                seen.add(at)
                stack.extend(self.after[at])
        return False
