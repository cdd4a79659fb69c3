"""A teacher is opened, checked, asked once; a student learns from it, or from its answers."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow.tracking import MlflowClient
from rich.console import Console
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

from tactful import Classifier
from tactful.reading.tasks import Task, Tasks
from tactful_training.config.config_schema import Config
from tactful_training.errors import ConfigError, EncoderError
from tactful_training.fitting.encoder import EncoderSource
from tactful_training.fitting.model import LabelAttentionModel
from tactful_training.fitting.soft_label_file import write_soft_labels
from tactful_training.fitting.teacher import Teacher, ask_once, check_student, open_teacher
from tactful_training.fitting.trained_weights import write_weights
from tactful_training.fitting.training_inputs import TrainingInputs, load_training_inputs
from tactful_training.training_run import train

Make = Callable[..., Config]


@pytest.fixture
def kept(model: LabelAttentionModel, inputs: TrainingInputs, tmp_path: Path) -> Path:
    write_weights(tmp_path / "kept", dict(model.state_dict()), inputs.encoder, inputs.tasks)
    return tmp_path / "kept"


def bert(tiny_encoder: Path, **changes: Any) -> BertModel:
    settings = BertConfig.from_pretrained(tiny_encoder)
    for name, value in changes.items():
        setattr(settings, name, value)
    torch.manual_seed(5)
    return BertModel(settings, add_pooling_layer=False)


def another(folder: Path, encoder: Any, tokenizer: bytes, tasks: Tasks) -> Path:
    """Weights of a model of another encoder, as a run keeps them."""
    place = folder / "encoder"
    encoder.save_pretrained(place)
    (place / "tokenizer.json").write_bytes(tokenizer)
    model = LabelAttentionModel(encoder, tasks.size)
    torch.nn.init.normal_(model.attention.weight)
    write_weights(
        folder / "weights", dict(model.state_dict()), EncoderSource("other", place, ""), tasks
    )
    return folder / "weights"


def words_tokenizer() -> bytes:
    """Whole words, unlike the student's."""
    texts = "we are sorry my apologies thank you thanks a lot what great day noted parcel"
    names = ["<pad>", "<unk>", "<s>", "</s>", *texts.split()]
    vocabulary = {name: index for index, name in enumerate(dict.fromkeys(names))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    return tokenizer.to_str().encode()


def test_a_student_learns_from_a_run_and_says_so(make_config: Make, workplace: Path) -> None:
    first = train(make_config(), workplace / "first", console=Console(file=io.StringIO()))
    said = io.StringIO()
    inputs = load_training_inputs(make_config())
    rows, soft = inputs.rows["train"], workplace / "soft.jsonl"
    asked = open_teacher(f"runs:/{first.tracking_run}", inputs.tasks, inputs.encoding.limits)
    write_soft_labels(soft, rows, asked.read(rows), inputs.tasks)
    config = make_config(
        distill__soft_labels=soft,
        encoder__layers="[1]",
        encoder__init_from=f"runs:/{first.tracking_run}",
        distill__teacher="models:/tactful/1",
        distill__cache=workplace / "answers" / "teacher.safetensors",
        distill__hidden_weight=0.1,
        distill__attention_weight=0.1,
        training__epochs=2,
    )
    second = train(config, workplace / "second", console=Console(file=said, width=200))
    assert "learning from models:/tactful/1 as well" in said.getvalue()
    bundle = Classifier.load(second.out).bundle
    assert bundle.manifest["encoder"]["layers"] == [1]
    taught = bundle.manifest["distilled_from"]
    assert taught["mlflow_run"] == first.tracking_run
    assert f"soft labels of {len(rows)} of {len(rows)} rows" in said.getvalue()
    sources = [
        f"models:/tactful/1 (sha256 `{taught['sha256']}`)",
        f"the soft labels in soft.jsonl (sha256 `{taught['soft_labels_sha256']}`)",
    ]
    assert f"Learnt from {' and '.join(sources)} beside the labels." in bundle.card
    assert "kept, counted from 0: 1." in bundle.card
    client = MlflowClient(f"sqlite:///{workplace / 'mlflow.db'}")
    run = client.get_run(second.tracking_run).data
    assert run.params["distilled_from.address"] == "models:/tactful/1"
    assert run.params["distilled_from.soft_labels"] == "soft.jsonl"
    for part in ("moves", "mood", "tokens", "hidden", "attention"):
        points = client.get_metric_history(second.tracking_run, f"train/loss/teacher_{part}")
        assert len(points) == 2
        assert all(point.value > 0 for point in points)
        if part in ("moves", "mood"):
            assert points[1].value < points[0].value
    assert (workplace / "answers" / "teacher.safetensors").is_file()
    assert not list(workplace.glob("runs/*"))


@pytest.mark.parametrize("family", ["the same tokens", "other tokens, another family"])
def test_any_teacher_is_asked_and_its_answers_are_kept(
    inputs: TrainingInputs, tmp_path: Path, tiny_encoder: Path, family: str
) -> None:
    if family == "the same tokens":
        encoder: Any = bert(tiny_encoder, num_hidden_layers=3)
        tokenizer = inputs.encoder.tokenizer
    else:
        settings = DistilBertConfig(vocab_size=40, dim=48, n_layers=1, n_heads=2, hidden_dim=64)
        encoder, tokenizer = DistilBertModel(settings), words_tokenizer()
    order = Tasks(tuple(reversed([
        Task(task.name, task.kind, dict.fromkeys(reversed(task.names), ""))
        for task in inputs.tasks
    ])))  # fmt: skip
    address = str(another(tmp_path, encoder, tokenizer, order))
    limits = inputs.encoding.limits
    teacher = open_teacher(address, inputs.tasks, limits, inputs.encoder.tokenizer)
    assert (teacher.numbers is not None) == (family == "the same tokens")
    rows = inputs.rows["train"][:20]
    cache = tmp_path / "deep" / "answers.safetensors"
    asked, kept = (ask_once(teacher, rows, cache) for _ in range(2))
    assert len(asked) == len(kept) == len(rows)
    for one, other in zip(asked, kept, strict=True):
        np.testing.assert_array_equal(one.logits, other.logits)
        np.testing.assert_array_equal(one.offsets, other.offsets)
        np.testing.assert_array_equal(one.token_scores, other.token_scores)
    # Its own order of labels and tokens are not ours.
    last = order.columns[next(iter(inputs.tasks.columns))]
    assert teacher.columns[0] == last
    encoded = inputs.encoding.encode([(row.reply, row.context) for row in rows])
    mapped = asked[0].at(encoded[0].offsets)
    assert mapped.shape == (len(encoded[0].offsets), inputs.tasks.size)
    assert np.isfinite(mapped).all() or teacher.numbers is None


def test_answers_of_another_teacher_are_refused(
    inputs: TrainingInputs, kept: Path, tmp_path: Path, tiny_encoder: Path
) -> None:
    cache, limits = tmp_path / "answers.safetensors", inputs.encoding.limits
    rows = inputs.rows["train"][:4]
    ask_once(open_teacher(str(kept), inputs.tasks, limits), rows, cache)
    tokenizer = inputs.encoder.tokenizer
    address = str(another(tmp_path, bert(tiny_encoder), tokenizer, inputs.tasks))
    other = open_teacher(address, inputs.tasks, limits)
    with pytest.raises(EncoderError) as caught:
        ask_once(other, rows, cache)
    for part in (str(cache), "teacher ", other.source.sha256[:12], "distill.cache"):
        assert part in str(caught.value)
    assert "rows " not in str(caught.value)
    with pytest.raises(EncoderError, match=r"\(rows [0-9a-f]{12} there, [0-9a-f]{12} now\)"):
        ask_once(open_teacher(str(kept), inputs.tasks, limits), rows[:3], cache)
    cache.write_bytes(b"half a file")
    with pytest.raises(EncoderError, match="cannot be read"):
        ask_once(other, rows, cache)


def test_a_teacher_of_other_labels_is_refused_by_name(
    make_config: Make, inputs: TrainingInputs, kept: Path
) -> None:
    heads = json.loads((kept / "heads.json").read_text())
    moves, mood = heads["tasks"]
    renamed = {"tasks": [{**moves, "labels": ["sorry", "regret", "question"]}, mood]}
    (kept / "heads.json").write_text(json.dumps(renamed))
    with pytest.raises(EncoderError) as caught:
        load_training_inputs(make_config(distill__teacher=kept))
    for part in (str(kept), "moves: it does not know thanks", "knows regret"):
        assert part in str(caught.value)
    other = {"tasks": [moves, {**mood, "kind": "multilabel"}]}
    (kept / "heads.json").write_text(json.dumps(other))
    with pytest.raises(EncoderError, match=r"no single task 'mood'; .*mood \(multilabel\)"):
        load_training_inputs(make_config(distill__teacher=kept))
    with pytest.raises(EncoderError, match=r"distill\.teacher: .*nowhere lacks"):
        load_training_inputs(make_config(distill__teacher=kept / "nowhere"))


def test_a_student_that_cannot_learn_so_is_told(
    make_config: Make, inputs: TrainingInputs, tmp_path: Path, tiny_encoder: Path
) -> None:
    tokenizer, limits = inputs.encoder.tokenizer, inputs.encoding.limits

    def refusal(encoder: Any, told: bytes = tokenizer, **weights: float) -> str:
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        address = str(another(tmp_path / "other", encoder, told, inputs.tasks))
        teacher = open_teacher(address, inputs.tasks, limits, tokenizer)
        changes = {f"distill__{name}": value for name, value in weights.items()}
        config = make_config(distill__teacher=address, **changes)
        with pytest.raises(EncoderError) as caught:
            check_student(teacher, BertConfig.from_pretrained(tiny_encoder), config.distill)
        return str(caught.value)

    narrow = bert(tiny_encoder, hidden_size=16)
    assert "student is 32 wide, wider than its teacher" in refusal(narrow)
    wide = bert(tiny_encoder, hidden_size=64, num_attention_heads=4)
    assert "32 numbers (the student) and 64" in refusal(wide, hidden_weight=1.0)
    assert "2 attention heads (the student) and 4" in refusal(wide, attention_weight=1.0)
    words = bert(tiny_encoder, vocab_size=40)
    assert "another tokenizer" in refusal(words, words_tokenizer(), hidden_weight=1.0)
    shallow = bert(tiny_encoder, num_hidden_layers=1)
    assert "student has 2 layers, its teacher 1" in refusal(shallow, hidden_weight=1.0)
    short = another(
        tmp_path / "short", bert(tiny_encoder, max_position_embeddings=16), tokenizer, inputs.tasks
    )
    with pytest.raises(EncoderError, match="reads at most 16 tokens"):
        open_teacher(str(short), inputs.tasks, limits, tokenizer)


def test_pieces_are_looked_for_where_states_are_learnt(make_config: Make, kept: Path) -> None:
    def teacher_of(**weights: float) -> Teacher:
        config = make_config(distill__teacher=kept, **weights)
        opened = load_training_inputs(config).teacher
        assert opened is not None
        return opened

    assert teacher_of().numbers is None
    for name in ("distill__hidden_weight", "distill__attention_weight"):
        numbers = teacher_of(**{name: 1.0}).numbers
        assert numbers is not None
        assert numbers.tolist() == list(range(len(numbers)))


def test_a_config_that_contradicts_itself_is_refused(make_config: Make) -> None:
    with pytest.raises(ConfigError, match="need a teacher"):
        make_config(distill__soft_labels="there.jsonl", distill__hidden_weight=1.0)
    with pytest.raises(ConfigError, match="need a teacher"):
        make_config(distill__attention_weight=1.0)
