"""What `like=` means: whose data other data are brought to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.recorded import encoding_at
from bigmodel_core.errors import UsageError


def encoding_of(known: Any) -> Encoding:
    """The encoding that `like` refers to.

    Args:
        known: an encoding; data or a split; a trained or loaded model or its trainer; the path of a run, a
            checkpoint or an exported file.

    Raises:
        UsageError: it does not say how its data were encoded.
        CheckpointError, ExportError: the file is missing or damaged.
    """
    found = known
    if isinstance(known, (str, Path)):
        found = encoding_at(Path(known))
    elif not isinstance(known, Encoding):
        found = encoding_held(known)
    if isinstance(found, Encoding):
        return found
    name = known if isinstance(known, (str, Path)) else type(known).__name__
    raise UsageError(
        f"{name} does not say how its data were encoded.",
        where="like",
        fix="pass the data it was trained on, or train it on a Data, such as bm.datasets.load(...) gives.",
        shell="name the data set of its training with --data.",
    )


def encoding_held(known: Any) -> Encoding | None:
    """The encoding that an object holds, if it does: data and trainers as their own, a model that was trained
    in its network, one out of a checkpoint in what that says."""
    holders = [known, getattr(known, "layer", None)]
    holders += [item.network for item in holders if getattr(item, "is_built", False)]
    holders += [getattr(item, "about", None) for item in holders]
    found = (getattr(item, "encoding", None) for item in holders)
    return next((item for item in found if isinstance(item, Encoding)), None)
