"""Test-time augmentation at the shell: options, and the mean over views of each sample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigmodel_core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from bigmodel_core.data.views import Views
    from bigmodel_core.train.checkpoint import Checkpoint

Times = Annotated[
    int | None,
    typer.Option(
        "--tta",
        metavar="N",
        min=1,
        help="Look at each sample N times, as it is and augmented, and take the mean.",
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--augment", metavar="NAME", help="With --tta, by what.  [default: those of training]"),
]


@dataclass(frozen=True)
class Augmented:
    """What the options ask for.

    Args:
        times: how often a sample is looked at.
        names: of augmentations; None takes those of the training that mix no samples.
    """

    times: int
    names: Sequence[str] | None

    @classmethod
    def of(cls, times: int | None, names: Sequence[str] | None) -> Augmented | None:
        """What two options ask for; None if nothing.

        Raises:
            UsageError: there are augmentations, and nothing says how often.
        """
        if times is None and names:
            raise UsageError(
                "samples are augmented several times.", where="--augment", fix="say how often, as in --tta 8."
            )
        return None if times is None else cls(times, names or None)

    def refuse_file(self) -> None:
        """Say that files are run as they are.

        Raises:
            UsageError: always.
        """
        raise UsageError("an ONNX file is run as it is.", where="--tta", fix="name the run.")

    def views(self, content: Checkpoint) -> Views:
        """How samples are looked at by the model of a checkpoint.

        Raises:
            UsageError: there is no augmentation, or one does not suit.
        """
        from bigmodel_core.cli.names import named, names_in
        from bigmodel_core.data.augmentation import Mixing
        from bigmodel_core.data.views import Views
        from bigmodel_core.train.resume import augmentations

        if self.names is not None:
            made = [named("augmentation", text) for text in names_in(list(self.names))]
        else:
            every = augmentations(content.options or {}, content.path)
            made = [change for change in every if not isinstance(change, Mixing)]
        return Views(tuple(made), self.times)

    def options(self, path: Path) -> dict[str, Any]:
        """The same as options of `Trainer.evaluate`, for the model of a run or checkpoint."""
        from bigmodel_core.train.checkpoint import read

        views = self.views(read(path))
        return {"augment": list(views.augment), "times": views.times, "seed": views.seed}

    def averaged(
        self,
        run: Callable[..., dict[str, np.ndarray]],
        content: Checkpoint,
        inputs: int,
        are_probabilities: bool,
    ) -> Callable[..., dict[str, np.ndarray]]:
        """What gives the mean over views, in place of what gives the outputs of a batch.

        Args:
            run: gives outputs by name for a batch of the model's inputs.
            content: of the checkpoint.
            inputs: how many inputs there are.
            are_probabilities: whether the outputs are.
        """
        from bigmodel_core.nn.probabilities import Kind, is_single, mean_scores
        from bigmodel_core.train.outputs import check_views

        views, encoding = self.views(content), content.about.encoding
        task = None if encoding is None else encoding.task

        def looked(*given: Any) -> dict[str, np.ndarray]:
            first = run(*given)
            check_views(views, inputs, [array.shape for array in first.values()])
            (name,) = first
            every = [first[name], *(run(x)[name] for x in list(views.each(given[0]))[1:])]
            kind: Kind | None = None
            if task not in (None, "regression") and not are_probabilities:
                kind = "sigmoid" if task == "multilabel" or is_single(first[name]) else "softmax"
            return {name: mean_scores(every, kind)}

        return looked
