"""Recurrent layers: Elman's network, LSTM and GRU over whole sequences."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

import bigmodel_core as bm
from bigmodel_core import ops
from bigmodel_core.errors import ConfigError, DtypeError, ShapeError

ACTIVATIONS = ("tanh", "relu")


@dataclass(frozen=True)
class _Recurrent(bm.Layer):
    """What the recurrent layers share: layers above each other, directions, lengths and states."""

    units: int
    return_sequences: bool = field(default=True, kw_only=True)
    return_state: bool = field(default=False, kw_only=True)
    layers: int = field(default=1, kw_only=True)
    bidirectional: bool = field(default=False, kw_only=True)
    dropout: float = field(default=0.0, kw_only=True)
    carry: bool = field(default=False, kw_only=True)
    gates: ClassVar[int] = 1
    states: ClassVar[tuple[str, ...]] = ("hidden",)

    def __post_init__(self) -> None:
        bm.check_number(self, "units", whole=True, at_least=1)
        bm.check_number(self, "layers", whole=True, at_least=1)
        bm.check_number(self, "dropout", at_least=0, below=1)
        if self.carry and self.bidirectional:
            raise ConfigError(
                "carry and bidirectional exclude each other: the reverse direction begins at the end, which"
                " has not come yet.",
                where=type(self).__name__,
                fix="leave one of them out.",
            )

    @property
    def cell(self) -> str:
        """The kind of cell, as `ops.recurrent` names it."""
        return type(self).__name__.lower()

    def __call__(self, x: Any, *further: Any) -> Any:
        if x.ndim != 3:
            raise ShapeError(
                f"the input is {bm.format_shape(x.shape)}, expected (N, T, features).",
                fix="give sequences a time axis: x[:, :, None] for one number per step.",
            )
        if not x.spec.is_float:
            raise DtypeError(
                f"the input is {x.dtype}, expected float32 or float64.",
                fix="convert it: x.astype('float32'); for tokens, put an Embedding first.",
            )
        lengths, initial = self._further(x, further)
        if self.carry:
            shape = self._state_shape(x)
            initial = tuple(self.carried(name, shape, x.dtype) for name in self.states)
        h = ops.transpose(x, (1, 0, 2))
        last: list[list[bm.Value]] = []
        directions = (False, True) if self.bidirectional else (False,)
        for number in range(self.layers):
            if number and self.dropout and self.training:
                h = ops.dropout(h, self.dropout)
            outputs = []
            for reverse in directions:
                start = tuple(self._part(state, len(last), x) for state in initial)
                y, states = self._direction(h, number, reverse, lengths, start)
                outputs.append(y)
                last.append(list(states))
            h = outputs[0] if len(outputs) == 1 else ops.concatenate(outputs, 2)
        ends = [self._stacked(list(parts), x) for parts in zip(*last, strict=True)]
        if self.carry:
            for name, end in zip(self.states, ends, strict=True):
                self.assign(name, end)
        if self.return_sequences:
            result = ops.transpose(h, (1, 0, 2))
        else:
            hidden = [states[0] for states in last[-len(directions) :]]
            result = hidden[0] if len(hidden) == 1 else ops.concatenate(hidden, 1)
        return (result, *ends) if self.return_state else result

    def _direction(
        self, x: bm.Value, number: int, reverse: bool, lengths: bm.Value | None, initial: tuple[bm.Value, ...]
    ) -> tuple[bm.Value, tuple[bm.Value, ...]]:
        """One layer in one direction on (T, N, F)."""
        suffix = (f"_{number + 1}" if number else "") + ("_reverse" if reverse else "")
        limit = 1 / math.sqrt(self.units)

        def uniform(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
            return generator.uniform(-limit, limit, shape)

        width = self.gates * self.units
        return ops.recurrent(
            self.cell,
            x,
            self.parameter(f"input_weight{suffix}", (x.shape[-1], width), uniform),
            self.parameter(f"recurrent_weight{suffix}", (self.units, width), uniform),
            self.parameter(f"input_bias{suffix}", (width,), uniform),
            self.parameter(f"recurrent_bias{suffix}", (width,), uniform),
            lengths,
            initial,
            reverse,
        )

    def _further(self, x: bm.Value, further: tuple[Any, ...]) -> tuple[bm.Value | None, tuple[bm.Value, ...]]:
        """Lengths and initial states among the further inputs, told apart by their types."""
        rest = list(further)
        lengths: bm.Value | None = None
        if rest and rest[0].spec.is_integer:
            lengths = ops.cast(rest.pop(0), "int64")
            if lengths.shape != x.shape[:1]:
                raise ShapeError(
                    f"the lengths are {bm.format_shape(lengths.shape)},"
                    f" expected {bm.format_shape(x.shape[:1])}.",
                    fix="give one length for each sequence.",
                )
        if rest and self.carry:
            raise ShapeError(
                "initial states were given to a layer that carries its own.",
                fix="leave them out, or carry=True.",
            )
        if rest and len(rest) != len(self.states):
            raise ShapeError(
                f"{len(rest)} initial states, expected {len(self.states)}.",
                fix="give (x), (x, lengths), or either with all initial states after it.",
            )
        for state in rest:
            if state.shape != self._state_shape(x) or state.dtype != x.dtype:
                raise ShapeError(
                    f"an initial state is {bm.format_shape(state.shape)} {state.dtype}, expected"
                    f" {bm.format_shape(self._state_shape(x))} {x.dtype}.",
                    fix="give one state for each sequence, layer and direction.",
                )
        return lengths, tuple(rest)

    @property
    def _runs(self) -> int:
        return self.layers * (2 if self.bidirectional else 1)

    def _state_shape(self, x: bm.Value) -> bm.Shape:
        return (x.shape[0], self.units) if self._runs == 1 else (x.shape[0], self._runs, self.units)

    def _part(self, state: bm.Value, number: int, x: bm.Value) -> bm.Value:
        return state if self._runs == 1 else state[:, number]

    def _stacked(self, states: list[bm.Value], x: bm.Value) -> bm.Value:
        if self._runs == 1:
            return states[0]
        single = (x.shape[0], 1, self.units)
        return ops.concatenate([ops.reshape(state, single) for state in states], 1)


@dataclass(frozen=True)
class RNN(_Recurrent):
    """Elman's recurrent network (1990): h = activation(x W + h R + biases), step by step.

    (N, T, features) becomes (N, T, units), or (N, units) without `return_sequences`; twice as wide if
    bidirectional. Further inputs are optional: lengths (N,), integers, and an initial state (N, units);
    with several layers or directions (N, layers * directions, units). Steps from a row's length on count for
    nothing: the output is zero there, and the last step is the row's own.

    Parameters: `input_weight` (features, units), `recurrent_weight` (units, units), `input_bias` and
    `recurrent_bias` (units,); those of further layers end in `_2`, `_3`, those of the reverse direction in
    `_reverse`.

    Args:
        units: the width of the state.
        activation: "tanh" or "relu".
        return_sequences: whether the states of all steps are the output; else that of the last step.
        return_state: whether the last states are a second output, shaped as the initial ones.
        layers: how many layers are stacked.
        bidirectional: whether each layer also runs from the end to the start.
        dropout: in training, the probability of zeroing numbers between layers.
        carry: whether calls of a session (`model.session()`) begin with the states that the last one ended
            with; called otherwise, each sequence begins anew.

    Raises:
        ConfigError: a field is out of its limits.
        ShapeError: the input is not (N, T, features), or lengths or states do not fit it.
        DataError: at run time, a length is below 0 or above T.

    >>> import bigmodel_core as bm
    >>> RNN(10)(bm.Spec(("N", "T", 3)))
    Spec((N, T, 10), float32)
    """

    activation: Literal["tanh", "relu"] = "tanh"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation not in ACTIVATIONS:
            raise ConfigError(
                f"activation is {self.activation!r}.",
                where="RNN",
                fix=f"use one of {', '.join(ACTIVATIONS)}.",
            )

    @property
    def cell(self) -> str:
        return self.activation


@dataclass(frozen=True)
class LSTM(_Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; forget gate after Gers et al., 2000).

    Inputs and outputs as for `RNN`, but there are two states: initial states are given as two inputs, hidden
    and cell, and `return_state` gives both. Gates are in the order input, forget, cell, output.

    Parameters: `input_weight` (features, 4 * units), `recurrent_weight` (units, 4 * units), `input_bias` and
    `recurrent_bias` (4 * units,), with the endings that `RNN` has.

    Args:
        units: the width of the state.
        return_sequences: whether the states of all steps are the output; else that of the last step.
        return_state: whether the last hidden and cell states are further outputs.
        layers: how many layers are stacked.
        bidirectional: whether each layer also runs from the end to the start.
        dropout: in training, the probability of zeroing numbers between layers.
        carry: whether calls of a session (`model.session()`) begin with the states that the last one ended
            with; called otherwise, each sequence begins anew.

    Raises:
        ConfigError: a field is out of its limits.
        ShapeError: the input is not (N, T, features), or lengths or states do not fit it.
        DataError: at run time, a length is below 0 or above T.

    >>> import bigmodel_core as bm
    >>> LSTM(10, return_sequences=False, bidirectional=True)(bm.Spec(("N", 5, 3)))
    Spec((N, 20), float32)
    """

    gates: ClassVar[int] = 4
    states: ClassVar[tuple[str, ...]] = ("hidden", "cell")


@dataclass(frozen=True)
class GRU(_Recurrent):
    """The gated recurrent unit (Cho et al., 2014), with the reset gate applied after the matrix product.

    Inputs and outputs as for `RNN`. Gates are in the order reset, update, new.

    Parameters: `input_weight` (features, 3 * units), `recurrent_weight` (units, 3 * units), `input_bias` and
    `recurrent_bias` (3 * units,), with the endings that `RNN` has.

    Args:
        units: the width of the state.
        return_sequences: whether the states of all steps are the output; else that of the last step.
        return_state: whether the last states are a second output.
        layers: how many layers are stacked.
        bidirectional: whether each layer also runs from the end to the start.
        dropout: in training, the probability of zeroing numbers between layers.
        carry: whether calls of a session (`model.session()`) begin with the states that the last one ended
            with; called otherwise, each sequence begins anew.

    Raises:
        ConfigError: a field is out of its limits.
        ShapeError: the input is not (N, T, features), or lengths or states do not fit it.
        DataError: at run time, a length is below 0 or above T.

    >>> import bigmodel_core as bm
    >>> GRU(8, layers=2)(bm.Spec(("N", 5, 3)))
    Spec((N, 5, 8), float32)
    """

    gates: ClassVar[int] = 3
