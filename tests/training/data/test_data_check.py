from __future__ import annotations

import json
import random
import shutil
import unicodedata
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tactful_training.commands.data import app
from tactful_training.config.shipped_files import shipped_root
from tactful_training.data.check_page import check_page, write_check_page
from tactful_training.data.data_card import read_card
from tactful_training.data.data_check import check_data, write_doubtful_rows
from tactful_training.data.data_set import load_data_set
from tactful_training.data.near_duplicates import near_duplicates, normalised
from tactful_training.data.row_files import scan_rows
from tactful_training.errors import DataError

CARD = """---
tasks:
- {name: strategies, kind: multilabel, labels: {apology: '', gratitude: ''}}
- {name: tone, kind: single, labels: {warm: '', cold: ''}}
---
"""
LONG = "I have refunded the {0} pounds to your card and it should be there by {1}."
SHIPPED = shipped_root() / "data_cards/support_replies"


def row(number, reply="ok", **more):
    labels = {"strategies": ["apology"], "tone": "warm" if number % 2 else "cold"}
    return {"id": f"r{number}", "reply": reply, "labels": labels, **more}


@pytest.fixture
def data_set(tmp_path):
    def write(**splits):
        (tmp_path / "README.md").write_text(CARD)
        for name, rows in splits.items():
            lines = [line if isinstance(line, str) else json.dumps(line) for line in rows]
            (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
        return tmp_path

    return write


def found(folder):
    return {finding.check: finding for finding in check_data(folder).findings}


@pytest.fixture(scope="module")
def shipped_report():
    return check_data(SHIPPED)


def test_the_shipped_data_set_is_sound(shipped_report):
    assert shipped_report.ok
    assert {finding.check for finding in shipped_report.findings} <= {
        *("personal_data", "near_repeats", "similar_replies", "evidence_cuts", "repeats"),
        *("short_duplicates", "lengths", "contradictions", "foreign_parts", "languages"),
    }
    assert [counts.rows for counts in shipped_report.splits.values()] == [18424, 1738, 1689]


def test_the_card_of_the_shipped_data_set_states_its_counts(shipped_report):
    card = (SHIPPED / "README.md").read_text("utf-8")
    splits = shipped_report.splits.values()
    lines = {"rows": [split.rows for split in splits], "groups": [split.groups for split in splits]}
    lines["strategies: none"] = [split.none["strategies"] for split in splits]
    for task in read_card(SHIPPED).tasks:
        for label in task.labels:
            counts = [split.labels[task.name][label] for split in splits]
            lines[f"{task.name}: `{label}`"] = counts
    for title, (train, validation, test) in lines.items():
        assert f"| {title} | {train} | {validation} | {test} |" in card


def test_a_label_called_none_is_told_from_no_label(tmp_path):
    labels = "{none: '', apology: ''}"
    task = f"- {{name: act, kind: multilabel, labels: {labels}}}"
    (tmp_path / "README.md").write_text(f"---\ntasks:\n{task}\n---\n")
    rows = [{"id": str(at), "reply": str(at), "labels": {"act": ["none"] * at}} for at in (0, 1)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    root = typer.Typer()
    root.add_typer(app, name="data")
    table = CliRunner().invoke(root, ["data", "check", str(tmp_path)]).stdout
    headings = [line.split("│")[1].strip() for line in table.splitlines() if "act: " in line]
    assert headings == ["act: none", "act: apology", "act: (no label)"]


def test_unusable_rows_are_listed_and_the_others_still_checked(data_set):
    folder = data_set(
        train=["{", row(1, evidence=[{"label": "apology", "start": 0, "end": 3}]), row(2, "")],
        test=[row(3, group="g"), row(4, group="g")],
    )
    report = check_data(folder)
    [finding] = [finding for finding in report.findings if finding.check == "rows"]
    assert (finding.problem, finding.count, report.ok) == (True, 3, False)
    assert "train.jsonl:1: not valid JSON" in finding.examples[0]
    assert "train.jsonl:2: evidence of 'apology'" in finding.examples[1]
    assert report.splits["test"].rows == 2
    assert report.splits["test"].groups == 1


def test_ids_and_groups_that_straddle_splits(data_set):
    folder = data_set(
        train=[row(1, group="a"), row(2, group="b")],
        test=[row(1, "no", group="c"), row(3, "yes", group="b")],
    )
    findings = found(folder)
    assert findings["ids"].examples == ("'r1': train, test",)
    assert findings["groups"].examples == ("'b': train, test",)
    assert findings["ids"].problem
    assert findings["groups"].problem


def test_a_row_that_repeats_reply_and_context_of_another_split(data_set):
    folder = data_set(
        train=[row(1, "Thanks!", context="It came."), row(2, "Thanks!", context="Bye")],
        test=[row(3, "thanks", context="it came")],
    )
    findings = found(folder)
    assert findings["duplicates"].examples == ("test 'r3' = train 'r1'",)
    assert findings["duplicates"].problem
    assert "near_duplicates" not in findings


def test_a_long_reply_that_nearly_repeats_one_of_another_split(data_set):
    folder = data_set(
        train=[row(1, LONG.format(30, "Monday"), context="Where is my money?")],
        validation=[row(2, LONG.format(45, "Tuesday"), context="Hello?")],
        test=[row(3, "I have ordered another pair of shoes for your sister in Leeds.")],
    )
    [finding] = [f for f in check_data(folder).findings if f.check == "near_duplicates"]
    assert finding.problem
    assert finding.examples == ("validation 'r2' ~ train 'r1' (0.88)",)


def test_a_formula_in_two_splits_is_only_a_warning(data_set):
    folder = data_set(
        train=[row(1, "Thanks for letting us know.", context="a")],
        test=[row(2, "Thanks for letting us know.", context="b")],
    )
    findings = found(folder)
    assert not findings["short_duplicates"].problem
    assert "near_duplicates" not in findings
    assert check_data(folder).ok


def test_evidence_and_labels_that_do_not_match_are_warnings(data_set):
    folder = data_set(
        train=[
            row(1, evidence=[{"label": "apology", "start": 0, "end": 2}]),
            row(2, "oh", evidence=[{"label": "gratitude", "start": 0, "end": 2}]),
        ]
    )
    findings = found(folder)
    assert findings["evidence_undecided"].examples == ("train 'r2': gratitude",)
    assert findings["evidence_missing"].examples == ("train 'r2': apology",)
    assert findings["labels_absent"].examples == ("train: strategies 'gratitude'",)
    assert check_data(folder).ok


def test_rows_that_contradict_each_other_are_a_warning(data_set):
    findings = found(data_set(train=[row(1), row(2), row(3, "other")], test=[row(4, "OTHER")]))
    assert findings["repeats"].examples == ("train 'r2' = 'r1'",)
    assert findings["contradictions"].examples == (
        "train 'r1' and train 'r2': tone warm / cold",
        "train 'r3' and test 'r4': tone warm / cold",
    )
    assert not findings["contradictions"].problem


def test_unknown_and_no_labels_are_counted_apart(data_set):
    folder = data_set(
        train=[
            {"id": "1", "reply": "a", "labels": {"strategies": [], "tone": None}},
            {"id": "2", "reply": "b", "labels": {"tone": "warm"}},
        ]
    )
    counts = check_data(folder).splits["train"]
    assert counts.none == {"strategies": 1}
    assert counts.unknown == {"strategies": 1, "tone": 1}
    assert counts.labels["tone"] == {"warm": 1, "cold": 0}


def test_a_file_is_checked_by_the_card_beside_it(data_set):
    folder = data_set(mine=[row(1)])
    assert check_data(folder / "mine.jsonl").splits["mine"].rows == 1
    (folder / "README.md").unlink()
    with pytest.raises(DataError, match="no data card"):
        check_data(folder / "mine.jsonl")


def test_nothing_to_check(data_set, tmp_path):
    with pytest.raises(DataError, match="has no file of rows"):
        check_data(data_set())
    with pytest.raises(DataError, match=r"no file .*none\.csv"):
        check_data(tmp_path / "none.csv")
    with pytest.raises(DataError, match="no data set"):
        check_data(tmp_path / "none")


def test_an_empty_split_is_a_problem(data_set):
    assert "holds no rows" in found(data_set(train=[]))["rows"].examples[0]


def test_near_duplicates_are_those_that_comparing_all_pairs_finds():
    draw = random.Random(13)
    words = ["we", "have", "sent", "your", "refund", "card", "soon", "thanks"]

    def text():
        return normalised(" ".join(draw.choices(words, k=draw.randint(3, 9))))

    texts, others = [text() for _ in range(150)], [text() for _ in range(150)]

    def shingles(text):
        parts = text.split()
        return {*parts, *zip(parts, parts[1:])}  # noqa: B905, RUF007

    expected = {}
    for number, one in enumerate(map(shingles, texts)):
        best = max(len(one & other) / len(one | other) for other in map(shingles, others))
        if best >= 0.6:
            expected[number] = best
    matches = list(near_duplicates(texts, others, threshold=0.6))
    assert {match.text: match.similarity for match in matches} == expected
    assert len(expected) > 5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Order 123 ships on 4.5.", "order 9 SHIPS on 12.11"),
        ("cafe\u0301 au lait!", "CAFÉ, au   lait"),
        ("\N{THUMBS UP SIGN} ", "\N{THUMBS UP SIGN}"),
    ],
)
def test_normalised(one, other):
    assert normalised(one) == normalised(other) != ""


