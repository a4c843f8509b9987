"""`bm.generate`: texts that a language model writes, one token after the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.tokenizer import Tokenizer
from bigmodel_core.errors import GraphError, UsageError
from bigmodel_core.generating.allowed import Allowed
from bigmodel_core.generating.generate import written
from bigmodel_core.generating.writer import Writer
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.model import Model
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.strategy import Strategy
from bigmodel_core.train.checkpoint import load
from bigmodel_core.train.restored import RestoredModel
from bigmodel_core.train.trained_model import TrainedModel


def generate(
    model: Any,
    prompt: Any,
    strategy: Strategy | None = None,
    *,
    max_tokens: int = 100,
    stop: Sequence[int | str] | int | str | None = None,
    allowed: Allowed | Any = None,
    tokenizer: Tokenizer | None = None,
    stream: bool = False,
) -> Any:
    """What a language model writes after a prompt, or after several at once.

    Args:
        model: a model that gives scores (N, T, vocabulary) of the next token for tokens (N, T) and carries
            what it has read in sessions, or has an encoder and a decoder (`bm.encoder_decoder`); a trainer
            with one; or the path of a run or a checkpoint.
        prompt: a text, or tokens (T,), of which -1 is none; or a list of either, which may differ in length.
            An encoder takes it as the source, and what is written is the target.
        strategy: how tokens are chosen: `bm.strategies.Greedy()` if None.
        max_tokens: tokens at most for each prompt; fewer where the model's context is full.
        stop: tokens and texts that end what is written and are no part of it, besides the tokenizer's token
            for the end; an empty list if nothing is to end it. A text may begin and end inside of tokens.
        allowed: which tokens may be chosen: their numbers, or a truth value for each of the vocabulary; or a
            function that is given the tokens written so far and says so of the next.
        tokenizer: makes tokens of texts; that of the model's data if None. That of targets, if another, is
            the data's.
        stream: whether to give an iterator of pieces, for a single prompt: texts that join to the whole, or
            arrays of tokens.

    Returns:
        What comes after the prompt, in its kind: a text, or (n,) int64; a list for a list.

    Raises:
        DataError: a prompt is empty, or has tokens that the model does not know; no token is allowed.
        ShapeError: a prompt is longer than the model's context.
        UsageError: the model writes nothing, or knows no tokenizer and a text was given.
        ConfigError: an option makes no sense, or the tokenizer does not fit the model.

    >>> import bigmodel_core as bm
    >>> model = bm.models.build("char-rnn", classes=5, units=4)
    >>> generate(model, [1, 2, 3], max_tokens=4).shape
    (4,)
    """
    network, encoding, context = _known(model)
    writer = Writer.of(network, prompt, encoding, context, tokenizer)
    return written(writer, strategy, max_tokens, stop, allowed, stream)


def _known(model: Any) -> tuple[Network, Encoding | None, int | None]:
    """The built model, the encoding of the model's data, and how many tokens it can look at."""
    if isinstance(model, (str, Path)):
        model = load(model)
    encoding = None
    if isinstance(model, TrainedModel):
        model, encoding = model.model, model.encoding
    elif isinstance(model, RestoredModel):
        encoding = model.about.encoding
    network = model if isinstance(model, Network) else _built(model)
    layer = network.layer
    if isinstance(layer, RestoredModel):
        fields = (layer.about.config or {}).get("fields") or {}
        return network, encoding or layer.about.encoding, fields.get("context")
    return network, encoding or network.encoding, getattr(layer, "context", None)


def _built(model: Any) -> Network:
    """The network of a layer; a model that says what it takes is built for that, if it was not yet."""
    if not isinstance(model, Layer):
        raise UsageError(
            f"{type(model).__name__} is no model.", fix="pass a model, a trainer, or the path of a run."
        )
    try:
        return model.network
    except GraphError:
        if not isinstance(model, Model):
            raise
        return model.build(*model._input_specs())
