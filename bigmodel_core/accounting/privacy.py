"""How private training is to be, and the ledger of what it has spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bigmodel_core.accounting.epsilon import check_delta, epsilon_of
from bigmodel_core.errors import ConfigError
from bigmodel_core.registry.field_limits import check_number


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """Training by DP-SGD (Abadi et al., 2016): what each sample changes is bounded, and hidden by noise.

    The gradient of each sample is scaled down to the norm `clip` at most; to their sum comes Gaussian noise
    of standard deviation `noise * clip`, and the result is divided by the expected batch size. Batches are
    Poisson samples. The model is then (epsilon, delta)-differentially private: two training sets of which one
    has one sample more give it with probabilities that differ by a factor of exp(epsilon) at most, apart from
    delta.

    Args:
        epsilon: what all epochs of a run may spend; the noise follows from it.
        noise: the noise instead, in units of `clip`; epsilon then follows from the steps.
        delta: the probability with which the bound may fail; well below one in the number of samples.
        clip: the largest norm of a sample's gradient.

    Raises:
        ConfigError: there is neither epsilon nor noise, or both; or a number is out of its limits.

    >>> import bigmodel_core as bm
    >>> bm.Privacy(epsilon=3.0)
    Privacy(epsilon=3.0, noise=None, delta=1e-05, clip=1.0)
    """

    epsilon: float | None = None
    noise: float | None = None
    delta: float = 1e-5
    clip: float = 1.0

    def __post_init__(self) -> None:
        if (self.epsilon is None) == (self.noise is None):
            raise ConfigError(
                f"there is {'neither epsilon nor' if self.noise is None else 'both epsilon and'} noise.",
                where="Privacy",
                fix="pass one of them: Privacy(epsilon=3.0), or Privacy(noise=1.1).",
                shell="give one of them: --privacy epsilon=3, or --privacy noise=1.1.",
            )
        for name in ("epsilon", "noise"):
            if getattr(self, name) is not None:
                check_number(self, name, above=0)
        check_number(self, "clip", above=0)
        check_delta(self.delta)


@dataclass
class Ledger:
    """What a run has spent: how often which noise was added to samples of which rate.

    Args:
        delta: with which epsilon is stated.
        uses: of each kind of step the noise, the rate, and how many there were.
    """

    delta: float
    uses: list[tuple[float, float, int]] = field(default_factory=list)

    def add(self, noise: float, rate: float) -> None:
        """Note a step, also one whose sample was empty."""
        if self.uses and self.uses[-1][:2] == (noise, rate):
            self.uses[-1] = (noise, rate, self.uses[-1][2] + 1)
        else:
            self.uses.append((noise, rate, 1))

    @property
    def steps(self) -> int:
        """How many steps are noted."""
        return sum(count for *_, count in self.uses)

    @property
    def epsilon(self) -> float:
        """What is spent so far; looking at it spends nothing."""
        return epsilon_of(self.uses, self.delta)

    def after(self, noise: float, rate: float, steps: int) -> float:
        """What will be spent after so many steps more."""
        return epsilon_of([*self.uses, (noise, rate, steps)], self.delta)

    @classmethod
    def of(cls, delta: float, uses: Sequence[Any]) -> Ledger:
        """The ledger with uses as plain values.

        Raises:
            TypeError, ValueError: they are malformed.
        """
        return cls(delta, [(float(noise), float(rate), int(count)) for noise, rate, count in uses])
