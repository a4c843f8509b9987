"""Models that write: language models, and the decoders of models that write a target for a source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.tokenizer import Tokenizer
from bigmodel_core.errors import ConfigError, ShapeError, UsageError
from bigmodel_core.generating.decoder import Decoder, Reader, Rereading
from bigmodel_core.generating.prompts import Prompts, padded
from bigmodel_core.graph.spec import format_shape
from bigmodel_core.nn.encoder_decoder import encoder_decoder, has_halves
from bigmodel_core.nn.network import Network


@dataclass(frozen=True, eq=False)
class Writer:
    """What writes after some prompts.

    Args:
        begin: what reads them, for so many texts of each prompt and tokens that may follow.
        prompts: what it reads first.
        tokenizer: of what it writes; None where only tokens are known.
        size: how many tokens it scores.
        context: how many tokens it can look at, if it says so.
    """

    begin: Callable[[int, int], Reader]
    prompts: Prompts
    tokenizer: Tokenizer | None
    size: int
    context: int | None = None

    @classmethod
    def of(
        cls,
        network: Network,
        prompt: Any,
        encoding: Encoding | None = None,
        context: int | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> Writer:
        """That of a built model.

        Args:
            network: the model.
            prompt: as `generate` takes it; the sources, where the model writes targets.
            encoding: of the data that the model learned from.
            context: how many tokens the model can look at, if it says so.
            tokenizer: in place of the encoding's.

        Raises:
            DataError, ShapeError, UsageError, ConfigError: as `generate` says.
        """
        known = tokenizer or (None if encoding is None else encoding.tokenizer)
        if _takes_pairs(network):
            target = None if encoding is None else encoding.target_tokenizer
            return cls._of_network(network, Prompts.of(prompt, known), target or known)
        size = _vocabulary(network)
        _check_fits(known, size)
        is_published = tokenizer is None and encoding is not None and encoding.dataset is None
        prompts = Prompts.of(prompt, known, is_framed=is_published)
        prompts.check(size)
        longest = max(map(len, prompts.tokens))
        if context is not None and longest > context:
            raise ShapeError(
                f"the prompt has {longest:,} tokens, but the model's context is {context:,}.",
                fix="shorten it, or train a model with a larger context.",
            )
        return cls(
            lambda rows, most: Decoder(network, size, prompts.tokens, rows, most),
            prompts,
            known,
            size,
            context,
        )

    @classmethod
    def _of_network(cls, network: Network, sources: Prompts, tokenizer: Tokenizer | None) -> Writer:
        """That of the target of each source."""
        if not has_halves(network):
            return cls.of_pairs(network, sources, tokenizer, int(network.outputs[0].shape[-1]))
        encoder, decoder = encoder_decoder(network.layer)
        memory = encoder(padded(sources.tokens))
        memory = memory if isinstance(memory, tuple) else (memory,)
        size, inner = _vocabulary(decoder.network, more=len(memory)), decoder.network
        prompts = _starts(sources, tokenizer, size)
        return cls(
            lambda rows, most: Decoder(inner, size, prompts.tokens, rows, most, memory),
            prompts,
            tokenizer,
            size,
        )

    @classmethod
    def of_pairs(
        cls, run: Callable[..., Any], sources: Prompts, tokenizer: Tokenizer | None, size: int
    ) -> Writer:
        """That of a function of sources (N, S) and targets so far (N, T), which gives scores (N, T, size)."""
        prompts = _starts(sources, tokenizer, size)
        array = padded(sources.tokens)
        return cls(lambda rows, most: Rereading(run, array, prompts.tokens, rows), prompts, tokenizer, size)

    def limits(self, most: int) -> list[int]:
        """How many tokens may follow each prompt, `most` or fewer: the last one is not read."""
        if self.context is None:
            return [most] * len(self.prompts.tokens)
        return [min(most, self.context - len(row) + 1) for row in self.prompts.tokens]


def writes(network: Network) -> bool:
    """Whether a model can be asked to write texts."""
    try:
        return _takes_pairs(network) or _vocabulary(network) > 0
    except UsageError:
        return False


def _starts(sources: Prompts, tokenizer: Tokenizer | None, size: int) -> Prompts:
    """What the target of each source begins with.

    Raises:
        UsageError: there is no tokenizer that says so.
    """
    if tokenizer is None:
        raise UsageError("the model has no tokenizer of targets, and no start.", fix="pass tokenizer=...")
    _check_fits(tokenizer, size)
    start = np.array([tokenizer.special("start")], np.int64)
    return Prompts([start] * len(sources.tokens), sources.are_texts, sources.is_single)


def _takes_pairs(network: Network) -> bool:
    """Whether a model scores what comes next in a target, given a source."""
    inputs, outputs = network.inputs, network.outputs
    return (
        len(inputs) == 2
        and len(outputs) == 1
        and all(spec.is_integer and spec.ndim == 2 for spec in inputs)
        and outputs[0].ndim == 3
        and outputs[0].shape[1] == inputs[1].shape[1]
        and isinstance(outputs[0].shape[2], int)
        and (inputs[0].shape[1] != inputs[1].shape[1] or has_halves(network))
    )


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
