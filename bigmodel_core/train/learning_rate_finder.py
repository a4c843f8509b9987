"""A learning rate to begin with: that at which the loss falls fastest, found in a short training.

The rate grows from step to step by a constant factor until the loss goes up for good (Smith, 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from bigmodel_core.errors import NumericsError, UsageError
from bigmodel_core.nn.buildable import clone
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.optimizer import Optimizer
from bigmodel_core.registry.config import make
from bigmodel_core.train.history import number
from bigmodel_core.train.prepare import prepared
from bigmodel_core.train.trainer import Trainer

SMOOTHING = 0.9
"""How much of the mean of losses each step keeps."""
FAR = 4.0
"""Training ends when the loss is this many times the lowest."""
_LEAST = 10
"""Losses that are needed to tell where they fall."""


def find_learning_rate(
    model: Layer | Network | str,
    data: Any,
    loss: Any = None,
    optimizer: Optimizer | str | None = None,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
    batch_size: int = 64,
    seed: int = 0,
    device: str | None = None,
) -> LearningRates:
    """A learning rate to begin with, from a short training of a copy of a model: the model stays as it is.

    Args:
        model: a layer, a built model or the name of a registered model.
        data: what to train on, as for `Trainer.fit`; it is gone over as often as needed.
        loss, optimizer: as for `Trainer`; of a schedule nothing is taken.
        low, high: the first and the last rate.
        steps: how many are tried.
        batch_size: samples of a step.
        seed: for the first parameters and the order of samples.
        device: "cpu" or "cuda".

    Raises:
        UsageError: the range is empty, or no loss is given and the model names none.
        NumericsError: not even the first steps have a loss.

    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> x = np.random.default_rng(0).normal(size=(256, 4)).astype("float32")
    >>> y = (x[:, 0] > 0).astype("int64")
    >>> found = bm.find_learning_rate(bm.layers.Dense(2), (x, y), "cross_entropy", "sgd")
    >>> 1e-3 < found.suggestion < 10
    True
    """
    if not 0 < low < high < math.inf or steps < _LEAST:
        raise UsageError(
            f"nothing lies between {low} and {high} in {steps} steps.",
            fix=f"pass 0 < low < high and at least {_LEAST} steps.",
        )
    made = make("model", model) if isinstance(model, str) else model
    copied = clone(made.layer if isinstance(made, Network) else made)
    trainer = Trainer(copied, loss, optimizer, (), seed=seed, device=device)
    job = prepared(
        trainer, data, epochs=1, batch_size=batch_size, validation=None, resume=None, checkpoint_every=None,
        record={}, augment=None, workers=0, steps_per_epoch=None,
    )  # fmt: skip
    step = trainer.step
    if any(item.name == "learning_rate" for item in fields(step.optimizer)):  # a schedule may end at 0
        constant: dict[str, Any] = {"learning_rate": 1.0}
        step.optimizer = replace(step.optimizer, **constant)
    rates = np.geomspace(low, high, steps)
    losses: list[float] = []
    epoch = 0
    while len(losses) < steps:
        for x, y, weight in job.train.shuffled(job.batch_size, seed, epoch, workers=0):
            wanted, own = float(rates[len(losses)]), step.optimizer.rate(step.steps)
            step.rate_scale = wanted / own
            try:
                losses.append(step(x, y, weight))
            except NumericsError:
                if len(losses) < _LEAST:
                    raise
                return LearningRates(rates[: len(losses)], np.array(losses))
            lowest = smoothed(losses).min()
            if len(losses) >= steps or (len(losses) > _LEAST and losses[-1] > FAR * lowest > 0):
                return LearningRates(rates[: len(losses)], np.array(losses))
        epoch += 1
    return LearningRates(rates, np.array(losses))


@dataclass(frozen=True, eq=False)
class LearningRates:
    """What a short training found at each learning rate.

    Args:
        rates: (steps,), growing.
        losses: (steps,), that of each step before its update.
    """

    rates: np.ndarray
    losses: np.ndarray

    @property
    def smooth(self) -> np.ndarray:
        """The losses without the noise of batches, (steps,)."""
        return smoothed(self.losses)

    @property
    def suggestion(self) -> float:
        """The rate at which the loss falls fastest, before it is lowest."""
        smooth = self.smooth
        end = max(int(smooth.argmin()), 2)
        return float(self.rates[int(np.gradient(smooth)[: end + 1].argmin())])

    def __repr__(self) -> str:
        ends = f"{self.rates[0]:.1e} to {self.rates[-1]:.1e}"
        return f"<LearningRates: {len(self.rates)} from {ends}, suggested {self.suggestion:.2e}>"

    def _repr_html_(self) -> str:
        """The curve, for notebooks."""
        return self.chart().svg

    def plot(self, ax: Any = None) -> Any:
        """Draw the losses over the rates with matplotlib (the extra `plot`); returns the axes.

        Args:
            ax: the axes to draw on; those of a new figure by default.

        Raises:
            MissingPackageError: matplotlib is not installed.
        """
        from bigmodel_core.plot.axes import axes

        ax = axes(ax)
        ax.plot(self.rates, self.smooth)
        ax.axvline(self.suggestion, linestyle="--", color="gray", label=f"suggested: {self.suggestion:.2g}")
        ax.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(None, 2 * self.smooth[0]))
        ax.legend()
        return ax

    def chart(self) -> Any:
        """The losses over the logarithms of rates, as a `bm.charts.Chart`."""
        from bigmodel_core import charts

        shown = np.minimum(self.smooth, 2 * self.smooth[0])
        return charts.line(
            {"loss": shown.tolist()},
            np.log10(self.rates).tolist(),
            title=f"Learning rates: suggested {self.suggestion:.2g}",
            x_label="learning rate, as a power of 10",
            y_label="loss",
        )

    def to_dict(self) -> dict[str, Any]:
        """Rates, losses and the suggestion as plain values."""
        return {
            "suggestion": self.suggestion,
            "rates": self.rates.tolist(),
            "losses": [float(value) if np.isfinite(value) else None for value in self.losses],
        }

    def told(self) -> str:
        """What was found, in a line."""
        return (
            f"the loss falls fastest at {self.suggestion:.2e}"
            f" (from {number(float(self.smooth[0]))} to {number(float(self.smooth.min()))} at best)"
        )


def smoothed(losses: Any) -> np.ndarray:
    """Running means of losses, in which early ones count as much as late ones.

    >>> smoothed([2.0, 2.0, 2.0]).tolist()
    [2.0, 2.0, 2.0]
    """
    found, mean = np.empty(len(losses)), 0.0
    for place, value in enumerate(losses):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * float(value)
        found[place] = mean / (1 - SMOOTHING ** (place + 1))
    return found
