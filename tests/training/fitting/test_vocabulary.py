"""A vocabulary without some pieces reads every word, and the model has the rows that it needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models

from tactful_training.config.config_file import load_config
from tactful_training.config.config_schema import Config
from tactful_training.config.shipped_files import find_config, shipped_root
from tactful_training.data.data_set import load_data_set
from tactful_training.errors import EncoderError
from tactful_training.fitting.encoder import OFFLINE_PACKAGES, find_encoder, load_encoder
from tactful_training.fitting.model import LabelAttentionModel
from tactful_training.fitting.trained_weights import read_start, take_over, write_weights
from tactful_training.fitting.training_inputs import (
    TrainingInputs,
    check_fit,
    load_training_inputs,
)
from tactful_training.fitting.vocabulary import (
    numbers_among,
    rare_pieces,
    read_pieces,
    without_pieces,
)

Make = Callable[..., Config]
SHIPPED = shipped_root() / "data_cards/support_replies"


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "rare.txt"
    path.write_text("# what nobody says\nsorry\nparcel\n")
    return path


def test_words_without_their_piece_are_read_by_smaller_ones(
    make_config: Make, inputs: TrainingInputs, listed: Path
) -> None:
    config = make_config(encoder__pieces_left_out=listed)
    fewer = load_training_inputs(config)
    whole, cut = (Tokenizer.from_buffer(each.encoder.tokenizer) for each in (inputs, fewer))
    for text in ("thank you , the page is here", "what a great day"):
        assert cut.encode(text).tokens == whole.encode(text).tokens
    assert whole.encode("sorry").tokens == ["[CLS]", "sorry", "[SEP]"]
    assert cut.encode("sorry").tokens == ["[CLS]", "s", "##o", "##r", "##r", "##y", "[SEP]"]
    assert cut.get_vocab_size() == whole.get_vocab_size() - 2

    source = fewer.encoder
    encoders = [load_encoder(each.encoder, config.model) for each in (inputs, fewer)]
    check_fit(encoders[1], fewer)
    tables = [each.get_input_embeddings().weight for each in encoders]
    for piece, number in cut.get_vocab().items():
        assert torch.equal(tables[1][number], tables[0][whole.get_vocab()[piece]]), piece
    assert source.to_json()["pieces_left_out"] == 2
    assert fewer.identity(config)["tokenizer"] != inputs.identity(config).get("tokenizer")


def test_weights_of_the_whole_vocabulary_start_one_without_some_pieces(
    make_config: Make, inputs: TrainingInputs, listed: Path, tmp_path: Path
) -> None:
    config = make_config(encoder__pieces_left_out=listed)
    source = load_training_inputs(config).encoder
    whole = LabelAttentionModel(load_encoder(inputs.encoder, config.model), inputs.tasks.size)
    torch.nn.init.normal_(whole.encoder.get_input_embeddings().weight)
    write_weights(tmp_path / "whole", dict(whole.state_dict()), inputs.encoder, inputs.tasks)
    cut = LabelAttentionModel(load_encoder(source, config.model), inputs.tasks.size)
    assert take_over(cut, inputs.tasks, read_start(str(tmp_path / "whole"), source), source) == []
    tables = [each.encoder.get_input_embeddings().weight for each in (whole, cut)]
    assert torch.equal(tables[1], tables[0][source.kept_rows])

    write_weights(tmp_path / "cut", dict(cut.state_dict()), source, inputs.tasks)
    assert json.loads((tmp_path / "cut" / "config.json").read_text())["vocab_size"] == len(
        tables[1]
    )
    again = LabelAttentionModel(load_encoder(source, config.model), inputs.tasks.size)
    take_over(again, inputs.tasks, read_start(str(tmp_path / "cut"), source), source)
    assert torch.equal(again.encoder.get_input_embeddings().weight, tables[1])
    with pytest.raises(EncoderError, match=r"another kind of encoder .* vocab_size"):
        read_start(str(tmp_path / "cut"), inputs.encoder)


def test_what_cannot_be_left_out_is_named(
    make_config: Make, inputs: TrainingInputs, tmp_path: Path
) -> None:
    tokenizer = inputs.encoder.tokenizer
    for piece, told in (
        ("nowhere", "'nowhere', which the tokenizer does not have"),
        ("##s", "'##s'; characters and special tokens must stay"),
        ("[MASK]", "special tokens must stay"),
    ):
        with pytest.raises(EncoderError, match=told):
            without_pieces(tokenizer, [piece])
    other = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")).to_str().encode()
    with pytest.raises(EncoderError, match=r"is a WordLevel; .* WordPiece alone"):
        without_pieces(other, ["a"])
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(EncoderError, match="names no piece"):
        read_pieces(tmp_path / "empty.txt")


def test_numbers_of_pieces_are_found_among_those_of_the_whole_vocabulary(
    inputs: TrainingInputs,
) -> None:
    whole = inputs.encoder.tokenizer
    assert numbers_among(whole, whole) == list(range(len(json.loads(whole)["model"]["vocab"])))
    cut, _ = without_pieces(whole, ["sorry", "parcel"])
    numbers = numbers_among(cut, whole)
    assert numbers is not None
    for piece, number in json.loads(cut)["model"]["vocab"].items():
        assert numbers[number] == json.loads(whole)["model"]["vocab"][piece]
    assert numbers_among(whole, cut) is None  # who knows fewer pieces

    reader = Tokenizer.from_buffer(whole)
    reader.add_special_tokens(["<customer>"])  # outside the vocabulary, as a new row of the table
    reader.enable_padding(pad_id=1000)
    more = reader.to_str().encode()
    assert numbers_among(whole, more) is numbers_among(cut, more) is None
    assert numbers_among(more, whole) is None
    less, kept = without_pieces(more, ["sorry"])
    assert numbers_among(less, more) == kept
    assert kept[-1] == reader.token_to_id("<customer>") == len(kept)
    assert Tokenizer.from_buffer(less).token_to_id("<customer>") == len(kept) - 1

    other = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")).to_str().encode()
    unigram = Tokenizer(models.Unigram([("a", -1.0), ("b", -2.0)])).to_str().encode()
    for each in (other, unigram):
        assert numbers_among(each, whole) is numbers_among(whole, each) is None
    renamed = whole.replace(b'"sorry"', b'"sorrow"')
    assert numbers_among(renamed, whole) is None
    upper = whole.replace(b'"lowercase": true', b'"lowercase": false')
    assert upper != whole
    assert numbers_among(upper, whole) is None


def test_pieces_of_words_texts_characters_and_numbers_stay(inputs: TrainingInputs) -> None:
    found = rare_pieces(inputs.encoder.tokenizer, ["sorry", "parcel"], ["thank you , a lot"])
    assert not {"sorry", "parcel", "thank", "you", "lot", "a", "##s", "[MASK]"} & set(found)
    assert {"apologies", "great", "order"} <= set(found)


def test_the_shipped_list_holds_pieces_and_no_character() -> None:
    pieces = read_pieces(find_config("rare_pieces.txt"))
    assert len(set(pieces)) == len(pieces) > 3000
    assert all(len(piece.removeprefix("##")) > 1 for piece in pieces)
    assert not {"sorry", "thank", "refund", "2020"} & set(pieces)


def test_no_shipped_reply_needs_a_piece_of_the_shipped_list() -> None:
    pytest.importorskip(OFFLINE_PACKAGES[load_config().encoder.name])
    encoder = find_encoder(load_config().encoder)
    tokenizer = Tokenizer.from_str(encoder.tokenizer.decode())
    rows = [row for split in ("train", "validation") for row in load_data_set(SHIPPED).split(split)]
    read = tokenizer.encode_batch([row.reply for row in rows], add_special_tokens=False)
    used = {piece for each in read for piece in each.tokens}
    assert "sorry" in used
    assert not used & set(read_pieces(find_config("rare_pieces.txt")))
