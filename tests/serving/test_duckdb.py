"""Labelling in SQL, by the real engine."""

from __future__ import annotations

import pytest

from tactful import BundleError, Classifier

duckdb = pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")

import tactful.duckdb as adapter  # noqa: E402 - needs both


@pytest.fixture
def con(classifier: Classifier):
    with duckdb.connect() as con:
        adapter.register(con, classifier)
        yield con


def test_a_column_is_labelled_as_the_library_does(con, classifier: Classifier) -> None:
    texts = ["I am so sorry, friend. 🙂", "Thank you.", "ok", "We will call you next."] * 700
    con.execute("CREATE TABLE t AS SELECT unnest(?) AS reply, 'my parcel is late' AS c", [texts])
    rows = con.sql("SELECT reply, tactful_label(reply, c) FROM t").fetchall()
    assert [reply for reply, _ in rows] == texts
    expected = {text: classifier.classify(text, "my parcel is late") for text in texts[:4]}
    for reply, row in rows:
        reading = expected[reply]
        assert row["strategies"] == [each.label for each in reading.strategies]
        assert row["tone"] == reading.tone.label
        assert row["scores"]["tone"] == pytest.approx(reading.scores["tone"], abs=1e-4)
        found = [(each["label"], each["text"]) for each in row["evidence"]]
        assert found == [(s.label, e.text) for s in reading.strategies for e in s.evidence]
        assert (row["truncated"], row["bundle"], row["error"]) == (False, reading.bundle, None)


def test_nulls_and_blanks(con) -> None:
    sql = (
        "SELECT tactful_label(r, c) FROM (VALUES (NULL, 'a'), (' ', NULL), ('sorry', NULL)) t(r, c)"
    )
    (missing,), (blank,), (read,) = con.sql(sql).fetchall()
    assert missing is None
    assert blank["error"]["code"] == "reply_empty"
    assert blank["strategies"] is blank["tone"] is blank["scores"] is None
    assert read["strategies"] == ["apology"]
    told = con.sql("SELECT count(*) FROM range(3000) WHERE tactful_label('sorry', NULL).tone = 'x'")
    assert told.fetchall() == [(0,)]
    assert con.sql("SELECT tactful_label('a', 'b') LIMIT 0").fetchall() == []


def test_addresses_names_and_what_is_wrong(sound_bundle, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TACTFUL_BUNDLE", str(sound_bundle))
    with duckdb.connect() as con:
        adapter.register(con, name="empathy")
        assert con.sql("SELECT empathy('sorry', NULL).tone IS NOT NULL").fetchall() == [(True,)]
        with pytest.raises(duckdb.Error):
            con.sql("SELECT empathy(MAP {'a': 1}, NULL)").fetchall()
        with pytest.raises(duckdb.Error):
            adapter.register(con, name="empathy")
        with pytest.raises(BundleError):
            adapter.register(con, tmp_path / "nowhere", name="other")
