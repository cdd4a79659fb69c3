"""Public sets from original files: miniature ones made here, with cards that describe them."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
import typer
import yaml
from typer.testing import CliRunner

from tactful.storage import recover
from tactful_training.commands.data import app
from tactful_training.config.shipped_files import shipped_root
from tactful_training.data.data_card import read_card, read_originals
from tactful_training.data.data_set import load_data_set
from tactful_training.data.public.epitome import FOLDS, locate, split_of
from tactful_training.data.public.original_files import read_hub
from tactful_training.data.public.prepare import SETS, prepare
from tactful_training.errors import DataError

EMOTIONS = ["joy", "anger", "neutral"]
STRATEGIES = ["Question", "Others"]
MECHANISMS = ["emotional_reactions", "interpretations", "explorations"]


def goemotions():
    lines = {
        "train.tsv": ["what a day\t0\ta1", "oh no, oh no\t1,2\ta2", "noted\t2\ta3"],
        "dev.tsv": ["hm 🙂\t2\tb1"],
        "test.tsv": ["yes!\t0\tc1", "no!\t1\tc2"],
    }
    files = {name: "".join(f"{line}\n" for line in each) for name, each in lines.items()}
    files["labels.txt"] = "\n".join(EMOTIONS)
    tasks = [{"name": "emotions", "kind": "multilabel", "labels": dict.fromkeys(EMOTIONS, "")}]
    counts = {
        "train": {"rows": 3, "labels": {"emotions": {"joy": 1, "anger": 1, "neutral": 2}}},
        "validation": {"rows": 1, "labels": {"emotions": {"neutral": 1}}},
        "test": {"rows": 2, "labels": {"emotions": {"joy": 1, "anger": 1, "neutral": 0}}},
    }
    return files, tasks, counts


def dialogue(*turns):
    """Turns of the seeker (a text) and of the supporter (a text and a strategy)."""
    said = []
    for turn in turns:
        if isinstance(turn, str):
            said.append({"text": turn, "speaker": "usr"})
        else:
            said.append({"text": turn[0], "speaker": "sys", "strategy": turn[1]})
    return json.dumps({"situation": "made up", "dialog": said})


def esconv():
    first = dialogue(
        ("Hello", "Others"), "hi", "I lost a shoe", ("Which one?", "Question"), ("Hm.", "Others")
    )
    other = dialogue("good day", ("Good day!", "Others"))
    files = {
        "train.txt": f"{first}\n{other}",
        "valid.txt": f"{other}\n",
        "test.txt": f"{other}\n",
    }
    tasks = [{"name": "strategy", "kind": "single", "labels": dict.fromkeys(STRATEGIES, "")}]
    one = {"rows": 1, "labels": {"strategy": {"Others": 1}}}
    counts = {
        "train": {"rows": 4, "labels": {"strategy": {"Question": 1, "Others": 3}}},
        "validation": one,
        "test": one,
    }
    return files, tasks, counts


def table(level_of, rationale_of, *, seekers=40, space=" "):
    lines = ["sp_id,rp_id,seeker_post,response_post,level,rationales"]
    for number in range(seekers):
        response = f'"Oh dear,{space}{number} &amp; more. Why is it so?"'
        lines.append(
            f"s{number},r{number},post {number},{response},{level_of(number)},"
            f'"{rationale_of(number)}"'
        )
    return "\n".join(lines)


def epitome():
    files = {
        "emotional-reactions-reddit.csv": table(
            lambda n: n % 2, lambda n: "oh dear, 1 & more|" if n % 2 else "", space="  "
        ).replace("oh dear, 1 &", "Oh dear"),
        "interpretations-reddit.csv": table(lambda n: 2, lambda n: f"{n} & more."),
        "explorations-reddit.csv": table(
            lambda n: 1 if n == 3 else 0, lambda n: "Why is|never said|" if n == 3 else ""
        ),
    }
    files["emotional-reactions-reddit.csv"] = files["emotional-reactions-reddit.csv"].replace(
        "Oh dear more|", "Oh dear|"
    )
    levels = dict.fromkeys(["none", "weak", "strong"], "")
    tasks = [{"name": name, "kind": "single", "labels": levels} for name in MECHANISMS]
    labels = dict.fromkeys(MECHANISMS, "")
    tasks.append({"name": "mechanisms", "kind": "multilabel", "labels": labels})
    shown = {"emotional_reactions": 20, "interpretations": 40, "explorations": 1}
    counts = {"all": {"rows": 40, "labels": {"mechanisms": shown}}}
    return files, tasks, counts


ORIGINALS = {"goemotions": goemotions, "esconv": esconv, "epitome": epitome}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a card of each set and its originals in ``original/<set>``."""
    monkeypatch.chdir(tmp_path)
    for name, make in ORIGINALS.items():
        files, tasks, counts = make()
        source = tmp_path / "original" / name
        source.mkdir(parents=True)
        digests = {}
        for file, text in files.items():
            (source / file).write_bytes(text.encode())
            digests[file] = hashlib.sha256(text.encode()).hexdigest()
        (source / "LICENSE").write_text("do as you like")
        originals = {"set": name, "files": digests, "counts": counts}
        card = yaml.safe_dump({"tasks": tasks, "originals": originals}, sort_keys=False)
        (tmp_path / "data_cards" / name).mkdir(parents=True)
        (tmp_path / "data_cards" / name / "README.md").write_text(f"---\n{card}---\n# {name}\n")
    return tmp_path


