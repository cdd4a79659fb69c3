"""Bad input is named, and the report says what it left out."""

from __future__ import annotations

import csv
import gzip
import json

import pytest

from tactful.errors import JobError, ReportError
from tactful.report.intake import spellings
from tactful.report.response_times import sent_time


def notes(figures):
    return {note.code: note for note in figures.intake.notes}


def test_a_file_without_rows_is_refused(report_of):
    with pytest.raises(ReportError, match=r"scored\.jsonl holds no reply that was read: it has no"):
        report_of([])


def test_a_file_of_errors_alone_is_refused_with_their_causes(report_of, row):
    failed = row(strategies=None, error={"code": "reply_empty", "message": "the reply is empty"})
    with pytest.raises(ReportError, match=r"2 rows, all of them left out \(reply_empty: 2\)"):
        report_of([failed, failed])


def test_rows_with_errors_and_broken_lines_are_left_out_and_counted(figures_of, row):
    failed = row(strategies=None, error={"code": "reply_empty", "message": "the reply is empty"})
    figures = figures_of([row(), failed, "no json", row(), '{"reply": "x"}'])
    assert (figures.intake.rows, figures.intake.replies) == (5, 2)
    found = notes(figures)
    assert found["reply_empty"].rows == found["line_not_json"].rows == 1
    assert found["not_scored"].text == (
        "1 row without labels, or without a reply in the column that was named: left out"
    )


@pytest.mark.parametrize("option", ["agent_column", "time_column", "outcome_column"])
def test_a_missing_column_is_named_with_its_option_and_those_there_are(report_of, row, option):
    flag = "--" + option.replace("_", "-")
    with pytest.raises(ReportError, match=rf"no column 'nobody', which {flag} names.*: reply, con"):
        report_of([row()], **{option: "nobody"})


def test_a_file_that_nobody_scored_is_refused(report_of):
    with pytest.raises(ReportError, match=r"no column 'strategies'.*tactful score.*columns: reply"):
        report_of([{"reply": "Hello"}])


def test_times_without_a_zone_are_left_out_unless_it_is_said(figures_of, row):
    rows = [row(sent="2026-03-02T10:00:00", received="2026-03-02 09:00:00")] * 40
    asked = {"time_column": "sent", "customer_time_column": "received"}
    figures = figures_of(rows, **asked)
    assert notes(figures)["time_no_zone"].rows == 40
    assert "--time-zone" in notes(figures)["time_no_zone"].text
    assert figures.overview.weeks is figures.response is None
    figures = figures_of(rows, **asked, time_zone="Europe/Berlin")
    assert not figures.intake.notes
    assert [week.name for week in figures.overview.weeks.shown] == ["2026-03-02"]
    assert figures.response.quantiles[0.5] == 3600
    assert figures.first == "2026-03-02T10:00+01:00"


def test_times_in_the_future_missing_or_unreadable_are_left_out(figures_of, row):
    sent = ["2027-01-01T00:00:00Z", "yesterday", None, "2026-03-02T10:00:00Z"]
    figures = figures_of([row(sent=each) for each in sent], time_column="sent")
    found = {code: note.rows for code, note in notes(figures).items()}
    assert found == {"time_future": 1, "time_unreadable": 1, "time_none": 1}
    assert figures.first == figures.last == "2026-03-02T10:00+00:00"


def test_a_reply_before_its_message_has_no_response_time(figures_of, row):
    rows = [row(sent="2026-03-02T10:00:00Z", received=f"2026-03-02T{h}:00:00Z") for h in ("09", 11)]
    figures = figures_of(rows, time_column="sent", customer_time_column="received")
    assert notes(figures)["response_negative"].rows == 1
    assert figures.response.replies == 1


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("1970-01-02T00:00:00Z", 86400),
        ("1970-01-02 01:00:00+01:00", 86400),
        (1_700_000_000, 1_700_000_000),
        (1_700_000_000_000, 1_700_000_000),
        ("1700000000", 1_700_000_000),
    ],
)
def test_times_are_iso_8601_or_seconds(cell, seconds):
    assert sent_time(cell, None, 2e9) == (seconds, None)


@pytest.mark.parametrize("cell", ["01/02/2026", "0001-01-01T00:00:00Z", -5, 1e300, True, "soon"])
def test_other_times_are_unreadable_or_to_come(cell):
    assert sent_time(cell, None, 2e9)[1] in ("unreadable", "future")


def test_of_two_bundles_the_one_that_read_most_counts(figures_of, row):
    rows = [row("I am sorry.", {"apology": "sorry"}, bundle="other@1")] * 3 + [row()] * 5
    figures = figures_of(rows)
    assert (figures.intake.bundle, figures.intake.replies) == ("tactful@0123456789ab", 5)
    assert notes(figures)["other_bundle"].rows == 3
    assert "other@1: 3" in notes(figures)["other_bundle"].text
    assert figures.overview.rates["strategies"]["apology"].seen.value == 0
    assert "sorry" not in figures.reference.words["replies"]


def test_one_agent_under_two_spellings_is_warned_of(figures_of, row):
    names = ["Ana Lopez", "ana  lopez", "Lopez, Ana", "Ana L\u00f3pez", "Ben Okafor", "Ben Okafro"]
    figures = figures_of([row(agent=name) for name in names], agent_column="agent")
    warned = [note.text for note in figures.intake.notes if note.code == "agent_spelling"]
    assert len(warned) == 2
    assert all(f"\u201c{name}\u201d" in warned[0] for name in names[:4])
    assert all(f"\u201c{name}\u201d" in warned[1] for name in names[4:])
    assert figures.agents == 6


