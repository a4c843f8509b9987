"""The halves of a model that writes a target text for a source text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bigmodel_core.errors import GraphError
from bigmodel_core.graph.spec import Spec
from bigmodel_core.nn.layer import GraphPart, Layer
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.parameters import KnownInputs
from bigmodel_core.nn.parts import known_parts


def encoder_decoder(model: Any) -> tuple[Layer, Layer]:
    """The encoder and the decoder of a built or loaded model, the parts "encoder" and "decoder", each as a
    model for any sizes, with the same parameters.

    The encoder takes source tokens (N, S), the decoder target tokens (N, T) and, behind them, all that the
    encoder gives. In a session, which has that as `fixed`, the decoder reads the target piece by piece.

    Args:
        model: such as `transformer` and `seq2seq-gru`.

    Raises:
        UnknownNameError: it has no part of these names.
        GraphError: it is not built.

    ```python
    model = bm.models.build("transformer", vocabulary=50, target_vocabulary=40)
    model.build(*model.input_spec())
    encoder, decoder = bm.encoder_decoder(model)
    memory = encoder(np.array([[7, 3, 9]]))
    session = decoder.session(fixed=memory)
    token = np.array([[1]])
    for _ in range(5):
        token = session(token).argmax(-1)
    ```
    """
    try:
        network: Network = model.network
    except GraphError:
        return _halves(model)  # which says that it is not built
    found: tuple[Layer, Layer] = network.made_once("halves", lambda: _halves(model))
    return found


def has_halves(network: Network) -> bool:
    """Whether a model has parts "encoder" and "decoder"."""
    return {"encoder", "decoder"} <= known_parts(network)


def _halves(model: Any) -> tuple[Layer, Layer]:
    encoder, decoder = model.part("encoder"), model.part("decoder")
    if isinstance(encoder, GraphPart) and isinstance(decoder, GraphPart):
        _join(encoder, decoder)
    encoder.build(Spec(("N", "S"), "int64"))
    decoder.build(Spec(("N", "T"), "int64"), *encoder.network.outputs)
    return encoder, decoder


def _join(encoder: GraphPart, decoder: GraphPart) -> None:
    """Let the decoder of a loaded model, whose inputs have no order of their own, take the target first, then
    what the encoder gives as it gives it."""
    parts = {}
    for training, part in decoder.of.subgraphs.items():
        given = encoder.of.subgraphs[training].outputs
        known = {id(value) for value in given}
        own = [value for value in part.inputs if id(value) not in known]
        parts[training] = replace(part, inputs=(*own, *given))
    object.__setattr__(decoder, "of", replace(decoder.of, subgraphs=parts))
    object.__setattr__(decoder, "_known_inputs", KnownInputs.met(parts[False].inputs))