def source(name):
    return f"original/{name}"


def edit(name, file, change):
    path = os.path.join(source(name), file)
    with open(path, "rb") as opened:
        content = opened.read()
    changed = change(content)
    assert changed != content
    with open(path, "wb") as opened:
        opened.write(changed)


def refused(name, match, **options):
    before = sorted(os.listdir(f"data_cards/{name}"))
    with pytest.raises(DataError, match=match) as caught:
        prepare(name, source(name), **options)
    assert sorted(os.listdir(f"data_cards/{name}")) == before
    assert sorted(os.listdir("data_cards")) == sorted(ORIGINALS)
    return str(caught.value)


def test_goemotions(place):
    prepared = prepare("goemotions", source("goemotions"))
    data = load_data_set("goemotions")
    assert prepared.folder == data.folder
    assert [(row.reply, row.labels["emotions"]) for row in data.split("train")] == [
        ("what a day", ("joy",)),
        ("oh no, oh no", ("anger", "neutral")),
        ("noted", ("neutral",)),
    ]
    [row] = data.split("validation")
    assert (row.id, row.reply, row.context) == ("b1", "hm 🙂", None)
    assert {split: counts.rows for split, counts in prepared.counts.items()} == {
        "train": 3,
        "validation": 1,
        "test": 2,
    }
    assert prepared.differences == []
    assert sorted(os.listdir("data_cards")) == sorted(ORIGINALS)


def test_esconv_has_the_three_turns_before_each_turn_of_the_supporter(place):
    prepare("esconv", source("esconv"))
    rows = load_data_set("esconv").split("train")
    assert [(row.reply, row.labels["strategy"]) for row in rows] == [
        ("Hello", "Others"),
        ("Which one?", "Question"),
        ("Hm.", "Others"),
        ("Good day!", "Others"),
    ]
    assert [row.context for row in rows] == [
        None,
        "Supporter: Hello\nSeeker: hi\nSeeker: I lost a shoe",
        "Seeker: hi\nSeeker: I lost a shoe\nSupporter: Which one?",
        "Seeker: good day",
    ]
    assert [row.group for row in rows] == ["train-0001"] * 3 + ["train-0002"]
    assert len({row.id for row in rows}) == 4


