"""Models that write: language models, and the decoders of models that write a target for a source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.tokenizer import Tokenizer
from bigmodel_core.errors import ConfigError, ShapeError, UsageError
from bigmodel_core.generating.prompts import Prompts, padded
from bigmodel_core.graph.spec import format_shape
from bigmodel_core.nn.encoder_decoder import encoder_decoder, has_halves
from bigmodel_core.nn.network import Network


@dataclass(frozen=True, eq=False)
class WritingModel:
    """A built model, and what is known of it.

    Args:
        network: the model.
        encoding: of the data that it learned from.
        context: how many tokens it can look at, if it says so.
    """

    network: Network
    encoding: Encoding | None = None
    context: int | None = None


@dataclass(frozen=True, eq=False)
class Writer:
    """What writes after some prompts.

    Args:
        network: scores the token that comes next, and carries what it has read in sessions.
        prompts: what it reads first.
        tokenizer: of what it writes; None where only tokens are known.
        size: how many tokens it scores.
        context: how many tokens it can look at, if it says so.
        memory: what an encoder made of the sources, which it takes behind the tokens.
    """

    network: Network
    prompts: Prompts
    tokenizer: Tokenizer | None
    size: int
    context: int | None
    memory: tuple[np.ndarray, ...] = ()

    @classmethod
    def of(cls, model: WritingModel, prompt: Any, tokenizer: Tokenizer | None) -> Writer:
        """That of the arguments of `generate`.

        Raises:
            DataError, ShapeError, UsageError, ConfigError: as `generate` says.
        """
        network, encoding, context = model.network, model.encoding, model.context
        own = None if encoding is None else encoding.tokenizer
        if has_halves(network):
            other = None if encoding is None else encoding.target_tokenizer
            return cls._of_target(network, Prompts.of(prompt, tokenizer or own), other or tokenizer or own)
        size = _vocabulary(network)
        _check_fits(tokenizer or own, size)
        prompts = Prompts.of(prompt, tokenizer or own)
        prompts.check(size)
        longest = max(map(len, prompts.tokens))
        if context is not None and longest > context:
            raise ShapeError(
                f"the prompt has {longest:,} tokens, but the model's context is {context:,}.",
                fix="shorten it, or train a model with a larger context.",
            )
        return cls(network, prompts, tokenizer or own, size, context)

    @classmethod
    def _of_target(cls, network: Network, sources: Prompts, tokenizer: Tokenizer | None) -> Writer:
        """That of the target of each source, which begins with the tokenizer's start."""
        encoder, decoder = encoder_decoder(network.layer)
        memory = encoder(padded(sources.tokens))
        memory = memory if isinstance(memory, tuple) else (memory,)
        size = _vocabulary(decoder.network, more=len(memory))
        if tokenizer is None:
            raise UsageError("the model has no tokenizer of targets, and no start.", fix="pass tokenizer=...")
        _check_fits(tokenizer, size)
        start = np.array([tokenizer.special("start")], np.int64)
        prompts = Prompts([start] * len(sources.tokens), sources.are_texts, sources.is_single)
        return cls(decoder.network, prompts, tokenizer, size, None, memory)

    def limits(self, most: int) -> list[int]:
        """How many tokens may follow each prompt, `most` or fewer: the last one is not read."""
        if self.context is None:
            return [most] * len(self.prompts.tokens)
        return [min(most, self.context - len(row) + 1) for row in self.prompts.tokens]


def writes(network: Network) -> bool:
    """Whether a model can be asked to write texts."""
    try:
        return has_halves(network) or _vocabulary(network) > 0
    except UsageError:
        return False


def _vocabulary(network: Network, more: int = 0) -> int:
    """How many tokens a model scores, which takes so many arrays behind its tokens.

    Raises:
        UsageError: it does not give scores of the next token, or carries nothing from call to call.
    """
    inputs, outputs = network.inputs, network.outputs
    size = outputs[0].shape[-1] if outputs[0].ndim == 3 else None
    is_causal = (
        len(inputs) == 1 + more
        and len(outputs) == 1
        and inputs[0].is_integer
        and inputs[0].ndim == 2
        and inputs[0].shape[1] == outputs[0].shape[1]
    )
    if not is_causal or not isinstance(size, int):
        given, made = (", ".join(format_shape(spec.shape) for spec in specs) for specs in (inputs, outputs))
        raise UsageError(
            f"the model makes {made} of {given}, and does not write texts.",
            fix="use a language model: tokens (N, T) to scores (N, T, vocabulary), such as gpt.",
        )
    if not network.trace(training=False).carried:
        raise UsageError(
            "the model carries nothing from call to call, and does not write texts.",
            fix="use causal attention, or recurrent layers with carry=True, as gpt and char-rnn do.",
        )
    return size


def _check_fits(tokenizer: Tokenizer | None, size: int) -> None:
    if tokenizer is not None and tokenizer.size > size:
        raise ConfigError(
            f"the tokenizer has {tokenizer.size:,} tokens, but the model scores {size:,}.",
            fix="pass the tokenizer that the model was trained with.",
        )
