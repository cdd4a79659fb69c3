from __future__ import annotations

import numpy as np
import pytest
import torch

from tactful.reading import decisions
from tactful.reading.tasks import Task, Tasks
from tactful_training.fitting.losses import Loss, combine_windows, task_losses

TASKS = Tasks(
    (
        Task("moves", "multilabel", {"sorry": "", "thanks": ""}),
        Task("mood", "single", {"happy": "", "sad": "", "flat": ""}),
    )
)
NAN = float("nan")


def evidence(rows: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    scores = torch.zeros(rows, TASKS.size, requires_grad=True)
    return scores, torch.zeros_like(scores), torch.zeros_like(scores)


def test_windows_combine_as_in_serving() -> None:
    random = np.random.default_rng(5)
    windows_of_row = [1, 3, 1, 2, 1]
    logits = random.normal(size=(sum(windows_of_row), TASKS.size)).astype(np.float32)
    tokens = random.integers(1, 50, len(logits))
    rows = np.repeat(np.arange(5), windows_of_row)

    combined = combine_windows(*map(torch.from_numpy, (logits, rows, tokens)), TASKS).numpy()

    for row in range(5):
        expected = decisions.combine_windows(logits[rows == row], tokens[rows == row], TASKS)
        np.testing.assert_allclose(combined[row], expected, rtol=1e-6)


def test_a_reply_without_a_token_beside_a_long_one_stays_finite() -> None:
    logits = torch.ones(3, TASKS.size)
    combined = combine_windows(logits, torch.tensor([0, 1, 1]), torch.tensor([0, 5, 5]), TASKS)
    assert torch.equal(combined, torch.ones(2, TASKS.size))


def test_unknown_tasks_take_no_part() -> None:
    logits = torch.randn(3, TASKS.size, requires_grad=True)
    known = torch.tensor([[1.0, 0.0, 0.0, 1.0, 0.0]])
    unknown = torch.tensor([[NAN, NAN, 1.0, 0.0, 0.0], [0.0, 1.0, NAN, NAN, NAN]])
    losses = task_losses(logits, torch.cat([known, unknown]), TASKS)

    moves = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[[0, 2], :2], torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    )
    mood = torch.nn.functional.cross_entropy(logits[[0, 1], 2:], torch.tensor([1, 0]))
    torch.testing.assert_close(losses["moves"], moves)
    torch.testing.assert_close(losses["mood"], mood)
    sum(losses.values()).backward()
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[1, :2] == 0).all()
    assert (logits.grad[2, 2:] == 0).all()


def test_a_batch_of_which_nothing_is_known_has_no_loss_and_a_gradient() -> None:
    logits = torch.randn(2, TASKS.size, requires_grad=True)
    total, parts = Loss(TASKS, {}, 1.0)(logits, torch.full((2, 5), NAN), *evidence())
    assert total.item() == 0
    assert set(parts) == {"moves", "mood", "evidence"}
    total.backward()
    assert (logits.grad == 0).all()


def test_weights_of_other_data_sets_are_of_no_consequence() -> None:
    logits, targets = torch.randn(1, 5), torch.tensor([[1.0, 0.0, 0.0, 1.0, 0.0]])
    total, parts = Loss(TASKS, {"moves": 4.0, "strategies": 9.0}, 0.0)(logits, targets, *evidence())
    assert total.item() == pytest.approx(4 * parts["moves"].item() + parts["mood"].item())


def test_evidence_counts_only_where_a_row_has_some() -> None:
    logits, targets = torch.zeros(1, 5), torch.full((1, 5), NAN)
    scores = torch.tensor([[9.0, -9.0, 0, 0, 0], [-9.0, 9.0, 0, 0, 0]], requires_grad=True)
    marks, counts = torch.zeros(2, 5), torch.zeros(2, 5)
    marks[0, 0], counts[:, 0] = 1, 1
    total, parts = Loss(TASKS, {}, 2.0)(logits, targets, scores, marks, counts)
    assert parts["evidence"].item() == pytest.approx(np.log1p(np.exp(-9)), rel=1e-2)
    assert total.item() == pytest.approx(2 * parts["evidence"].item())
    total.backward()
    assert (scores.grad[:, 1] == 0).all()


def test_smoothing_spreads_a_share_of_a_single_target_and_nothing_else() -> None:
    logits = torch.zeros(1, TASKS.size)
    single = next(task for task in TASKS if task.kind == "single")
    at = TASKS.slices[single.name]
    logits[0, at.start] = 2.0
    targets = torch.zeros(1, TASKS.size)
    targets[0, at.start] = 1
    plain = task_losses(logits, targets, TASKS)
    smooth = task_losses(logits, targets, TASKS, label_smoothing=0.1)
    expected = torch.nn.functional.cross_entropy(
        logits[:, at], torch.zeros(1, dtype=torch.int64), label_smoothing=0.1
    )
    torch.testing.assert_close(smooth[single.name], expected)
    assert smooth[single.name] > plain[single.name]
    for name in set(plain) - {single.name}:
        torch.testing.assert_close(smooth[name], plain[name])


def test_a_row_of_weight_three_counts_as_three_rows() -> None:
    logits, scores = torch.randn(2, TASKS.size), torch.randn(3, TASKS.size)
    targets = torch.tensor([[1.0, 0.0, 0.0, 1.0, 0.0], [0.0, 1.0, NAN, NAN, NAN]])
    marks, counts = torch.zeros(3, 5), torch.zeros(3, 5)
    marks[0, 0] = counts[:, 0] = 1
    rows, tokens = torch.tensor([[1.5], [0.5]]), torch.tensor([[1.5], [1.5], [0.5]])
    _, weighted = Loss(TASKS, {}, 1.0)(logits, targets, scores, marks, counts, rows, tokens)
    often = [0, 0, 0, 1]
    _, repeated = Loss(TASKS, {}, 1.0)(
        logits[often],
        targets[often],
        *(each[[0, 1, 0, 1, 0, 1, 2]] for each in (scores, marks, counts)),
    )
    torch.testing.assert_close(weighted["moves"], repeated["moves"])
    # Of the other row nothing is known: what weighs 1.5 is the only one there.
    torch.testing.assert_close(weighted["mood"], 1.5 * repeated["mood"])
    assert weighted["evidence"].item() == pytest.approx(repeated["evidence"].item() * 7 / 6)
