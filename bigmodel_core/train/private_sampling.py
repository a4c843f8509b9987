"""Runs with differential privacy: what is refused, the noise that keeps to epsilon, and the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bigmodel_core.accounting.epsilon import noise_for
from bigmodel_core.accounting.privacy import Ledger, Privacy
from bigmodel_core.data.augmentation import Augmentation, mixes
from bigmodel_core.data.ragged import Widths
from bigmodel_core.data.tree import leaves
from bigmodel_core.errors import CheckpointError, ConfigError, UsageError
from bigmodel_core.train.run_state import RunState
from bigmodel_core.train.samples import Samples
from bigmodel_core.train.stream import Stream

_SLACK = 1.0 + 1e-6
"""By how much epsilon may be above what is allowed, as rounding may make it."""


@dataclass(frozen=True)
class Sampling:
    """How private training draws its batches.

    Args:
        privacy: what was asked for.
        noise: the standard deviation of the noise, in units of the largest norm.
        rate: the probability with which a sample is in a batch.
        batch: the expected size of a batch.
        batches: how many an epoch has.
        seed: that the noise follows from.
    """

    privacy: Privacy
    noise: float
    rate: float
    batch: int
    batches: int
    seed: int

    def described(self, *, metrics: bool) -> str:
        """What is done, for people; `metrics` says whether there are some of the training samples."""
        text = (
            f"private: batches are Poisson samples of {self.batch:,} on average, not shuffled samples; noise"
            f" of {self.noise:.4g} times the largest norm, {self.privacy.clip:g}"
        )
        if metrics:
            text += "; metrics are of training samples, without noise: not private"
        if self.seed == 0:
            text += (
                "; the noise follows from the seed, 0: who guesses that can subtract it; pass a secret one"
            )
        return text


def check_private(train: Samples | Stream, augment: Sequence[Augmentation], batch_size: int) -> Samples:
    """The samples, after checking that Poisson samples can be drawn of them, and that none changes another.

    Raises:
        UsageError: that is not so.
        ConfigError: a batch is to be larger than all samples.
    """
    if isinstance(train, Stream):
        raise UsageError(
            "privacy is accounted for batches that are Poisson samples, and these are made elsewhere.",
            fix="pass a split or arrays (x, y), of which the trainer draws them.",
        )
    if mixes(augment):
        raise UsageError(
            "an augmentation mixes samples, so that no gradient is of one sample alone.",
            fix="with privacy, use augmentations that change one sample, such as random-shift.",
        )
    arrays = (*train.inputs, *leaves(train.labelled()).values())
    if Widths(arrays).by_axis:
        raise UsageError(
            "the samples differ in length: each is as long as the longest of its batch, so that one changes"
            " the others.",
            fix="with privacy, load samples of one length.",
        )
    if batch_size > len(train):
        raise ConfigError(
            f"the batch size is {batch_size:,}, and there are {len(train):,} samples.",
            fix=f"pass batch_size={len(train)} or less.",
            shell=f"pass --batch-size {len(train)} or less.",
        )
    return train


def sampling(
    privacy: Privacy,
    samples: int,
    batch: int,
    epochs: int,
    seed: int,
    state: RunState,
    before: Mapping[str, Any],
) -> Sampling:
    """The noise and the rate of the steps that are left.

    Args:
        privacy: how private.
        samples: how many there are.
        batch: the expected size of a batch.
        epochs: all epochs of the run.
        seed: of the run.
        state: where the run is.
        before: the options of what was done of it, which keeps its noise.

    Raises:
        UsageError: the steps that are left would spend more than is allowed.
        ConfigError: no noise keeps to epsilon.
    """
    batches, rate = -(-samples // batch), batch / samples
    left = max(epochs - state.epoch, 0) * batches - state.batch
    noise, ledger = privacy.noise or before.get("noise"), ledger_of(state, privacy)
    if noise is None:
        assert privacy.epsilon is not None
        noise = noise_for(privacy.epsilon, rate, max(left, 1), privacy.delta)
    found = Sampling(privacy, float(noise), rate, batch, batches, seed)
    if privacy.epsilon is not None and left > 0:
        after = ledger.after(found.noise, rate, left)
        if after > privacy.epsilon * _SLACK:
            raise UsageError(
                f"{ledger.epsilon:.3g} of an epsilon of {privacy.epsilon:g} is spent, and after {epochs}"
                f" epochs it would be {after:.3g}: the noise was chosen for fewer.",
                fix="start anew with all epochs, or with more epsilon.",
            )
    return found


def spent(drawn: Sampling | None, state: RunState) -> dict[str, Any]:
    """What the configuration of a run says of what private training has spent; nothing if it was not."""
    if drawn is None:
        return {}
    ledger = ledger_of(state, drawn.privacy)
    return {"spent": {"epsilon": ledger.epsilon, "delta": ledger.delta, "steps": ledger.steps}}


def ledger_of(state: RunState, privacy: Privacy) -> Ledger:
    """The ledger of a run.

    Raises:
        CheckpointError: steps were done, and it is missing or malformed.
    """
    if state.ledger is None and state.steps:
        raise CheckpointError(
            "the run is private, and what it has spent is not in it.",
            fix="resume from another checkpoint of it: without the ledger nothing is known of its epsilon.",
        )
    try:
        found = Ledger.of(privacy.delta, state.ledger or [])
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the ledger of the private run is malformed: {error!r}.") from None
    if found.steps != state.steps:
        raise CheckpointError(
            f"the ledger of the private run has {found.steps} steps, and {state.steps} were done."
        )
    return found
