from __future__ import annotations

import numpy as np
import pytest

from tactful.report.outcome import outcome_figures


def rows_of(row, random, n, effect, *, confounded=0.0):
    """Replies by 25 agents whose outcome depends on an apology, and on the channel."""
    found = []
    for number in range(n):
        phone = random.random() < 0.5
        apology = random.random() < (0.3 + 0.4 * phone)
        outcome = effect * apology + confounded * phone + random.normal()
        said = {"apology": "Sorry."} if apology else {}
        found.append(
            row("Sorry. " + "word " * random.integers(1, 30), said, outcome=outcome,
                channel="phone" if phone else "chat", agent=f"a{number % 25}")
        )  # fmt: skip
    return found


def associations(table_of, rows, **more):
    figures = outcome_figures(table_of(rows, outcome_column="outcome", **more))
    return figures, {each.strategy: each for each in figures.associations}


def test_what_goes_with_the_outcome_is_found(table_of, row):
    rows = rows_of(row, np.random.default_rng(1), 600, 0.6)
    figures, found = associations(table_of, rows, channel_column="channel")
    assert found["apology"].supported
    assert found["apology"].difference.low < 0.6 < found["apology"].difference.high
    assert figures.unit == "replies"
    assert figures.errors == "HC3"
    assert figures.adjusted_for == ("channel", "length")


def test_a_channel_with_better_outcomes_is_no_merit_of_a_strategy(table_of, row):
    rows = rows_of(row, np.random.default_rng(2), 800, 0.0, confounded=1.5)
    assert associations(table_of, rows)[1]["apology"].supported
    adjusted = associations(table_of, rows, channel_column="channel")[1]["apology"]
    assert not adjusted.supported
    assert abs(adjusted.difference.value) < 0.2


def test_intervals_are_those_of_hc3_written_out(table_of, row):
    table = table_of(rows_of(row, np.random.default_rng(3), 120, 0.4), outcome_column="outcome")
    [found] = outcome_figures(table).associations
    has = table.has[:, table.strategies.index("apology")]
    x = np.column_stack([has, np.ones(120), np.log1p(table.words)])
    bread = np.linalg.inv(x.T @ x)
    beta = bread @ x.T @ table.outcome
    hat = np.diag(x @ bread @ x.T)
    meat = x.T @ np.diag(((table.outcome - x @ beta) / (1 - hat)) ** 2) @ x
    error = np.sqrt((bread @ meat @ bread)[0, 0])
    assert found.difference.value == pytest.approx(beta[0])
    reach = found.difference.high - found.difference.value
    assert reach == pytest.approx(1.98045 * error, rel=1e-4)


def test_agents_who_differ_widen_the_intervals(table_of, row):
    random = np.random.default_rng(4)
    rows = []
    for agent in range(40):
        kind = agent % 2 == 0  # who apologises always does, and has an outcome of their own
        own = random.normal()
        rows += [
            row("Sorry.", {"apology": "Sorry."} if kind else {}, agent=f"a{agent}",
                outcome=own + random.normal() / 4)
            for _ in range(25)
        ]  # fmt: skip
    plain = associations(table_of, rows)[1]["apology"].difference
    figures, found = associations(table_of, rows, agent_column="agent")
    assert figures.errors == "clustered by agent"
    by_agent = found["apology"].difference
    assert by_agent.high - by_agent.low > 3 * (plain.high - plain.low)


def test_conversations_are_compared_where_they_are_known(table_of, row):
    random = np.random.default_rng(5)
    rows = []
    for number in range(60):
        said = {"apology": "Sorry."} if number % 2 else {}
        rows.append(row("Sorry.", said, conversation=number, outcome=None))
        rows.append(row("Sorry.", conversation=number, outcome=random.normal() + number % 2))
    figures, found = associations(table_of, rows, conversation_column="conversation")
    assert (figures.unit, figures.n) == ("conversations", 60)
    assert found["apology"].difference.n == 30
    assert "number of replies" in figures.adjusted_for


def test_too_few_or_equal_outcomes_say_nothing(table_of, row):
    rows = [row("Sorry.", {"apology": "Sorry."} if number % 2 else {}, outcome=number)
            for number in range(30)]  # fmt: skip
    assert outcome_figures(table_of(rows, outcome_column="outcome")) is None
    same = [each | {"outcome": "yes"} for each in rows * 3]
    assert outcome_figures(table_of(same, outcome_column="outcome")) is None
    yes = [each | {"outcome": "yes" if each["strategies"] else "no"} for each in rows * 3]
    assert outcome_figures(table_of(yes, outcome_column="outcome")).mean == 0.5
