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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.graph.spec import dim_add
from bigmodel_core.nn.network import Network
from bigmodel_core.ops.carried import PAST, growing_axis

IDS, MASK, SCORES = "input_ids", "attention_mask", "logits"
KEY = "mask"
"""The entry of a file's metadata that says which input is a mask, and of which."""

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class DecoderForm:
    """What of a model becomes which input and output of the file.

    Args:
        tokens: the model's input.
        count: the state that says how many tokens there were, by path.
        shown: the state that says which steps held one.
        names: of the states with keys and values, what they are called behind "past_key_values.".
    """

    tokens: str
    count: str
    shown: str
    names: Mapping[str, str]

    @classmethod
    def of(cls, network: Network) -> DecoderForm | None:
        """The form of a model; None if it is no causal model of tokens, or carries something else."""
        trace = network.trace(training=False)
        specs = {path: value.spec for path, value in trace.carried.items()}
        shown = [path for path, spec in specs.items() if spec.dtype == "bool" and growing_axis(spec) == 3]
        count = [path for path, spec in specs.items() if spec.dtype == "int64" and spec.ndim == 1]
        grown = [path for path, spec in specs.items() if spec.is_float and growing_axis(spec) == 2]
        layers = list(dict.fromkeys(path.rpartition("/")[0] for path in grown))
        pairs = [f"{layer}/{part}" for layer in layers for part in ("keys", "values")]
        if len(trace.inputs) != 1 or len(trace.outputs) != 1 or len(shown) != 1 or len(count) != 1:
            return None
        if trace.inputs[0].ndim != 2 or trace.inputs[0].dtype != "int64" or trace.outputs[0].ndim != 3:
            return None
        if len(specs) != len(pairs) + 2 or set(pairs) != set(grown):
            return None
        names = [f"{number}.{part}" for number in range(len(layers)) for part in ("key", "value")]
        return cls(network.input_names[0], count[0], shown[0], dict(zip(pairs, names, strict=True)))

    @property
    def past(self) -> dict[str, str]:
        """The inputs that are states, by path."""
        return {path: f"past_key_values.{name}" for path, name in self.names.items()}

    @property
    def present(self) -> dict[str, str]:
        """The outputs that are these states for the next call, by path."""
        return {path: f"present.{name}" for path, name in self.names.items()}

    def taken(self) -> list[str]:
        """All names that it needs."""
        return [IDS, MASK, SCORES, *self.past.values(), *self.present.values()]

    def write(self, emitter: Any, network: Network) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
        """Write the inputs, and the nodes between them and the model.

        Returns:
            The values that stand for the model's inputs by name, for its states by path, and for those with
            what this call appends.
        """
        trace = network.trace(training=False)
        (tokens,), carried = trace.inputs, trace.carried
        batch, steps = tokens.shape
        ids = emitter.port(IDS, "int64", (batch, steps))
        mask = emitter.port(MASK, "int64", (batch, dim_add(PAST, steps)))
        states = {
            path: emitter.port(name, carried[path].dtype, carried[path].shape)
            for path, name in self.past.items()
        }
        emitter.path = "tokens"
        zero = emitter.const(0, "int64")
        own = emitter.slice(mask, 1, PAST, steps)
        total, new = (emitter.reduce("ReduceSum", part, (1,), False) for part in (mask, own))
        states[self.count] = emitter.Sub(total, new)
        there = emitter.Greater(own, zero)
        found = emitter.Where(there, ids, emitter.const(-1, "int64"))
        shown = trace.carried_updates[self.shown]
        seen = emitter.reshape(emitter.Greater(mask, zero), shown.shape)
        states[self.shown] = seen  # which only the appended value reads, and that is given
        for name, value in ((found, tokens), (seen, shown), (states[self.count], carried[self.count])):
            emitter.specs[name] = value.spec
        return {self.tokens: found}, states, {self.shown: seen}

    def inputs(self, given: Arrays, states: Arrays) -> dict[str, np.ndarray]:
        """The inputs of the file for those of the model and what it carries."""
        tokens = np.asarray(given[self.tokens])
        shown = np.concatenate([states[self.shown][:, 0, 0], tokens >= 0], 1)
        past = {name: states[path] for path, name in self.past.items()}
        return {IDS: np.maximum(tokens, 0), MASK: shown.astype(np.int64), **past}

    def described(self) -> dict[str, str]:
        """The metadata that say what is carried, and which input is a mask."""
        carried = {name: {"output": self.present[path], "initial": 0} for path, name in self.past.items()}
        return {"carried": json.dumps(carried, sort_keys=True), KEY: json.dumps({MASK: IDS})}


def masks(metadata: Mapping[str, Any], inputs: Sequence[str]) -> dict[str, str]:
    """The inputs of a file that are masks, each with the input whose tokens it shows."""
    entry = metadata.get(KEY)
    if not isinstance(entry, dict):
        return {}
    return {mask: ids for mask, ids in entry.items() if mask in inputs and ids in inputs}
