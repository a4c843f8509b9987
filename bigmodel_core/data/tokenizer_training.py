"""How a tokenizer is learned from texts; the same texts give the same document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from bigmodel_core.data.files import reading
from bigmodel_core.errors import ConfigError, DataError

KINDS = ("bpe", "wordpiece", "characters", "words")
SPECIALS = {"bpe": ("<s>", "</s>"), "wordpiece": ("[UNK]", "[CLS]", "[SEP]", "[MASK]")}
USUAL_VOCABULARY = 8192


def trained(
    texts: Any,
    kind: str,
    vocabulary: int | None,
    specials: Sequence[str] | None,
    lowercase: bool,
    unknown: str | None,
) -> str:
    """The document of a tokenizer for some texts; see `Tokenizer.train`."""
    if kind not in KINDS:
        raise ConfigError(
            f"the kind of tokenizer is {kind!r}, expected one of {', '.join(KINDS)}.", where="Tokenizer"
        )
    if vocabulary is not None and (isinstance(vocabulary, bool) or vocabulary < 1):
        raise ConfigError(f"the vocabulary is {vocabulary!r}, expected at least 1.", where="Tokenizer")
    names = tuple(SPECIALS.get(kind, ()) if specials is None else specials)
    if kind in ("bpe", "wordpiece"):
        return _of_pieces(_lines(texts), kind, vocabulary, names, lowercase)
    return _of_items(_lines(texts), kind, vocabulary, names, lowercase, unknown)


def _lines(texts: Any) -> Iterator[str]:
    """The texts, line by line where they are files.

    Raises:
        DataError: there is none, or a file cannot be read.
    """
    if isinstance(texts, str):
        raise ConfigError(
            "a single string was passed, expected several texts.",
            where="Tokenizer.train",
            fix="pass a list of strings, [text], or the Path of a file.",
        )
    items = [texts] if isinstance(texts, Path) else texts
    is_empty = True
    for item in items:
        for text in _lines_of(item) if isinstance(item, Path) else (item,):
            if not isinstance(text, str):
                raise ConfigError(
                    f"a text is a {type(text).__name__}, expected a string.", where="Tokenizer.train"
                )
            is_empty = is_empty and not text.strip()
            yield text
    if is_empty:
        raise DataError(
            "there is no text to learn from.", where="Tokenizer.train", fix="pass texts that are not empty."
        )


def _lines_of(path: Path) -> Iterator[str]:
    for place in sorted(path.glob("**/*.txt")) if path.is_dir() else [path]:
        with reading(place), open(place, encoding="utf-8-sig", newline="") as stream:
            yield from stream


def _of_pieces(
    texts: Iterable[str], kind: str, vocabulary: int | None, specials: tuple[str, ...], lowercase: bool
) -> str:
    """Byte-level BPE or WordPiece: pieces of words that are often met."""
    size = USUAL_VOCABULARY if vocabulary is None else int(vocabulary)
    make = _byte_pairs if kind == "bpe" else _word_pieces
    made = make(texts, size, specials, lowercase)
    found = made.get_vocab_size()
    if found < size and vocabulary is not None:
        raise DataError(
            f"the texts give {found:,} tokens, fewer than the vocabulary of {size:,}.",
            where="Tokenizer.train",
            fix=f"use a vocabulary of {found:,} or less, or more text.",
        )
    text: str = made.to_str()
    return text


def _byte_pairs(texts: Iterable[str], size: int, specials: tuple[str, ...], lowercase: bool) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    if size < 256 + len(specials):
        raise ConfigError(
            f"the vocabulary is {size}, too few for 256 bytes and {len(specials)} special tokens.",
            where="Tokenizer.train",
            fix=f"use {256 + len(specials)} or more, or characters.",
        )
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.normalizer = normalizers.Lowercase() if lowercase else None
    made.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(specials),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return made


def _word_pieces(texts: Iterable[str], size: int, specials: tuple[str, ...], lowercase: bool) -> Any:
    """WordPiece, learned as byte pairs are, of signs that stand for a first character or a further one.

    The library's own trainer numbers the further ones in an order that differs from run to run.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    unknown = next((name for name in specials if "unk" in name.lower()), None)
    if unknown is None:
        raise ConfigError(
            "a WordPiece tokenizer needs a token for what it does not know.",
            where="Tokenizer.train",
            fix='add one: specials=("[UNK]", ...).',
        )
    normalizer, splitter = normalizers.BertNormalizer(lowercase=lowercase), pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for text in texts:
        words.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
    units = sorted({unit for word in words for unit in _units(word)})
    signs = [chr(number + (0x100 if number < 0xD000 else 0x1000)) for number in range(len(units))]
    sign_of, unit_of = dict(zip(units, signs, strict=True)), dict(zip(signs, units, strict=True))
    learned = Tokenizer(models.BPE())
    learned.train_from_iterator(
        chain.from_iterable(
            repeat("".join(sign_of[unit] for unit in _units(word)), words[word]) for word in sorted(words)
        ),
        trainers.BpeTrainer(vocab_size=size, special_tokens=list(specials), show_progress=False),
    )
    numbers = {
        token if token in specials else _piece([unit_of[sign] for sign in token]): number
        for token, number in learned.get_vocab().items()
    }
    made = Tokenizer(models.WordPiece(numbers, unk_token=unknown))
    made.normalizer, made.pre_tokenizer = normalizer, splitter
    made.decoder = decoders.WordPiece(cleanup=False)
    made.add_special_tokens(list(specials))
    if {"[CLS]", "[SEP]"} <= set(specials):  # the frame that models of BERT's kind take
        ends = [(name, numbers[name]) for name in ("[CLS]", "[SEP]")]
        pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
        made.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", pair, ends)
    return made


def _units(word: str) -> list[tuple[bool, str]]:
    return [(place > 0, sign) for place, sign in enumerate(word)]


def _piece(units: Sequence[tuple[bool, str]]) -> str:
    return ("##" if units[0][0] else "") + "".join(sign for _, sign in units)


def _of_items(
    texts: Iterable[str],
    kind: str,
    vocabulary: int | None,
    specials: tuple[str, ...],
    lowercase: bool,
    unknown: str | None,
) -> str:
    """Characters, or words: those that are met."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    counts: Counter[str] = Counter()
    for text in texts:
        plain = text.lower() if lowercase else text
        counts.update(plain.split() if kind == "words" else plain)
    for name in specials:
        counts.pop(name, None)
    by_count = sorted(counts, key=lambda item: (-counts[item], item))
    room = None if vocabulary is None else vocabulary - len(specials)
    if room is not None and room < 1:
        raise ConfigError(
            f"the vocabulary is {vocabulary}, and there are {len(specials)} special tokens.",
            where="Tokenizer.train",
        )
    if room is not None and len(by_count) < room:
        most = len(by_count) + len(specials)
        raise DataError(
            f"the texts have {most:,} {kind}, special tokens included, fewer than the vocabulary of"
            f" {vocabulary:,}.",
            where="Tokenizer.train",
            fix=f"use a vocabulary of {most:,} or less, or leave it out.",
        )
    kept = by_count[:room]
    items = [*specials, *(kept if kind == "words" else sorted(kept))]
    numbers = {item: number for number, item in enumerate(items)}
    made = Tokenizer(models.WordLevel(numbers, **({} if unknown is None else {"unk_token": unknown})))
    made.normalizer = normalizers.Lowercase() if lowercase else None
    if kind == "words":
        made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    else:
        made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        made.decoder = decoders.Fuse()
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in specials])
    found: str = made.to_str()
    return found
