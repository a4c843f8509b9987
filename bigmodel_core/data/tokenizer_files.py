"""Tokenizers from the files of pretrained models: `tokenizer.json`, and the older ones that it replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bigmodel_core.errors import DataError
from bigmodel_core.registry.plain_values import strict_json

FILE = "tokenizer.json"
WORDPIECE, BYTE_PAIRS, MERGES = "vocab.txt", "vocab.json", "merges.txt"
SENTENCES = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_SPECIALS = {
    WORDPIECE: ("[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"),
    BYTE_PAIRS: ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>"),
}
"""What special tokens are usually called, by the file of the vocabulary."""


def document_in(folder: Path) -> str:
    """The document of the tokenizer of a folder, as `tokenizer.json` has it.

    A folder without that file may hold `vocab.txt`, a WordPiece vocabulary as of BERT; or `vocab.json` and
    `merges.txt`, byte pairs as of GPT-2, and RoBERTa, whose texts stand between <s> and </s>.

    Raises:
        DataError: there is none of these, or a file is damaged.
    """
    if (folder / FILE).is_file():
        return text_of(folder / FILE)
    if (folder / WORDPIECE).is_file():
        return _word_pieces(folder)
    if (folder / BYTE_PAIRS).is_file():
        return _byte_pairs(folder)
    if sentences := [name for name in SENTENCES if (folder / name).is_file()]:
        raise DataError(
            f"the tokenizer is one of SentencePiece ({sentences[0]}), which is not read here.",
            where=str(folder),
            fix=f"write {FILE} beside it, with transformers:"
            " AutoTokenizer.from_pretrained(folder).save_pretrained(folder).",
        )
    raise DataError(
        f"there is no tokenizer: neither {FILE}, {WORDPIECE} nor {BYTE_PAIRS}.",
        where=str(folder),
        fix=f"name a {FILE}, or a folder with one.",
    )


def text_of(path: Path) -> str:
    """The text of a file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"cannot read the tokenizer: {reason}.",
            where=str(path),
            fix=f"name a {FILE}, or a folder with one.",
        ) from error


def _mapping(path: Path) -> dict[str, Any]:
    """A JSON file that holds a mapping.

    Raises:
        DataError: it holds something else.
    """
    try:
        found = strict_json(text_of(path).encode())
    except ValueError as error:
        raise DataError(f"it is no JSON: {error}.", where=str(path)) from None
    if not isinstance(found, dict):
        raise DataError("it is no mapping.", where=str(path), fix="fetch the file again.")
    return found


def _settings(folder: Path) -> tuple[dict[str, Any], dict[str, str], dict[str, int]]:
    """What is said beside a vocabulary: options, special tokens by their roles, and further tokens."""
    options, specials, added = (
        _mapping(folder / name) if (folder / name).is_file() else {} for name in _SETTINGS
    )
    roles = {}
    for role, value in {**options, **specials}.items():
        if isinstance(value, Mapping):
            value = value.get("content")
        if role.endswith("_token") and isinstance(value, str):
            roles[role.removesuffix("_token")] = value
    return options, roles, added


def _finished(made: Any, names: Iterable[str], usual: str, added: Mapping[str, int]) -> str:
    """The document of a tokenizer with its special tokens, and those that were added."""
    from tokenizers import AddedToken

    known = made.get_vocab()
    specials = [name for name in dict.fromkeys((*_SPECIALS[usual], *names)) if name in known]
    # A mask takes the blank before it along in vocabularies in which words begin with one.
    made.add_special_tokens(
        [
            AddedToken(name, special=True, normalized=False, lstrip=name == "<mask>")
            for name in sorted(specials, key=known.__getitem__)
        ]
    )
    made.add_tokens(sorted((name for name in added if name not in known), key=added.__getitem__))
    found: str = made.to_str()
    return found


def _word_pieces(folder: Path) -> str:
    """A vocabulary with a token a line, as BERT has it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    options, roles, added = _settings(folder)
    tokens = [line.rstrip("\r") for line in text_of(folder / WORDPIECE).split("\n")]
    numbers = {token: number for number, token in enumerate(tokens[:-1] if tokens[-1] == "" else tokens)}
    unknown, start, end = roles.get("unk", "[UNK]"), roles.get("cls", "[CLS]"), roles.get("sep", "[SEP]")
    if lost := [name for name in (unknown, start, end) if name not in numbers]:
        raise DataError(
            f"the vocabulary lacks {', '.join(lost)}.",
            where=str(folder / WORDPIECE),
            fix="fetch the file again; special tokens of other names are said by special_tokens_map.json.",
        )
    made = Tokenizer(models.WordPiece(numbers, unk_token=unknown))
    made.normalizer = normalizers.BertNormalizer(
        handle_chinese_chars=options.get("tokenize_chinese_chars", True),
        strip_accents=options.get("strip_accents"),
        lowercase=options.get("do_lower_case", True),
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.BertProcessing((end, numbers[end]), (start, numbers[start]))
    return _finished(made, roles.values(), WORDPIECE, added)


def _byte_pairs(folder: Path) -> str:
    """A vocabulary of byte pairs, and how they are merged, as GPT-2 has it, and RoBERTa, with frames."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    options, roles, added = _settings(folder)
    numbers = _mapping(folder / BYTE_PAIRS)
    lines = [
        line for line in text_of(folder / MERGES).splitlines() if line and not line.startswith("#version")
    ]
    merges = [(first, second) for first, _, second in (line.partition(" ") for line in lines)]
    if not all(type(number) is int for number in numbers.values()):
        raise DataError(
            "its tokens have no numbers.", where=str(folder / BYTE_PAIRS), fix="fetch the file again."
        )
    try:
        made = Tokenizer(models.BPE(numbers, merges))
    except Exception as error:  # the library has no classes of its own
        raise DataError(
            f"{BYTE_PAIRS} and {MERGES} do not fit each other: {error}.",
            where=str(folder),
            fix="fetch both again.",
        ) from None
    spaced = bool(options.get("add_prefix_space", False))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=spaced)
    made.decoder = decoders.ByteLevel()
    start, end = roles.get("cls", "<s>"), roles.get("sep", "</s>")
    if start in numbers and end in numbers and roles.get("mask", "<mask>") in numbers:
        made.post_processor = processors.RobertaProcessing(
            (end, numbers[end]), (start, numbers[start]), add_prefix_space=spaced
        )
    else:
        made.post_processor = processors.ByteLevel(trim_offsets=False)
    return _finished(made, roles.values(), BYTE_PAIRS, added)
