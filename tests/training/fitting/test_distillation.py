"""Every loss against a teacher, beside a plain reference in PyTorch."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from tactful.reading.tasks import Task, Tasks
from tactful_training.config.config_schema import Config
from tactful_training.errors import EncoderError
from tactful_training.fitting.distillation import (
    Distillation,
    attention_loss,
    hidden_loss,
    logit_losses,
    presence,
    token_loss,
)
from tactful_training.fitting.encoder import load_encoder
from tactful_training.fitting.losses import combine_windows
from tactful_training.fitting.model import LabelAttentionModel
from tactful_training.fitting.teacher import check_student, layers_of_teacher, open_teacher
from tactful_training.fitting.trained_weights import take_over, write_weights
from tactful_training.fitting.training_batches import Collator, TrainingRows
from tactful_training.fitting.training_inputs import TrainingInputs, load_training_inputs
from tactful_training.fitting.vocabulary import rare_pieces

Make = Callable[..., Config]
TASKS = Tasks(
    (
        Task("moves", "multilabel", {"sorry": "", "thanks": ""}),
        Task("mood", "single", {"happy": "", "sad": "", "flat": ""}),
    )
)
NAN = float("nan")


def same_gradients(loss: torch.Tensor, reference: torch.Tensor, leaf: torch.Tensor) -> None:
    ours, theirs = (
        torch.autograd.grad(each, leaf, retain_graph=True)[0] for each in (loss, reference)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    assert ours.abs().sum() > 0


def test_logits_of_many_labels_learn_as_by_cross_entropy_with_probabilities() -> None:
    torch.manual_seed(1)
    logits, soft = torch.randn(6, 5, requires_grad=True), 2 * torch.randn(6, 5)
    soft[0, :2], soft[3, 1] = NAN, NAN
    loss = logit_losses(logits, soft, TASKS, 2.0)["moves"]
    known = ~soft[:, :2].isnan()
    reference = F.binary_cross_entropy_with_logits(
        logits[:, :2][known], soft[:, :2][known].sigmoid()
    )
    same_gradients(loss, reference, logits)
    chances = soft[:, :2][known].sigmoid()
    entropy = F.binary_cross_entropy(chances, chances)
    torch.testing.assert_close(loss, reference - entropy)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_logits_of_one_label_learn_as_by_divergence_at_a_temperature(temperature: float) -> None:
    torch.manual_seed(2)
    logits, soft = torch.randn(6, 5, requires_grad=True), 2 * torch.randn(6, 5)
    soft[4, 2:] = NAN
    loss = logit_losses(logits, soft, TASKS, temperature)["mood"]
    rows = [0, 1, 2, 3, 5]
    reference = temperature**2 * F.kl_div(
        (logits[rows, 2:] / temperature).log_softmax(dim=1),
        (soft[rows, 2:] / temperature).softmax(dim=1),
        reduction="batchmean",
    )
    same_gradients(loss, reference, logits)
    torch.testing.assert_close(loss, reference)


def test_token_scores_learn_where_the_label_may_be() -> None:
    torch.manual_seed(3)
    scores, soft = torch.randn(7, 5, requires_grad=True), torch.randn(7, 5)
    chances = torch.rand(7, 5)
    soft[1], chances[2] = NAN, NAN
    rows = [0, 3, 4, 5, 6]
    loss = token_loss(scores, soft, chances)
    reference = F.binary_cross_entropy_with_logits(
        scores[rows], soft[rows].sigmoid(), weight=chances[rows], reduction="sum"
    )
    same_gradients(loss, reference / chances[rows].sum(), scores)


def test_hidden_states_learn_as_by_squared_error_without_padding() -> None:
    torch.manual_seed(4)
    ours = torch.randn(2, 3, 5, 8, requires_grad=True)  # layers, windows, tokens, width
    theirs = torch.randn(2, 3, 5, 8)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
    reference = F.mse_loss(ours[:, mask.bool()], theirs[:, mask.bool()])
    loss = hidden_loss(list(ours), list(theirs), mask)
    same_gradients(loss, reference, ours)
    torch.testing.assert_close(loss, reference)


def test_attention_learns_as_by_divergence_without_padding() -> None:
    torch.manual_seed(5)
    raw = torch.randn(2, 3, 4, 5, 5, requires_grad=True)  # layers, windows, heads, tokens
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
    hidden = (mask == 0)[None, :, None, None, :]
    ours = raw.masked_fill(hidden, -torch.inf).softmax(dim=-1)
    theirs = torch.randn(2, 3, 4, 5, 5).masked_fill(hidden, -torch.inf).softmax(dim=-1)
    loss = attention_loss(list(ours), list(theirs), mask)
    parts = [
        F.kl_div(
            ours[layer, window, head, token, :length].log(),
            theirs[layer, window, head, token, :length],
            reduction="sum",
        )
        for layer, head in itertools.product(range(2), range(4))
        for window, length in enumerate((5, 3, 2))
        for token in range(length)
    ]
    reference = torch.stack(parts).mean()
    same_gradients(loss, reference, raw)
    torch.testing.assert_close(loss, reference)


def test_what_a_teacher_does_not_say_teaches_nothing() -> None:
    logits = torch.randn(2, 5, requires_grad=True)
    silent = torch.full((2, 5), NAN)
    losses = logit_losses(logits, silent, TASKS, 2.0)
    scores = torch.randn(2, 5, requires_grad=True)
    losses["tokens"] = token_loss(scores, silent, presence(silent, TASKS))
    assert all(loss.item() == 0 for loss in losses.values())
    sum(losses.values(), torch.zeros(())).backward()
    assert (logits.grad == 0).all()
    assert (scores.grad == 0).all()


@pytest.fixture
def kept(model: LabelAttentionModel, inputs: TrainingInputs, tmp_path: Path) -> Path:
    write_weights(tmp_path / "kept", dict(model.state_dict()), inputs.encoder, inputs.tasks)
    return tmp_path / "kept"


@pytest.mark.parametrize("pieces", ["all pieces", "without those of no row"])
def test_a_student_that_is_its_own_teacher_has_nothing_to_learn(
    make_config: Make,
    model: LabelAttentionModel,
    inputs: TrainingInputs,
    kept: Path,
    tmp_path: Path,
    pieces: str,
) -> None:
    rows = inputs.rows["train"][:24]
    if pieces != "all pieces":
        rows = rows[:4]  # more of them have every piece of the small vocabulary
        texts = [text for row in rows for text in (row.reply, row.context) if text]
        listed = tmp_path / "rare.txt"
        listed.write_text("\n".join(rare_pieces(inputs.encoder.tokenizer, [], texts)))
        whole = model
        cut = make_config(encoder__pieces_left_out=listed, encoder__init_from=kept)
        inputs = load_training_inputs(cut)
        assert inputs.start is not None
        encoder = load_encoder(inputs.encoder, cut.model, attention="eager")
        model = LabelAttentionModel(encoder, inputs.tasks.size).eval()
        take_over(model, inputs.tasks, inputs.start, inputs.encoder)
        few, many = (each.encoder.config.vocab_size for each in (model, whole))
        assert few < many - 5
    config = make_config(
        distill__teacher=kept, distill__hidden_weight=1.0, distill__attention_weight=1.0
    ).distill
    tokenizer = inputs.encoder.tokenizer
    teacher = open_teacher(str(kept), inputs.tasks, inputs.encoding.limits, tokenizer)
    check_student(teacher, model.encoder.config, config)
    data = TrainingRows(
        rows, inputs.encoding, inputs.tasks, context_dropout=0, seed=1, soft=teacher.read(rows)
    )
    batch = Collator(inputs.encoding)([data[index] for index in range(len(data))])
    distillation = Distillation(inputs.tasks, {}, config, teacher)

    def learn(student: LabelAttentionModel) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        states = distillation.student_states()
        names = ("input_ids", "attention_mask", "token_type_ids")
        logits, scores = student(**{name: batch[name] for name in names}, states=states)
        logits = combine_windows(
            logits, batch["row_of_window"], batch["reply_tokens"], inputs.tasks
        )
        return distillation(student, batch, logits, scores[batch["is_reply"]], states)

    total, parts = learn(model)
    assert set(parts) == {
        *(f"teacher_{task.name}" for task in inputs.tasks),
        *("teacher_tokens", "teacher_hidden", "teacher_attention"),
    }
    assert total.item() == pytest.approx(0, abs=1e-6)
    for part in parts.values():
        assert part.item() == pytest.approx(0, abs=1e-6)

    torch.manual_seed(8)
    other = open_teacher(str(kept), inputs.tasks, inputs.encoding.limits, tokenizer).model
    for weights in other.parameters():
        torch.nn.init.normal_(weights, std=0.2)
    assert all(part.item() > 1e-4 for part in learn(other)[1].values())


def test_layers_are_spread_evenly_or_named(make_config: Make) -> None:
    config = make_config().distill
    assert layers_of_teacher(config, 3, 6) == [1, 3, 5]
    assert layers_of_teacher(config, 3, 3) == [0, 1, 2]
    named = make_config(distill__teacher_layers="[0, 2, 5]").distill
    assert layers_of_teacher(named, 3, 6) == [0, 2, 5]
    with pytest.raises(EncoderError, match=r"names layer 5, but the teacher has 4"):
        layers_of_teacher(named, 3, 4)
    with pytest.raises(EncoderError, match=r"names 3 layers; .* each of the student's 2"):
        layers_of_teacher(named, 2, 6)
    with pytest.raises(EncoderError, match=r"has 4 layers, its teacher 2"):
        layers_of_teacher(config, 4, 2)
