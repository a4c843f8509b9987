"""Models that write a target for a source as two files: an encoder, and a decoder that is called for each
token.

The encoder takes `input_ids` and `attention_mask` (N, S), the source. It gives what the decoder computes of
the source alone, such as `past_key_values.0.encoder.key`. The decoder takes these by the same names,
`input_ids` (N, T), the target, and what it carries, `past_key_values.0.decoder.key` and so on. It gives
`logits` and `present.0.decoder.key` and so on.

Each node goes into the encoder if it depends on the source alone, else into the decoder. So nothing is
computed anew for each token, and one decoder serves the first call, where the past is empty, and all others.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bigmodel_core.graph.spec import dim_add
from bigmodel_core.nn.network import Network
from bigmodel_core.ops.carried import PAST
from bigmodel_onnx.decoder import DecoderForm, Remembered, carried
from bigmodel_onnx.emit import Emitter
from bigmodel_onnx.forms import (
    IDS,
    MASK,
    SCORES,
    Arrays,
    Form,
    TokensForm,
    Written,
    is_tokens,
    shown,
    with_none,
)
from bigmodel_onnx.operations import Operation, Port

if TYPE_CHECKING:
    from bigmodel_core.data.encoding import Encoding
    from bigmodel_core.data.tokenizer import Tokenizer

SOURCE, SOURCE_MASK, TARGET = "source_ids", "source_mask", "target_ids"
"""The inputs of both halves together."""


class PairForm(Form):
    """The form of a model of source and target, both halves together.

    Args:
        network: the model.
    """

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.remembered = Remembered.of(self.trace)

    @classmethod
    def of(cls, network: Network) -> PairForm | None:
        """The form of a model; None if it takes something else, or carries no state."""
        trace = network.trace(training=False)
        if len(trace.inputs) != 2 or len(trace.outputs) != 1 or not trace.carried:
            return None
        source, target = (value.shape for value in trace.inputs)
        fits = all(is_tokens(network, name) for name in network.input_names) and trace.outputs[0].ndim == 3
        return cls(network) if fits and source[0] == target[0] and source[1] != target[1] else None

    @property
    def outputs(self) -> list[str]:
        return [SCORES]

    @property
    def past(self) -> dict[str, str]:
        if self.remembered is None:
            return super().past
        return self.remembered.named("past_key_values.{}.decoder.{}")

    @property
    def present(self) -> dict[str, str]:
        if self.remembered is None:
            return super().present
        return self.remembered.named("present.{}.decoder.{}")

    @property
    def taken(self) -> set[str]:
        return {SOURCE, SOURCE_MASK, TARGET, IDS, MASK, *self.past.values()}

    def write(self, emitter: Any) -> Written:
        source, target = self.trace.inputs
        ids, mask = (emitter.port(name, "int64", source.shape) for name in (SOURCE, SOURCE_MASK))
        written = emitter.port(TARGET, "int64", target.shape)
        states = self.write_states(emitter)
        emitter.path = "tokens"
        found = shown(emitter, ids, mask)
        emitter.specs[found] = source.spec
        inputs = dict(zip(self.network.input_names, (found, written), strict=True))
        return Written(inputs, states, self._all_shown(emitter, target, states))

    def _all_shown(self, emitter: Any, target: Any, states: dict[str, str]) -> dict[str, str]:
        """Targets are as long as each other: all steps hold a token, and as many as the past has."""
        if self.remembered is None:
            return {}
        count, seen = self.remembered.count, self.remembered.shown
        batch = emitter.extent(TARGET, 0)
        states[count] = emitter.Expand(emitter.dimension(PAST), batch)
        steps = emitter.dimension(dim_add(PAST, target.shape[1]))
        whole = emitter.Concat(batch, emitter.ints((1, 1)), steps, axis=0)
        following = self.trace.carried_updates[seen]
        states[seen] = emitter.Expand(emitter.const(True, "bool"), whole)
        emitter.specs |= {states[seen]: following.spec, states[count]: self.trace.carried[count].spec}
        return {seen: states[seen]}

    def inputs(self, given: Arrays, states: Arrays) -> dict[str, np.ndarray]:
        source, target = (np.asarray(given[name]) for name in self.network.input_names)
        found = {SOURCE: np.maximum(source, 0), SOURCE_MASK: (source >= 0).astype(np.int64), TARGET: target}
        return {**found, **{name: states[path] for path, name in self.past.items()}}

    def drawn(self, given: Arrays) -> Arrays:
        source = self.network.input_names[0]
        return {**given, source: with_none(given[source])}

    def described(self) -> dict[str, str]:
        if self.remembered is None:
            return super().described()
        return {"carried": carried(self.past, self.present)}


@dataclass(frozen=True)
class Halves:
    """The two files, still unwritten."""

    encoder: Emitter
    decoder: Emitter

    @classmethod
    def of(cls, whole: Emitter) -> Halves:
        """Those of a finished file of both."""
        early, late = _sorted(whole)
        late, between = _bridges(early, late)
        specs = {name: whole.spec(name) for name in between}
        names = _names(between, specs, late)
        bridge = [Port(name, specs[key].dtype, specs[key].shape) for key, name in names.items()]
        ports = {port.name: port for port in whole.ports}
        sources = [Port(name, ports[key].dtype, ports[key].shape) for key, name in _SOURCES.items()]
        targets = [Port(IDS, ports[TARGET].dtype, ports[TARGET].shape)]
        states = [port for port in whole.ports if port.name not in {*_SOURCES, TARGET}]
        return cls(
            _half(whole, early, sources, bridge, {**_SOURCES, **names}),
            _half(whole, late, [*targets, *bridge, *states], whole.results, {TARGET: IDS, **names}),
        )


_SOURCES = {SOURCE: IDS, SOURCE_MASK: MASK}


def _sorted(whole: Emitter) -> tuple[list[Operation], list[Operation]]:
    """The nodes that depend on the source alone, and the others; what depends on no input is in both."""
    later = {port.name for port in whole.ports} - {*_SOURCES}
    early, late, fixed = [], [], {*whole.weights}
    results = {port.name for port in whole.results}
    for operation in whole.operations:
        reads = set(operation.reads()) - {""}
        if reads <= fixed:
            fixed.update(operation.outputs)
        if reads & later or results & {*operation.outputs}:
            later.update(operation.outputs)
            late.append(operation)
        else:
            early.append(operation)
            if reads <= fixed:
                late.append(operation)
    return early, late


def _bridges(early: list[Operation], late: list[Operation]) -> tuple[list[Operation], list[str]]:
    """The decoder's nodes, and what they read of the encoder. A transposed matrix is transposed where it is
    multiplied, which runtimes do in one, and the number of samples is read from the target."""
    both = set(map(id, late))
    made = {name: node for node in early if id(node) not in both for name in node.outputs}
    nodes: list[Operation] = []
    moved: dict[str, Operation] = {}
    between: dict[str, None] = {}

    def read(name: str) -> None:
        operation = made.get(name)
        if operation is None or name in moved:
            return
        if operation.operator == "Transpose" and _swaps_last(operation.attributes.get("perm", ())):
            read(operation.inputs[0])
        elif operation.operator == "Shape" and operation.attributes.get("end") == 1:
            operation = Operation("Shape", name, [TARGET], [name], operation.attributes)
        else:
            between[name] = None
            return
        moved[name] = operation
        nodes.append(operation)

    for operation in late:
        for name in operation.reads():
            read(name)
        nodes.append(operation)
    return nodes, list(between)


def _swaps_last(order: Iterable[int]) -> bool:
    order = list(order)
    return order == [*range(len(order) - 2), len(order) - 1, len(order) - 2]


def _names(between: list[str], specs: Mapping[str, Any], late: list[Operation]) -> dict[str, str]:
    """What the encoder's outputs are called: two that go into the same attention are its keys and values."""
    heads = [name for name in between if specs[name].is_float and specs[name].ndim == 4]
    places: dict[str, list[str]] = {}
    for operation in late:
        for name in operation.reads():
            if name in heads:
                places.setdefault(operation.name.rpartition("/")[0], []).append(name)
    pairs = [found for found in places.values() if len(found) == 2]
    names = {
        name: f"past_key_values.{number}.encoder.{part}"
        for number, pair in enumerate(pairs)
        for name, part in zip(pair, ("key", "value"), strict=True)
    }
    others = (name for name in between if name not in names)
    return names | {name: f"memory.{number}" for number, name in enumerate(others)}


