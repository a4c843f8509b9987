"""The training step: forward, loss, backward and update as one graph and one native call, or as two."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodel_core.errors import (
    GraphError,
    NumericsError,
    ShapeError,
    UsageError,
)
from bigmodel_core.nn.given import check_model, inputs_of, network_of
from bigmodel_core.nn.initializers import check_seed
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.optimizer import Optimizer
from bigmodel_core.nn.patterns import Patterns, patterns_of
from bigmodel_core.nn.states import fitting_state
from bigmodel_core.ops.random import SEED, STEP
from bigmodel_core.plan.device import Plan
from bigmodel_core.plan.listing import PlannedStep
from bigmodel_core.plan.variables import Variables
from bigmodel_core.registry.config import make
from bigmodel_core.train.by_output import make_loss
from bigmodel_core.train.nonfinite import located, written
from bigmodel_core.train.objective import TARGET, Goal, batch_inputs, goal_of, samples_in
from bigmodel_core.train.step_programs import GRADIENT, KEEP, WEIGHT, Name, StepPrograms, scale_of, sum_of
from bigmodel_core.train.updates import AVERAGE, DECAY, check_ema, fitting_gradients


class TrainStep:
    """A model, a loss and an optimizer as one compiled step; `bm.compile` makes it.

    `step(x, y)` runs one step and returns the loss as a float; with several inputs, `step((a, b), y)`.
    Batches may have any size.

    Attributes:
        network: the built model, once the first batch was seen.
        losses: those of the last batch by name, as in class_loss, if `loss` is by outputs.
        steps: how many steps are done.
        draws: how many batches were differentiated, which numbers the draws of dropout.
        seed: keys the random streams (dropout), together with the batch's number and the layer's path.
    """

    def __init__(
        self,
        model: Layer | Network,
        loss: Any,
        optimizer: Optimizer | str,
        *,
        seed: int = 0,
        device: str = "cpu",
        freeze: Patterns = (),
        only: Patterns | None = None,
        ema: float | None = None,
    ) -> None:
        self.model = check_model(model)
        self.loss = make_loss(loss)
        self.optimizer: Optimizer = make("optimizer", optimizer)
        self.seed, self.device, self.steps, self.draws = check_seed(seed), device, 0, 0
        self.freeze = patterns_of(freeze, "freeze")
        self.only = None if only is None else patterns_of(only, "only")
        self.ema = check_ema(ema)
        self.losses: dict[str, float] = {}
        self.network: Network | None = None
        self.variables: Variables | None = None
        """The model's arrays, and the optimizer's, which belong to this step alone."""
        self.rate_scale = 1.0
        """Multiplies the learning rate; callbacks that lower it on a plateau set this."""
        self._programs: StepPrograms | None = None
        self._rated: Optimizer | None = None
        """The optimizer whose learning rates are looked up."""
        self._rates: list[tuple[str, Callable[[int], float]]] = []
        """What gives the learning rate of each group of parameters, with its graph input, for `_rated`."""
        self._plan: Plan | None = None
        self._known_form: tuple[Any, ...] | None = None
        """Shapes and types of a batch that was checked and needs no conversion: the next like it is not
        checked again."""
        self._sums: Variables | None = None
        self._counted: list[float] | None = None
        """What the batches count that were added up since the last update, in each term of the loss; None if
        there are none."""

    # Building --------------------------------------------------------------------------------------------

    def build(
        self,
        inputs: Sequence[Any],
        target: Any,
        weight: Any = None,
        *,
        accumulates: bool = False,
        mixed: bool = False,
    ) -> None:
        """Trace the step for inputs and a target like these; done by the first call otherwise.

        Args:
            inputs: an array or a Spec for each input.
            target: an array or a Spec, or a tuple or dict of them.
            weight: likewise, if samples are weighted.
            accumulates: whether it is to run in parts, by `accumulate` and `apply`.
            mixed: whether the target is shares that class labels were mixed to.

        Raises:
            GraphError: nothing is left to train.
            UnknownNameError: a pattern matches no parameter.
        """
        self._prepared(inputs, target, weight, mixed=mixed)
        self._make(accumulates)

    def _make(self, accumulates: bool) -> None:
        """Make the programs that will be needed now, so that what is wrong is said before training."""
        if accumulates:
            self.programs["accumulate"], self.programs["apply_sum"]
        else:
            self.programs["step"]

    def _prepared(
        self, inputs: Sequence[Any], target: Any, weight: Any = None, *, mixed: bool = False
    ) -> StepPrograms:
        """The programs, none of which is made yet; the model is built, and what the optimizer keeps is
        there."""
        network = network_of(self.model, inputs, self.seed, self.device)
        programs = StepPrograms(
            network,
            self.loss,
            self.optimizer,
            goal_of(self.loss, network, inputs, target, weight, mixed=mixed),
            freeze=self.freeze,
            only=self.only,
            averages=self.ema is not None,
        )
        variables = Variables(network.device, network.variables)
        for path, array in programs.first_arrays():
            variables.create(path, array)
        self.network, self.variables, self._programs = network, variables, programs
        self._rated = self._sums = self._known_form = None
        return programs

    def take_goal(self, goal: Goal, *, accumulates: bool = False) -> None:
        """Go on with targets and weights of this kind; what was learned, and what the optimizer keeps, stays.

        Args:
            goal: what they look like.
            accumulates: whether it is to run in parts, as for `build`.

        Raises:
            GraphError: the step is not built yet.
        """
        if goal != self.programs.goal:
            self.programs.take_goal(goal)
            self._sums = self._counted = self._known_form = None
        self._make(accumulates)

    @property
    def programs(self) -> StepPrograms:
        """What the step runs.

        Raises:
            GraphError: it is not built yet.
        """
        if self._programs is None:
            raise GraphError("the step is not built yet.", fix="run it once, or call build(inputs, target).")
        return self._programs

    # Running ---------------------------------------------------------------------------------------------

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
            return self._of_each(given)
        loss, *found = self._run("gradients", given, self.draws + 1)
        self.draws += 1
        trained = self.programs.groups.trained
        self._note(found[len(trained) :])
        return float(loss), dict(zip(trained, found[: len(trained)], strict=True))

    def _of_each(self, given: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        self.programs.check_samples_apart()
        count, trained, terms = samples_in(given), self.programs.groups.trained, range(self.programs.terms)
        losses, counts = np.empty((len(terms), count)), np.empty((len(terms), count))
        found = [
            {path: np.empty((count, *spec.sizes), spec.dtype) for path, spec in trained.items()}
            for _ in terms
        ]
        for number in range(count):
            sample: dict[str, Any] = {
                name: array[number : number + 1] if array.ndim else array for name, array in given.items()
            }
            results = iter(self._run("terms", {**sample, WEIGHT: 1.0}, self.draws + 1 + number))
            for term in terms:
                losses[term, number], counts[term, number] = next(results), next(results)
                for array in found[term].values():
                    array[number] = next(results)
        self.draws += count
        # Each is a mean of its own, and counts by its share of what all samples count.
        shares = counts * count / np.where(counts.any(1), counts.sum(1), 1.0)[:, None]
        for term in terms:
            for path, array in found[term].items():
                array *= shares[term].reshape(-1, *(1,) * (array.ndim - 1)).astype(array.dtype)
                if term:
                    found[0][path] += array
        return (losses * shares).sum(0), found[0]

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
            self._sums = Variables(self.variables.device, self.variables)
            for term in range(self.programs.terms):
                for path, spec in self.programs.groups.trained.items():
                    self._sums.create(sum_of(term, path), np.zeros(spec.sizes, spec.dtype))
        given[WEIGHT], given[KEEP] = float(samples_in(given)), float(self._counted is not None)
        loss, *found = self._run("accumulate", given, self.draws + 1)
        self.draws += 1
        counts = [float(count) for count in found[: self.programs.terms]]
        self._counted = [a + b for a, b in zip(self._counted or [0.0] * len(counts), counts, strict=True)]
        self._note(found[len(counts) :])
        return float(loss)

    def discard(self) -> None:
        """Forget the gradients that were added up since the last update."""
        self._counted = None

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
            if self._counted is None:
                raise UsageError(
                    "there are no gradients to apply.", fix="call accumulate(x, y) before, or pass them."
                )
            given: dict[str, Any] = {
                scale_of(term): 1.0 / (count or 1.0) for term, count in enumerate(self._counted)
            }
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
        variables = self._sums if name in ("accumulate", "apply_sum") else self.variables
        assert variables is not None
        try:
            return made.run(variables, given)
        except NumericsError as error:
            raise self._explained(error, name, given) from None

    def _explained(self, error: NumericsError, name: Name, given: Mapping[str, Any]) -> NumericsError:
        variables = self._sums if name == "apply_sum" else self.variables
        assert variables is not None
        number = self.steps + 1
        if error.is_written:
            return written(number, variables)
        return located(number, error, variables, self.programs[name].watched, given)

    def _give_update(self, given: dict[str, Any]) -> None:
        """Add what an update takes: learning rates, its number."""
        if self._rated is not self.optimizer:
            self.programs.check_optimizer(self.optimizer)
            members = self.programs.groups.members(self.optimizer)
            self._rated, self._rates = self.optimizer, [(name, item.rate) for name, item in members.items()]
        steps, scale = self.steps, self.rate_scale
        for name, rate in self._rates:
            given[name] = rate(steps) * scale
        given[STEP] = steps + 1
        if self.ema is not None:
            given[DECAY] = self.ema if steps else 0.0

    def _note(self, parts: Sequence[Any]) -> None:
        if parts:
            names = self.programs.loss_names
            self.losses = {name: float(part) for name, part in zip(names, parts, strict=True)}

    def _checked_batch(self, x: Any, y: Any, weight: Any) -> dict[str, Any]:
        """The batch as graph inputs, built for and checked."""
        inputs = inputs_of(self.model, x)
        if self._programs is None:
            self._prepared(inputs, y, weight)
        programs = self.programs
        return batch_inputs(programs.network, self.loss, programs.goal, inputs, y, weight)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return self.optimizer.rate(self.steps) * self.rate_scale

    def kernels(self, batch_size: int = 64, **sizes: int) -> list[PlannedStep]:
        """The steps that a training step runs on the CPU, in order, with what was chosen for their shapes.

        Nothing is compiled and nothing runs.

        Args:
            batch_size: samples of the step; the size of every named dimension not in `sizes`.
            sizes: sizes of named dimensions, as in T=50.

        Raises:
            GraphError: the step is not built yet.
            ShapeError: a size is not positive, or there is no such dimension.
            DeviceError: the model is on another device.

        >>> import bigmodel_core as bm
        >>> step = bm.compile(bm.layers.Dense(2), "cross_entropy", bm.optimizers.SGD(0.1))
        >>> step.build([bm.Spec(("N", 3))], bm.Spec(("N",), "int64"))
        >>> sum(planned.multiply_adds for planned in step.kernels(batch_size=10))  # twice 10 x 3 x 2
        120
        """
        return self.programs["step"].program.listing(batch_size, sizes)

    # State -----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, np.ndarray]:
        """Copies of parameters and of this step's optimizer state, by path."""
        if self.variables is None:
            raise GraphError("the step is not built yet.", fix="run it once, or call build(inputs, target).")
        return {path: self.variables.read(path) for path in self.variables}

    def averages(self) -> dict[str, np.ndarray]:
        """Copies of the model's parameters, by path, with the averages of those that are trained.

        Raises:
            UsageError: none are kept.
        """
        if self.ema is None:
            raise UsageError("no averages of the parameters are kept.", fix="pass ema=0.999.")
        variables, groups = self.variables, self.programs.groups
        assert variables is not None
        return {
            path: variables.read(f"{AVERAGE}/{path}" if path in groups.trained else path)
            for path in self.programs.network.parameters
        }

    def load_state(self, state: Mapping[str, np.ndarray], steps: int) -> None:
        """Continue from a state and a number of steps done."""
        found = self.fitting_state(state)
        assert self.variables is not None
        for path, array in found.items():
            self.variables.write(path, array)
        self.steps = self.draws = steps
        self.discard()

    def fitting_state(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays of a state as the step holds them.

        Raises:
            GraphError: the step is not built.
            ShapeError, DtypeError, DataError: they are not those of this step.
        """
        if self.variables is None:
            raise GraphError("the step is not built yet.", fix="call build(inputs, target) first.")
        expected = set(self.variables)
        if expected != set(state):
            odd = sorted(expected ^ set(state))
            raise ShapeError(
                f"the state does not fit the step: {', '.join(odd[:5])}.",
                fix="use the same model and optimizer.",
            )
        return {path: fitting_state(path, state[path], self.variables.spec(path)) for path in state}
