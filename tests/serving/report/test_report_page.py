"""What the page shows to whom, and that hostile text is shown as text."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tactful.options import options_table
from tactful.report import ReportOptions
from tactful.report.label_roles import ANSWERS, ENDINGS, FITTING, MEANINGS

HOSTILE = [
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "=HYPERLINK(\"http://evil.example\",\"click\")",
    "</title></style></svg><svg onload=alert(3)>",
    "{{ 7 * 7 }} {% raw %} ${x} $x^2$ \\alpha",
    "\u202eright to left\u202c \u05e9\u05dc\u05d5\u05dd \u0634\u0643\u0631\u0627",
    "\U0001f642\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "nul \x00 bell \x07 lone \ud83d surrogate ]]> &amp; &#x3c;",
]  # fmt: skip


class Elements(HTMLParser):
    """What elements a page has."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.addresses = set(), set(), set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            self.attributes.add(name)
            if name in ("href", "src", "xlink:href", "action"):
                self.addresses.add(value)


@pytest.fixture
def hostile(row):
    """Every text of SCORED that the page may show is hostile."""
    return [
        row(
            f"I'm so sorry. {text} {number}", {"apology": "I'm so sorry."},
            context=f"I am furious and desperate {text}", agent=f"agent {text}",
            team=f"team {text}", channel=f"channel {text}", conversation=f"{text}{number}",
            outcome=number % 3, strategies=["apology"] if number % 2 else [],
            sent=f"2026-03-{number % 28 + 1:02}T10:00:00Z",
        )
        for text in HOSTILE
        for number in range(40)
    ]  # fmt: skip


def test_hostile_text_is_shown_as_text(hostile, report_of):
    made = report_of(
        hostile, agent_column="agent", team_column="team", channel_column="channel",
        conversation_column="conversation", outcome_column="outcome", time_column="sent", rank=True,
        title="<b>us</b> & them",
    )  # fmt: skip
    text = made.page.read_text("utf-8")  # it is UTF-8 throughout
    seen = Elements()
    seen.feed(text)
    assert not seen.tags & {"script", "img", "iframe", "b", "object", "embed", "form", "base"}
    assert not {name for name in seen.attributes if name.startswith("on")}
    assert all(address[:1] == "#" or address[:5] == "data:" for address in seen.addresses)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{ 7 * 7 }} {% raw %}" in text
    assert "&lt;b&gt;us&lt;/b&gt; &amp; them" in text
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", text)
    assert text.count("<html") == text.count("</html>") == text.count("<title>") == 1
    for svg in re.findall(r"<svg.*?</svg>", text, flags=re.S):
        ElementTree.fromstring(svg)
    assert json.loads(made.json.read_text("utf-8"))["title"] == "<b>us</b> & them"
    cells = made.csv.read_text("utf-8")
    assert not re.search(r'(^|,)"?=', cells, flags=re.M)


