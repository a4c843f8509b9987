"""The training step: forward, loss, backward and update as one graph and one native call, or as two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigmodel_core.errors import NumericsError
from bigmodel_core.graph import Value
from bigmodel_core.nn.given import inputs_of
from bigmodel_core.ops.random import SEED, STEP
from bigmodel_core.plan.variables import Variables
from bigmodel_core.train.buildable_step import BuildableStep
from bigmodel_core.train.gradient_sums import GradientSums, nothing_added
from bigmodel_core.train.nonfinite import located, written
from bigmodel_core.train.objective import TARGET, batch_inputs, samples_in
from bigmodel_core.train.per_sample import gradients_of_samples
from bigmodel_core.train.step_programs import GRADIENT, Name
from bigmodel_core.train.teacher import SCORES
from bigmodel_core.train.updates import DECAY, check_optimizer, fitting_gradients


class TrainStep(BuildableStep):
    """A model, a loss and an optimizer as one compiled step; `bm.compile` makes it.

    `step(x, y)` runs one step and returns the loss as a float; with several inputs, `step((a, b), y)`.
    Batches may have any size.

    Attributes:
        network: the built model, once the first batch was seen.
        losses: those of the last batch by name, as in class_loss, if `loss` is by outputs.
        counted: what the last batch counts in each of them, "" for one loss that is all, unless that is its
            samples: the sum of weights, or of labels that are not ignored.
        steps: how many steps are done.
        draws: how many batches were differentiated, which numbers the draws of dropout.
        seed: keys the random streams (dropout), together with the batch's number and the layer's path.
    """

    def __call__(self, x: Any, y: Any, weight: Any = None) -> float:
        """Run one step on a batch.

        Args:
            x: an array, or a tuple of them for several inputs.
            y: an array, or a tuple or dict of them.
            weight: what each sample counts in the loss, (N,); or each entry of the loss, as a mask of steps
                (N, T) does; a dict by the names of outputs, too, where losses are by outputs.

        Raises:
            ShapeError, DtypeError, DataError: the batch does not fit; nothing was changed.
            NumericsError: the loss, a gradient or an update is NaN or infinite; nothing was changed, and the
                message names where it began. (Where `is_written` is true, the parameters grew too large in
                this very step, and are no longer good.)
        """
        if (
            type(x) is type(y) is np.ndarray
            and weight is None
            and (x.shape, x.dtype, y.shape, y.dtype) == self._known_form
        ):
            given: dict[str, Any] = {"x": x, TARGET: y}
        else:
            given = self._planned(x, y, weight)
        self._give_update(given)
        given[SEED] = self.seed
        try:
            results = self._plan.run(given)  # type: ignore[union-attr]  # there is one, for this batch
        except NumericsError as error:
            raise self._explained(error, "step", given) from None
        self.steps += 1
        self.draws += 1
        if len(results) > 1:
            self._note(results[1:])
        return float(results[0])

    def _planned(self, x: Any, y: Any, weight: Any) -> dict[str, Any]:
        """The batch as graph inputs, checked, and the plan for it made; if the next like it needs no checks,
        that is noted."""
        given = self._checked_batch(x, y, weight)
        made = self.programs["step"].program
        assert self.variables is not None
        self._plan = made.plan(self.variables, made.sizes(given))
        same = given.get("x") is x and given.get(TARGET) is y and len(given) == 2
        self._known_form = (x.shape, x.dtype, y.shape, y.dtype) if same else None
        return given

    def gradients(
        self, x: Any, y: Any, weight: Any = None, *, per_sample: bool = False
    ) -> tuple[Any, dict[str, np.ndarray]]:
        """The loss of a batch, and its gradients by path, for `apply`; no parameter that is trained changes.

        Running statistics of normalisation layers follow the batch, and dropout draws, as in a step:
        `step.apply(step.gradients(x, y)[1])` does what `step(x, y)` does, in two calls.

        Args:
            x, y, weight: the batch, as for a step.
            per_sample: whether to give the losses of the samples, (N,), and the gradients of each, (N, ...),
                whose mean is the batch's: those of a sample that counts twice are twice as large. One
                sample after the other is differentiated.

        Raises:
            ShapeError, DtypeError, DataError: the batch does not fit; nothing was changed.
            GraphError: samples alone are asked for, and a layer takes statistics of the batch, or the model
                takes batches of one size.
            NumericsError: the loss or a gradient is NaN or infinite; nothing was changed.

        >>> import numpy as np
        >>> import bigmodel_core as bm
        >>> step = bm.compile(bm.layers.Dense(2), "cross_entropy", bm.optimizers.SGD(0.1))
        >>> loss, grads = step.gradients(np.eye(2, dtype="float32"), np.array([0, 1]))
        >>> step.apply({path: np.sign(gradient) for path, gradient in grads.items()})
        >>> sorted(grads), step.steps
        (['bias', 'weight'], 1)
        """
        given = self._checked_batch(x, y, weight)
        if per_sample:
            first = self.draws + 1
            losses, each = gradients_of_samples(
                self.programs, given, lambda sample, number: self._run("terms", sample, first + number)
            )
            self.draws += len(losses)
            return losses, each
        loss, *found = self._run("gradients", given, self.draws + 1)
        self.draws += 1
        trained = self.programs.groups.trained
        self._note(found[len(trained) :])
        return float(loss), dict(zip(trained, found[: len(trained)], strict=True))

    def accumulate(self, x: Any, y: Any, weight: Any = None) -> float:
        """The loss of a batch, whose gradients are added up on the device until `apply()` is called without
        any. A batch counts by its samples, or by what they count, in each loss apart, so that the update is
        that of one large batch.

        Args:
            x, y, weight: the batch, as for a step.

        Raises:
            ShapeError, DtypeError, DataError: the batch does not fit; nothing was changed.
            NumericsError: the loss or a gradient is NaN or infinite; nothing was changed.
        """
        given = self._checked_batch(x, y, weight)
        if self._sums is None:
            assert self.variables is not None
            self._sums = GradientSums(self.programs, self.variables)
        given.update(self._sums.inputs(samples_in(given)))
        loss, *found = self._run("accumulate", given, self.draws + 1)
        self.draws += 1
        terms = self.programs.terms
        self._sums.added([float(count) for count in found[:terms]])
        self._note(found[terms:])
        return float(loss)

    def apply(self, grads: Mapping[str, Any] | None = None) -> None:
        """Update the parameters: clip, decay, and move them as the optimizer does.

        Args:
            grads: gradients by path, as `gradients` gives them; those that `accumulate` added up if None.

        Raises:
            ShapeError, DtypeError: paths or shapes are not those of the trained parameters; nothing was
                changed.
            NumericsError: a gradient or an update is NaN or infinite; nothing was changed.
            UsageError: nothing was added up.
        """
        trained = self.programs.groups.trained
        if grads is None:
            if self._sums is None:
                raise nothing_added()
            given: dict[str, Any] = dict(self._sums.scales())
        else:
            given = {GRADIENT + path: array for path, array in fitting_gradients(grads, trained).items()}
        self._give_update(given)
        self._run("apply_sum" if grads is None else "apply", given, self.steps + 1)
        self.steps += 1
        if grads is None:
            self.discard()

    def _run(self, name: Name, given: dict[str, Any], number: int) -> list[np.ndarray]:
        made = self.programs[name].program
        given[SEED], given[STEP] = self.seed, number
        try:
            return made.run(self._variables_of(name), given)
        except NumericsError as error:
            raise self._explained(error, name, given) from None

    def _explained(self, error: NumericsError, name: Name, given: Mapping[str, Any]) -> NumericsError:
        return self._said(error, self.programs[name].watched, given, self._variables_of(name))

    def _said(
        self,
        error: NumericsError,
        watched: Mapping[str, Value],
        given: Mapping[str, Any],
        variables: Variables | None = None,
    ) -> NumericsError:
        """The error with where it began: `watched` are the numbers that must be finite, by name."""
        variables = self.variables if variables is None else variables
        assert variables is not None
        if error.is_written:
            return written(self.steps + 1, variables)
        return located(self.steps + 1, error, variables, watched, given)

    def _variables_of(self, name: Name) -> Variables:
        """The arrays that a program runs on."""
        if name in ("accumulate", "apply_sum"):
            assert self._sums is not None
            return self._sums.variables
        assert self.variables is not None
        return self.variables

    def _give_update(self, given: dict[str, Any]) -> None:
        """Add what an update takes: learning rates, its number."""
        if self._rated is not self.optimizer:
            check_optimizer(self.programs.optimizer, self.optimizer)
            members = self.programs.groups.members(self.optimizer)
            self._rated, self._rates = self.optimizer, [(name, item.rate) for name, item in members.items()]
        steps, scale = self.steps, self.rate_scale
        for name, rate in self._rates:
            given[name] = rate(steps) * scale
        given[STEP] = steps + 1
        if self.ema is not None:
            given[DECAY] = self.ema if steps else 0.0

    def _note(self, results: Sequence[Any]) -> None:
        """Note the losses of outputs, and what the batch counts in them."""
        names, counted = self.programs.shares, self.programs.counted
        numbers = [float(result) for result in results]
        self.losses = dict(zip(names, numbers[: len(names)], strict=True))
        self.counted = dict(zip(counted, numbers[len(names) :], strict=True))

    def _checked_batch(self, x: Any, y: Any, weight: Any) -> dict[str, Any]:
        """The batch as graph inputs, built for and checked."""
        inputs = inputs_of(self.model, x)
        if self._programs is None:
            self._prepared(inputs, y, weight)
        programs = self.programs
        given = batch_inputs(programs.network, self.loss, programs.goal, inputs, y, weight)
        if self.teacher is not None:
            given[SCORES] = self.teacher.scores([given[name] for name in programs.network.input_names])
        return given
