"""A training step before it runs: what it is made of, how it is built, and what it keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bigmodel_core.errors import GraphError, UsageError
from bigmodel_core.nn.given import check_model, network_of
from bigmodel_core.nn.initializers import check_seed
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.optimizer import Optimizer
from bigmodel_core.nn.patterns import Patterns, patterns_of
from bigmodel_core.nn.states import fitting
from bigmodel_core.plan.device import Plan
from bigmodel_core.plan.listing import PlannedStep
from bigmodel_core.plan.variables import Variables
from bigmodel_core.registry.config import make
from bigmodel_core.train.by_output import Losses, make_loss
from bigmodel_core.train.gradient_sums import GradientSums
from bigmodel_core.train.objective import Goal, goal_of
from bigmodel_core.train.step_programs import StepPrograms
from bigmodel_core.train.teacher import teacher_of
from bigmodel_core.train.updates import AVERAGE, check_ema


class BuildableStep:
    """What a training step is made of and keeps; `TrainStep` runs it.

    Args:
        model, loss, optimizer, seed, device, freeze, only, ema, teacher: as for `bm.compile`.
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
        teacher: Any = None,
    ) -> None:
        self.model = check_model(model)
        self.loss = make_loss(loss)
        self.optimizer: Optimizer = make("optimizer", optimizer)
        self.seed, self.device, self.steps, self.draws = check_seed(seed), device, 0, 0
        self.freeze = patterns_of(freeze, "freeze")
        self.only = None if only is None else patterns_of(only, "only")
        self.ema = check_ema(ema)
        self.teacher = teacher_of(teacher)
        self.losses: dict[str, float] = {}
        self.counted: dict[str, float] = {}
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
        self._sums: GradientSums | None = None

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
            mixed: whether augmentations mix the target.

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
            teacher=self.teacher,
        )
        variables = Variables(network.device, network.variables)
        for path, array in programs.first_arrays():
            variables.create(path, array)
        self.network, self.variables, self._programs = network, variables, programs
        self._rated = self._sums = self._known_form = None
        self.losses, self.counted = {}, {}
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
            self._sums = self._known_form = None
            self.counted = {}
        self._make(accumulates)

    def take_loss(self, loss: Loss | Losses) -> None:
        """Go on with another loss of the same targets; what was learned stays."""
        if loss == self.loss:
            return
        self.loss = loss
        if self._programs is not None:
            self._programs.loss = loss
            self._programs.take_goal(self._programs.goal)
            self._sums = self._known_form = None

    @property
    def programs(self) -> StepPrograms:
        """What the step runs.

        Raises:
            GraphError: it is not built yet.
        """
        if self._programs is None:
            raise GraphError("the step is not built yet.", fix="run it once, or call build(inputs, target).")
        return self._programs

    def discard(self) -> None:
        """Forget the gradients that were added up since the last update."""
        if self._sums is not None:
            self._sums.discard()

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

    @property
    def memory(self) -> int:
        """Bytes that a step on a batch like the last one holds, the arrays that live across steps included.

        Raises:
            GraphError: no step was run yet.

        >>> import numpy as np
        >>> import bigmodel_core as bm
        >>> step = bm.compile(bm.layers.Dense(2), "cross_entropy", bm.optimizers.SGD(0.1))
        >>> loss = step(np.ones((5, 100), "float32"), np.zeros(5, "int64"))
        >>> step.memory > 101 * 2 * 4
        True
        """
        if self._plan is None or self.variables is None:
            raise GraphError("no step was run yet.", fix="run it once.")
        return self._plan.nbytes + sum(self.variables.spec(path).nbytes for path in self.variables)

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
        specs = {path: self.variables.spec(path) for path in self.variables}
        return fitting(state, specs, partial=False, holder="step")[0]