def test_epitome_joins_its_tables_and_finds_the_rationales(place):
    prepared = prepare("epitome", source("epitome"), fold=2)
    rows = [row for split in prepared.counts for row in load_data_set("epitome").split(split)]
    found = {row.id: row for row in rows}
    row = found["s3-r3"]
    assert row.reply == "Oh dear, 3 &amp; more. Why is it so?"
    assert row.labels == {
        "emotional_reactions": "weak",
        "interpretations": "strong",
        "explorations": "weak",
        "mechanisms": tuple(MECHANISMS),
    }
    marked = {span.label: row.reply[span.start : span.end] for span in row.evidence}
    assert marked == {
        "emotional_reactions": "Oh dear",
        "interpretations": "3 &amp; more",
        "explorations": "Why is",
    }
    assert found["s2-r2"].labels["emotional_reactions"] == "none"
    assert (row.context, row.group) == ("post 3", "s3")
    assert prepared.notes == [
        "fold 2 is not named in data_cards/epitome, whose card is kept; --out has it named",
        "61 rationales were found in their response, 1 were not and are left out",
    ]


def test_every_row_of_epitome_is_a_test_row_of_one_fold(place):
    tested = []
    for fold in range(1, FOLDS + 1):
        prepare("epitome", source("epitome"), place / f"fold-{fold}", fold=fold)
        data = load_data_set(place / f"fold-{fold}")
        groups = [{row.group for row in data.split(split)} for split in data.files]
        assert len(set.union(*groups)) == sum(map(len, groups)) == 40
        tested += [row.id for row in data.split("test")]
    assert sorted(tested) == sorted(f"s{number}-r{number}" for number in range(40))


def test_a_fold_stays_the_same_fold():
    folds = range(1, FOLDS + 1)
    others = ["train", "train", "train"]
    assert [split_of("post-1", fold) for fold in folds] == [*others, "validation", "test"]
    assert [split_of("post-2", fold) for fold in folds] == [*others, "test", "train"]
    splits = [split_of(f"post-{number}", 1) for number in range(2000)]
    assert 0.17 < splits.count("test") / 2000 < 0.23
    assert 0.08 < splits.count("validation") / 2000 < 0.12


def test_a_pair_that_was_annotated_twice_stays_twice(place):
    for file in os.listdir(source("epitome")):
        if file.endswith(".csv"):
            edit("epitome", file, lambda content: content + b"\n" + content.split(b"\n")[-1])
    prepared = prepare("epitome", source("epitome"), accept_differences=True)
    ids = [
        row.id
        for split in prepared.counts
        for row in load_data_set("epitome").split(split)
        if row.group == "s39"
    ]
    assert sorted(ids) == ["s39-r39", "s39-r39-2"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("so it is", "so it is"),
        ("  so it is ", "so it is"),
        ("SO it  is !", "so it is"),
        ("<3 you", "3  you"),
        ("the  group", "the subreddit group"),
        ("never said", None),
        ("!!", None),
    ],
)
def test_words_are_found_by_their_letters(words, found):
    text = "Ah, so it is: &lt;3  you, the subreddit group"
    span = locate(words, text)
    assert (None if span is None else text[slice(*span)]) == found


def test_a_damaged_original_is_refused_with_its_digest(place):
    edit("goemotions", "train.tsv", lambda content: content.replace(b"what", b"that"))
    message = refused("goemotions", "does not hold the original files of goemotions")
    good = read_originals(read_card(place / "data_cards/goemotions")).files["train.tsv"]
    bad = hashlib.sha256((place / "original/goemotions/train.tsv").read_bytes()).hexdigest()
    assert f"train.tsv: SHA-256 {bad}" in message
    assert f"expected {good}" in message
    assert "dev.tsv" not in message
    assert "rows" not in message


def test_a_truncated_original_is_refused_with_rows_and_labels(place):
    edit("goemotions", "test.tsv", lambda content: content[: content.index(b"no!")])
    message = refused("goemotions", "test: 1 rows, expected 2")
    assert "test.tsv: SHA-256 " in message
    assert "test: 0 rows with emotions 'anger', expected 1" in message


