"""Runs beside each other: what they measured, and the options in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bigmodel_core.errors import UsageError
from bigmodel_core.train.history import is_better_high
from bigmodel_core.train.run import Run


@dataclass(frozen=True)
class Comparison:
    """Some runs, compared.

    Args:
        runs: two or more.
        measures: what the best epochs measured: by name a value for each run, None where it has none.
        options: the options that are not the same in all, in the same form.
    """

    runs: tuple[Run, ...]
    measures: dict[str, list[float | None]]
    options: dict[str, list[Any]]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Comparison:
        """The comparison of some runs.

        Raises:
            UsageError: there are less than two, or one is named twice.
        """
        places = [run.folder.resolve() for run in runs]
        if len(runs) < 2 or len(set(places)) < len(places):
            said = "one run was named" if len(runs) < 2 else "a run was named twice"
            raise UsageError(f"{said}.", fix="name two or more runs.")
        names = dict.fromkeys(name for run in runs for name in run.measures)
        measures = {name: [run.measures.get(name) for run in runs] for name in names}
        keys = dict.fromkeys(key for run in runs for key in run.options)
        options = {key: [run.options.get(key) for run in runs] for key in keys}
        different = {key: values for key, values in options.items() if any(v != values[0] for v in values)}
        return cls(tuple(runs), measures, different)

    def winners(self, measure: str) -> set[int]:
        """The places of the runs that are best by a measure; none where all are alike."""
        values = [value for value in self.measures[measure] if value is not None and value == value]
        if len(set(values)) < 2:
            return set()
        best = max(values) if is_better_high(measure) else min(values)
        return {place for place, value in enumerate(self.measures[measure]) if value == best}

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain values; what is in lists is in the order of the runs."""
        return {
            "runs": [run.to_dict() for run in self.runs],
            "measures": self.measures,
            "best": {name: [self.runs[k].name for k in sorted(self.winners(name))] for name in self.measures},
            "options": self.options,
            "curves": [run.history.to_dict()["epochs"] for run in self.runs],
        }
