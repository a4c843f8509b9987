"""Privacy in numbers: what training spends, and what a trained model gives away; `bm.privacy`."""

from __future__ import annotations

from bigmodel_core.accounting.epsilon import check_delta, epsilon_of
from bigmodel_core.accounting.epsilon import noise_for as _noise_for
from bigmodel_core.accounting.privacy import Privacy
from bigmodel_core.auditing.membership import Membership, membership
from bigmodel_core.errors import ConfigError


def epsilon(noise: float, rate: float, steps: int, delta: float) -> float:
    """What so many steps of DP-SGD spend, to 1 %, and never more than that.

    The lower one of two bounds: by the distribution of the privacy loss (Gopi, Lee and Wutschitz, 2021), and
    by Rényi differential privacy (Mironov, 2017).

    Args:
        noise: the standard deviation of the noise, in units of the clipping norm.
        rate: the probability with which a sample is in a batch: batch size by samples.
        steps: how many.
        delta: the probability with which the bound may fail.

    Raises:
        ConfigError: a number is out of its limits.

    >>> import bigmodel_core as bm
    >>> round(bm.privacy.epsilon(noise=1.1, rate=256 / 60000, steps=14100, delta=1e-5), 2)
    2.4
    """
    Privacy(noise=noise, delta=delta)
    _check(rate, steps)
    return epsilon_of([(float(noise), float(rate), int(steps))], delta)


def noise_for(epsilon: float, rate: float, steps: int, delta: float) -> float:
    """The least noise, to 0.1 %, with which so many steps of DP-SGD spend no more than epsilon.

    Args:
        epsilon: what may be spent.
        rate, steps, delta: as for `epsilon`.

    Raises:
        ConfigError: a number is out of its limits, or no noise is enough.

    >>> import bigmodel_core as bm
    >>> round(bm.privacy.noise_for(epsilon=3, rate=512 / 60000, steps=1000, delta=1e-5), 2)
    0.77
    """
    Privacy(epsilon=epsilon, delta=check_delta(delta))
    _check(rate, steps)
    return _noise_for(float(epsilon), float(rate), int(steps), delta)


def _check(rate: float, steps: int) -> None:
    if not isinstance(rate, (int, float)) or not 0 < rate <= 1:
        raise ConfigError(
            f"rate is {rate!r}, expected a number above 0 and at most 1.",
            fix="divide the batch size by the number of samples.",
        )
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise ConfigError(
            f"steps is {steps!r}, expected an integer of at least 0.", fix="pass a whole number."
        )


__all__ = ["Membership", "epsilon", "membership", "noise_for"]
