from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tactful.reading.encoding import EncodingLimits, ReplyEncoding
from tactful_training.config.config_schema import Config
from tactful_training.data.data_set import DataSet, load_data_set
from tactful_training.data.labelled_row import Row
from tactful_training.errors import EncoderError
from tactful_training.fitting.soft_labels import SoftLabels
from tactful_training.fitting.training_batches import (
    Collator,
    LengthGroups,
    TrainingRows,
    encode_rows,
)
from tactful_training.fitting.training_inputs import load_training_inputs


@pytest.fixture(scope="module")
def data(data_set: Path) -> DataSet:
    return load_data_set(data_set)


@pytest.fixture(scope="module")
def rows(data: DataSet) -> list[Row]:
    return data.split("train")


@pytest.fixture(scope="module")
def encoding(tiny_encoder: Path) -> ReplyEncoding:
    tokenizer = (tiny_encoder / "tokenizer.json").read_bytes()
    return ReplyEncoding(tokenizer, EncodingLimits(max_tokens=20, max_windows=3, window_overlap=6))


@pytest.fixture
def training_rows(rows: list[Row], encoding: ReplyEncoding, data: DataSet) -> TrainingRows:
    return TrainingRows(rows, encoding, data.tasks, context_dropout=0.3, seed=3)


def test_marked_tokens_are_those_of_the_marked_words(
    rows: list[Row], encoding: ReplyEncoding, data: DataSet
) -> None:
    for row, example in zip(rows, encode_rows(rows, encoding, data.tasks), strict=True):
        for span in row.evidence:
            column = data.tasks.columns[span.task, span.label]
            offsets = example.encoded.offsets[example.marks[:, column]]
            words = " ".join(row.reply[start:end] for start, end in offsets)
            assert row.reply[span.start : span.end] in words


def test_the_labels_of_a_row_that_no_teacher_was_asked_about_take_its_place(
    rows: list[Row], encoding: ReplyEncoding, data: DataSet
) -> None:
    first, *others = encode_rows(rows, encoding, data.tasks)
    size = len(first.targets)
    said = SoftLabels(
        np.full(size, 0.5, dtype=np.float32),
        first.encoded.offsets,
        np.full((len(first.encoded.offsets), size), -0.5, dtype=np.float16),
    )
    taught = TrainingRows(
        rows, encoding, data.tasks, context_dropout=0.0, seed=3, soft=[said, *[None] * len(others)]
    )
    assert (taught[0].soft_logits == 0.5).all()
    assert (taught[0].soft_scores == -0.5).all()
    for at, example in enumerate(others, 1):
        logits, scores = taught[at].soft_logits, taught[at].soft_scores
        assert logits is not None
        assert scores is not None
        for task in data.tasks:
            columns = data.tasks.slices[task.name]
            target, said_of_it = example.targets[columns], logits[columns]
            if np.isnan(target).all():
                assert np.isnan(said_of_it).all()
            elif task.kind == "single":
                powers = np.exp(said_of_it)
                sure = np.where(target > 0, 0.97, 0.03 / (len(target) - 1))
                assert powers / powers.sum() == pytest.approx(sure, abs=1e-4)
            else:
                sure = np.where(target > 0, 0.97, 0.03)
                assert 1 / (1 + np.exp(-said_of_it)) == pytest.approx(sure, abs=1e-4)
        marked = example.marks.any(axis=0)
        assert np.isnan(scores[:, ~marked]).all()
        assert ((scores > 0) == example.marks)[:, marked].all()
    assert any(example.marks.any() for example in others)


def test_a_batch_flattens_windows_in_order(
    training_rows: TrainingRows, encoding: ReplyEncoding, data: DataSet
) -> None:
    examples = [training_rows[index] for index in range(12)]
    counts = [len(example.encoded.windows) for example in examples]
    assert max(counts) > 1
    batch = Collator(encoding)(examples)
    assert batch["row_of_window"].tolist() == np.repeat(np.arange(12), counts).tolist()
    assert batch["input_ids"].shape[0] == sum(counts)
    # Token by token: the id at each reply position belongs to the marks of the same place.
    position = 0
    ids = batch["input_ids"][batch["is_reply"]]
    for example in examples:
        for window in example.encoded.windows:
            here = slice(position, position + window.size)
            reply = window.input_ids[window.reply_at : window.reply_at + window.size]
            assert ids[here].tolist() == reply.tolist()
            marks = example.marks[window.first : window.first + window.size]
            assert (batch["marks"][here].numpy() == marks).all()
            assert (batch["counts"][here].numpy() == example.marks.any(axis=0)).all()
            position += window.size
    assert position == len(batch["marks"]) == len(batch["counts"])


