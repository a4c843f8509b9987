"""The mean losses of several batches, as of all their samples together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class LossMeans:
    """The mean of each loss over several batches.

    A batch counts by its samples, or, where these are weighted or some are ignored, by what it counts in the
    loss.

    Args:
        sums: by the name of each loss, "" for one that is all, its sum and what that is divided by.
    """

    sums: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, means: Mapping[str, float], counted: Mapping[str, float], samples: float) -> None:
        """Add a batch.

        Args:
            means: its mean losses by name.
            counted: what it counts in those that do not count by samples.
            samples: how many samples it has.
        """
        for name, mean in means.items():
            count = counted.get(name, samples)
            total, before = self.sums.get(name, (0.0, 0.0))
            self.sums[name] = total + mean * count, before + count

    def loss(self, shares: Mapping[str, float]) -> float:
        """What training minimises: the one mean, or the weighted sum of all; 0 where nothing counts.

        Args:
            shares: what each loss is multiplied with in the sum; none where one loss is all.
        """
        if not shares:
            return self._mean("")
        return sum((self._mean(name) * share for name, share in shares.items()), 0.0)

    def logged(self, shares: Mapping[str, float]) -> dict[str, float]:
        """The loss and, by their names, those that it is the sum of."""
        return {"loss": self.loss(shares), **{name: self._mean(name) for name in shares}}

    def _mean(self, name: str) -> float:
        total, count = self.sums.get(name, (0.0, 0.0))
        return total / (count or 1.0)
