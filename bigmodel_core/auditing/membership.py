"""Membership inference: whether one can tell from a model which samples it was trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from bigmodel_core.auditing.telling import apart_by_chance, told_apart
from bigmodel_core.data.split import Split
from bigmodel_core.errors import NumericsError
from bigmodel_core.nn.given import check_model
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.model import Model
from bigmodel_core.nn.network import Network
from bigmodel_core.train.by_output import Losses, make_loss
from bigmodel_core.train.checkpoint import read
from bigmodel_core.train.described import loss_of
from bigmodel_core.train.job import encoded
from bigmodel_core.train.sample_losses import sample_losses
from bigmodel_core.train.samples import Samples
from bigmodel_core.train.trainer import Trainer
from bigmodel_core.train.usual import usual_loss

_MOST, _TIMES = 10_000, 200
"""Samples of each kind that are looked at, and how often they are drawn again for the intervals."""
Interval = tuple[float, float]


@dataclass(frozen=True)
class Membership:
    """How well members are told from others; intervals hold the true value in 95 of 100 tests, and that of
    the advantage in more.

    Args:
        attack: "loss", or "likelihood ratio" where there were references.
        members, others: how many samples of each were looked at.
        auc: the probability that a member looks more like one than another sample does; 0.5 is chance.
        auc_interval: of it.
        true_positive: the share of members found where 1 % of the others are taken for members, too.
        true_positive_interval: of it.
        advantage: the largest difference of the two shares, over all thresholds (Yeom et al., 2018).
        advantage_interval: of it.
        chance: the advantage that a model that gives nothing away exceeds in 5 of 100 tests.
        leaks: whether the AUC is above chance, by its interval and by that of so many samples that are alike.
    """

    attack: str
    members: int
    others: int
    auc: float
    auc_interval: Interval
    true_positive: float
    true_positive_interval: Interval
    advantage: float
    advantage_interval: Interval
    chance: float
    leaks: bool

    def to_dict(self) -> dict[str, Any]:
        """The same as values that JSON can hold."""
        return asdict(self)


def membership(
    model: Any,
    members: Split | tuple[Any, Any],
    others: Split | tuple[Any, Any],
    loss: Any = None,
    references: Sequence[Any] = (),
    seed: int = 0,
) -> Membership:
    """Attack a model: tell the samples that it was trained on from others of the same kind.

    Without references, samples with a low loss are taken for members (Yeom et al., 2018). With some, what
    counts is how much lower the loss of a sample is than theirs, who never saw it: the likelihood ratio of
    Carlini et al. (2022), offline; one reference compares, several also say how much such losses vary.

    Args:
        model: a trainer, a trained model, or the path of a run.
        members: samples of its training.
        others: samples of the same kind that it was not trained on.
        loss: that of training, where the model does not say.
        references: models of the same kind that were trained on neither.
        seed: keys the choice of samples, if there are more than 10,000, and the intervals.

    Raises:
        UsageError: nothing says what the loss is, or it says nothing of single samples.
        ShapeError, DtypeError, DataError: the samples do not fit the model.
        NumericsError: the loss of a sample is NaN or infinite.

    >>> import bigmodel_core as bm
    >>> random = np.random.default_rng(0)
    >>> x, y = random.normal(size=(80, 40)).astype("float32"), random.integers(0, 2, 80)
    >>> trainer = bm.Trainer(bm.layers.Dense(2), "cross_entropy", bm.optimizers.Adam(0.1))
    >>> history = trainer.fit((x[:40], y[:40]), epochs=30, verbose=False)  # learns labels of chance by heart
    >>> bm.privacy.membership(trainer, (x[:40], y[:40]), (x[40:], y[40:])).leaks
    True
    """
    network, own, encoding = _resolved(model, loss)
    random = np.random.Generator(np.random.Philox(seed))
    samples = [
        _some(Samples.of(encoded(part, encoding), what, network), random)
        for part, what in ((members, "members"), (others, "others"))
    ]
    scores = [-sample_losses(network, own, part) for part in samples]
    if references:
        scores = _compared(scores, samples, own, references)
    for score, what in zip(scores, ("member", "other sample"), strict=True):
        if not np.isfinite(score).all():
            raise NumericsError(
                f"the loss of {what} {int(np.isfinite(score).argmin())} is NaN or infinite.",
                where="membership",
                fix="look for NaN among the samples and parameters: such a loss cannot be compared.",
            )
    found = told_apart(*scores)
    again = [
        told_apart(*(score[random.integers(0, len(score), len(score))] for score in scores))[:2]
        for _ in range(_TIMES)
    ]
    low, high = np.quantile(np.array(again), [0.025, 0.975], axis=0).tolist()
    intervals = list(zip(low, high, strict=True))
    inside, outside = (len(score) for score in scores)
    by_chance = NormalDist().inv_cdf(0.975) * math.sqrt((inside + outside + 1) / (12 * inside * outside))
    sure = apart_by_chance(0.025, inside, outside)
    return Membership(
        attack="likelihood ratio" if references else "loss",
        members=inside,
        others=outside,
        auc=found[0],
        auc_interval=intervals[0],
        true_positive=found[1],
        true_positive_interval=intervals[1],
        advantage=found[2],
        advantage_interval=(max(found[2] - sure, 0.0), min(found[2] + sure, 1.0)),
        chance=apart_by_chance(0.05, inside, outside),
        leaks=intervals[0][0] > 0.5 and found[0] - 0.5 > by_chance,
    )


def _resolved(model: Any, loss: Any) -> tuple[Network, Loss | Losses, Any]:
    """The model, its loss, and how its data became numbers."""
    if isinstance(model, Trainer):
        return model.network, model.step.loss if loss is None else make_loss(loss), model.encoding
    if isinstance(model, (str, Path)):
        content = read(model)
        if loss is None and content.options:
            return content.restore().network, make_loss(loss_of(content.options)), content.about.encoding
        model = content.restore()
    checked = check_model(model)
    network = checked if isinstance(checked, Network) else checked.network
    layer: Layer = network.layer
    if loss is None:
        loss = usual_loss(layer if isinstance(layer, Model) else None)
    about = getattr(layer, "about", None)
    return network, make_loss(loss), network.encoding or getattr(about, "encoding", None)


def _some(samples: Samples, random: np.random.Generator) -> Samples:
    if len(samples) <= _MOST:
        return samples
    return samples.take(np.sort(random.permutation(len(samples))[:_MOST]))


def _compared(
    scores: Sequence[np.ndarray], samples: Sequence[Samples], loss: Loss | Losses, references: Sequence[Any]
) -> list[np.ndarray]:
    """By how many deviations a model is surer of samples than its references are."""
    found = []
    for score, part in zip(scores, samples, strict=True):
        networks = [_resolved(item, loss)[0] for item in references]
        known = np.array([_sureness(sample_losses(network, loss, part)) for network in networks])
        spread = known.std(0) if len(known) > 1 else np.ones(len(score))
        # Few references know little of how a loss varies: half of it is what it is on average.
        spread = np.sqrt((spread**2 + (spread**2).mean()) / 2) + 1e-12
        found.append((_sureness(-score) - known.mean(0)) / spread)
    return found


def _sureness(losses: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)), where the loss is -log(p): it varies from model to model as a Gaussian does."""
    losses = np.maximum(losses, 1e-12)
    return np.asarray(-losses - np.log(-np.expm1(-losses)))


__all__ = ["Membership", "membership"]