def test_an_original_cut_within_a_line_names_the_line_too(place):
    edit("goemotions", "train.tsv", lambda content: content[:-5])
    message = refused("goemotions", r"train\.tsv:3: 2 cells")
    assert "train: 2 rows, expected 3" in message
    refused("goemotions", r"train\.tsv:3: 2 cells", accept_differences=True)


def test_of_many_lines_that_cannot_be_rows_some_are_listed(place):
    edit("goemotions", "train.tsv", lambda content: b"x\n" * 30 + content)
    message = refused("goemotions", "and 25 more that cannot be rows")
    assert "train.tsv:5: 1 cells" in message
    assert "train.tsv:6" not in message


def test_a_renamed_original_is_recognised(place):
    folder = place / "original/esconv"
    (folder / "valid.txt").rename(folder / "validation.txt")
    message = refused("esconv", "valid.txt is missing, but validation.txt is that file")
    assert "rename it to valid.txt" in message
    assert "beside the expected ones there is: LICENSE, validation.txt" in message


def test_a_missing_original(place):
    (place / "original/epitome/explorations-reddit.csv").unlink()
    message = refused("epitome", "explorations-reddit.csv is missing\n")
    assert "expected: emotional-reactions-reddit.csv" in message


def test_a_missing_original_hides_no_other_difference(place):
    edit("goemotions", "train.tsv", lambda content: content.replace(b"what", b"that"))
    folder = place / "original/goemotions"
    (folder / "dev.tsv").rename(folder / "valid.tsv")
    (folder / "test.tsv").write_bytes(b"")
    message = refused("goemotions", "dev.tsv is missing, but valid.tsv is that file")
    assert "train.tsv: SHA-256 " in message
    assert "test.tsv is empty" in message
    assert "--accept-differences covers digests and counts alone, not all of this" in message


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("goemotions", "dev.tsv", "test.tsv"),
        ("epitome", "explorations-reddit.csv", "interpretations-reddit.csv"),
    ],
)
def test_an_original_in_the_place_of_another_is_recognised(place, name, one, other):
    first, second = (place / source(name) / file for file in (one, other))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    message = refused(name, rf"{one}: SHA-256 .*; that is {other}\n")
    assert f"that is {one}" not in message
    second.write_bytes(content)
    message = refused(name, rf"{one}: SHA-256 .*; that is {other}\n")
    assert f"that is {one}\n" in message


def test_what_is_accepted_is_no_longer_a_reason_to_refuse(place):
    edit("goemotions", "train.tsv", lambda content: content[:-5])
    (place / "original/goemotions/dev.tsv").write_bytes(b"")
    message = refused("goemotions", "dev.tsv is empty", accept_differences=True)
    assert "SHA-256" not in message
    (place / "original/goemotions/dev.tsv").write_bytes(goemotions()[0]["dev.tsv"].encode())
    message = refused("goemotions", "train.tsv:3: 2 cells", accept_differences=True)
    assert "SHA-256" not in message
    assert "rows, expected" not in message
    assert "does not hold what goemotions is made of" in message
    assert message.endswith("--accept-differences covers digests and counts alone, not this.")


@pytest.mark.parametrize("name", SETS)
def test_a_mark_and_line_ends_of_windows_change_no_row(place, name):
    plain = prepare(name, source(name), place / "plain")
    for file in read_originals(read_card(place / "data_cards" / name)).files:
        # Some tools end a last line without an end by half of one.
        end = b"" if file == "train.txt" else b"\r"
        edit(
            name,
            file,
            lambda content, end=end: (
                b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n").removesuffix(b"\r\n") + end
            ),
        )
    refused(name, "SHA-256")
    marked = prepare(name, source(name), place / "marked", accept_differences=True)
    assert all("SHA-256" in line for line in marked.differences)
    assert marked.counts == plain.counts
    for split in plain.counts:
        file = f"{split}.jsonl"
        assert (place / "marked" / file).read_bytes() == (place / "plain" / file).read_bytes()