def _half(
    whole: Emitter,
    operations: list[Operation],
    ports: list[Port],
    results: list[Port],
    names: Mapping[str, str],
) -> Emitter:
    """A file of some nodes, where values have other names."""
    found = copy.copy(whole)
    found.ports, found.results = ports, list(results)
    found.operations = copy.deepcopy(operations)
    for operation in found.operations:
        operation.rename(names)
    found.specs = {names.get(name, name): spec for name, spec in whole.specs.items()}
    found.drop_unneeded({port.name for port in results})
    return found


def form_of(network: Network) -> Form:
    """The inputs and outputs that a file has for a model."""
    return DecoderForm.of(network) or PairForm.of(network) or TokensForm.of(network) or Form(network)


def encoder_name(decoder: str) -> str:
    """What the file of an encoder is called: `encoder_model.onnx` beside that of `model.onnx`."""
    return f"encoder_{decoder.removeprefix('decoder_')}"


def tokenizers(stem: str, known: Encoding) -> dict[str, Tokenizer]:
    """The files of tokenizers beside a model's, by name."""
    found = {}
    if known.tokenizer is not None:
        found[f"{stem}.tokenizer.json"] = known.tokenizer
    if known.target_tokenizer is not None and known.target_tokenizer != known.tokenizer:
        found[f"{stem}.target_tokenizer.json"] = known.target_tokenizer
    return found
