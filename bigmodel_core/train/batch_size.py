"""How many samples a batch has: what a user asks for, and what a model fixes."""

from __future__ import annotations

import numpy as np

from bigmodel_core.errors import ConfigError, DataError
from bigmodel_core.nn.network import Network


def fitting_batch_size(network: Network, count: int, asked: int | None, usual: int) -> int:
    """The batch size for some samples, which a model may fix.

    Args:
        network: the model.
        count: how many samples there are.
        asked: what the user wants, if anything.
        usual: what else.

    Raises:
        ConfigError: the model takes batches of another size.
        DataError: the samples do not fill such batches.
    """
    fixed = next((spec.shape[0] for spec in network.inputs if spec.ndim), None)
    if not isinstance(fixed, int):
        return usual if asked is None else asked
    if asked not in (None, fixed):
        raise ConfigError(
            f"the batch size is {asked}, and the model takes batches of {fixed} only.",
            fix=f'pass batch_size={fixed}, or build the model with a free first dimension, such as "N".',
        )
    if count % fixed:
        raise DataError(
            f"{count} samples do not fill batches of {fixed}, and the model takes no others.",
            fix='leave some samples out, or build the model with a free first dimension, such as "N".',
        )
    return fixed


def check_batch_size(batch_size: object) -> int:
    """A batch size.

    Raises:
        ConfigError: it is no positive whole number.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ConfigError(
            f"the batch size is {batch_size!r}, expected an integer of at least 1.",
            fix="pass a positive batch size, such as 64.",
        )
    return int(batch_size)