def test_a_lone_carriage_return_stays(place):
    edit("goemotions", "dev.tsv", lambda content: content.replace(b"hm", b"h\rm\r"))
    prepare("goemotions", source("goemotions"), accept_differences=True)
    assert load_data_set("goemotions").split("validation")[0].reply == "h\rm\r 🙂"
    edit(
        "epitome",
        "interpretations-reddit.csv",
        lambda content: content.replace(b",post 3,", b',"post\r3",'),
    )
    prepared = prepare("epitome", source("epitome"), accept_differences=True)
    rows = [row for split in prepared.counts for row in load_data_set("epitome").split(split)]
    assert [row.context for row in rows if row.id == "s3-r3"] == ["post\r3"]


def test_a_folder_is_told_from_a_file_that_is_missing(place):
    folder = place / "original/goemotions"
    (folder / "dev.tsv").unlink()
    (folder / "dev.tsv").mkdir()
    (folder / "labels.txt").unlink()
    (folder / "labels.txt").symlink_to("nowhere")
    message = refused("goemotions", "dev.tsv is a folder, not a file")
    assert "labels.txt is a broken link or a device, not a file" in message
    assert "dev.tsv/" not in message


def test_the_folder_that_holds_the_files_is_found_within(place):
    for out, inner in (("original", "original/esconv"), (".", "original/esconv")):
        with pytest.raises(DataError, match="expected: train") as caught:
            prepare("esconv", out)
        assert f"{inner} holds files of all these names: give it as --source" in str(caught.value)
    with pytest.raises(DataError, match="there is: epitome/, esconv/, goemotions/\n"):
        prepare("esconv", "original")
    (place / "many").mkdir()
    for number in range(25):
        (place / f"many/{number:02d}.txt").write_text(str(number))
    with pytest.raises(DataError, match=r"18\.txt, 19\.txt and 5 more") as caught:
        prepare("esconv", "many")
    assert "give it as --source" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "match"),
    [
        ("goemotions", "dev.tsv", b"\t2\t", b"\t3\t", r"dev\.tsv:1: labels '3'; .* 0 to 2"),
        ("goemotions", "dev.tsv", b"\t2\t", b"\t-1\t", r"dev\.tsv:1: labels '-1'"),
        ("goemotions", "dev.tsv", b"\t2\t", b"\t2,2\t", "a label is given twice"),
        ("goemotions", "dev.tsv", b"hm", b"\xff", r"dev\.tsv:1: not UTF-8"),
        ("goemotions", "train.tsv", b"a2", b"a1", "id 'a1' was used before, at train.jsonl:1"),
        ("goemotions", "labels.txt", b"anger", b"anger\nawe", "labels.txt names joy, anger, awe"),
        ("goemotions", "labels.txt", b"joy", b"joy ", "labels.txt names 'joy ', anger, neutral;"),
        ("esconv", "test.txt", b"Others", b"Advice", r"test\.txt:1: turn 2 .* 'Advice'"),
        ("esconv", "test.txt", b'"sys"', b'"bot"', r"test\.txt:1: turn 2 needs"),
        ("esconv", "train.txt", b'"dialog"', b'"talk"', r"train\.txt:1: not a dialogue"),
        ("esconv", "train.txt", b"}]}\n", b"}\n", r"train\.txt:1: not a dialogue"),
        ("epitome", "explorations-reddit.csv", b",1,", b",3,", "level '3'; expected 0, 1 or 2"),
        ("epitome", "explorations-reddit.csv", b"s3,r3", b"s3,r4", "the same pairs of posts"),
        ("epitome", "explorations-reddit.csv", b"rp_id,", b"", "has the columns sp_id, seeker"),
        ("epitome", "explorations-reddit.csv", b'"Oh dear', b'Oh "dear', "explorations-reddit"),
    ],
)
def test_what_cannot_be_a_row_is_refused_whatever_is_accepted(place, name, file, old, new, match):
    edit(name, file, lambda content: content.replace(old, new, 1))
    refused(name, match)
    refused(name, match, accept_differences=True)


