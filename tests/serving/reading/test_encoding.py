from __future__ import annotations

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from tactful.reading.encoding import EncodingLimits, ReplyEncoding

CORPUS = [
    "I'm so sorry, Ana. We will call you.",
    "Thanks for waiting! Your parcel is late.",
    "naïve 🙂",
]
HOSTILE = (
    "\x00\x1f\u200b\u200d\u202e\u0301\ud800\udfff\ufffd\ufeff\u00a0\r\n\t 👩👧🙂שלàe😀ﬁİ日가 .,!?[]"
)
any_text = st.text(
    alphabet=st.one_of(st.characters(exclude_categories=()), st.sampled_from(HOSTILE + "ab ")),
    max_size=120,
)


def byte_level() -> bytes:
    """As RoBERTa: byte-level pieces, ``<s> … </s>``."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer.to_str().encode()


def sentence_piece() -> bytes:
    """As XLM-R: pieces that begin with the space before a word; no post-processor."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=100,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer.to_str().encode()


@pytest.fixture(scope="module", params=["wordpiece", "byte_level", "sentence_piece"])
def encoding(request: pytest.FixtureRequest, bundle_parts: dict[str, bytes]) -> ReplyEncoding:
    tokenizer = {
        "wordpiece": lambda: bundle_parts["tokenizer.json"],
        "byte_level": byte_level,
        "sentence_piece": sentence_piece,
    }[request.param]()
    return ReplyEncoding(tokenizer, EncodingLimits(max_tokens=24, max_windows=4, window_overlap=6))


@pytest.fixture(scope="module")
def words(bundle_parts: dict[str, bytes]) -> ReplyEncoding:
    """An encoding where a letter is a token and a window has room for 7 of them."""
    tokenizer = bundle_parts["tokenizer.json"]
    return ReplyEncoding(tokenizer, EncodingLimits(max_tokens=10, max_windows=3, window_overlap=2))


def token_ids(bundle_parts: dict[str, bytes], *tokens: str) -> list[int]:
    vocabulary = json.loads(bundle_parts["tokenizer.json"])["model"]["vocab"]
    return [vocabulary[token] for token in tokens]


@settings(deadline=None, max_examples=150)
@given(reply=any_text, context=st.none() | any_text)
def test_any_text_is_read_in_order_and_in_range(
    encoding: ReplyEncoding, reply: str, context: str | None
) -> None:
    [encoded] = encoding.encode([(reply, context)])
    offsets = encoded.offsets
    assert offsets.shape == (len(offsets), 2)
    assert ((offsets >= 0) & (offsets <= len(reply))).all()
    assert (offsets[:, 0] <= offsets[:, 1]).all()
    assert (np.diff(offsets, axis=0) >= 0).all()

    covered = np.zeros(len(offsets), dtype=bool)
    for window in encoded.windows:
        assert len(window.input_ids) <= 24
        assert window.reply_at + window.size + 1 == len(window.input_ids)
        covered[window.first : window.first + window.size] = True
    assert covered.all()
    if len(encoded.windows) > 1:
        assert all(window.size == 21 for window in encoded.windows)


@settings(deadline=None, max_examples=100)
@given(reply=any_text, context=any_text)
def test_context_never_shortens_the_reply_and_keeps_its_latest_tokens(
    encoding: ReplyEncoding, reply: str, context: str
) -> None:
    [alone], [both], [read] = (
        encoding.encode([pair]) for pair in [(reply, None), (reply, context), (context, None)]
    )
    assert np.array_equal(alone.offsets, both.offsets)
    assert alone.truncated == both.truncated
    for before, after in zip(alone.windows, both.windows, strict=True):
        assert np.array_equal(
            before.input_ids[before.reply_at :], after.input_ids[after.reply_at :]
        )
    if len(alone.windows) == len(read.windows) == 1:
        kept = both.windows[0].input_ids[1 : both.windows[0].reply_at - 1]
        whole = read.windows[0].input_ids[read.windows[0].reply_at : -1]
        room = 21 - both.windows[0].size
        assert kept.tolist() == whole[max(0, len(whole) - room) :].tolist()


@settings(deadline=None, max_examples=50)
@given(pairs=st.lists(st.tuples(any_text, st.none() | any_text), max_size=5))
def test_a_batch_encodes_as_its_items_do(
    encoding: ReplyEncoding, pairs: list[tuple[str, str | None]]
) -> None:
    for pair, together in zip(pairs, encoding.encode(pairs), strict=True):
        [alone] = encoding.encode([pair])
        assert np.array_equal(alone.offsets, together.offsets)
        for one, other in zip(alone.windows, together.windows, strict=True):
            assert np.array_equal(one.input_ids, other.input_ids)


