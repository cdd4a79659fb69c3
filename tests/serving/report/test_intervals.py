from __future__ import annotations

import numpy as np
import pytest

from tactful.report.intervals import (
    benjamini_hochberg,
    effective_replies,
    holm,
    proportion,
    rates,
    sums_by,
)


def test_wilson_gives_the_published_interval():
    # Newcombe 1998, table I: 81 of 263 and 15 of 148.
    for hits, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        found = proportion(hits, n)
        assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert proportion(0, 20).low == 0
    assert proportion(20, 20).high == 1


def test_replies_that_stand_alone_count_in_full():
    hits = np.array([[True], [False], [True], [False]])
    assert effective_replies(hits, np.full(4, -1)) == [4]
    assert effective_replies(hits, np.arange(4)) == [4]


def test_conversations_whose_replies_are_all_alike_count_once_each():
    random = np.random.default_rng(3)
    each = random.random((300, 1)) < 0.3
    hits, conversations = np.repeat(each, 4, axis=0), np.repeat(np.arange(300), 4)
    assert effective_replies(hits, conversations)[0] == pytest.approx(300, rel=0.03)
    [alike], [alone] = rates(hits, conversations), rates(hits, np.full(1200, -1))
    assert alike.value == alone.value == hits.mean()
    assert alike.high - alike.low == pytest.approx(2 * (alone.high - alone.low), rel=0.05)


def test_intervals_by_conversation_cover_the_truth():
    random = np.random.default_rng(5)
    covered = 0
    for _ in range(300):
        share = random.beta(2, 6, 60)  # conversations differ
        conversations = np.repeat(np.arange(60), 5)
        hits = random.random(300) < share[conversations]
        [found] = rates(hits[:, None], conversations)
        covered += found.low <= 0.25 <= found.high
    assert covered / 300 > 0.92


def test_sums_by_keeps_those_of_no_group_apart():
    values = np.array([[1], [2], [4], [8]])
    sums, sizes = sums_by(values, np.array([-1, 3, -1, 3]))
    assert sorted(zip(sums[:, 0], sizes, strict=True)) == [(1, 1), (4, 1), (10, 2)]


def test_corrections_for_many_comparisons():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    assert holm(p).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg(p).tolist() == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert holm(np.zeros(0)).size == benjamini_hochberg(np.zeros(0)).size == 0