def test_context_is_left_out_by_epoch_and_seed_alone(
    training_rows: TrainingRows, rows: list[Row], encoding: ReplyEncoding, data: DataSet
) -> None:
    def lengths(some: TrainingRows) -> list[int]:
        return [len(some[index].encoded.windows[0].input_ids) for index in range(len(some))]

    first = lengths(training_rows)
    training_rows.set_epoch(1)
    second = lengths(training_rows)
    assert first != second
    again = TrainingRows(rows, encoding, data.tasks, context_dropout=0.3, seed=3)
    again.set_epoch(1)
    assert lengths(again) == second
    full = lengths(TrainingRows(rows, encoding, data.tasks, context_dropout=0.0, seed=3))
    shorter = sum(short < long for short, long in zip(first, full, strict=True))
    assert 0 < shorter < 0.6 * len(full)
    assert all(short <= long for short, long in zip(first, full, strict=True))


def test_batches_are_of_one_length_and_hold_every_row_once(training_rows: TrainingRows) -> None:
    sampler = LengthGroups(training_rows, batch_size=7)  # 96 rows: a last batch of 5
    order = list(sampler)
    assert sorted(order) == list(range(len(training_rows))) == list(range(len(sampler)))
    assert list(sampler) == order
    training_rows.set_epoch(1)
    assert list(sampler) != order
    lengths = np.array(training_rows.lengths)
    spreads = [np.ptp(lengths[order[at : at + 7]]) for at in range(0, len(order), 7)]
    assert np.mean(spreads) < np.ptp(lengths) / 4
    firsts = [lengths[order[at]] for at in range(0, len(order), 7)]
    assert firsts != sorted(firsts, reverse=True)


def test_tokens_are_hidden_anew_each_epoch_and_the_frame_never(
    rows: list[Row], encoding: ReplyEncoding, data: DataSet
) -> None:
    def read(epoch: int, share: float) -> list[tuple[int, int, list[int]]]:
        training = TrainingRows(
            rows,
            encoding,
            data.tasks,
            context_dropout=0.0,
            token_dropout=share,
            mask_id=4,
            seed=3,
        )
        training.set_epoch(epoch)
        return [
            (window.reply_at, window.size, window.input_ids.tolist())
            for index in range(len(training))
            for window in training[index].encoded.windows
        ]

    plain, first, again, second = read(0, 0.0), read(0, 0.2), read(0, 0.2), read(1, 0.2)
    assert first == again != second
    hidden = total = 0
    for (reply_at, _, ids), (*_, shown) in zip(first, plain, strict=True):
        for position, (token, before) in enumerate(zip(ids, shown, strict=True)):
            assert token in (before, 4)
            if position in (0, reply_at - 1, len(ids) - 1):
                assert token == before
            else:
                hidden += token == 4
                total += 1
    assert 0.15 < hidden / total < 0.25


def test_hiding_tokens_needs_a_token_to_hide_them_behind(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    config = make_config(training__token_dropout=0.1)
    inputs = load_training_inputs(config)
    assert inputs.mask_id(config) == 4
    assert inputs.mask_id(make_config(training__token_dropout=0)) == 0

    source = json.loads(inputs.encoder.tokenizer)
    text = json.dumps(source).replace("[MASK]", "[NONE]")
    (tmp_path / "tokenizer.json").write_text(text)
    other = replace(inputs, encoder=replace(inputs.encoder, folder=tmp_path))
    with pytest.raises(EncoderError, match=r"no token named \[MASK\] or <mask>.*to 0"):
        other.mask_id(config)


def test_each_token_weighs_what_its_row_does(
    rows: list[Row], encoding: ReplyEncoding, data: DataSet
) -> None:
    weights = np.linspace(0.5, 1.5, len(rows), dtype=np.float32)
    training = TrainingRows(
        rows, encoding, data.tasks, weights=weights, context_dropout=0.5, seed=3
    )
    picked = [5, 0, 40]
    batch = Collator(encoding)([training[index] for index in picked])
    assert batch["weights"].flatten().tolist() == weights[picked].tolist()
    tokens = [sum(window.size for window in training[index].encoded.windows) for index in picked]
    assert batch["token_weights"].flatten().tolist() == np.repeat(weights[picked], tokens).tolist()
    assert len(batch["token_weights"]) == len(batch["marks"])
