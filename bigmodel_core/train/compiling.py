"""`bm.compile`: a training step for a loop of one's own."""

from __future__ import annotations

from typing import Any

from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.optimizer import Optimizer
from bigmodel_core.nn.patterns import Patterns
from bigmodel_core.train.step import TrainStep


def compile(
    model: Layer | Network,
    loss: Any,
    optimizer: Optimizer | str,
    *,
    seed: int = 0,
    device: str = "cpu",
    freeze: Patterns = (),
    only: Patterns | None = None,
    ema: float | None = None,
    teacher: Any = None,
) -> TrainStep:
    """A training step for your own loop.

    Args:
        model: a layer; it is built by the first batch, unless it is built already.
        loss: a loss, its name, or a function of the model's output and the targets that composes ops, such as
            a method of the model: `gan.critic_loss`; by the names of outputs, with weights in their sum,
            {"class": "cross_entropy", "box": ("huber", 0.5)}; or a list of such by their places.
        optimizer: an optimizer or its name.
        seed: for the parameters (unless built) and the random streams.
        device: "cpu" or "cuda".
        freeze: patterns of parameters that stay as they are, such as "encoder/*" (`*` crosses `/`): no
            gradient is computed for them, nothing decays or moves them. A layer all of whose parameters
            are frozen computes as in inference.
        only: patterns of the only parameters that this step changes. Unlike with `freeze`, the other layers
            compute as in training: another step trains them.
        ema: keep averages of the parameters, which each step moves towards them: this share is kept.
        teacher: a trained model, or a `bm.Teacher`, whose scores are learned, too.

    Raises:
        UnknownNameError: when it is built, a pattern matches no parameter.

    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> model = bm.layers.Dense(2)
    >>> step = bm.compile(model, loss="cross_entropy", optimizer=bm.optimizers.SGD(0.1))
    >>> x, y = np.eye(2, dtype="float32"), np.array([0, 1])
    >>> first = step(x, y)
    >>> step(x, y) < first
    True
    """
    return TrainStep(
        model,
        loss,
        optimizer,
        seed=seed,
        device=device,
        freeze=freeze,
        only=only,
        ema=ema,
        teacher=teacher,
    )
