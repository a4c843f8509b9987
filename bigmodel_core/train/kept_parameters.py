"""Parameters of an earlier epoch: callbacks keep them, and bring them back when training ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bigmodel_core.errors import CheckpointError
from bigmodel_core.nn.network import Network
from bigmodel_core.train.checkpoint import read
from bigmodel_core.train.record import Record

State = dict[str, np.ndarray]


class KeptParameters:
    """What the callbacks of a trainer keep, one place each, in memory and in the folder of the run."""

    def __init__(self) -> None:
        self._kept: dict[str, State] = {}
        self._gone_back: tuple[State, State] | None = None
        """The parameters that were brought back, and those that a further `fit` continues from."""

    def keep(self, key: str, network: Network, record: Record | None) -> None:
        """Keep the parameters of a network under a key.

        Raises:
            CheckpointError: the file cannot be written.
        """
        self._kept[key] = network.state()
        if record is not None:
            record.keep(_file(key), network)

    def restore(self, key: str, network: Network, folder: Path | None) -> None:
        """Bring parameters back.

        Raises:
            CheckpointError: none are kept under the key, or their file is missing or damaged.
        """
        if key not in self._kept:
            if folder is None:
                raise CheckpointError(f"{key} has kept no parameters.", fix="call keep_parameters before.")
            self._kept[key] = dict(read(folder / _file(key)).state)
        now = network.state()
        network.load_state(self._kept[key])
        self._gone_back = self._kept[key], now

    def go_forward(self, network: Network) -> None:
        """Undo `restore`, unless the parameters have changed since."""
        if self._gone_back is None:
            return
        kept, last = self._gone_back
        self._gone_back, here = None, network.state()
        if all(np.array_equal(here[path], kept[path], equal_nan=True) for path in here):
            network.load_state(last)


def _file(key: str) -> str:
    return f"{key}.safetensors"
