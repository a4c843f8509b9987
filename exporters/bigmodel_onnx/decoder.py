"""Causal models of tokens as files with the inputs and outputs that Optimum gives to decoders.

| input | what it is |
| --- | --- |
| `input_ids` | (N, T) int64, the tokens |
| `attention_mask` | (N, past + T) int64, 1 where there is a token, of earlier calls, too |
| `past_key_values.0.key`, `.value` | (N, heads, past, width) of each layer; `past` is 0 in the first call |

Outputs are `logits` and `present.0.key`, `present.0.value`, ..., the past of the next call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.graph.spec import dim_add
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.trace import Trace
from bigmodel_core.ops.carried import PAST, growing_axis
from bigmodel_onnx.forms import IDS, MASK, MASKS, SCORES, Arrays, Form, Written, shown, with_none


@dataclass(frozen=True)
class Remembered:
    """What a decoder carries from call to call.

    Args:
        count: the state that says how many tokens there were, by path.
        shown: the state that says which steps held one.
        pairs: of each layer, the states with its keys and its values.
    """

    count: str
    shown: str
    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, trace: Trace) -> Remembered | None:
        """What a model carries; None if it carries something else."""
        specs = {path: value.spec for path, value in trace.carried.items()}
        shown = [path for path, spec in specs.items() if spec.dtype == "bool" and growing_axis(spec) == 3]
        count = [path for path, spec in specs.items() if spec.dtype == "int64" and spec.ndim == 1]
        grown = [path for path, spec in specs.items() if spec.is_float and growing_axis(spec) == 2]
        layers = dict.fromkeys(path.rpartition("/")[0] for path in grown)
        pairs = tuple((f"{layer}/keys", f"{layer}/values") for layer in layers)
        whole = {*count, *shown, *(path for pair in pairs for path in pair)}
        if len(shown) != 1 or len(count) != 1 or whole != set(specs):
            return None
        return cls(count[0], shown[0], pairs)

    def named(self, form: str) -> dict[str, str]:
        """The states with keys and values, by path, each with a name made of number and part."""
        return {
            path: form.format(number, part)
            for number, pair in enumerate(self.pairs)
            for path, part in zip(pair, ("key", "value"), strict=True)
        }


class DecoderForm(Form):
    """The form of a causal model of tokens.

    Args:
        network: the model.
        remembered: what it carries.
    """

    def __init__(self, network: Network, remembered: Remembered) -> None:
        super().__init__(network)
        self.remembered = remembered

    @classmethod
    def of(cls, network: Network) -> DecoderForm | None:
        """The form of a model; None if it is no causal model of tokens, or carries something else."""
        trace = network.trace(training=False)
        remembered = Remembered.of(trace)
        if remembered is None or len(trace.inputs) != 1 or len(trace.outputs) != 1:
            return None
        if trace.inputs[0].ndim != 2 or trace.inputs[0].dtype != "int64" or trace.outputs[0].ndim != 3:
            return None
        return cls(network, remembered)

    @property
    def outputs(self) -> list[str]:
        return [SCORES]

    @property
    def past(self) -> dict[str, str]:
        return self.remembered.named("past_key_values.{}.{}")

    @property
    def present(self) -> dict[str, str]:
        return self.remembered.named("present.{}.{}")

    @property
    def taken(self) -> set[str]:
        return {IDS, MASK, *self.past.values()}

    def write(self, emitter: Any) -> Written:
        trace, count, seen = self.trace, self.remembered.count, self.remembered.shown
        (tokens,) = trace.inputs
        batch, steps = tokens.shape
        ids = emitter.port(IDS, "int64", (batch, steps))
        mask = emitter.port(MASK, "int64", (batch, dim_add(PAST, steps)))
        states = self.write_states(emitter)
        emitter.path = "tokens"
        own = emitter.slice(mask, 1, PAST, steps)
        total, new = (emitter.reduce("ReduceSum", part, (1,), False) for part in (mask, own))
        states[count] = emitter.Sub(total, new)
        found = shown(emitter, ids, own)
        following = trace.carried_updates[seen]
        there = emitter.Greater(mask, emitter.const(0, "int64"))
        states[seen] = emitter.reshape(there, following.shape)  # which only what is given below reads
        emitter.specs |= {
            found: tokens.spec,
            states[seen]: following.spec,
            states[count]: trace.carried[count].spec,
        }
        return Written({self.network.input_names[0]: found}, states, {seen: states[seen]})

    def inputs(self, given: Arrays, states: Arrays) -> dict[str, np.ndarray]:
        tokens = np.asarray(given[self.network.input_names[0]])
        seen = np.concatenate([states[self.remembered.shown][:, 0, 0], tokens >= 0], 1)
        past = {name: states[path] for path, name in self.past.items()}
        return {IDS: np.maximum(tokens, 0), MASK: seen.astype(np.int64), **past}

    def drawn(self, given: Arrays) -> Arrays:
        return {name: with_none(array, in_front=True) for name, array in given.items()}

    def described(self) -> dict[str, str]:
        return {"carried": carried(self.past, self.present), MASKS: json.dumps({MASK: IDS})}


def carried(past: Mapping[str, str], present: Mapping[str, str]) -> str:
    """The entry of metadata about states that begin with nothing, or 0."""
    entries = {name: {"output": present[path], "initial": 0} for path, name in past.items()}
    return json.dumps(entries, sort_keys=True)