def test_nothing_is_fetched_and_nothing_runs(made_up, report_of, columns):
    text = report_of(made_up(400, 4), **columns).page.read_text("utf-8")
    shown = re.sub(r"<blockquote.*?</blockquote>", "", text, flags=re.S)
    assert set(re.findall(r"https?://[^\s\"')<]+", shown)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "<script" not in text
    assert "default-src 'none'" in text
    identifiers = re.findall(r'\sid="([^"]+)"', text)
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(identifiers)
    named = re.findall(r'aria-labelledby="([^"]+)"', text)
    assert {name for each in named for name in each.split()} <= set(identifiers)


def test_the_first_page_says_what_the_report_is_not(made_up, report_of, tmp_path):
    said = {"precision": 0.91, "recall": 0.82, "f1": 0.863, "support": 44}
    measured = tmp_path / "evaluate.json"
    measured.write_text(json.dumps({"n": 400, "strategies": {"labels": {"apology": said}}}))
    rows = list(made_up(300, 3))
    text = report_of(rows, evaluation=str(measured)).page.read_text("utf-8")
    first = text[text.index('id="first"') : text.index('id="overview"')]
    assert "judges language, not people" in first
    assert "must not be the sole basis of a decision about a person" in first.replace("\n", " ")
    assert "says sorry or apologises to the customer" in first
    assert "<bdi>0.863</bdi>" in first
    assert "203 messages labelled by a language model" in first
    assert "88.6%" in first  # 39 of 44
    assert "58.2%" in first  # 39 of 67
    bare = report_of(rows).page.read_text("utf-8")
    assert "How often is not known here" in bare
    assert bare.count('class="missing"') >= 8  # and says what column each part needs
    for option in ("time", "channel", "team", "conversation", "outcome", "agent", "customer-time"):
        assert f"--{option}-column" in bare


def test_association_is_not_cause(made_up, report_of, columns):
    text = report_of(made_up(300, 3), **columns).page.read_text("utf-8")
    assert "Association is not cause." in text


def test_aggregate_only_leaves_persons_out(made_up, report_of, columns):
    rows = list(made_up(600, 7))
    for row in rows[:80]:
        row["team"] = "Two people"
        row["agent"] = f"Pat {row['id'] % 2}"
    made = report_of(rows, **columns, aggregate_only=True, rank=True)
    files = [path.read_text("utf-8") for path in (made.page, made.json, made.csv)]
    for row in rows:
        assert not any(row["agent"] in text for text in files)
        assert len(row["reply"]) < 60 or not any(row["reply"] in text for text in files)
    figures = made.figures
    assert figures.coaching is None
    assert not figures.quotes
    assert not any("Two people" in text for text in files)
    assert figures.distress.unanswered.n > 0
    assert all(phrase.agents >= 3 for phrase in figures.stock)


def test_notes_of_names_are_no_way_around_it(report_of, row):
    rows = [row(agent=name) for name in ("Ana Lopez", "ana lopez")] * 20
    made = report_of(rows, agent_column="agent", aggregate_only=True)
    assert "lopez" not in made.page.read_text("utf-8").casefold()
    assert "lopez" not in made.json.read_text("utf-8").casefold()


def test_no_ranking_unless_asked_for(simulated, report_of):
    rows = simulated({"ana": {"apology": 0.9}, "ben": {"apology": 0.1}}, 80)
    for rank in (False, True):
        text = report_of(rows, agent_column="agent", rank=rank).page.read_text("utf-8")
        assert ("Differences beyond chance" in text) == rank


def run(*arguments, program="-m tactful.cli"):
    return subprocess.run(
        [sys.executable, *program.split(), *map(str, arguments)], capture_output=True, text=True
    )


def test_the_command_makes_a_report_and_says_what_it_left_out(tmp_path, write_jsonl, row):
    failed = row(strategies=None, error={"code": "reply_empty", "message": "empty"})
    scored = write_jsonl(tmp_path / "scored.jsonl", [row()] * 3 + [failed])
    out = tmp_path / "r.html"
    done = run("report", scored, out)
    assert done.returncode == 0, done.stderr
    assert "3 of 4 rows, read by tactful@0123456789ab" in done.stdout
    assert "note: 1 row with the error reply_empty in the place of a reading" in done.stdout
    done = run("report", scored, out, "--json", "--agent-column", "nobody")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no column 'nobody'" in done.stderr
    said = json.loads(run("report", scored, out, "--json").stdout)
    assert (said["rows"], said["replies"]) == (4, 3)
    assert said["notes"][0]["code"] == "reply_empty"
    assert out.with_suffix(".figures.csv").exists()


def test_without_the_extra_the_command_says_how_to_get_it(tmp_path, write_jsonl, row):
    hide = tmp_path / "hide.py"
    hide.write_text(
        "import sys\nsys.modules['matplotlib'] = None\n"
        "from tactful.cli import main\nsys.argv[0] = 'tactful'\nmain()\n"
    )
    scored = write_jsonl(tmp_path / "scored.jsonl", [row()])
    done = run(hide, "report", scored, tmp_path / "out.html", program="-u")
    assert done.returncode == 2
    assert "pip install 'tactful[report]'" in done.stderr


def test_a_bundle_says_what_its_labels_mean_and_how_it_errs(
    bundle_copy, rehash, report_of, row, made_up, table_of
):
    said = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 50}
    from tactful.report.drift import reference_of

    reference = reference_of(table_of([row("I am sorry.", {"apology": "sorry"})] * 50)).to_dict()
    rehash(
        bundle_copy,
        reliability={"n": 100, "strategies": {"labels": {"apology": said}}},
        reference=reference,
    )
    manifest = json.loads((bundle_copy / "manifest.json").read_bytes())
    identity = f"tiny@{manifest['digest'][:12]}"
    rows = [row("I am sorry.", {"apology": "sorry"}, bundle=identity)] * 40
    figures = report_of(rows, bundle=str(bundle_copy)).figures
    assert list(figures.labels["strategies"]) == ["apology", "gratitude", "next_step"]
    assert figures.labels["strategies"]["apology"].meaning == "says apology"
    assert figures.labels["strategies"]["apology"].reliability.f1 == 0.5
    assert figures.reliability_source == f"the bundle {identity}"
    assert {each.verdict for each in figures.drift} == {"stable"}
    other = report_of([row()] * 40, bundle=str(bundle_copy)).figures
    assert other.drift is None
    assert [note.code for note in other.intake.notes] == ["bundle_differs"]


def test_meanings_are_those_of_the_shipped_card():
    yaml = pytest.importorskip("yaml")
    card = Path(__file__).resolve().parents[3] / "data_cards/support_replies/README.md"
    front = card.read_text("utf-8").split("\n---\n")[0].removeprefix("---\n")
    tasks = yaml.safe_load(front)["tasks"]
    assert {task["name"]: task["labels"] for task in tasks} == MEANINGS
    used = set(ANSWERS).union(*ENDINGS.values(), *FITTING.values())
    assert used <= MEANINGS["strategies"].keys()


def test_the_document_has_the_table_of_the_options():
    text = (Path(__file__).resolve().parents[3] / "docs/report.md").read_text("utf-8")
    assert options_table(ReportOptions) in text
