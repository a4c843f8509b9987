"""What a file has as inputs and outputs in place of those of the model, and of what the model carries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from bigmodel_core.nn.network import Network
from bigmodel_core.nn.trace import Trace
from bigmodel_onnx.carried import described, next_name

Arrays = Mapping[str, np.ndarray]

IDS, MASK, KINDS = "input_ids", "attention_mask", "token_type_ids"
SCORES = "logits"
MASKS, ENCODER = "mask", "encoder"
"""The entries of a file's metadata that say which input is a mask, and of which; and which file beside that
of a decoder is that of its encoder."""


class Written(NamedTuple):
    """What stands for what in a file.

    Args:
        inputs: the values that stand for the model's inputs, by name.
        states: the same for what it carries, by path.
        grown: the same for states that grow, with what this call appends, by path.
    """

    inputs: dict[str, str]
    states: dict[str, str]
    grown: dict[str, str]


class Form:
    """The plain form: inputs and outputs as the model calls them, states by their paths.

    Args:
        network: the model.
    """

    def __init__(self, network: Network) -> None:
        self.network = network

    @cached_property
    def trace(self) -> Trace:
        """The model in inference."""
        return self.network.trace(training=False)

    @property
    def outputs(self) -> list[str]:
        """The names of the model's outputs."""
        names = self.network.output_names
        return [f"{name}_output" if name in self.taken else name for name in names]

    @property
    def past(self) -> dict[str, str]:
        """The inputs that are states, by path."""
        return {path: path for path in self.trace.carried}

    @property
    def present(self) -> dict[str, str]:
        """The outputs that are these states for the next call, by path."""
        return {path: next_name(path) for path in self.trace.carried}

    @property
    def taken(self) -> set[str]:
        """The names of inputs."""
        return {*self.network.input_names, *self.past.values()}

    def write(self, emitter: Any) -> Written:
        """Write the inputs, and nodes between them and the model."""
        inputs = {
            name: emitter.port(name, spec.dtype, spec.shape)
            for name, spec in zip(self.network.input_names, self.network.inputs, strict=True)
        }
        return Written(inputs, self.write_states(emitter), {})

    def write_states(self, emitter: Any) -> dict[str, str]:
        """The inputs that are states."""
        specs = {path: self.trace.carried[path].spec for path in self.past}
        return {
            path: emitter.port(name, specs[path].dtype, specs[path].shape) for path, name in self.past.items()
        }

    def inputs(self, given: Arrays, states: Arrays) -> dict[str, np.ndarray]:
        """The inputs of the file for those of the model and what it carries."""
        return {**given, **{name: states[path] for path, name in self.past.items()}}

    def drawn(self, given: Arrays) -> Arrays:
        """Inputs of the model that show what the form does, made of drawn ones."""
        return given

    def described(self) -> dict[str, str]:
        """Metadata: what is carried, and which input is a mask."""
        return described(self.network)


def is_tokens(network: Network, name: str) -> bool:
    """Whether an input is tokens (N, T), where -1 is none: the model asks where they are below 0."""
    place = network.input_names.index(name)
    value = network.trace(training=False).inputs[place]
    if value.ndim != 2 or value.dtype != "int64" or not all(isinstance(dim, str) for dim in value.shape):
        return False
    nodes = value.node.graph.nodes
    return any(_meets_none(node) for node in nodes if any(item is value for item in node.inputs))


def _meets_none(node: Any) -> bool:
    return type(node.op).__name__ == "GreaterEqual" or getattr(node.op, "padded", False)


def shown(emitter: Any, ids: str, mask: str) -> str:
    """The tokens of a model: -1 where the mask has 0."""
    there = emitter.Greater(mask, emitter.const(0, "int64"))
    return str(emitter.Where(there, ids, emitter.const(-1, "int64")))


class TokensForm(Form):
    """Models of tokens (N, T) in the names of Optimum: `input_ids`, `attention_mask` (1 where there is a
    token), and `token_type_ids` where the model takes segments, too; a single output is `logits`."""

    @classmethod
    def of(cls, network: Network) -> TokensForm | None:
        """The form of a model; None if it takes something else, or carries state."""
        names, specs = network.input_names, network.inputs
        if network.trace(training=False).carried or len(names) > 2:
            return None
        fits = len(set(specs)) == 1 and all(is_tokens(network, name) for name in names)
        return cls(network) if fits else None

    @property
    def outputs(self) -> list[str]:
        names = super().outputs
        return [SCORES] if names == ["y"] else names

    @property
    def taken(self) -> set[str]:
        return {IDS, MASK, KINDS}

    def write(self, emitter: Any) -> Written:
        ports = [IDS, KINDS][: len(self.network.inputs)]
        shape = self.network.inputs[0].shape
        ids, mask, *kinds = (emitter.port(name, "int64", shape) for name in (IDS, MASK, *ports[1:]))
        emitter.path = "tokens"
        values = [shown(emitter, x, mask) for x in (ids, *kinds)]
        emitter.specs.update(zip(values, self.network.inputs, strict=True))
        return Written(dict(zip(self.network.input_names, values, strict=True)), {}, {})

    def inputs(self, given: Arrays, states: Arrays) -> dict[str, np.ndarray]:
        tokens, *segments = (np.asarray(given[name]) for name in self.network.input_names)
        found = {IDS: np.maximum(tokens, 0), MASK: (tokens >= 0).astype(np.int64)}
        return found | dict(zip([KINDS], (np.maximum(x, 0) for x in segments), strict=False))

    def drawn(self, given: Arrays) -> Arrays:
        return {name: with_none(array) for name, array in given.items()}

    def described(self) -> dict[str, str]:
        return {MASKS: json.dumps({MASK: IDS})}


def with_none(tokens: np.ndarray, *, in_front: bool = False) -> np.ndarray:
    """Tokens (N, T) of which the second row has two less, and -1 instead."""
    found = tokens.copy()
    if len(found) > 1 and found.shape[1] > 2:
        found[1, slice(None, 2) if in_front else slice(-2, None)] = -1
    return found


def masks(metadata: Mapping[str, Any], inputs: Sequence[str]) -> dict[str, str]:
    """The inputs of a file that are masks, each with the input whose tokens it shows."""
    entry = metadata.get(MASKS)
    if not isinstance(entry, dict):
        return {}
    return {mask: ids for mask, ids in entry.items() if mask in inputs and ids in inputs}