def run(*arguments):
    root = typer.Typer()
    root.add_typer(app, name="data")
    return CliRunner().invoke(root, ["data", "check", *map(str, arguments)])


def test_the_command_prints_counts_and_findings(data_set):
    folder = data_set(train=[row(1), row(2, "[red]x")], test=[row(1, "y")])
    result = run(folder)
    assert result.exit_code == 1
    assert "strategies: apology" in result.stdout
    assert "problem: 1 ids are in more than one split" in result.stdout
    assert result.stdout.rstrip().endswith("Problems found.")


def test_the_command_exits_with_0_for_warnings_and_gives_json(data_set):
    result = run(data_set(train=[row(1)]), "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"]) == (0, True)
    assert report["splits"]["train"]["labels"]["tone"] == {"warm": 1, "cold": 0}
    few = ["labels_absent", "labels_few_to_learn"]
    assert [finding["check"] for finding in report["findings"]] == few


def test_load_dataset_reads_the_shipped_folder_as_it_stands(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_OFFLINE", True)
    loaded = datasets.load_dataset(str(SHIPPED), cache_dir=str(tmp_path))
    assert {name: len(rows) for name, rows in loaded.items()} == {
        "train": 18424,
        "validation": 1738,
        "test": 1689,
    }
    first = loaded["train"][0]
    span = first["evidence"][0]
    assert first["labels"]["strategies"][0] == span["label"] == "paraphrase"
    assert first["reply"][span["start"] : span["end"]].startswith("So it's marked delivered")


CASES = Path(__file__).parent / "cases"


def test_a_misspelt_column_is_a_problem_in_each_file_unless_a_config_allows_it(tmp_path):
    result = run(CASES / "typo-column", "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["ok"]) == (1, False)
    finding = report["findings"][0]
    assert (finding["check"], finding["problem"], finding["count"]) == ("tasks_missing", True, 2)
    for line, file in zip(finding["examples"], ("validation.csv", "test.csv"), strict=True):
        assert f"{file} has no labels of the task 'topics'; its column 'topic' is like it" in line
    config = tmp_path / "mine.yaml"
    config.write_text("extends: default.yaml\ndata: {allow_missing_tasks: [topics]}\n")
    result = run(CASES / "typo-column", "--config", config)
    assert (result.exit_code, "No problem found." in result.stdout) == (0, True)
    config.write_text("extends: default.yaml\ndata: {allow_missing_tasks: {test: [topics]}}\n")
    assert run(CASES / "typo-column", "--config", config).exit_code == 1


def test_one_column_for_each_label_is_read_and_said():
    report = check_data(CASES / "onehot")
    assert report.ok
    assert report.splits["train"].labels["topics"] == {"billing": 1, "delivery": 0}
    assert report.splits["train"].none == {"topics": 1}
    finding = found(CASES / "onehot")["label_columns"]
    assert finding.examples[0].endswith("train.csv: topics from 'billing', 'delivery'")


def test_a_label_called_null_is_that_label_and_warned_of():
    report = check_data(CASES / "label-null")
    assert report.ok
    for counts in report.splits.values():
        assert counts.labels["mood"] == {"good": 1, "bad": 1, "null": 1}
        assert counts.unknown == {"topics": 0, "mood": 0}
    assert found(CASES / "label-null")["label_names"].examples == ("mood 'null'",)


def test_labels_in_either_unicode_form_are_those_of_the_card(tmp_path):
    shutil.copytree(CASES / "label-null", tmp_path / "set")
    for number, form in enumerate(("NFC", "NFD")):
        label = unicodedata.normalize(form, "résumé")
        with (tmp_path / "set/train.csv").open("a", encoding="utf-8") as file:
            file.write(f"more-{number},another text {form},{label},good\n")
    assert check_data(tmp_path / "set").splits["train"].labels["topics"]["résumé"] == 2


def test_the_delimiter_is_found_or_named(data_set):
    folder = data_set()
    for sign, options in ((";", ()), ("\t", ()), ("^", ("--delimiter", "^"))):
        lines = (["id", "reply", "strategies", "tone"], ["1", "x, y", "apology", "warm"])
        (folder / "train.csv").write_text("".join(sign.join(line) + "\n" for line in lines))
        report = json.loads(run(folder, "--json", *options).stdout)
        assert (report["ok"], report["splits"]["train"]["rows"]) == (True, 1)
    result = run(folder, "--delimiter", ";;")
    assert result.exit_code == 2
    assert "allowed is one character" in result.stderr


PLANTED = 5


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A part of the shipped set with faults of every structural kind, and what they are."""
    folder, choice = tmp_path_factory.mktemp("planted") / "set", random.Random(5)
    folder.mkdir()
    shutil.copy(SHIPPED / "README.md", folder)
    rows = {
        split: [json.loads(line) for line in (SHIPPED / f"{split}.jsonl").open()][:some]
        for split, some in (("train", 900), ("validation", 200), ("test", 200))
    }
    faults = {"near_duplicates": set(), "contradictions": set(), "evidence_cuts": set()}
    long = [row for row in rows["train"] if 14 <= len(row["reply"].split()) <= 40]
    leaked = choice.sample(long, 30)
    for number, row in enumerate(leaked):  # in other words here and there
        words = row["reply"].split()
        words[choice.randrange(len(words))] = "indeed"
        new = {**row, "id": f"leak-{number}", "group": f"leak-{number}", "evidence": [],
               "reply": " ".join(words).upper()}  # fmt: skip
        rows["test"].append(new)
        faults["near_duplicates"].add(new["id"])
    for number, row in enumerate(choice.sample(rows["train"], PLANTED)):
        tone = "warm" if row["labels"]["tone"] != "warm" else "neutral"
        new = {**row, "id": f"contra-{number}", "labels": {**row["labels"], "tone": tone}}
        rows["train"].append(new)
        faults["contradictions"].add(new["id"])
    spans = [
        (row, span)
        for row in rows["validation"]
        for span in row["evidence"]
        if row["reply"][span["start"] : span["end"]].split()[0].isalpha()
        and len(row["reply"][span["start"] :].split()[0]) > 3
    ]
    for row, span in choice.sample(spans, 10):
        span["start"] += 2
        faults["evidence_cuts"].add(row["id"])
    broken = choice.sample([row for row in rows["train"] if row["evidence"]], 3)
    for row in broken:
        row["evidence"][0]["end"] = len(row["reply"]) + 4
    for split, some in rows.items():
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    return folder, faults, len(broken)


@pytest.fixture(scope="module")
def planted_report(planted):
    return check_data(planted[0])


def test_planted_faults_are_all_found(planted, planted_report):
    _, faults, broken = planted
    findings = {finding.check: finding for finding in planted_report.findings}
    assert findings["rows"].count == broken
    for check in ("contradictions", "evidence_cuts"):
        assert faults[check] <= {row for _, row, _ in findings[check].rows}, check
    alike = ("near_duplicates", "similar_replies")
    leaked = {row for name in alike if name in findings for _, row, _ in findings[name].rows}
    assert faults["near_duplicates"] <= leaked
    assert not planted_report.ok


def test_the_page_holds_findings_charts_and_tables_and_fetches_nothing(planted_report, tmp_path):
    write_check_page(planted_report, tmp_path / "check.html")
    page = (tmp_path / "check.html").read_text("utf-8")
    for finding in planted_report.findings:
        assert finding.message.replace("'", "&#39;") in page
    for name in ("labels-strategies", "labels-tone", "recall-tone-test", "lengths", "together"):
        assert f'aria-labelledby="{name}-title' in page
    assert page.count("<table") == 3
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert "<script" not in page
    with pytest.raises(DataError, match=r"must end in \.html"):
        write_check_page(planted_report, tmp_path / "check.pdf")


def test_texts_stay_texts_on_the_page(data_set):
    folder = data_set(train=[row(1, "<script>alert(1)</script>", context="write to <b@evil.de>")])
    page = check_page(check_data(folder))
    assert "<script" not in page


@pytest.mark.parametrize("name", ["doubtful.csv", "doubtful.jsonl"])
def test_rows_with_findings_are_written_to_be_edited(planted, planted_report, tmp_path, name):
    folder, faults, _ = planted
    count = write_doubtful_rows(planted_report, tmp_path / name)
    rows = {row.id: row for row in scan_rows(tmp_path / name, planted_report.tasks).usable()}
    assert len(rows) == count
    assert set.union(*faults.values()) <= set(rows)
    row = rows["contra-0"]
    assert row.columns["split"] == "train"
    assert "contradictions: train" in row.columns["found"]
    kept = {each.id: each for each in load_data_set(folder).scan("train").rows}
    assert row.labels == kept["contra-0"].labels


def test_personal_data_is_found_and_not_repeated(data_set):
    texts = [
        "Write to anna.berg@firma-berg.de.",
        "Call me on +49 30 901820 please",
        "Your card 4111 1111 1111 1111 was charged.",
        "Pay into DE89 3704 0044 0532 0130 00 then.",
        "Order 4411999123, ref 12-34, 10:30, help@example.com, call 212-555-0147",
    ]
    folder = data_set(train=[row(number, text) for number, text in enumerate(texts)])
    finding = found(folder)["personal_data"]
    kinds = [example.split(": ")[1].split()[0] for example in finding.examples]
    assert kinds == ["e-mail", "phone", "card", "account"]
    assert not any(secret in str(finding) for secret in ("anna", "901820", "1111", "3704"))


def test_other_languages_and_words_that_are_not_the_agents(data_set):
    texts = [
        "Es tut uns sehr leid, dass Ihr Paket noch nicht bei Ihnen angekommen ist.",
        "We are sorry, it is on its way.\n\nOn 3 May 2026 at 10:12, Ana wrote:\n> where is it?",
        "<p>We are <b>sorry</b>, it is on its way.</p>",
        "See https://shop.example/status for where it is, and tell us if it is late.",
    ]
    findings = found(data_set(train=[row(number, text) for number, text in enumerate(texts)]))
    assert [each for _, each, _ in findings["languages"].rows] == ["r0"]
    assert {each for _, each, _ in findings["foreign_parts"].rows} == {"r1", "r2"}
    reasons = [each.split(": ")[1].split()[0] for each in findings["foreign_parts"].examples]
    assert {"quoted", "markup"} <= set(reasons)


def test_offsets_that_cut_words_or_begin_at_a_space(data_set):
    reply = "We are so sorry, 非常抱歉 Ana."
    spans = [(0, 15), (7, 15), (1, 6), (6, 15), (0, 8), (17, 19)]
    rows = [
        row(number, f"{reply} {number}", evidence=[{"label": "apology", "start": a, "end": b}])
        for number, (a, b) in enumerate(spans)
    ]
    finding = found(data_set(train=rows))["evidence_cuts"]
    assert [each for _, each, _ in finding.rows] == ["r2", "r3", "r4"]


def test_lengths_that_are_far_from_the_others(data_set):
    rows = [
        row(number, " ".join(["word"] * (8 + number % 9)) + f" x{number}") for number in range(60)
    ]
    rows += [row(90, "word " * 900), row(91, "Thanks!")]
    finding = found(data_set(train=rows))["lengths"]
    assert [each for _, each, _ in finding.rows] == ["r90", "r91"]


def test_near_repeats_within_a_split_are_those_of_other_groups(data_set):
    one, other = LONG.format(30, "Monday"), LONG.format(45, "Tuesday")
    findings = found(data_set(train=[row(1, one, group="a"), row(2, other, group="b")]))
    assert findings["near_repeats"].examples == ("train 'r2' ~ train 'r1' (0.88)",)
    assert "near_repeats" not in found(
        data_set(train=[row(1, one, group="a"), row(2, other, group="a")])
    )


def test_labels_too_rare_to_learn_or_to_measure_and_labels_that_are_always_together(data_set):
    def rows(start, count, strategies):
        return [
            {"id": f"{number}", "reply": f"reply {number}", "labels": {"strategies": strategies,
             "tone": "warm" if number % 2 else "cold"}}
            for number in range(start, start + count)
        ]  # fmt: skip

    findings = found(
        data_set(
            train=[*rows(0, 30, ["apology", "gratitude"]), *rows(30, 5, [])],
            test=[*rows(50, 12, ["apology"]), *rows(70, 4, ["gratitude"])],
        )
    )
    assert findings["labels_few_to_learn"].examples == (
        "train: tone 'warm': 17 rows, at least 20 are wanted",
        "train: tone 'cold': 18 rows, at least 20 are wanted",
    )
    assert findings["labels_few_to_measure"].examples == (
        "test: strategies 'gratitude': 4 rows, at least 10 are wanted; a recall of 80% would be "
        "measured as 34 to 97%",
    )
    assert "labels_together" not in findings
    report = check_data(data_set(train=rows(0, 30, ["apology", "gratitude"]), test=[]))
    [finding] = [each for each in report.findings if each.check == "labels_together"]
    assert finding.examples == (
        "strategies: 'apology' and 'gratitude', in 30 of 30 rows that have either",
    )
    assert report.to_dict()["together"]["strategies/apology"]["strategies/gratitude"] == 30


def test_the_command_writes_page_and_rows_and_is_strict_if_asked(data_set, tmp_path):
    folder = data_set(train=[row(1, "mail me: a.b@firma.de"), row(2)])
    page, table = tmp_path / "check.html", tmp_path / "rows.csv"
    result = run(folder, "--html", page, "--doubtful", table)
    assert result.exit_code == 0, result.output
    assert "e-mail in its reply" in page.read_text("utf-8")
    assert "personal_data" in table.read_text("utf-8")
    assert run(folder, "--strict", "--json").exit_code == 1
    for option, path in (("--html", "none/check.html"), ("--doubtful", "rows.xlsx")):
        assert isinstance(run(folder, option, tmp_path / path).exception, DataError)
