from __future__ import annotations

import pytest

from tactful_training.config.shipped_files import shipped_root
from tactful_training.data.data_card import read_card
from tactful_training.errors import DataError

TASK = "- {name: tone, kind: single, labels: {warm: kind, cold: curt}}"


def card(folder, front_matter, prose="# A set\n"):
    (folder / "README.md").write_text(f"---\n{front_matter}\n---\n{prose}", "utf-8")
    return folder


def test_the_tasks_come_from_the_front_matter_and_the_rest_is_kept(tmp_path):
    found = read_card(card(tmp_path, f"license: cc-by-4.0\ntasks:\n{TASK}", "---\nnot: [yaml\n"))
    assert [vars(task) for task in found.tasks] == [
        {"name": "tone", "kind": "single", "labels": {"warm": "kind", "cold": "curt"}}
    ]
    assert found.front_matter["license"] == "cc-by-4.0"
    assert found.path == tmp_path / "README.md"


def test_a_byte_order_mark_and_windows_lines_do_no_harm(tmp_path):
    text = f"---\r\ntasks:\r\n{TASK}\r\n---\r\n"
    (tmp_path / "README.md").write_bytes(text.encode("utf-8-sig"))
    assert read_card(tmp_path).tasks.size == 2


def test_the_shipped_card_declares_the_labels_of_the_guide():
    folder = shipped_root() / "data_cards/support_replies"
    found = read_card(folder)
    strategies, tone = found.tasks
    assert (len(strategies.labels), len(tone.labels)) == (17, 7)
    guide = (folder / "ANNOTATION_GUIDE.md").read_text("utf-8")
    assert all(f"`{label}`" in guide for label in (*strategies.labels, *tone.labels))
    assert found.front_matter["license"] == "cc-by-4.0"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no front matter"),
        (b"# A set\n---\ntasks: []\n---\n", "has no front matter"),
        (b"---\ntasks: []\n", "has no front matter"),
        (b"---\n---\n", "must be a mapping"),
        (b"---\n- 1\n---\n", "must be a mapping"),
        (b"---\nlicense: mit\n---\n", "has no 'tasks'"),
        (b"---\nlicense: mit\ntasks: [\n---\n", "README.md:3: the front matter is not valid YAML"),
        (
            b"---\ntasks: []\ntasks: []\n---\n",
            "README.md:3: the front matter is not valid YAML: the",
        ),
        (b"---\ntasks: []\n---\n", "no task is declared"),
        (b"---\ntasks: {tone: 1}\n---\n", "tasks must be a list"),
        (b"---\ntasks: [{name: tone}]\n---\n", "exactly the keys name, kind and labels"),
        (
            b"---\ntasks: [{name: ok, kind: single, labels: {yes: a, no: b}}]\n---\n",
            "label True must be text",
        ),
        (
            b"---\ntasks: [{name: stars, kind: single, labels: {1: a, 2: b}}]\n---\n",
            "label 1 must be text",
        ),
        (b"---\ntasks: [{name: t, kind: several, labels: {a: b}}]\n---\n", "kind 'several'"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_bad_card_is_named(tmp_path, content, message):
    (tmp_path / "README.md").write_bytes(content)
    with pytest.raises(DataError, match=r"README\.md") as caught:
        read_card(tmp_path)
    assert message in str(caught.value)


def test_a_missing_card_says_what_one_is(tmp_path):
    with pytest.raises(DataError, match=r"no data card .*README\.md.*names its tasks"):
        read_card(tmp_path)
