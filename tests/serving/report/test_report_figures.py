"""Every figure of a report, computed a second time from the scored file by other means."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import statistics
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from html.parser import HTMLParser

import pytest

from tactful.report.distress import read_distress
from tactful.report.label_roles import ANSWERS, ENDINGS, MEANINGS
from tactful.report.report_tables import tables

MINIMUM = 30
STOCK = "We apologise for any inconvenience this may have caused."
Z = 1.959963984540054


@pytest.fixture(scope="module")
def rows(made_up):
    found = list(made_up(900, 6))
    for row in found[::30]:
        start = len(row["reply"]) + 1
        row["reply"] += "\n" + STOCK
        row["strategies"] = list(dict.fromkeys([*row["strategies"], "apology"]))
        span = {"label": "apology", "start": start, "end": start + len(STOCK), "text": STOCK}
        row["evidence"] = [*row["evidence"], span]
    return found


@pytest.fixture(scope="module")
def evaluation():
    random = iter(range(1000))

    def label():
        step = next(random) % 7
        precision, recall = 0.8 + step / 50, 0.7 + step / 40
        return {"precision": precision, "recall": recall, "f1": 0.8, "support": 60 + step}

    return {
        "n": 1000,
        **{task: {"labels": {name: label() for name in names}} for task, names in MEANINGS.items()},
    }


@pytest.fixture(scope="module")
def made(rows, evaluation, columns, now, tmp_path_factory):
    """A report of everything, its JSON and its page."""
    from tactful import report

    folder = tmp_path_factory.mktemp("report")
    scored, measured = folder / "scored.jsonl", folder / "evaluate.json"
    scored.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    measured.write_text(json.dumps(evaluation))
    return report.write(
        scored, folder / "out.html", now=now, **columns, rank=True, evaluation=str(measured)
    )


@pytest.fixture(scope="module")
def figures(made):
    return json.loads(made.json.read_text("utf-8"))


def has(row, task, label):
    return label in row["strategies"] if task == "strategies" else row["tone"] == label


def interval(hits, clusters):
    """Share and Wilson interval at the effective number, with plain loops."""
    from scipy import stats

    n, groups = len(hits), defaultdict(list)
    for number, (hit, cluster) in enumerate(zip(hits, clusters, strict=True)):
        groups[number if cluster is None else cluster].append(hit)
    p, count = sum(hits) / n, len(groups)
    effective = float(n)
    if count < n:
        squares = sum((sum(each) - p * len(each)) ** 2 for each in groups.values())
        variance = count / (count - 1) * squares / n**2
        effective = min(p * (1 - p) / variance if 0 < p < 1 else count, n)
        effective *= (Z / stats.t.ppf(0.975, count - 1)) ** 2
    middle = (p + Z**2 / 2 / effective) / (1 + Z**2 / effective)
    half = Z / (1 + Z**2 / effective)
    half *= math.sqrt(p * (1 - p) / effective + Z**2 / 4 / effective**2)
    low, high = max(middle - half, 0) if p else 0, min(middle + half, 1) if p < 1 else 1
    return {"value": p, "low": low, "high": high, "n": n}


def same(found, wanted):
    assert found == pytest.approx(wanted, abs=2e-6)


def of_rows(rows, hit):
    return interval([bool(hit(row)) for row in rows], [row["conversation"] for row in rows])


def test_rates_of_all_labels(figures, rows):
    for task, labels in figures["overview"]["rates"].items():
        assert list(labels) == list(MEANINGS[task])
        for label, found in labels.items():
            same(found["seen"], of_rows(rows, lambda row, t=task, n=label: has(row, t, n)))


def test_rates_adjusted_for_errors(figures, evaluation):
    for task, labels in figures["overview"]["rates"].items():
        for label, found in labels.items():
            said = evaluation[task]["labels"][label]
            hits = said["recall"] * said["support"]
            false = hits / said["precision"] - hits
            specificity = 1 - false / (1000 - said["support"])
            seen = found["seen"]["value"]
            truth = (seen + specificity - 1) / (said["recall"] + specificity - 1)
            assert found["adjusted"]["value"] == pytest.approx(min(max(truth, 0), 1), abs=2e-6)
            assert found["adjusted"]["low"] <= found["adjusted"]["value"]


@pytest.mark.parametrize(("part", "column"), [("channels", "channel"), ("teams", "team")])
def test_rates_by_channel_and_team(figures, rows, part, column):
    sizes = Counter(row[column] for row in rows)
    groups = figures["overview"][part]["shown"]
    assert {group["name"]: group["replies"] for group in groups} == sizes
    for group in groups:
        mine = [row for row in rows if row[column] == group["name"]]
        for task, labels in group["rates"].items():
            for label, found in labels.items():
                same(found["seen"], of_rows(mine, lambda row, t=task, n=label: has(row, t, n)))


def test_rates_by_week(figures, rows):
    weeks = defaultdict(list)
    for row in rows:
        day = datetime.fromisoformat(row["sent"]).date()
        weeks[(day - timedelta(days=day.weekday())).isoformat()].append(row)
    shown = {name: each for name, each in weeks.items() if len(each) >= MINIMUM}
    found = figures["overview"]["weeks"]
    assert [week["name"] for week in found["shown"]] == sorted(shown)
    assert found["hidden"] == len(weeks) - len(shown)
    for week in found["shown"]:
        mine = weeks[week["name"]]
        assert week["replies"] == len(mine)
        same(week["rates"]["strategies"]["apology"]["seen"],
             of_rows(mine, lambda row: "apology" in row["strategies"]))  # fmt: skip


def distressed(row):
    return read_distress(row["context"]).found


def missed(row):
    return distressed(row) and not set(ANSWERS) & set(row["strategies"])


def test_distress_and_what_was_missed(figures, rows):
    found = figures["distress"]
    with_context = [row for row in rows if re.search(r"\w", row["context"])]
    in_distress = [row for row in rows if distressed(row)]
    same(found["distressed"], of_rows(with_context, distressed))
    same(found["unanswered"], of_rows(in_distress, missed))
    same(found["nothing"], of_rows(in_distress, lambda row: not row["strategies"]))
    for team, each in found["teams"].items():
        same(each, of_rows([row for row in in_distress if row["team"] == team], missed))
    listed = figures["missed"]
    assert len(listed) == 25
    for each in listed:
        row = rows[each["row"]]
        assert missed(row)
        assert each["distress"] == pytest.approx(read_distress(row["context"]).score)
        assert set(each["fitting"]).isdisjoint(row["strategies"])
        quote = figures["quotes"][str(each["row"])]
        assert (quote["reply"], quote["context"]) == (row["reply"], row["context"])
        together = [r for r in rows if r["conversation"] == row["conversation"]]
        answered = any(set(ANSWERS) & set(r["strategies"]) for r in together)
        assert each["answered_elsewhere"] == answered
    order = [(each["answered_elsewhere"], -each["distress"]) for each in listed]
    assert order == sorted(order)
    plain = [r for r in rows if missed(r)]
    assert max(read_distress(r["context"]).score for r in plain) >= listed[0]["distress"]


def waited(row):
    sent, received = (datetime.fromisoformat(row[name]) for name in ("sent", "received"))
    return (sent - received).total_seconds()


def test_response_times(figures, rows):
    found = figures["response"]
    seconds = sorted(map(waited, rows))
    assert found["replies"] == len(rows)
    cuts = statistics.quantiles(seconds, n=20, method="inclusive")
    for quantile, value in found["quantiles"].items():
        assert value == pytest.approx(cuts[round(float(quantile) * 20) - 1])
    ends = [60, 300, 900, 3600, 4 * 3600, 24 * 3600, math.inf]
    for start, end, span in zip([-1, *ends], ends, found["spans"], strict=False):
        mine = [row for row in rows if start <= waited(row) < end]
        assert span["replies"] == len(mine)
        assert span["share"] == pytest.approx(len(mine) / 900, abs=1e-6)
        assert bool(span["rates"]) == (len(mine) >= MINIMUM)
        if span["rates"]:
            same(span["rates"]["tone"]["warm"], of_rows(mine, lambda row: row["tone"] == "warm"))
    for channel, median in found["medians"].items():
        of_channel = [waited(row) for row in rows if row["channel"] == channel]
        assert median == pytest.approx(statistics.median(of_channel))


def test_endings(figures, rows):
    last = {}
    for row in sorted(rows, key=lambda row: datetime.fromisoformat(row["sent"])):
        last[row["conversation"]] = row
    found = figures["endings"]
    assert found["conversations"] == figures["conversations"] == len(last)
    for name, labels in ENDINGS.items():
        hits = [bool(set(labels) & set(row["strategies"])) for row in last.values()]
        same(found["shares"][name], interval(hits, [None] * len(hits)))
        for team, shares in found["teams"].items():
            of_team = [
                bool(set(labels) & set(row["strategies"]))
                for row in last.values()
                if row["team"] == team
            ]
            same(shares[name], interval(of_team, [None] * len(of_team)))


def test_wording_and_own_words(figures, rows):
    [pasted] = [phrase for phrase in figures["stock"] if phrase["text"] == STOCK]
    assert pasted["strategies"] == ["apology"]
    ends = [row for row in rows if re.search(rf"(^|[.!?] |\n){STOCK}", row["reply"])]
    assert pasted["replies"] == len(ends) > 20
    assert pasted["agents"] == len({row["agent"] for row in ends})
    rates = figures["overview"]["rates"]["strategies"]
    for strategy, each in figures["wording"].items():
        seen = rates[strategy]["seen"]["value"]
        assert each["distinct"] <= each["uses"]
        assert rates[strategy]["own"]["value"] == pytest.approx(
            seen * (1 - each["stock"]["value"]), abs=2e-6
        )
    assert figures["wording"]["apology"]["stock"]["value"] > 0


def test_pages_of_agents(figures, rows):
    pages = {page["name"]: page for page in figures["coaching"]["agents"]}
    assert pages.keys() == {row["agent"] for row in rows}
    assert figures["coaching"]["comparisons"] == 17 * len(pages)
    for name, page in pages.items():
        mine = [row for row in rows if row["agent"] == name]
        assert page["replies"] == len(mine)
        assert page["team"] == mine[0]["team"]
        assert page["distressed"] == sum(map(distressed, mine))
        assert page["missed"] == sum(map(missed, mine))
        for strategy, each in page["strategies"].items():
            same(each["seen"], of_rows(mine, lambda row, s=strategy: s in row["strategies"]))
            assert each["own"]["low"] <= each["own"]["value"] <= each["own"]["high"]
        for example in page["examples"]:
            row = rows[example["row"]]
            theirs = row["agent"] == name
            assert theirs == (example["shows"] != "team")
            has_it = example["strategy"] in row["strategies"]
            assert has_it == (example["shows"] in ("own", "team"))
            assert example["shows"] != "team" or row["team"] == page["team"]


def test_outcome_is_that_of_conversations(figures, rows):
    last = {row["conversation"]: row["satisfaction"] for row in rows}
    outcomes = [value for value in last.values() if value is not None]
    found = figures["outcome"]
    assert (found["unit"], found["n"]) == ("conversations", len(outcomes))
    assert found["mean"] == pytest.approx(statistics.mean(outcomes), abs=1e-6)
    for each in found["associations"]:
        conversations = {r["conversation"] for r in rows if each["strategy"] in r["strategies"]}
        known = {name for name in conversations if last[name] is not None}
        assert each["difference"]["n"] == len(known)


def test_what_was_read(figures, rows):
    intake = figures["intake"]
    assert (intake["rows"], intake["replies"]) == (900, 900)
    assert intake["notes"] == []
    assert intake["unused"] == ["id"]
    times = sorted(datetime.fromisoformat(row["sent"]) for row in rows)
    assert figures["first"][:16] == times[0].isoformat()[:16]
    assert figures["last"][:16] == times[-1].isoformat()[:16]


class Cells(HTMLParser):
    """Reads the tables of a page: name to rows of texts."""

    def __init__(self):
        super().__init__()
        self.tables, self.rows, self.open = {}, None, False

    def handle_starttag(self, tag, attributes):
        if tag == "table":
            self.rows = self.tables[dict(attributes)["data-table"]] = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.open = True

    def handle_endtag(self, tag):
        self.open &= tag not in ("td", "th")

    def handle_data(self, data):
        if self.open:
            self.rows[-1][-1] += data


def shown(cell):
    """A cell as the page has it, written another way."""
    value = cell.value
    if value is None:
        return "\u2013"
    if isinstance(value, str):
        return value
    if cell.form == "share":
        text = f"{value * 100:.1f}%" if 0 < value < 1 else f"{value * 100:.0f}%"
        if cell.low is not None:
            text += f" {cell.low * 100:.1f}\u2013{cell.high * 100:.1f}%"
        return text
    if cell.form == "count":
        return f"{value:,}"
    return None  # numbers and spans of time are looked at by value


def test_the_page_and_the_csv_show_these_figures_and_no_others(made):
    named = tables(made.figures)
    reader = Cells()
    reader.feed(made.page.read_text("utf-8"))
    assert reader.tables.keys() == named.keys()
    lines = list(csv.DictReader(io.StringIO(made.csv.read_text("utf-8"))))
    place = iter(lines)
    for name, table in named.items():
        head, *body = reader.tables[name]
        assert head == list(table.columns)
        assert len(body) == len(table.rows)
        for row, texts in zip(table.rows, body, strict=True):
            for cell, text in zip(row, texts, strict=True):
                wanted = shown(cell)
                assert wanted is None or text == wanted
            for column, cell in zip(table.columns[1:], row[1:], strict=True):
                line = next(place)
                assert (line["table"], line["row"], line["column"]) == (name, row[0].value, column)
                if isinstance(cell.value, float):
                    assert float(line["value"]) == pytest.approx(cell.value, abs=1e-6)
                if cell.low is not None:
                    assert float(line["low"]) == pytest.approx(cell.low, abs=1e-6)
                    assert int(line["n"]) == cell.n
    assert next(place, None) is None


def test_the_tables_hold_the_figures(made, figures, rows):
    named = tables(made.figures)
    share = sum("apology" in row["strategies"] for row in rows) / len(rows)
    [row] = [row for row in named["overview-strategies"].rows if row[0].value == "apology"]
    assert row[1].value == pytest.approx(share)
    assert f"{share:.1%}" in made.page.read_text("utf-8")
    assert len(named["drift"].rows if "drift" in named else []) == 0
    assert {row[1].value for row in named["differences"].rows} <= {row["agent"] for row in rows}
    ranked = [
        (page["name"], strategy)
        for page in figures["coaching"]["agents"]
        for strategy, each in page["strategies"].items()
        if each["apart"]
    ]
    listed = {(r[1].value, r[0].value.replace(" ", "_")) for r in named["differences"].rows}
    assert listed == set(ranked)
