"""A layer that training leaves as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, short


@dataclass(frozen=True)
class Frozen(bm.Layer):
    """A layer that training leaves as it is: it computes as in inference, and its parameters stay.

    No gradient is computed for them, an optimizer neither decays nor moves them nor keeps anything for them,
    and batch normalisation uses its stored moments. Gradients pass through to what comes before.

    Args:
        inner: the layer.

    Raises:
        ConfigError: it is none.

    >>> import numpy as np
    >>> model = bm.Sequential(Frozen(bm.layers.Dense(3)), bm.layers.Dense(2))
    >>> step = bm.compile(model, "cross_entropy", bm.optimizers.SGD(0.1, weight_decay=0.1))
    >>> x, y = np.ones((4, 5), "float32"), np.zeros(4, "int64")
    >>> model(x).shape
    (4, 2)
    >>> before = model.state()
    >>> loss = step(x, y)
    >>> [path for path, array in model.state().items() if not np.array_equal(array, before[path])]
    ['dense_1/weight', 'dense_1/bias']
    """

    inner: bm.Layer

    def __post_init__(self) -> None:
        if not isinstance(self.inner, bm.Layer):
            raise ConfigError(
                f"inner is {short(self.inner)}, expected a layer.",
                where="Frozen",
                fix="pass an instance, such as a trained layer; bm.compile(..., freeze=...) takes paths.",
            )

    def __call__(self, *inputs: Any) -> Any:
        with bm.freezing():
            return self.inner(*inputs)
