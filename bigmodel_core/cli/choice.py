"""Choices by name, on the command line or in a file: a model, an optimizer, a schedule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bigmodel_core.cli.document import Document
from bigmodel_core.cli.names import class_named, named, split_options
from bigmodel_core.errors import UsageError
from bigmodel_core.registry.askers import CORE
from bigmodel_core.registry.field_values import field_types

if TYPE_CHECKING:
    from bigmodel_core.nn.optimizer import Schedule


@dataclass(frozen=True)
class Choice:
    """Something of the registry that was chosen by name.

    Args:
        kind: "model", "optimizer" and so on.
        text: the name, with options after it as on the command line.
        more: further options as text.
        fields: options of an experiment file.
        section: the part of that file they come from.
        document: that file.
        owner: the module whose code contains the name, if it was not chosen by a user.
    """

    kind: str
    text: str
    more: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    section: str = ""
    document: Document | None = None
    owner: str | None = None

    @property
    def typed(self) -> dict[str, str]:
        """The options of the command line."""
        return {**split_options(self.text)[1], **self.more}

    @property
    def options(self) -> set[str]:
        """The names of all options that were given."""
        return {key.replace("-", "_") for key in (*self.fields, *self.typed)}

    def cls(self) -> type[Any]:
        """The class of this name.

        Raises:
            UsageError: there is none.
        """
        try:
            return class_named(self.kind, split_options(self.text)[0], self.owner)
        except UsageError as error:
            raise self._placed(error, "name") from error

    def make(self, more: Mapping[str, Any] | None = None) -> Any:
        """The object; `more` has options as values, which count less than all others.

        Raises:
            UsageError: the name or an option is unknown, or a value does not fit; names the line of the file.
        """
        self.cls()
        try:
            return named(self.kind, self.text, self.more, {**(more or {}), **self.fields}, self.owner)
        except UsageError as error:
            said = f"{error.where or ''} {error.message}"
            keys = [key for key in self.fields if re.search(rf"(?<!\w){re.escape(key)}(?!\w)", said)]
            raise self._placed(error, keys[0] if keys and keys[0] not in self.typed else None) from error

    def _placed(self, error: UsageError, key: str | None) -> UsageError:
        if self.document is None or (key == "name" and "name" not in self.document.section(self.section)):
            return error
        return self.document.error(error.message, self.section, key, fix=error.shell or error.fix)


USUAL_SCHEDULE = Choice("schedule", "cosine", owner=CORE)
"""Runs of the command line know their length, and a rate that falls to zero at the end of a run serves
nearly every one."""


def make_schedule(choice: Choice, rate: float, steps: int) -> Schedule:
    """A schedule; what it needs and was not said comes from the run.

    Args:
        choice: which.
        rate: the optimizer's learning rate.
        steps: of the whole run.
    """
    has = set(field_types(choice.cls()))
    needs = has - choice.options
    usual: dict[str, Any] = {}
    if "rate" in needs:
        usual["rate"] = rate
    if "steps" in needs and "rate" in has:  # not the steps of a warm-up, which are no way to an end
        usual["steps"] = steps
    if "then" in needs:
        usual["then"] = rate
    then = choice.typed.get("then", choice.fields.get("then"))
    if isinstance(then, (str, Mapping)) and not _is_number(then):
        first = choice.typed.get("steps", choice.fields.get("steps", 0))
        rest = steps - int(first) if _is_number(first) else steps
        fields = (
            {key: value for key, value in then.items() if key != "name"} if isinstance(then, Mapping) else {}
        )
        name = str(then.get("name", "")) if isinstance(then, Mapping) else then
        inner = replace(choice, text=name, more={}, fields=fields)
        usual["then"] = make_schedule(inner, rate, max(rest, 1))
        left = {key: value for key, value in choice.typed.items() if key != "then"}
        kept = {key: value for key, value in choice.fields.items() if key != "then"}
        choice = replace(choice, text=split_options(choice.text)[0], more=left, fields=kept)
    made: Schedule = choice.make(usual)
    return made


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True
