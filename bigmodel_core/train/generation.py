"""`bm.generate`: texts that a language model writes, one token after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from bigmodel_core.data.encoding import Encoding
from bigmodel_core.data.tokenizer import Tokenizer
from bigmodel_core.errors import ConfigError, DataError, GraphError, NumericsError, ShapeError, UsageError
from bigmodel_core.graph.spec import format_shape
from bigmodel_core.nn.encoder_decoder import encoder_decoder
from bigmodel_core.nn.layer import Layer
from bigmodel_core.nn.model import Model
from bigmodel_core.nn.network import Network
from bigmodel_core.nn.strategy import Search, Strategy
from bigmodel_core.train.checkpoint import load
from bigmodel_core.train.restored import RestoredModel
from bigmodel_core.train.trained_model import TrainedModel

Allowed: TypeAlias = Callable[[list[int]], Any]
"""From the tokens that were chosen to those that may follow: their numbers, or a truth value for each."""


def generate(
    model: Any,
    prompt: Any,
    strategy: Strategy | None = None,
    *,
    max_tokens: int = 100,
    stop: Sequence[int | str] | None = None,
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
        stop: tokens, or texts that are one token each, that end what is written and are no part of it; the
            tokenizer's token for the end if None.
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
    generation = Generation.of(model, prompt, strategy, max_tokens, stop, allowed, tokenizer)
    if stream:
        return generation.pieces()
    for _ in generation.steps():
        pass
    found = [generation.told(number) for number in range(len(generation.prompts))]
    return found[0] if generation.is_single else found


@dataclass(eq=False)
class Generation:
    """One generation, before its first token.

    Args:
        network: the model.
        prompts: their tokens.
        search: keeps what is written.
        allowed: which tokens may be chosen.
        tokenizer: makes texts of tokens; None where tokens are the answer.
        is_single: whether one prompt was given, not a list.
        memory: what an encoder made of sources, which the model takes behind its tokens.
    """

    network: Network
    prompts: list[np.ndarray]
    search: Search
    allowed: Any
    tokenizer: Tokenizer | None
    is_single: bool
    memory: tuple[np.ndarray, ...] = ()

    @classmethod
    def of(
        cls,
        model: Any,
        prompt: Any,
        strategy: Strategy | None,
        max_tokens: int,
        stop: Sequence[int | str] | None,
        allowed: Any,
        tokenizer: Tokenizer | None,
    ) -> Generation:
        """That of the arguments of `generate`, which are checked."""
        if strategy is None:
            from bigmodel_core.registry import get

            strategy = get("strategy", "greedy")()
        if not isinstance(strategy, Strategy):
            raise ConfigError(
                f"the strategy is {strategy!r}.", fix="pass one, as in strategy=bm.strategies.Greedy()."
            )
        if not isinstance(max_tokens, int) or max_tokens < 1:
            raise ConfigError(f"max_tokens is {max_tokens!r}, expected an integer of 1 or more.")
        network, encoding = _resolved(model)
        known = None if encoding is None else encoding.tokenizer
        tokenizer = tokenizer or known
        sources, memory = None, ()
        if _has_encoder(network):
            encoder, decoder = encoder_decoder(network.layer)
            network, table = decoder.network, network.parameters["encoder/embedding/weight"].spec.shape[0]
            sources, is_text, is_single = _prompts(prompt, tokenizer, int(table))
            memory = tuple(encoder(_padded(sources)))
            own = None if encoding is None else encoding.target_tokenizer
            tokenizer = own or tokenizer
        size = _vocabulary(network, more=len(memory))
        if tokenizer is not None and tokenizer.size > size:
            raise ConfigError(
                f"the tokenizer has {tokenizer.size:,} tokens, but the model scores {size:,}.",
                fix="pass the tokenizer that the model was trained with.",
            )
        if sources is None:
            prompts, is_text, is_single = _prompts(prompt, tokenizer, size)
        else:
            prompts = [_start(tokenizer)] * len(sources)
        longest = max(map(len, prompts))
        context = _context(network)
        if context is not None and longest > context:
            raise ShapeError(
                f"the prompt has {longest:,} tokens, but the model's context is {context:,}.",
                fix="shorten it, or train a model with a larger context.",
            )
        most = max_tokens if context is None else min(max_tokens, context - longest + 1)
        ends = _stop_tokens(stop, tokenizer, size)
        mask = allowed if callable(allowed) or allowed is None else _mask(allowed, size)
        if tokenizer is not None and tokenizer.size < size and not callable(allowed):
            mask = (np.ones(size, bool) if mask is None else mask) & (np.arange(size) < tokenizer.size)
        search = strategy.begin(len(prompts), ends, most)
        return cls(network, prompts, search, mask, tokenizer if is_text else None, is_single, memory)

    def steps(self) -> Iterator[None]:
        """Write token by token; a step for each."""
        search = self.search
        decoder = Decoder(self.network, self.prompts, search.rows, search.most, self.memory)
        scores = decoder.scores
        while not search.is_done:
            tokens, parents = search.advance(self._restricted(scores))
            yield
            if not search.is_done:
                if parents is not None:
                    decoder.reorder(parents)
                scores = decoder.step(tokens)

    def told(self, prompt: int) -> Any:
        """What is written after a prompt, in the kind that was given."""
        tokens = self.search.answer(prompt)
        return np.array(tokens, np.int64) if self.tokenizer is None else self.tokenizer.decode(tokens)

    def pieces(self) -> Iterator[Any]:
        """What is written, piece by piece.

        Raises:
            UsageError: there are several prompts.
        """
        if not self.is_single:
            raise UsageError("stream=True is for a single prompt.", fix="pass one text, or tokens (T,).")
        return self._pieces()

    def _pieces(self) -> Iterator[Any]:
        texts, told = None if self.tokenizer is None else self.tokenizer.stream(), 0
        for _ in self.steps():
            new = self.search.answer(0)[told:]
            told += len(new)
            if texts is None:
                piece: Any = np.array(new, np.int64)
            else:
                piece = "".join(map(texts.add, new))
            if len(piece):
                yield piece
        if texts is not None and (rest := texts.end()):
            yield rest

    def _restricted(self, scores: np.ndarray) -> np.ndarray:
        """The scores, with -inf for what is not allowed.

        Raises:
            NumericsError: a score is NaN.
            DataError: nothing is allowed.
        """
        if callable(self.allowed):
            masks = [
                _mask(self.allowed(list(self.search.so_far(row))), scores.shape[1])
                for row in range(len(scores))
            ]
            scores = np.where(masks, scores, -np.inf)
        elif self.allowed is not None:
            scores = np.where(self.allowed, scores, -np.inf)
        best = scores.max(-1)
        if not np.isfinite(best).all():
            if np.isneginf(best).any():
                raise DataError("no token is allowed to follow.", fix="let `allowed` leave one at least.")
            raise NumericsError("the model's scores are not finite.", fix="look at its parameters.")
        return scores


class Decoder:
    """Sessions of a model that read prompts, then token by token.

    Prompts of unequal length share a session, with -1 in front, where the model remembers which steps hold
    tokens; else there is one for each length.

    Args:
        network: the model.
        prompts: their tokens.
        rows: texts for each prompt.
        most: tokens that may follow.
        memory: what an encoder made of the source of each prompt.

    Attributes:
        scores: (prompts * rows, vocabulary), of what follows.
    """

    def __init__(
        self,
        network: Network,
        prompts: Sequence[np.ndarray],
        rows: int,
        most: int,
        memory: Sequence[np.ndarray] = (),
    ) -> None:
        self._memory = [np.repeat(array, rows, 0) for array in memory]
        longest = max(map(len, prompts))
        lengths = sorted({len(prompt) for prompt in prompts})
        pads = bool(network.session_programs().growing)
        groups = [[*range(len(prompts))]] if pads else [_of_length(prompts, length) for length in lengths]
        self._parts: list[tuple[np.ndarray, Any]] = []
        found: np.ndarray | None = None
        for numbers in groups:
            length = max(len(prompts[number]) for number in numbers)
            tokens = np.full((len(numbers), length), -1, np.int64)
            for place, number in enumerate(numbers):
                tokens[place, length - len(prompts[number]) :] = prompts[number]
            own = (np.array(numbers)[:, None] * rows + np.arange(rows)).ravel()
            session = network.session(len(own), capacity=longest + most if pads else None)
            last = session(np.repeat(tokens, rows, 0), *(array[own] for array in self._memory))[:, -1]
            found = np.empty((len(prompts) * rows, last.shape[1]), last.dtype) if found is None else found
            found[own] = last
            self._parts.append((own, session))
        assert found is not None
        self.scores = found

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """The scores after a token more of each row."""
        column = tokens.reshape(-1, 1)
        if len(self._parts) == 1:
            found: np.ndarray = self._parts[0][1](column, *self._memory)[:, -1]
            return found
        for own, session in self._parts:
            self.scores[own] = session(column[own], *(array[own] for array in self._memory))[:, -1]
        return self.scores

    def reorder(self, parents: np.ndarray) -> None:
        """Let each row go on from another of its prompt."""
        for own, session in self._parts:
            session.reorder(np.searchsorted(own, parents[own]))


def _of_length(prompts: Sequence[np.ndarray], length: int) -> list[int]:
    return [number for number, prompt in enumerate(prompts) if len(prompt) == length]


def _has_encoder(network: Network) -> bool:
    """Whether a model makes a target of a source."""
    parts = network.parameters
    return len(network.inputs) == 2 and {"encoder/embedding/weight", "decoder/embedding/weight"} <= set(parts)


def _padded(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of tokens in one array, with -1 behind the shorter ones."""
    found = np.full((len(rows), max(map(len, rows))), -1, np.int64)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return found


