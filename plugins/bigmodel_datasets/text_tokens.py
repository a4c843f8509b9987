"""From texts to tokens: which tokenizer, and the frames of special tokens around them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import bigmodel_core as bm
from bigmodel_core.errors import ConfigError, DataError

KINDS = ("bpe", "wordpiece", "characters", "words")
AnyDataset = TypeVar("AnyDataset", bound=Any)


def tokenizer_for(
    asked: str,
    texts: Iterable[str],
    *,
    known: bm.Tokenizer | None = None,
    vocabulary: int | None = None,
    lowercase: bool = False,
    specials: Sequence[str] | None = None,
) -> bm.Tokenizer:
    """The tokenizer of a data set.

    Args:
        asked: a kind, to be trained on the texts; or the path of a `tokenizer.json`, or of its folder.
        texts: those of the training split.
        known: that of the model whose data these are to be like, which is then taken.
        vocabulary, lowercase: of one that is trained.
        specials: special tokens of characters and words; the others have their usual ones.

    Raises:
        ConfigError: there is no such kind or file.
        DataError: the texts are too few, or the file describes no tokenizer.
    """
    if known is not None:
        return known
    if asked in KINDS:
        own = specials if asked in ("characters", "words") else None
        return bm.Tokenizer.train(texts, asked, vocabulary, own, lowercase)
    if not Path(asked).exists():
        raise ConfigError(
            f"tokenizer is {asked!r}, which is neither one of {', '.join(KINDS)} nor a file.",
            where="tokenizer",
            fix="name a kind, or the path of a tokenizer.json.",
        )
    if vocabulary is not None:
        raise ConfigError(
            "vocabulary is for a tokenizer that is trained, and one was named.",
            where="tokenizer",
            fix="leave vocabulary out.",
        )
    return bm.Tokenizer.load(asked)


def remembered(dataset: AnyDataset, **tokenizers: bm.Tokenizer | None) -> AnyDataset:
    """A data set with the kinds of its tokenizers in place of paths, which mean nothing elsewhere."""
    changes = {
        name: tokenizer.kind
        for name, tokenizer in tokenizers.items()
        if tokenizer is not None and getattr(dataset, name) not in (*KINDS, None)
    }
    found: AnyDataset = replace(dataset, **changes)
    return found


def frame_of(tokenizer: bm.Tokenizer) -> tuple[list[int], list[int]]:
    """The special tokens before and behind a text, as BERT has them; none where the tokenizer has none."""
    if not (tokenizer.has("class") and tokenizer.has("separator")):
        return [], []
    return [tokenizer.special("class")], [tokenizer.special("separator")]


def ragged(sequences: Iterable[Any], axis: str = "T") -> bm.Ragged:
    """Tokens or labels as samples, half as large in memory as a model takes them."""
    return bm.Ragged.of(sequences, axis, dtype=np.int32)


def cut_note(count: int, length: int, what: str = "texts") -> tuple[str, ...]:
    """A note on texts that were cut."""
    return () if count == 0 else (f"{count:,} {what} of more than {length} tokens were cut (length).",)


def left_note(count: int, what: str) -> tuple[str, ...]:
    """A note on samples that were left out, since they are too long."""
    return () if count == 0 else (f"{count:,} {what} were left out (length).",)


def parts_of(
    found: dict[str, int],
    count: int,
    fraction: float,
    seed: int,
    classes: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Which rows are whose: those of files named so, else a part of the training rows is held out.

    Args:
        found: how many rows the files of each split have, in their order.
        count: how many there are.
        fraction: of the test split, if no file is.
        seed: key of the choice.
        classes: the class of each row, if each keeps its share.
        groups: the number of each row's group, if the rows of a group stay together: of a passage or source.

    Raises:
        DataError: all rows are of one group.
    """
    ends = np.cumsum(list(found.values()))
    rows = {part: np.arange(end - size, end) for (part, size), end in zip(found.items(), ends, strict=True)}
    if "test" in rows:
        return rows
    own = rows["train"]
    if groups is not None:
        if not groups[own].any():
            raise DataError(
                "all rows have one passage or source, so that none can be held out to test.",
                fix="put a file test beside a file train, or add rows.",
            )
        _, chosen = bm.split_indices(int(groups[own].max()) + 1, fraction, seed)
        is_out = np.isin(groups[own], chosen)
        return {**rows, "train": own[~is_out], "test": own[is_out]}
    kept, out = bm.split_indices(len(own), fraction, seed, classes=None if classes is None else classes[own])
    return {**rows, "train": own[kept], "test": own[out]}


def groups_of(texts: Sequence[str]) -> np.ndarray:
    """The number of each text, which equal ones share; counted in their order."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return np.array([numbers[text] for text in texts])


def pairs_of(texts: Sequence[str]) -> list[tuple[str, str]]:
    """The two texts of each text that is typed, between which a tab stands.

    Raises:
        DataError: there is no tab in one, or more than one.
    """
    found = [tuple(text.split("\t")) for text in texts]
    are_pairs = [len(pair) == 2 and all(map(str.strip, pair)) for pair in found]
    odd = next((row for row, is_pair in enumerate(are_pairs) if not is_pair), None)
    if odd is not None:
        raise DataError(
            f"the model takes pairs of texts, and {texts[odd][:40]!r} is none.",
            fix="put a tab between the two texts.",
        )
    return [(pair[0], pair[1]) for pair in found]
