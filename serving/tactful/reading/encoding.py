"""From texts to model inputs, and from tokens back to the characters of the reply.

The one encoding that training and serving share. A window reads
``[CLS] context [SEP] reply [SEP]``; the reply is never cut for its context. A reply that does not
fit is read in overlapping windows without context.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

Pair = tuple[str, str | None]
"""A reply and what the customer said before, or None."""
SPECIAL_TOKENS = 3  # [CLS], [SEP], [SEP] of every window
# Far above any useful model; more is a damaged file and would exhaust the memory.
MAX_TOKENS = 65_536
MAX_WINDOWS = 4_096
# Up to so many texts and characters, waking the tokenizer's threads takes longer than reading.
_FEW_TEXTS, _FEW_CHARACTERS = 2, 2_000
_SURROGATE = re.compile("[\ud800-\udfff]")
# Names by family: BERT, RoBERTa and T5, XLNet.
_FIRST_TOKENS = ("[CLS]", "<s>", "<cls>")
_LAST_TOKENS = ("[SEP]", "</s>", "<sep>")
_PAD_TOKENS = ("[PAD]", "<pad>")


@dataclass(frozen=True)
class EncodingLimits:
    """How much of a reply and its context a model reads; a model serves with those of its training.

    Attributes:
        max_tokens: length of the longest window, special tokens included.
        max_windows: how many windows of one reply are read at most.
        window_overlap: how many reply tokens two neighbouring windows share.
        use_context: False for a model that was trained on replies alone: it is never fed any.

    Raises:
        ValueError: a limit is of a wrong type or absurd, or they contradict each other.
    """

    max_tokens: int
    max_windows: int
    window_overlap: int
    use_context: bool = True

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_windows", "window_overlap"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f"{name} must be a whole number, not {value!r}")
        if not isinstance(self.use_context, bool):
            raise ValueError(f"use_context must be true or false, not {self.use_context!r}")
        if not 1 <= self.max_windows <= MAX_WINDOWS:
            raise ValueError(f"max_windows is {self.max_windows}; allowed: 1 to {MAX_WINDOWS}")
        if self.max_tokens > MAX_TOKENS:
            raise ValueError(f"max_tokens is {self.max_tokens}; at most {MAX_TOKENS} is allowed")
        if not 0 <= self.window_overlap < self.capacity:
            raise ValueError(
                f"window_overlap is {self.window_overlap}; with max_tokens {self.max_tokens} it "
                f"must be from 0 to {self.capacity - 1} (max_tokens less {SPECIAL_TOKENS} special "
                "tokens, less 1)"
            )

    @property
    def capacity(self) -> int:
        """How many tokens of texts one window holds."""
        return self.max_tokens - SPECIAL_TOKENS

    @property
    def stride(self) -> int:
        """How many tokens of a reply lie between the starts of two windows."""
        return self.capacity - self.window_overlap

    def to_json(self) -> dict[str, Any]:
        """The fields by name, as in ``labels.json``; ``EncodingLimits(**…)`` is the inverse."""
        return asdict(self)


@dataclass(frozen=True, eq=False, slots=True)
class Window:
    """One input of the model.

    Attributes:
        input_ids: int64 ``[m]``, special tokens included.
        reply_at: index in ``input_ids`` of the first reply token.
        first: index among the reply's tokens of the window's first one.
        size: number of reply tokens, so that ``input_ids[reply_at : reply_at + size]`` are the
            reply's tokens ``first … first + size``.
    """

    input_ids: npt.NDArray[np.int64]
    reply_at: int
    first: int
    size: int


@dataclass(frozen=True, eq=False, slots=True)
class Encoded:
    """One reply, ready for the model.

    Attributes:
        windows: at least one; together they hold every token of ``offsets``.
        offsets: int32 ``[n, 2]``, start and end of each reply token that is read, in code points
            of the original reply; starts and ends never decrease.
        truncated: whether the end of the reply is in no window.
    """

    windows: tuple[Window, ...]
    offsets: npt.NDArray[np.int32]
    truncated: bool


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Windows padded to one length ``T``; three int64 arrays ``[W, T]``.

    ``token_type_ids`` is 1 on the reply and its closing ``[SEP]``, so that the positions that
    label attention may look at are never none, even for a reply without a token.
    """

    input_ids: npt.NDArray[np.int64]
    attention_mask: npt.NDArray[np.int64]
    token_type_ids: npt.NDArray[np.int64]

    def halves(self) -> tuple[Batch, Batch]:
        """The first and the second half of the windows."""
        middle = len(self.input_ids) // 2
        first, second = (
            Batch(self.input_ids[at], self.attention_mask[at], self.token_type_ids[at])
            for at in (slice(None, middle), slice(middle, None))
        )
        return first, second


