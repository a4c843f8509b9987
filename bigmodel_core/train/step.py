"""The training step: forward, loss, backward and update as one graph and one native call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigmodel_core.errors import (
    ConfigError,
    GraphError,
    NumericsError,
    ShapeError,
)
from bigmodel_core.graph import Graph, Value
from bigmodel_core.graph.autodiff import gradients
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.fitting import fitting_state
from bigmodel_core.nn.given import check_model, inputs_of, network_of
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.loss import Loss
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.optimizer import Optimizer
from bigmodel_core.ops.random import SEED, STEP
from bigmodel_core.plan import Program
from bigmodel_core.plan.capacity import check_capacity
from bigmodel_core.plan.device import Plan
from bigmodel_core.plan.listing import PlannedStep
from bigmodel_core.plan.variables import Variables
from bigmodel_core.registry.config import make
from bigmodel_core.train.nonfinite import located, written
from bigmodel_core.train.objective import TARGET, batch_inputs, loss_value, target_spec

RATE = "~rate"
"""The graph input that holds the learning rate of the step."""
STATE = "optimizer"
"""What the paths of an optimizer's arrays start with."""


def check_seed(seed: Any) -> int:
    """A seed.

    Raises:
        ConfigError: it is no whole number.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise ConfigError(f"the seed is {seed!r}, expected an integer.", fix="pass seed=0.")
    return int(seed)


class TrainStep:
    """A model, a loss and an optimizer as one compiled step; `bm.compile` makes it.

    `step(x, y)` runs one step and returns the loss as a float; with several inputs, `step((a, b), y)`.
    Batches may have any size.

    Attributes:
        network: the built model, once the first batch was seen.
        steps: how many steps are done.
        seed: keys the random streams (dropout), together with the step and the layer's path.
    """

    def __init__(
        self,
        model: Layer | Network,
        loss: Loss | str,
        optimizer: Optimizer | str,
        *,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.model = check_model(model)
        self.loss: Loss = make("loss", loss)
        self.optimizer: Optimizer = make("optimizer", optimizer)
        self.seed, self.device, self.steps = check_seed(seed), device, 0
        self.network: Network | None = None
        self.variables: Variables | None = None
        """The model's arrays, and the optimizer's, which belong to this step alone."""
        self.rate_scale = 1.0
        """Multiplies the learning rate; callbacks that lower it on a plateau set this."""
        self._program: Program | None = None
        self._watched: dict[str, Value] = {}
        self._target: Spec | None = None
        self._plan: Plan | None = None
        self._known_form: tuple[Any, ...] | None = None
        """Shapes and types of a batch that was checked and needs no conversion: the next like it is not
        checked again."""

    # Building --------------------------------------------------------------------------------------------

    def build(self, inputs: Sequence[Any], target: Any) -> None:
        """Trace the step for inputs and a target like these; done by the first call otherwise."""
        network = network_of(self.model, inputs, self.seed, self.device)
        variables = Variables(network.device, network.variables)
        self._target = target_spec(self.loss, target, network.dtype)
        graph = Graph()
        trace = network.traced_into(graph, training=True)
        goal = graph.input(TARGET, self._target)
        loss = loss_value(self.loss, trace, goal)
        trained = {path: value for path, value in trace.values.items() if trace.parameters[path].trainable}
        if not trained:
            raise GraphError(
                "the model has no trainable parameters, so a training step would change nothing.",
                fix="add a layer with parameters, or mark parameters as trainable.",
                where=type(network.layer).__name__,
            )
        found = dict(zip(trained, gradients(loss, list(trained.values())), strict=True))
        with graph.active(), graph.scope("optimizer", type(self.optimizer).__name__):
            rate = graph.input(RATE, Spec((), "float64")).astype(network.dtype)
            updates, state = self._updates(graph, trained, found, rate)
            guards = [loss, rate, *self.optimizer.guards(found), *trace.updates.values()]
        self._watched = {"the loss": loss, "the learning rate": rate}
        self._watched.update({f"the gradient of '{path}'": value for path, value in found.items()})
        self._watched.update({f"the new value of '{path}'": value for path, value in trace.updates.items()})
        self._watched.update({f"the new value of '{path}'": value for path, value in updates.items()})
        updates.update(trace.updates)
        guards = [value for value in guards if value.spec.is_float]
        self._program = Program(graph, [loss], updates, guards, device=network.device)
        self.network, self.variables = network, variables
        for path, start in state.items():
            self.variables.create(path, start)

    def _updates(
        self, graph: Graph, trained: Mapping[str, Value], found: Mapping[str, Value], rate: Value
    ) -> tuple[dict[str, Value], dict[str, np.ndarray]]:
        """The new values of parameters and of the optimizer's state, and what that state starts with."""
        number = graph.input(STEP, Spec((), "int64")).astype("float64")
        needed = len(self.optimizer.init()) * sum(value.spec.nbytes for value in trained.values())
        check_capacity(
            needed, "the state of the optimizer needs", "use smaller layers, or SGD without momentum."
        )
        updates: dict[str, Value] = {}
        started: dict[str, np.ndarray] = {}
        for path, gradient in self.optimizer.regularised(trained, found).items():
            parameter = trained[path]
            state = {}
            for name, start in self.optimizer.init().items():
                key = f"{STATE}/{name}/{path}"
                started[key] = np.full(parameter.spec.sizes, start, parameter.dtype)
                state[name] = graph.variable(key, parameter.spec)
            new, kept = self.optimizer.update(
                parameter, gradient, state, rate.astype(parameter.dtype), number
            )
            updates[path] = new
            updates.update({f"{STATE}/{name}/{path}": value for name, value in kept.items()})
        return updates, started

    # Running ---------------------------------------------------------------------------------------------

    def __call__(self, x: Any, y: Any) -> float:
        """Run one step on a batch.

        Raises:
            ShapeError, DtypeError, DataError: the batch does not fit; nothing was changed.
            NumericsError: the loss, a gradient or an update is NaN or infinite; nothing was changed, and the
                message names where it began. (Where `is_written` is true, the parameters grew too large in
                this very step, and are no longer good.)
        """
        form = (x.shape, x.dtype, y.shape, y.dtype) if type(x) is type(y) is np.ndarray else None
        if form is not None and form == self._known_form:
            given: dict[str, Any] = {"x": x, TARGET: y}
        else:
            given = self._checked_batch(x, y)
            same = given.get("x") is x and given[TARGET] is y
            self._known_form = form if same else None
            assert self._program is not None and self.variables is not None
            self._plan = self._program.plan(self.variables, self._program.sizes(given))
        given[RATE], given[STEP], given[SEED] = self.learning_rate, self.steps + 1, self.seed
        assert self._plan is not None
        try:
            (loss,) = self._plan.run(given)
        except NumericsError as error:
            assert self.variables is not None
            number = self.steps + 1
            if error.is_written:
                raise written(number, self.variables) from None
            raise located(number, error, self.variables, self._watched, given) from None
        self.steps += 1
        return float(loss)

    def _checked_batch(self, x: Any, y: Any) -> dict[str, Any]:
        """The batch as graph inputs, built for and checked."""
        inputs = inputs_of(self.model, x)
        if self._program is None:
            self.build(inputs, y)
        assert self.network is not None and self._target is not None
        return batch_inputs(self.network, inputs, y, self._target)

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
        if self._program is None:
            raise GraphError("the step is not built yet.", fix="run it once, or call build(inputs, target).")
        return self._program.listing(batch_size, sizes)

    # State -----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, np.ndarray]:
        """Copies of parameters and of this step's optimizer state, by path."""
        if self.variables is None:
            raise GraphError("the step is not built yet.", fix="run it once, or call build(inputs, target).")
        return {path: self.variables.read(path) for path in self.variables}

    def load_state(self, state: Mapping[str, np.ndarray], steps: int) -> None:
        """Continue from a state and a number of steps done."""
        if self.variables is None:
            raise GraphError("the step is not built yet.", fix="call build(inputs, target) first.")
        expected = set(self.variables)
        if expected != set(state):
            odd = sorted(expected ^ set(state))
            raise ShapeError(
                f"the state does not fit the step: {', '.join(odd[:5])}.",
                fix="use the same model and optimizer.",
            )
        found = {path: fitting_state(path, state[path], self.variables.spec(path)) for path in state}
        for path, array in found.items():
            self.variables.write(path, array)
        self.steps = steps


def compile(
    model: Layer | Network,
    loss: Loss | str,
    optimizer: Optimizer | str,
    *,
    seed: int = 0,
    device: str = "cpu",
) -> TrainStep:
    """A training step for your own loop.

    Args:
        model: a layer; it is built by the first batch, unless it is built already.
        loss: a loss or its name.
        optimizer: an optimizer or its name.
        seed: for the parameters (unless built) and the random streams.
        device: "cpu" or "cuda".

    >>> import numpy as np
    >>> import bigmodel_core as bm
    >>> model = bm.layers.Dense(2)
    >>> step = bm.compile(model, loss="cross_entropy", optimizer=bm.optimizers.SGD(0.1))
    >>> x, y = np.eye(2, dtype="float32"), np.array([0, 1])
    >>> first = step(x, y)
    >>> step(x, y) < first
    True
    """
    return TrainStep(model, loss, optimizer, seed=seed, device=device)