def test_differences_can_be_accepted_and_are_told(place):
    edit("goemotions", "test.tsv", lambda content: content + b"well\t2\tc3\n")
    prepared = prepare("goemotions", source("goemotions"), accept_differences=True)
    assert [line.split(":")[0] for line in prepared.differences] == ["test.tsv", "test", "test"]
    assert len(load_data_set("goemotions").split("test")) == 3


def test_an_older_set_stays_until_the_new_one_is_whole(place):
    prepare("esconv", source("esconv"))
    before = (place / "data_cards/esconv/train.jsonl").read_bytes()
    edit("esconv", "train.txt", lambda content: content.replace(b"Hello", b"Hi"))
    refused("esconv", "SHA-256")
    assert (place / "data_cards/esconv/train.jsonl").read_bytes() == before
    prepare("esconv", source("esconv"), accept_differences=True)
    assert load_data_set("esconv").split("train")[0].reply == "Hi"


def test_another_folder_gets_the_card_too(place):
    prepare("goemotions", source("goemotions"), place / "deep/mine")
    assert sorted(os.listdir("deep/mine")) == [
        *("README.md", "test.jsonl", "train.jsonl", "validation.jsonl")
    ]
    assert os.listdir("data_cards/goemotions") == ["README.md"]
    prepare("goemotions", source("goemotions"), place / "deep/mine")


def front_matter(folder):
    return read_card(folder).front_matter


def test_a_prepared_set_says_which_fold_it_is_and_what_was_accepted(place):
    card = place / "data_cards/epitome/README.md"
    before = card.read_bytes()
    prepare("epitome", source("epitome"), place / "mine", fold=2)
    assert front_matter(place / "mine")["prepared"] == {"fold": 2}
    edit("epitome", "explorations-reddit.csv", lambda content: content.replace(b"never", b"not"))
    options = {"fold": 3, "accept_differences": True}
    prepared = prepare("epitome", source("epitome"), place / "mine", **options)
    assert f"fold 2, which was in {place}/mine, has been replaced" in prepared.notes
    [difference] = prepared.differences
    assert front_matter(place / "mine")["prepared"] == {"fold": 3, "differences": [difference]}
    text = (place / "mine/README.md").read_bytes().split(b"\n")
    assert b"\n".join(line for line in text if not line.startswith(b"prepared:")) == before
    # The card that the working folder keeps is not touched by what is prepared beside it.
    prepared = prepare("epitome", source("epitome"), **options)
    assert any("fold 3 is not named in data_cards/epitome" in note for note in prepared.notes)
    assert card.read_bytes() == before


def test_a_card_that_was_copied_says_nothing_of_the_run_before(place):
    # A folder of that name in the working folder is where the card is found from now on.
    for fold in (2, 4):
        prepare("epitome", source("epitome"), place / "epitome", fold=fold)
        assert front_matter(place / "epitome")["prepared"] == {"fold": fold}
    edit("goemotions", "dev.tsv", lambda content: content.replace(b"hm", b"mh"))
    for name in ("goemotions", "other"):
        prepare("goemotions", source("goemotions"), place / name, accept_differences=True)
        assert list(front_matter(place / name)["prepared"]) == ["differences"]
    edit("goemotions", "dev.tsv", lambda content: content.replace(b"mh", b"hm"))
    prepare("goemotions", source("goemotions"), place / "other")
    card = (place / "data_cards/goemotions/README.md").read_bytes()
    assert (place / "other/README.md").read_bytes() == card


