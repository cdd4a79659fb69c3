"""Nobody is singled out by chance, and a real difference is found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tactful.report.agent_comparison import design_effects, differs_from_rest, shrink
from tactful.report.intervals import holm

LABELS = {"apology": 0.25, "gratitude": 0.1, "caring_close": 0.02, "next_step": 0.5}
OPTIONS = {"agent_column": "agent", "team_column": "team", "conversation_column": "conversation"}


def singled_out(hits, n):
    """Which agents of one team some strategy singles out."""
    everyone = [np.broadcast_to(each.sum(axis=0), each.shape) for each in (hits, n)]
    p = differs_from_rest(hits, n, *everyone)
    return (holm(p.ravel()).reshape(p.shape) <= 0.05).any(axis=1)


def test_of_agents_with_equal_rates_hardly_any_is_singled_out():
    random = np.random.default_rng(1)
    found = []
    for _ in range(15):
        n = np.repeat(random.integers(30, 400, (60, 1)), 17, axis=1).astype(float)
        hits = random.binomial(n.astype(int), random.beta(1, 5, 17)).astype(float)
        found.append(singled_out(hits, n).mean())
    assert np.mean(found) <= 0.05
    assert np.mean(np.array(found) > 0) <= 0.1  # the chance of even one of 60


def test_p_values_are_those_of_fisher_s_exact_test():
    random = np.random.default_rng(9)
    n, rest = random.integers(5, 60, (2, 40, 1)).astype(float)
    hits, others = random.binomial(n.astype(int), 0.2), random.binomial(rest.astype(int), 0.3)
    found = differs_from_rest(hits.astype(float), n, (hits + others).astype(float), n + rest)
    for h, m, all_hits, everyone, p in zip(hits, n, hits + others, n + rest, found, strict=True):
        drawn = stats.hypergeom(int(everyone[0]), int(all_hits[0]), int(m[0]))
        wanted = min(2 * min(drawn.cdf(h[0]), drawn.sf(h[0] - 1)), 1)
        assert p[0] == pytest.approx(wanted)


def test_a_planted_difference_is_found():
    random = np.random.default_rng(2)
    n = np.full((80, 17), 250.0)
    hits = random.binomial(250, 0.2, n.shape).astype(float)
    hits[7, 3], hits[9, 5] = 250 * 0.42, 250 * 0.03
    assert np.flatnonzero(singled_out(hits, n)).tolist() == [7, 9]


def test_few_replies_are_drawn_towards_the_team_and_intervals_stay_open():
    n = np.array([[10.0], [1000.0], [500.0], [500.0]])
    hits = np.array([[6.0], [300.0], [150.0], [140.0]])
    found = shrink(hits, n, np.zeros(4, int))
    assert found.team[0, 0] == pytest.approx(0.3, abs=0.02)
    assert 0.3 < found.value[0, 0] < 0.5  # not 0.6
    assert found.value[1, 0] == pytest.approx(0.3, abs=0.01)
    width = (found.high - found.low)[:, 0]
    assert width[0] > width[1] > 0.02  # though the agents' rates are nearly the same


def test_intervals_cover_true_rates_whether_agents_differ_or_not():
    random = np.random.default_rng(4)
    for spread in (0.0, 0.08):  # 1 in 20 is missed, give or take 1.3%
        truth = np.clip(random.normal(0.25, spread, (300, 1)), 0.01, 0.99)
        n = random.integers(30, 300, (300, 1)).astype(float)
        found = shrink(random.binomial(n.astype(int), truth).astype(float), n, np.zeros(300, int))
        assert ((found.low <= truth) & (truth <= found.high)).mean() > 0.9


def test_conversations_whose_replies_are_alike_count_once():
    random = np.random.default_rng(6)
    agents = np.repeat(np.arange(10), 120)
    conversations = np.repeat(np.arange(300), 4)
    hits = np.repeat(random.random((300, 1)) < 0.3, 4, axis=0)
    assert design_effects(hits, conversations, agents)[0] == pytest.approx(4, rel=0.1)
    alone = random.random((1200, 1)) < 0.3
    assert design_effects(alone, np.full(1200, -1), agents)[0] == 1
    assert design_effects(alone, conversations, agents)[0] == pytest.approx(1, abs=0.2)


def test_pages_of_simulated_agents(simulated, figures_of):
    same = {f"agent {index:02}": LABELS for index in range(18)}
    planted = {"planted": LABELS | {"apology": 0.65}, "quiet": LABELS | {"next_step": 0.1}}
    rows = simulated(same | planted, 100, seed=3, a_conversation=2)
    rows += simulated({"newcomer": LABELS}, 3)
    figures = figures_of(rows, **OPTIONS)
    pages = {page.name: page for page in figures.coaching.agents}
    assert "newcomer" not in pages
    assert (figures.coaching.hidden, figures.coaching.hidden_replies) == (1, 3)
    apart = {
        (name, strategy): each.apart
        for name, page in pages.items()
        for strategy, each in page.strategies.items()
        if each.apart
    }
    assert apart[("planted", "apology")] == "above"
    assert apart[("quiet", "next_step")] == "below"
    assert len({name for name, _ in apart} - set(planted)) <= 1
    assert pages["planted"].strengths[0] == "apology"
    assert pages["quiet"].tries[0] == "next_step"


def test_nobody_is_shown_with_three_replies_and_nothing_said_of_them(simulated, report_of):
    rows = simulated({"big": LABELS, "small": LABELS}, 40)[:43]
    made = report_of(rows, agent_column="agent")
    assert [page.name for page in made.figures.coaching.agents] == ["big"]
    for path in (made.page, made.json, made.csv):
        assert "small" not in path.read_text("utf-8").replace("small-", "")


def test_a_page_quotes_the_agent_and_the_team_but_names_no_other(made_up, report_of, columns):
    made = report_of(made_up(600, 6), **columns, only_agent="Ben Abara")
    [page] = made.figures.coaching.agents
    assert page.strengths
    assert len(page.tries) == 2
    assert {example.shows for example in page.examples} >= {"own", "team"}
    assert made.figures.missed == ()
    text = made.page.read_text("utf-8")
    assert "Ben Abara" in text
    assert "Chidi Abara" not in text


def test_pasting_a_phrase_moves_no_figure_of_own_words(simulated, figures_of, row):
    rows = simulated({f"a{index}": LABELS for index in range(8)}, 60, seed=5)
    before = figures_of(rows, agent_column="agent")
    pasted = "I understand your frustration."
    rows += [
        row(f"Order {index}. {pasted}", {"apology": pasted}, agent="a3", team="all")
        for index in range(60)
    ]
    after = figures_of(rows, agent_column="agent")
    [phrase] = [each for each in after.stock if each.text == pasted]
    assert (phrase.replies, phrase.agents, phrase.strategies) == (60, 1, ("apology",))
    old, new = (
        next(page for page in each.coaching.agents if page.name == "a3").strategies["apology"]
        for each in (before, after)
    )
    assert new.seen.value > old.seen.value + 0.2
    assert new.own.value <= old.own.value
    rate = after.overview.rates["strategies"]["apology"]
    assert rate.own.value == pytest.approx(rate.seen.value - 60 / len(rows))
