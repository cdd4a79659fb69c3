"""A smaller vocabulary: pieces that hardly any reply has leave tokenizer and embedding table.

A word with such a piece is read as smaller pieces, at last as its characters, which always stay:
WordPiece takes the longest piece that there is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tokenizers
import torch
from torch import nn
from transformers import PreTrainedModel

from tactful_training.errors import EncoderError

_KEY = "encoder.pieces_left_out"
_PIECE = "WordPiece"
# What two files of one tokenizer may differ in.
_ASIDE = ("padding", "truncation")


def read_pieces(path: Path) -> tuple[str, ...]:
    """Read a list of pieces: one on each line, lines that start with ``# `` are remarks.

    Raises:
        EncoderError: the file cannot be read or is empty.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EncoderError(f"{_KEY}: {path} cannot be read: {error}") from error
    pieces = tuple(line for line in lines if line and not line.startswith("# "))
    if not pieces:
        raise EncoderError(f"{_KEY}: {path} names no piece")
    return pieces


def without_pieces(tokenizer: bytes, left_out: Sequence[str]) -> tuple[bytes, list[int]]:
    """Take pieces out of a WordPiece tokenizer; those that stay are numbered anew, in their order.

    Args:
        tokenizer: the content of ``tokenizer.json``.
        left_out: the pieces.

    Returns:
        The tokenizer, and the old numbers of the pieces that stay: the rows of the table.

    Raises:
        EncoderError: it is another kind of tokenizer, a piece is not there, or must stay:
            characters and special tokens.
    """
    content = json.loads(tokenizer)
    model = content["model"]
    if model.get("type", _PIECE) != _PIECE or not isinstance(model.get("vocab"), dict):
        raise EncoderError(
            f"{_KEY}: the tokenizer is a {model.get('type')}; pieces can be taken out of WordPiece "
            "alone, where what is left still reads every word"
        )
    vocabulary: dict[str, int] = model["vocab"]
    prefix = model.get("continuing_subword_prefix", "##")
    added = content.get("added_tokens", ())
    special = {each["content"] for each in added}
    for piece in left_out:
        if piece not in vocabulary:
            raise EncoderError(
                f"{_KEY} names the piece {piece!r}, which the tokenizer does not have; the list "
                "was made for another one"
            )
        if piece in special or len(piece.removeprefix(prefix)) == 1:
            raise EncoderError(f"{_KEY} names {piece!r}; characters and special tokens must stay")
    gone = set(left_out)
    numbers = {number for piece, number in vocabulary.items() if piece not in gone}
    # Added tokens may stand outside the vocabulary.
    kept = sorted(numbers | {each["id"] for each in added})
    number = {old: new for new, old in enumerate(kept)}
    model["vocab"] = {piece: number[old] for piece, old in vocabulary.items() if piece not in gone}
    for each in added:
        each["id"] = number[each["id"]]
    _renumber(content.get("post_processor"), number)
    padding = content.get("padding")
    if isinstance(padding, dict) and padding["pad_id"] in number:
        padding["pad_id"] = number[padding["pad_id"]]
    return json.dumps(content, ensure_ascii=False).encode(), kept


def same_tokenizer(one: bytes, other: bytes) -> bool:
    """Whether two ``tokenizer.json`` give the same tokens; serving sets padding itself.

    Raises:
        ValueError: one is no JSON.
    """
    contents = [json.loads(each) for each in (one, other)]
    for content in contents:
        for key in _ASIDE:
            content.pop(key, None)
    return bool(contents[0] == contents[1])


def numbers_among(tokenizer: bytes, whole: bytes) -> list[int] | None:
    """The numbers that a tokenizer's pieces have in another one, which has them all.

    Args:
        tokenizer: the content of ``tokenizer.json``.
        whole: that of the other one.

    Returns:
        For each number of a piece its number there; None unless ``tokenizer`` is ``whole`` itself
        or what `without_pieces` leaves of it.

    Raises:
        ValueError: one is no JSON.
    """
    if same_tokenizer(tokenizer, whole):
        known = tokenizers.Tokenizer.from_buffer(whole).get_vocab()
        return list(range(max(known.values()) + 1))
    pieces, others = (json.loads(each)["model"].get("vocab") for each in (tokenizer, whole))
    if not (isinstance(pieces, dict) and isinstance(others, dict)):
        return None
    try:
        cut, kept = without_pieces(whole, sorted(others.keys() - pieces.keys()))
    except EncoderError:  # another kind than WordPiece, or what has to stay is not there
        return None
    return kept if same_tokenizer(cut, tokenizer) else None


def keep_rows(encoder: PreTrainedModel, kept: Sequence[int]) -> None:
    """Keep some rows of an encoder's embedding table; changed in place, its configuration too."""
    table = encoder.get_input_embeddings()
    assert isinstance(table, nn.Embedding)
    rows = table.weight.detach()[torch.tensor(kept)].clone()
    padding = None if table.padding_idx is None else list(kept).index(table.padding_idx)
    encoder.set_input_embeddings(
        nn.Embedding(len(kept), rows.shape[1], padding_idx=padding, _weight=rows)
    )
    encoder.config.vocab_size = len(kept)


def rare_pieces(tokenizer: bytes, words: Iterable[str], texts: Iterable[str]) -> list[str]:
    """The pieces that neither a list of words nor texts need, and that may be left out.

    Pieces with a digit stay, for lists of words have few numbers.

    Args:
        tokenizer: the content of ``tokenizer.json``.
        words: a large list of the language's words.
        texts: for example the replies that are trained on.
    """
    reader = tokenizers.Tokenizer.from_buffer(tokenizer)
    reader.no_truncation()
    reader.no_padding()
    seen: set[int] = set()
    for some in (words, texts):
        for each in reader.encode_batch(list(some), add_special_tokens=False):
            seen.update(each.ids)
    content = json.loads(tokenizer)
    prefix = content["model"].get("continuing_subword_prefix", "##")
    special = {each["content"] for each in content.get("added_tokens", ())}
    return [
        piece
        for piece, number in sorted(content["model"]["vocab"].items(), key=lambda item: item[1])
        if number not in seen
        and piece not in special
        and len(piece.removeprefix(prefix)) > 1
        and (piece.startswith("[unused") or not any(letter.isdigit() for letter in piece))
    ]


def _renumber(processor: Any, number: dict[int, int]) -> None:
    """Change the numbers of the tokens that a post-processor puts around texts."""
    if not isinstance(processor, dict):
        return
    for each in processor.get("processors", ()):  # a sequence of them
        _renumber(each, number)
    tokens = processor.get("special_tokens")
    if isinstance(tokens, dict):  # a template
        for token in tokens.values():
            token["ids"] = [number[old] for old in token["ids"]]
    for end in ("sep", "cls"):  # BERT's own
        if isinstance(processor.get(end), list):
            processor[end][1] = number[processor[end][1]]