def test_a_refused_run_leaves_no_folder_that_it_made(place):
    edit("goemotions", "dev.tsv", lambda content: content.replace(b"hm", b"mh"))
    refused("goemotions", "nothing was written", out=place / "deep/er/x")
    assert not (place / "deep").exists()
    (place / "deep").mkdir()
    refused("goemotions", "nothing was written", out=place / "deep/er/x")
    assert os.listdir(place / "deep") == []


def test_a_terminated_run_leaves_nothing_behind(place):
    lines = "".join(f"all is well\t2\tx{number}\n" for number in range(20_000)).encode()
    edit("goemotions", "train.tsv", lambda content: content + lines)
    arguments = ["prepare", "goemotions", "--source", source("goemotions"), "--out", "deep/er/x"]
    program = "from tactful_training.commands.data import app; app()"
    command = [sys.executable, "-c", program, *arguments, "--accept-differences"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as writer:
        while not list(place.glob("deep/er/.x.new-*")):
            assert writer.poll() is None
            time.sleep(0.001)
        writer.send_signal(signal.SIGTERM)
    assert writer.returncode == 128 + signal.SIGTERM
    assert not (place / "deep").exists()


def test_a_folder_of_something_else_is_left_alone(place):
    (place / "mine").mkdir()
    (place / "mine/notes.txt").write_text("precious")
    refused("goemotions", "mine holds notes.txt, which would be lost", out=place / "mine")
    prepare("esconv", source("esconv"), place / "other")
    refused("goemotions", "another data set than goemotions", out=place / "other")
    refused("goemotions", "cannot be written", out=place / "mine/notes.txt")
    assert (place / "mine/notes.txt").read_text() == "precious"


def test_a_source_that_is_no_folder(place):
    with pytest.raises(DataError, match="nowhere is no folder; --source is that of the original"):
        prepare("epitome", "nowhere")
    with pytest.raises(DataError, match="--source is empty"):
        prepare("epitome", "")


def test_a_run_killed_at_any_moment_leaves_a_whole_set_or_none(place):
    program = """
import sys
from tactful_training.data.public.prepare import prepare
print("ready", flush=True)
while True:
    prepare("goemotions", "original/goemotions")
    print("written", flush=True)
"""
    for writes in (0, 1, 4):
        with subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
        ) as writer:
            for _ in range(1 + writes):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
        folder = place / "data_cards/goemotions"
        # Between two renames the old folder stands aside, whole.
        there = folder if folder.exists() else next(folder.parent.glob(".goemotions.old-*"))
        assert len(os.listdir(there)) in (1, 4)
    prepare("goemotions", source("goemotions"))
    assert sorted(os.listdir("data_cards")) == sorted(ORIGINALS)


def test_a_set_that_a_killed_run_left_aside_is_put_back_with_its_card(place):
    prepare("goemotions", source("goemotions"))
    cards = place / "data_cards"
    (cards / "goemotions").rename(cards / ".goemotions.old-deadbeef")
    (cards / ".goemotions.new-deadbeef").mkdir()
    # Only the card that stands aside describes these originals.
    assert prepare("goemotions", source("goemotions")).differences == []
    assert sorted(os.listdir(cards)) == sorted(ORIGINALS)
    (cards / "goemotions").rename(cards / ".goemotions.old-deadbeef")
    assert len(load_data_set("goemotions").split("train")) == 3
    assert sorted(os.listdir(cards)) == sorted(ORIGINALS)
    (cards / "goemotions").rename(place / ".mine.old-1234")
    assert len(load_data_set("mine").split("train")) == 3


def test_what_stands_aside_is_not_touched_while_a_folder_is_there(place):
    aside = place / ".mine.old-1234"
    aside.mkdir()
    recover(place / "theirs")
    recover(place / "no-folder/mine")
    assert aside.is_dir()
    prepare("goemotions", source("goemotions"), place / "other")
    (place / "mine").mkdir()
    recover(place / "mine")
    assert aside.is_dir()


def test_training_without_the_rows_says_how_to_make_them(place):
    with pytest.raises(DataError, match=r"has no split 'train'.*`tactful data prepare` makes it"):
        load_data_set("goemotions").split("train")