def _start(tokenizer: Tokenizer | None) -> np.ndarray:
    """What a target begins with.

    Raises:
        UsageError: there is no tokenizer that says so.
    """
    if tokenizer is None:
        raise UsageError("the model has no tokenizer of targets, and no start.", fix="pass tokenizer=...")
    return np.array([tokenizer.special("start")], np.int64)


def _resolved(model: Any) -> tuple[Network, Encoding | None]:
    """The built model, and the encoding of its data."""
    if isinstance(model, (str, Path)):
        model = load(model)
    encoding = None
    if isinstance(model, TrainedModel):
        model, encoding = model.model, model.encoding
    elif isinstance(model, RestoredModel):
        encoding = model.about.encoding
    network = model if isinstance(model, Network) else _built(model)
    if encoding is None:
        restored = network.layer if isinstance(network.layer, RestoredModel) else None
        encoding = network.encoding if restored is None else restored.about.encoding
    return network, encoding


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


def _context(network: Network) -> int | None:
    """How many steps a model can look at, if it says so."""
    layer = network.layer
    if isinstance(layer, RestoredModel):
        found = ((layer.about.config or {}).get("fields") or {}).get("context")
    else:
        found = getattr(layer, "context", None)
    return found if isinstance(found, int) else None


def _prompts(prompt: Any, tokenizer: Tokenizer | None, size: int) -> tuple[list[np.ndarray], bool, bool]:
    """The tokens of prompts, whether they are texts, and whether it is one alone."""
    if isinstance(prompt, str):
        return *_prompts([prompt], tokenizer, size)[:2], True
    if isinstance(prompt, (list, tuple)) and prompt and all(isinstance(item, str) for item in prompt):
        if tokenizer is None:
            raise UsageError(
                "the prompt is a text, but the model has no tokenizer.", fix="pass tokenizer=..., or tokens."
            )
        found = [tokenizer.encode(text).ids for text in prompt]
        return _checked(found, size), True, False
    items = list(prompt) if isinstance(prompt, (list, tuple, np.ndarray)) else [prompt]
    if not items:
        raise DataError("the prompt is empty.", fix="pass a token at least.")
    is_single = all(np.ndim(item) == 0 for item in items)
    rows = [np.asarray(row) for row in ([items] if is_single else items)]
    for row in rows:
        if row.ndim != 1 or (row.size and row.dtype.kind not in "iu"):
            raise DataError(
                f"a prompt is {row.dtype} {format_shape(row.shape)}, expected a text or integers (T,).",
                fix="pass texts, or the numbers of tokens.",
            )
    return _checked([row[row != -1].astype(np.int64) for row in rows], size), False, is_single