@pytest.mark.parametrize(
    "names", [("agent-1", "agent-2"), ("Ana", "Ann"), ("Ana Abara", "Dana Abara")]
)
def test_names_that_differ_are_not(names):
    assert spellings(names) == []


def test_one_letter_more_or_other_is(figures_of):
    assert spellings(("Jonathan Doe", "Jonathn Doe", "Zoe")) == [("Jonathan Doe", "Jonathn Doe")]
    assert spellings(("Marta Klein", "Marte Klein")) == [("Marta Klein", "Marte Klein")]


def test_empty_names_and_outcomes_that_are_none(figures_of, row):
    rows = [row(agent="", satisfaction="great"), row(agent=None, satisfaction="")]
    figures = figures_of(rows, agent_column="agent", outcome_column="satisfaction")
    assert notes(figures)["agent_none"].rows == 2
    assert notes(figures)["outcome_unreadable"].rows == 1


def test_what_customers_said_may_be_unknown(figures_of, row):
    rows = [{k: v for k, v in row().items() if k != "context"}]
    figures = figures_of(rows)
    assert figures.distress is None
    assert "--context-column" in notes(figures)["no_context"].text


def test_options_out_of_bounds_are_named(report_of, row):
    with pytest.raises(ReportError, match=r"--minimum-replies is 1, allowed: at least 5"):
        report_of([row()], minimum_replies=1)
    with pytest.raises(ReportError, match=r"--time-zone is 'Mars', allowed: .*Europe/Berlin"):
        report_of([row()], time_zone="Mars")
    with pytest.raises(ReportError, match=r"--only-agent needs --agent-column"):
        report_of([row()], only_agent="Ana")
    with pytest.raises(ReportError, match=r"--only-agent is 'Ana'; there is no agent"):
        report_of([row(agent="Ben")] * 30, agent_column="agent", only_agent="Ana")


def test_out_must_be_a_page_in_a_folder_and_no_input(tmp_path, write_jsonl, row):
    from tactful import report

    scored = write_jsonl(tmp_path / "out.figures.json", [row()])
    plain = write_jsonl(tmp_path / "scored.jsonl", [row()])
    with pytest.raises(ReportError, match=r"out\.txt; it must end in \.html"):
        report.write(plain, tmp_path / "out.txt")
    with pytest.raises(ReportError, match="is no folder; make it first"):
        report.write(plain, tmp_path / "none/out.html")
    with pytest.raises(JobError, match="does not exist"):
        report.write(tmp_path / "none.jsonl", tmp_path / "out.html")
    kept = scored.read_bytes()
    csv_file = tmp_path / "a.figures.csv"
    csv_file.write_text("reply,strategies\nFine.,apology\n")
    with pytest.raises(ReportError, match=r"a\.figures\.csv is a file of SCORED"):
        report.write(csv_file, tmp_path / "a.html")
    assert scored.read_bytes() == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.figures.csv", "out.figures.json", "scored.jsonl",
    ]  # fmt: skip


def flat(row):
    """A row as `tactful score` writes it to CSV."""
    return {
        key: "|".join(value) if key == "strategies"
        else "" if value is None
        else value if isinstance(value, str)
        else json.dumps(value)
        for key, value in row.items()
    }  # fmt: skip


def figures_alone(figures):
    content = figures.to_dict()
    del content["intake"]
    return content


def test_all_formats_give_the_same_figures(tmp_path, made_up, columns, now, write_jsonl):
    from tactful import report

    rows = list(made_up(200, 3))
    rows[0]["reply"] = "=SUM(A1) " + rows[0]["reply"]  # a cell that scoring makes safe
    for span in rows[0]["evidence"]:
        span["start"], span["end"] = span["start"] + 9, span["end"] + 9
    rows[1]["agent"] = "@ana"
    plain = write_jsonl(tmp_path / "scored.jsonl", rows)
    files = [plain, tmp_path / "scored.jsonl.gz", tmp_path / "scored.csv"]
    files[1].write_bytes(gzip.compress(plain.read_bytes()))
    with files[2].open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        cells = [flat(row) for row in rows]
        cells[0]["reply"], cells[1]["agent"] = "'" + cells[0]["reply"], "'@ana"
        writer.writerows(cells)
    pyarrow, parquet = map(pytest.importorskip, ("pyarrow", "pyarrow.parquet"))
    files.append(tmp_path / "scored.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(rows), files[3])
    found = [
        figures_alone(report.write(file, tmp_path / "out.html", now=now, **columns).figures)
        for file in files
    ]
    assert found[1:] == found[:1] * 3
    assert found[0]["overview"]["rates"]["strategies"]["apology"]["own"]["value"] > 0


def test_what_score_writes_is_read(score, tmp_path, now):
    from tactful import report

    replies = tmp_path / "replies.jsonl"
    lines = ["I am so sorry, friend.", "Thank you for your order. We will call you.", "", "ok"]
    replies.write_text("".join(json.dumps({"reply": line}) + "\n" for line in lines))
    scored = tmp_path / "scored.csv"
    score(replies, scored, "--prefix", "tactful.", "--scores", "none")
    figures = report.write(scored, tmp_path / "out.html", now=now, prefix="tactful.").figures
    assert (figures.intake.rows, figures.intake.replies) == (4, 3)
    assert figures.overview.rates["strategies"]["apology"].seen.value == pytest.approx(1 / 3)
    assert notes(figures)["reply_empty"].rows == 1
