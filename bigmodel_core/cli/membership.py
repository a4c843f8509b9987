"""`bigmodel evaluate --membership`: whether a run gives away which samples it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bigmodel_core.cli.terminal import Output
from bigmodel_core.errors import UsageError

if TYPE_CHECKING:
    from bigmodel_core.auditing.membership import Membership
    from bigmodel_core.data.data import Data
    from bigmodel_core.data.split import Split


def attacked(path: Path, data: Data, split: Split) -> Membership:
    """What an attack on a run finds: its training samples against those of a split.

    Args:
        path: the run or a checkpoint of one.
        data: that of its training.
        split: samples that it was not trained on.

    Raises:
        UsageError: it is no run, or the split is that of training.
    """
    from bigmodel_core.auditing.membership import membership
    from bigmodel_core.cli.sources import is_onnx
    from bigmodel_core.train.checkpoint import read
    from bigmodel_core.train.samples import Samples

    content = None if is_onnx(path) else read(path)
    if content is None or not content.options:
        raise UsageError(
            "only a run says which samples it was trained on.", where="--membership", fix="name a run."
        )
    if split is data.train:
        raise UsageError(
            "the training samples are compared with others.", where="--split", fix="name another, as test."
        )
    train, fraction = Samples.of(data), content.options.get("validation_fraction")
    trained = train.held_out(fraction, int(content.options["seed"]))[0] if fraction else train
    x = trained.inputs[0] if len(trained.inputs) == 1 else trained.inputs
    return membership(path, (x, trained.labelled()), split)


def show(found: Membership, part: str, output: Output) -> None:
    """Print what was found."""

    def said(value: float, interval: Any) -> str:
        return f"{value:.4f} ({interval[0]:.4f} to {interval[1]:.4f})"

    output.line(f"Membership: {found.members:,} training samples against {found.others:,} of {part}", "bold")
    advantage = said(found.advantage, found.advantage_interval)
    output.pairs(
        {
            "AUC": f"{said(found.auc, found.auc_interval)}; chance is 0.5",
            "Found, at 1 % false alarms": said(found.true_positive, found.true_positive_interval),
            "Advantage": f"{advantage}; by chance up to {found.chance:.4f}",
        }
    )
    what = "gives training samples away" if found.leaks else "is not seen to give training samples away"
    output.say(f"The model {what}, by the losses of single samples.", "yellow" if found.leaks else "dim")