def _checked(prompts: list[np.ndarray], size: int) -> list[np.ndarray]:
    for number, row in enumerate(prompts, 1):
        name = "the prompt" if len(prompts) == 1 else f"prompt {number}"
        if not row.size:
            raise DataError(f"{name} is empty.", fix="pass a token at least.")
        _check_tokens(row, size, name)
    return prompts


def _check_tokens(tokens: np.ndarray, size: int, name: str) -> None:
    wrong = tokens[(tokens < 0) | (tokens >= size)]
    if wrong.size:
        raise DataError(
            f"{name} has the token {wrong[0]}, but the model knows 0 to {size - 1}.",
            fix="use the tokenizer that the model was trained with.",
        )


def _stop_tokens(stop: Sequence[int | str] | None, tokenizer: Tokenizer | None, size: int) -> list[int]:
    if stop is None:
        return [tokenizer.special("end")] if tokenizer is not None and tokenizer.has("end") else []
    found = []
    for item in [stop] if isinstance(stop, (str, int)) else stop:
        if not isinstance(item, str):
            found.append(int(item))
            continue
        if tokenizer is None:
            raise UsageError(
                f"stop is the text {item!r}, but the model has no tokenizer.", fix="pass tokens."
            )
        ids = tokenizer.encode(item, read_special=True).ids
        if len(ids) != 1:
            raise ConfigError(
                f"stop has the text {item!r}, which is {len(ids)} tokens.",
                fix="pass texts of one token each.",
            )
        found.append(int(ids[0]))
    _check_tokens(np.array(found, np.int64), size, "stop")
    return found


def _mask(allowed: Any, size: int) -> np.ndarray:
    """A truth value for each token."""
    found = np.asarray(allowed)
    if found.dtype == bool:
        if found.shape != (size,):
            raise ShapeError(
                f"allowed is {format_shape(found.shape)}, expected a truth value for each token, ({size},)."
            )
        return found
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise DataError(
            f"allowed is {found.dtype} {format_shape(found.shape)}.",
            fix="give the numbers of tokens, or a truth value for each.",
        )
    _check_tokens(found.astype(np.int64), size, "allowed")
    mask = np.zeros(size, bool)
    mask[found.astype(np.int64)] = True
    return mask