def hub_files(name, address):
    return read_hub(address, None, SETS[name].hub_files, SETS[name].hub_line)


def test_the_hub_is_read_through_datasets_into_the_same_files(place, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", place / "cache")
    files = hub_files("esconv", "original/esconv")
    expected = {name: (place / "original/esconv" / name).read_text() for name in files}
    assert {name: content.decode() for name, content in files.items()} == {
        name: text.removesuffix("\n") + "\n" for name, text in expected.items()
    }
    for split, file in SETS["goemotions"].hub_files.items():
        lines = (place / "original/goemotions" / file).read_text().splitlines()
        cells = [line.split("\t") for line in lines]
        labels = [[int(number) for number in numbers.split(",")] for _, numbers, _ in cells]
        columns = {"text": [c[0] for c in cells], "labels": labels, "id": [c[2] for c in cells]}
        (place / "hub").mkdir(exist_ok=True)
        datasets.Dataset.from_dict(columns).to_parquet(place / f"hub/{split}.parquet")
    files = hub_files("goemotions", "hub")
    assert all(
        content == (place / "original/goemotions" / name).read_bytes()
        for name, content in files.items()
    )
    with pytest.raises(DataError, match="nowhere cannot be read from the Hugging Face hub"):
        hub_files("esconv", "nowhere")
    with pytest.raises(DataError, match="its table has changed"):
        hub_files("goemotions", "original/esconv")


@pytest.mark.parametrize("name", SETS)
def test_the_cards_of_the_repository_describe_their_originals(name):
    card = read_card(shipped_root() / "data_cards" / name)
    originals = read_originals(card)
    assert originals.set == name
    assert set(originals.counts) in ({"train", "validation", "test"}, {"all"})
    for counts in originals.counts.values():
        for task in card.tasks:
            assert list(counts.labels[task.name]) == list(task.names)
            if task.kind == "single":
                assert sum(counts.labels[task.name].values()) == counts.rows


def run(*arguments):
    root = typer.Typer()
    root.add_typer(app, name="data")
    return CliRunner().invoke(root, ["data", "prepare", *arguments])


def test_the_command_prints_what_it_made_and_how_to_go_on(place):
    result = run("epitome", "--source", source("epitome"), "--fold", "3", "--out", "fold-3")
    assert result.exit_code == 0
    assert "fold-3 (epitome, fold 3)" in result.stdout
    assert "mechanisms: interpretations" in result.stdout
    assert "tactful train epitome --set data.folder=fold-3 --out models/fold-3\n" in result.stdout


def test_the_command_to_go_on_with_can_be_pasted(place):
    result = run("goemotions", "--source", source("goemotions"), "--out", "my set")
    command = result.stdout.splitlines()[-1]
    assert shlex.split(command)[3:] == ["--set", "data.folder=my set", "--out", "models/my set"]


def test_the_command_gives_json(place):
    edit("goemotions", "dev.tsv", lambda content: content.replace(b"hm", b"mh"))
    options = ("--source", source("goemotions"), "--accept-differences", "--json")
    content = json.loads(run("goemotions", *options).stdout)
    assert content["set"] == "goemotions"
    assert content["fold"] is None
    assert content["splits"]["test"]["labels"]["emotions"] == {"joy": 1, "anger": 1, "neutral": 0}
    assert content["differences"][0].startswith("dev.tsv: SHA-256")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["imdb"], "no public set 'imdb'; there are: goemotions, esconv, epitome"),
        (["goemotions", "--fold", "1"], "goemotions has an official split"),
        (["epitome", "--fold", "6"], "epitome has the folds 1 to 5, not 6"),
    ],
)
def test_the_command_refuses_what_there_is_not(place, arguments, match):
    result = run(*arguments, "--source", "original/goemotions")
    assert isinstance(result.exception, DataError)
    assert match in str(result.exception)