def test_the_format_of_a_window(words: ReplyEncoding, bundle_parts: dict[str, bytes]) -> None:
    [encoded] = words.encode([("a b", "x y z u v w")])
    expected = token_ids(bundle_parts, "[CLS]", "y", "z", "u", "v", "w", "[SEP]", "a", "b", "[SEP]")
    assert encoded.windows[0].input_ids.tolist() == expected
    assert encoded.offsets.tolist() == [[0, 1], [2, 3]]

    batch = words.collate(encoded.windows, length=12)
    assert batch.input_ids[0, 10:].tolist() == token_ids(bundle_parts, "[PAD]", "[PAD]")
    assert batch.attention_mask[0].tolist() == [1] * 10 + [0] * 2
    assert batch.token_type_ids[0].tolist() == [0] * 7 + [1] * 3 + [0] * 2


@pytest.mark.parametrize(
    ("tokens", "starts", "truncated"),
    [
        (0, [0], False),
        (7, [0], False),
        (8, [0, 1], False),  # the last window ends with the reply
        (12, [0, 5], False),
        (17, [0, 5, 10], False),
        (18, [0, 5, 10], True),
        (500, [0, 5, 10], True),
    ],
)
def test_windows(words: ReplyEncoding, tokens: int, starts: list[int], truncated: bool) -> None:
    [encoded] = words.encode([("a " * tokens + "\u200b", "context")])
    assert [window.first for window in encoded.windows] == starts
    assert encoded.truncated is truncated
    assert len(encoded.offsets) == min(tokens, 17)


def test_special_tokens_in_a_text_are_text(
    words: ReplyEncoding, bundle_parts: dict[str, bytes]
) -> None:
    [encoded] = words.encode([("[SEP]", "[CLS]")])
    ids = encoded.windows[0].input_ids.tolist()
    first, separator = token_ids(bundle_parts, "[CLS]", "[SEP]")
    assert ids.count(first) == 1
    assert ids.count(separator) == 2


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("a so\u200brry", [(0, 1), (2, 8)]),  # a zero-width space inside a known word
        ("ne\u0301xt we", [(0, 5), (6, 8)]),  # decomposed: the accent is a code point
        ("👩\u200d👩\u200d👧 we 🙂", [(0, 5), (6, 8), (9, 10)]),
        ("\u202ewe \u05e9 a", [(1, 3), (4, 5), (6, 7)]),
        ("\ud800 we", [(2, 4)]),
        ("\r\n\tWE\u00a0a", [(3, 5), (6, 7)]),
    ],
)
def test_offsets_are_those_of_the_original(
    words: ReplyEncoding, reply: str, expected: list[tuple[int, int]]
) -> None:
    [encoded] = words.encode([(reply, None)])
    assert [tuple(pair) for pair in encoded.offsets.tolist()] == expected


def test_nul_shifts_no_later_offset(words: ReplyEncoding) -> None:
    reply = "\x00we\x00 a"
    [encoded] = words.encode([(reply, None)])
    texts = [reply[start:end].strip("\x00") for start, end in encoded.offsets.tolist()]
    assert texts == ["we", "a"]


@pytest.mark.parametrize("content", [b"", b"{}", b"not json", b"\xff\xfe", b'{"version":"1.0"}'])
def test_a_tokenizer_that_is_none(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        ReplyEncoding(content, EncodingLimits(max_tokens=10, max_windows=1, window_overlap=0))


def test_a_tokenizer_without_special_tokens() -> None:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    with pytest.raises(ValueError, match=r"\[CLS\].*\[SEP\]"):
        ReplyEncoding(
            tokenizer.to_str().encode(),
            EncodingLimits(max_tokens=10, max_windows=1, window_overlap=0),
        )


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ((10, 0, 0), "max_windows"),
        ((10, 4097, 0), "max_windows is 4097; allowed: 1 to 4096"),
        ((65_537, 1, 0), "max_tokens is 65537; at most 65536"),
        ((10, 1, 7), "window_overlap"),
        ((3, 1, 0), "window_overlap"),
    ],
)
def test_limits_that_are_absurd_or_contradict_each_other(
    limits: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        EncodingLimits(*limits)


def test_an_encoding_without_context_reads_the_reply_alone(bundle_parts: dict[str, bytes]) -> None:
    limits = EncodingLimits(max_tokens=24, max_windows=4, window_overlap=6)
    tokenizer = bundle_parts["tokenizer.json"]
    bare = ReplyEncoding(tokenizer, replace(limits, use_context=False))
    [alone] = ReplyEncoding(tokenizer, limits).encode([("so sorry", None)])
    [given] = bare.encode([("so sorry", "my parcel is late")])

    assert np.array_equal(given.windows[0].input_ids, alone.windows[0].input_ids)


def test_other_threads_run_while_a_long_text_is_read(words: ReplyEncoding) -> None:
    turns, done, begun = 0, threading.Event(), threading.Event()

    def take_turns() -> None:
        nonlocal turns
        while not done.wait(0.001):
            turns += 1
            begun.set()

    other = threading.Thread(target=take_turns)
    other.start()
    try:
        assert begun.wait(60)
        before = turns
        words.encode([("x" * 1_000_000, None)])  # one token: all the time is the tokenizer's
        taken = turns - before
    finally:
        done.set()
        other.join()
    assert taken > 20  # one or two where the tokenizer holds Python's lock
