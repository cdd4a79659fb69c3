"""Labels in any script are drawn: no boxes, no warnings."""

from __future__ import annotations

import io
import warnings

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from tactful.reading.tasks import Task, Tasks
from tactful_training.data.labelled_row import Row
from tactful_training.evaluation.bundle_evaluation import evaluate_answers
from tactful_training.evaluation.decisions_on_rows import Answers
from tactful_training.fitting.epochs import Epoch
from tactful_training.registry.run_plots import draw_run_plots, lettering

LABELS = ["道歉", "спасибо", "شكر", "धन्यवाद", "🙂 ok", "$a$ und $b", "ok\U000e0001"]
TASKS = Tasks(
    (
        Task("tone", "single", dict.fromkeys(LABELS, "")),
        Task("acts", "multilabel", dict.fromkeys(LABELS, "")),
    )
)


@pytest.fixture
def plots() -> dict[str, Figure]:
    rows = [
        Row(f"{i}", "a", None, f"{i}", {"tone": label, "acts": (label,)}, (), {})
        for i, label in enumerate(LABELS * 6)
    ]
    answers = Answers(rows, TASKS, np.zeros((len(rows), 14)), np.zeros((len(rows), 14), bool))
    right = np.nan_to_num(answers.truth)
    scores = 0.9 * right + 0.05
    evaluation = evaluate_answers(Answers(rows, TASKS, scores, right == 1), resamples=20)
    losses = {"train/loss/tone": 1.0, "validation/loss/tone": 0.9, "validation/score": 0.5}
    return dict(draw_run_plots([Epoch(1, losses)], {"test": evaluation}))


def test_every_plot_is_drawn_without_a_box(plots: dict[str, Figure]) -> None:
    assert {"loss.png", "test/tone_confusion.png", "test/acts_thresholds.png"} <= set(plots)
    for name, figure in plots.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # "Glyph 36947 missing from font(s) DejaVu Sans."
            figure.savefig(io.BytesIO(), format="png", dpi=40)
        shown = {text.get_text() for text in figure.findobj(Text)}
        assert not any("Last Resort" in family for family in families(figure)), name
        if "confusion" in name or "thresholds" in name:
            assert "спасибо" in shown
            assert "$a$ und $b" in shown


def families(figure: Figure) -> set[str]:
    return {family for text in figure.findobj(Text) for family in text.get_fontfamily()}


def test_a_letter_that_no_font_has_is_written_as_its_code() -> None:
    with lettering(["ok\U000e0001", "a"]) as drawn:
        assert drawn("ok\U000e0001") == r"ok\U000e0001"
        assert drawn("спасибо") == "спасибо"


def test_an_installed_font_that_has_the_letter_is_taken() -> None:
    usual = set(font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap())
    general = set(font_manager.get_font(font_manager.findfont("STIXGeneral")).get_charmap())
    lacking = chr(min(general - usual))  # both fonts come with matplotlib
    with lettering([lacking]) as drawn:
        assert drawn(lacking) == lacking
        families = matplotlib.rcParams["font.family"]
        assert families[0] == "DejaVu Sans"
        assert len(families) > 1
    assert matplotlib.rcParams["font.family"] == ["sans-serif"]
