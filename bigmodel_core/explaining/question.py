"""What an explainer is asked: a model, samples, and which number of the output is to be explained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bigmodel_core.errors import UsageError
from bigmodel_core.explaining import inside
from bigmodel_core.explaining.attribution import Attribution
from bigmodel_core.explaining.measure import Measure
from bigmodel_core.explaining.runner import Runner
from bigmodel_core.explaining.sums import adds_up
from bigmodel_core.explaining.targets import Targets
from bigmodel_core.nn.network import Network
from bigmodel_core.registry.discovery import display_name


class Question:
    """A model, samples, and which number of its output is to be explained: what explainers are given.

    Attributions are taken at *points*: inputs of floats, and the vectors that tables have for inputs of
    tokens. All methods take and give one array for each point, and compute as in inference.

    Args:
        network: the model.
        inputs: its inputs, a batch of N samples each.
        targets: what is explained of each sample.
        output: the number of the output.
        baseline: what counts as nothing for each input: a number, an array that broadcasts to it, or the
            number of a token; None for zeros.
        measure: says how good the outputs of all samples are, for methods that ask; None if it is not known.
        origins: of each input, the column of a table that each of its features came from; None of one that
            is none.

    Attributes:
        points: the floats of the samples, (N, ...) each.
        baselines: the same for the baseline, of the same shapes.
        baseline_inputs: the inputs at the baseline, of floats, and of codes of columns, where 0 counts as
            nothing.
        outputs: (N,) float64, what is explained.
    """

    def __init__(
        self,
        network: Network,
        inputs: Sequence[np.ndarray],
        targets: Targets,
        output: int = 0,
        baseline: Sequence[Any] = (),
        measure: Measure | None = None,
        origins: Sequence[Sequence[str] | None] = (),
    ) -> None:
        self.network, self.inputs, self.targets, self.measure = network, tuple(inputs), targets, measure
        self.origins = tuple(origins) or (None,) * len(self.inputs)
        coded = [
            number
            for number, (array, names) in enumerate(zip(self.inputs, self.origins, strict=True))
            if names is not None and array.dtype.kind in "iu"
        ]
        self._runner = Runner(network, output, coded)
        self._places = self._runner.places
        self.points = self._runner.floats(self.inputs)
        given = baseline or [None] * len(self.inputs)
        self.baselines = self._runner.baselines(self.inputs, given)
        floats = {point.number: at for point, at in zip(self._places, self.baselines, strict=True)}
        self.baseline_inputs = tuple(
            floats[number] if array.dtype.kind == "f" and number in floats else array
            for number, array in enumerate(self._runner.replaced(self.inputs, given))
        )
        outputs = self.predictions(self.points)
        self._at_baseline: np.ndarray | None = None
        self.outputs = targets.picked(outputs, np.arange(len(outputs)))

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.points[0])

    @property
    def is_embedded(self) -> tuple[bool, ...]:
        """Of each point, whether it holds vectors of tokens: (N, ..., width)."""
        return tuple(point.is_embedded for point in self._places)

    @property
    def point_names(self) -> tuple[str, ...]:
        """Of each point, the name of the input that it is, or is the embedding of."""
        return tuple(self.network.input_names[point.number] for point in self._places)

    @property
    def at_baseline(self) -> np.ndarray:
        """(N,) float64, what is explained, at the baselines."""
        if self._at_baseline is None:
            self._at_baseline = self.scores(self.baselines)
        return self._at_baseline

    @property
    def steps(self) -> np.ndarray | None:
        """(N,) which step of the output is explained; None of outputs without steps."""
        classes = self.targets.classes
        return classes[:, 0] if classes.ndim == 2 else None

    def adds_up(self, values: Sequence[np.ndarray], samples: np.ndarray) -> np.ndarray:
        """Of some samples, whether values, one array for each point, add up to what is explained less the
        same at the baseline, to within 1 %.

        Args:
            values: (R, ...) each.
            samples: (R,) which samples.
        """
        flat = [np.asarray(array, np.float64).reshape(len(array), -1) for array in values]
        sums, sizes = (sum(array.sum(1) for array in arrays) for arrays in (flat, map(np.abs, flat)))
        return adds_up(np.asarray(sums), self.outputs[samples], self.at_baseline[samples], np.asarray(sizes))

    @property
    def is_coded(self) -> tuple[bool, ...]:
        """Of each input, whether it holds the codes of columns (N, m): numbers that stand for categories."""
        return tuple(number in self._runner.coded for number in range(len(self.inputs)))

    @property
    def has_columns(self) -> bool:
        """Whether features are answered by the column that they came from."""
        return any(names is not None for names in self.origins)

    def columns_of(self, number: int) -> tuple[tuple[str, ...], np.ndarray]:
        """The columns of an input, and the number of the column of each of its features, in a row.

        Args:
            number: of the input.
        """
        names = self.origins[number]
        if names is None:
            count = math.prod(self.inputs[number].shape[1:])
            return tuple(map(str, range(count))), np.arange(count)
        columns = tuple(dict.fromkeys(names))
        return columns, np.array([columns.index(name) for name in names], np.int64)

    # What the model computes ----------------------------------------------------------------------------

    def predictions(
        self, points: Sequence[np.ndarray], samples: Sequence[int] | np.ndarray | None = None
    ) -> np.ndarray:
        """The output of the model, as a whole, for floats in place of those of the samples.

        Args:
            points: (R, ...) each.
            samples: (R,) of which sample each row is, whose target and other inputs it has; in their order
                if None.
        """
        return self._runner.outputs(points, self._rows(points, samples), self.inputs)

    def predictions_of(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """The output of the model, as a whole, for other inputs."""
        return self._runner.outputs(self._runner.floats(inputs), np.arange(len(inputs[0])), inputs)

    def scores(
        self, points: Sequence[np.ndarray], samples: Sequence[int] | np.ndarray | None = None
    ) -> np.ndarray:
        """(R,) float64: what is explained, for floats in place of those of the samples; see
        `predictions`."""
        rows = self._rows(points, samples)
        return self.targets.picked(self.predictions(points, rows), rows)

    def scores_of(self, inputs: Sequence[np.ndarray], samples: Sequence[int] | np.ndarray) -> np.ndarray:
        """(R,) float64: what is explained, for other inputs (R, ...), of some samples."""
        return self.targets.picked(self.predictions_of(inputs), self._rows(inputs, samples))

    def slopes(
        self, points: Sequence[np.ndarray], samples: Sequence[int] | np.ndarray | None = None
    ) -> tuple[np.ndarray, ...]:
        """The gradients of what is explained, shaped as the points; see `predictions`."""
        return self._runner.slopes(points, self._rows(points, samples), self.inputs, self.targets)

    def layer(self, path: str | None = None) -> tuple[str, np.ndarray, np.ndarray]:
        """What a layer returns for the samples, and the gradient of what is explained for that.

        Args:
            path: of the layer; the last convolution if None.

        Returns:
            The path, and two arrays (N, ...).

        Raises:
            UnknownNameError: there is no such layer.
            UsageError: there is no convolution.
        """
        return self._runner.layer(path, self.inputs, self.targets)

    def attention(self) -> dict[str, np.ndarray]:
        """What each step takes of each other, (N, heads, T, S), by the path of the layer: rows add up to 1.

        Raises:
            UsageError: the model has no attention.
        """
        return self._runner.attention(self.inputs)

    def first_weight(self) -> tuple[str, np.ndarray, bool]:
        """The matrix that a table of features is multiplied by first.

        Returns:
            Its path, the matrix (features, outputs), and whether what it gives is the model's output.

        Raises:
            UsageError: there is none.
        """
        return inside.first_weight(self.network)

    @staticmethod
    def _rows(points: Sequence[np.ndarray], samples: Sequence[int] | np.ndarray | None) -> np.ndarray:
        return np.arange(len(points[0])) if samples is None else np.asarray(samples)

    # What is answered ------------------------------------------------------------------------------------

    def answer(
        self,
        explainer: Any,
        values: Sequence[np.ndarray],
        *,
        norm: bool = False,
        has_baseline: bool = False,
        maps: dict[str, np.ndarray] | None = None,
        **facts: Any,
    ) -> Attribution:
        """The answer of an explainer.

        Args:
            explainer: whose answer it is.
            values: one array for each point, shaped as it, or with 1 where nothing is told apart; without the
                axis of samples if the explainer `is_global`. Those of the numbers of a token's vector are
                added up, unless they come as one number for each token.
            norm: whether the length of such a vector counts, not its sum.
            has_baseline: whether the values say what changes from the baseline to the samples.
            maps: what layers show besides.
            facts: what else is known.
        """
        found: list[np.ndarray | None] = [None] * len(self.inputs)
        is_global = bool(explainer.is_global)
        for point, own, array in zip(self._places, self.points, values, strict=True):
            wide = np.asarray(array, np.float64)
            if point.is_embedded and wide.ndim == own.ndim - is_global:
                wide = np.sqrt((wide**2).sum(-1)) if norm else wide.sum(-1)
            if point.column is not None and not is_global:
                column, wide = wide.reshape(-1), np.zeros(self.inputs[point.number].shape)
                wide[:, point.column] = column
            elif point.is_embedded and not is_global and self.is_coded[point.number] and not point.is_direct:
                raise UsageError(
                    "the model looks up pairs of columns, whose parts this method cannot tell apart.",
                    where=display_name(type(explainer)).replace("_", "-"),
                    fix="use shapley or permutation.",
                )
            elif point.is_embedded and not is_global:
                wide = wide.reshape(self.inputs[point.number].shape)
            before = found[point.number]
            found[point.number] = wide if before is None else before + wide
        return self._attribution(explainer, found, has_baseline, maps, facts)

    def answer_by_input(
        self,
        explainer: Any,
        values: Sequence[np.ndarray | None],
        *,
        has_baseline: bool = False,
        **facts: Any,
    ) -> Attribution:
        """The answer of an explainer that looks at inputs as they are: an array for each, None for one that
        nothing is said of; see `answer`."""
        return self._attribution(explainer, values, has_baseline, None, facts)

    def _attribution(
        self,
        explainer: Any,
        values: Sequence[np.ndarray | None],
        has_baseline: bool,
        maps: dict[str, np.ndarray] | None,
        facts: dict[str, Any],
    ) -> Attribution:
        is_global = bool(explainer.is_global)
        return Attribution(
            display_name(type(explainer)).replace("_", "-"),
            values[0] if len(values) == 1 else tuple(values),
            self.network.input_names,
            None if is_global and len(np.unique(self.targets.classes, axis=0)) > 1 else self.targets.classes,
            None if is_global else self.outputs,
            self.at_baseline if has_baseline else None,
            bool(explainer.is_signed),
            is_global,
            maps or {},
            facts,
        )