class ReplyEncoding:
    """Encodes replies with a tokenizer, within limits.

    Args:
        tokenizer_json: the bytes of a Hugging Face ``tokenizer.json``.
        limits: those that the model was trained with.

    Raises:
        ValueError: the tokenizer cannot be used.
    """

    def __init__(self, tokenizer_json: bytes, limits: EncodingLimits) -> None:
        self.limits = limits
        tokenizer, around = _open(tokenizer_json)
        self._first_id, self._last_id, self._pad_id = _special_ids(tokenizer, around)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # A customer who writes "[SEP]" writes five characters, not the model's separator.
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer

    @property
    def largest_id(self) -> int:
        """The largest token id that an input can hold."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values())

    def encode(self, pairs: Sequence[Pair]) -> list[Encoded]:
        """Encode (reply, context) pairs, in order.

        Any text is taken; a lone surrogate counts as U+FFFD, one for one.
        """
        if not self.limits.use_context:
            pairs = [(reply, None) for reply, _ in pairs]
        texts = [_well_formed(reply) for reply, _ in pairs]
        contexts = [_well_formed(context) for _, context in pairs if context]
        encodings = self._encodings(texts + contexts)
        read = iter(encodings[len(texts) :])
        return [
            self._windows(encoding, len(text), next(read).ids if context else [])
            for encoding, text, (_, context) in zip(encodings, texts, pairs, strict=False)
        ]

    def context_begin(self, context: str, window: Window) -> int:
        """First code point of a context that a window holds; the context's length if it holds none.

        Args:
            context: the text.
            window: the first of the reply that the context belongs to.
        """
        held = window.reply_at - 2  # tokens between [CLS] and [SEP]
        [encoding] = self._encodings([_well_formed(context)])
        if held == len(encoding):
            return 0
        return int(encoding.offsets[-held][0]) if held else len(context)

    def collate(self, windows: Sequence[Window], length: int | None = None) -> Batch:
        """Pad windows on the right to ``length`` or, without it, to the longest of them."""
        length = length or max(len(window.input_ids) for window in windows)
        ids = np.full((len(windows), length), self._pad_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        types = np.zeros_like(ids)
        for row, window in enumerate(windows):
            used = len(window.input_ids)
            ids[row, :used] = window.input_ids
            mask[row, :used] = 1
            types[row, window.reply_at : used] = 1
        return Batch(ids, mask, types)

    def _encodings(self, texts: list[str]) -> list[tokenizers.Encoding]:
        if len(texts) <= _FEW_TEXTS and sum(map(len, texts)) <= _FEW_CHARACTERS:
            # Unlike a batch, this holds Python's lock: another reason to read only short texts so.
            return [self._tokenizer.encode(text, add_special_tokens=False) for text in texts]
        return self._tokenizer.encode_batch(texts, add_special_tokens=False)

    def _windows(
        self, encoding: tokenizers.Encoding, characters: int, context_ids: list[int]
    ) -> Encoded:
        count, capacity = len(encoding), self.limits.capacity
        if count <= capacity:
            room = capacity - count
            context = context_ids[max(0, len(context_ids) - room) :]
            starts, truncated = [0], False
        else:
            context = []
            last = count - capacity
            starts = [*range(0, last, self.limits.stride), last]
            truncated = len(starts) > self.limits.max_windows
            starts = starts[: self.limits.max_windows]
        read = min(count, starts[-1] + capacity)
        head, ids = [self._first_id, *context, self._last_id], encoding.ids
        windows = []
        for start in starts:
            reply = ids[start : start + capacity]
            input_ids = np.array([*head, *reply, self._last_id], dtype=np.int64)
            windows.append(Window(input_ids, len(head), start, len(reply)))
        return Encoded(tuple(windows), _ordered(encoding.offsets[:read], characters), truncated)


def _well_formed(text: str) -> str:
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def _ordered(offsets: list[tuple[int, int]], characters: int) -> npt.NDArray[np.int32]:
    # Byte-level and normalising tokenizers give several tokens of one character the same pair and
    # may place an empty token at 0; evidence relies on an order that holds for all families.
    pairs = np.minimum(np.array(offsets, dtype=np.int32).reshape(-1, 2), characters)
    ordered: npt.NDArray[np.int32] = np.maximum.accumulate(pairs, axis=0)
    np.maximum(ordered[:, 0], ordered[:, 1], out=ordered[:, 1])
    return ordered


def _open(tokenizer_json: bytes) -> tuple[tokenizers.Tokenizer, list[int]]:
    """The tokenizer, and the ids that its post-processor puts around a text."""
    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(tokenizer_json)
        around = tokenizer.encode("").ids[: tokenizer.num_special_tokens_to_add(is_pair=False)]
    except BaseException as error:
        # The library raises a bare Exception, or a panic that is not even that.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"not a usable tokenizer.json: {error}") from error
    return tokenizer, around


def _special_ids(tokenizer: tokenizers.Tokenizer, around: list[int]) -> tuple[int, int, int]:
    if len(around) >= 2:
        first: int | None = around[0]
        last: int | None = around[-1]
    else:
        first = _id_of(tokenizer, _FIRST_TOKENS)
        last = _id_of(tokenizer, _LAST_TOKENS)
    if first is None or last is None:
        raise ValueError(
            "the tokenizer has neither a post-processor that adds a first and a last token nor "
            f"tokens named {', '.join(_FIRST_TOKENS)} and {', '.join(_LAST_TOKENS)}"
        )
    pad = _id_of(tokenizer, _PAD_TOKENS)
    # Padding is masked, so that any known id serves where the family has none of its own.
    return first, last, last if pad is None else pad


def _id_of(tokenizer: tokenizers.Tokenizer, names: Sequence[str]) -> int | None:
    ids = (tokenizer.token_to_id(name) for name in names)
    return next((token_id for token_id in ids if token_id is not None), None)
