from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from tactful.reading.tasks import Task, Tasks
from tactful_training.annotation.adjudication import (
    verdicts,
    write_consensus,
    write_disagreements,
)
from tactful_training.annotation.agreement import Agreement, measure_agreement
from tactful_training.annotation.merging import merge_data
from tactful_training.data.data_set import load_data_set
from tactful_training.errors import DataError

MOODS = ("happy", "sad", "flat")
TASKS = Tasks(
    (
        Task("moves", "multilabel", {"sorry": "", "thanks": "", "never": ""}),
        Task("mood", "single", dict.fromkeys(MOODS, "")),
    )
)
REPLY = "we are so sorry and thank you kindly"
Said = dict[str, dict[str, Any]]


def people(number: int = 3, rows: int = 60) -> dict[str, Said]:
    """What people say who agree mostly; some leave rows out, or a task of a row."""
    rng = np.random.default_rng(5)
    truth = [
        ({label for label in ("sorry", "thanks") if rng.random() < 0.4}, str(rng.choice(MOODS)))
        for _ in range(rows)
    ]
    found: dict[str, Said] = {}
    for person in range(number):
        found[f"p{person}"] = {}
        for row, (moves, mood) in enumerate(truth):
            if rng.random() < 0.1:
                continue
            flipped = {label for label in ("sorry", "thanks") if rng.random() < 0.15}
            labels: dict[str, Any] = {
                "moves": sorted(moves ^ flipped),
                "mood": mood if rng.random() < 0.7 else str(rng.choice(MOODS)),
            }
            if rng.random() < 0.1:
                labels["mood"] = None
            at = {"sorry": (3 if rng.random() < 0.5 else 7, 15), "thanks": (20, 29)}
            evidence = [
                {"label": each, "start": at[each][0], "end": at[each][1]}
                for each in labels["moves"]
            ]
            found[f"p{person}"][f"r{row}"] = {
                "id": f"r{row}",
                "group": f"g{row // 2}",
                "reply": REPLY,
                "labels": labels,
                "evidence": evidence,
            }
    return found


def written(folder: Path, said: dict[str, Said]) -> list[Path]:
    paths = []
    for who, rows in said.items():
        paths.append(folder / f"{who}.jsonl")
        paths[-1].write_text("".join(json.dumps(row) + "\n" for row in rows.values()), "utf-8")
    return paths


def codes(said: dict[str, Said], task: str, label: str | None) -> np.ndarray[Any, Any]:
    names = sorted({name for rows in said.values() for name in rows})
    table = np.full((len(said), len(names)), np.nan)
    for person, rows in enumerate(said.values()):
        for at, name in enumerate(names):
            given = rows.get(name, {"labels": {task: None}})["labels"][task]
            if given is not None:
                table[person, at] = MOODS.index(given) if label is None else label in given
    return table


@pytest.mark.parametrize("number", [2, 3])
def test_figures_are_those_of_scikit_learn_and_krippendorff(tmp_path: Path, number: int) -> None:
    said = people(number)
    found = measure_agreement(written(tmp_path, said), TASKS, resamples=40)
    compared = {("moves", label): found.labels["moves"][label] for label in ("sorry", "thanks")}
    compared |= {("mood", None): found.wholes["mood"]}
    compared |= {("mood", label): found.labels["mood"][label] for label in MOODS}
    for (task, label), figures in compared.items():
        table = codes(said, task, label)
        kappas = []
        for one, other in combinations(table, 2):
            both = ~np.isnan(one) & ~np.isnan(other)
            kappas.append(cohen_kappa_score(one[both], other[both]))
        assert figures.kappa.value == pytest.approx(np.mean(kappas), abs=1e-12)
        alpha = krippendorff.alpha(reliability_data=table, level_of_measurement="nominal")
        assert figures.alpha.value == pytest.approx(alpha, abs=1e-12)
        assert figures.alpha.low <= figures.alpha.value <= figures.alpha.high
        assert figures.alpha.low < figures.alpha.high
        assert figures.n == ((~np.isnan(table)).sum(axis=0) >= 2).sum()
    # All say the same of it: there is nothing by which agreement could be told from chance.
    never = found.labels["moves"]["never"]
    assert math.isnan(never.kappa.value)
    assert never.to_dict()["alpha"]["value"] is None
    assert set(never.said.values()) == {0}


def by_hand(said: dict[str, Said], label: str) -> float:
    hits = total = 0
    for one, other in combinations(said.values(), 2):
        for name in one.keys() & other.keys():
            marked = []
            for row in (one[name], other[name]):
                tokens = set()
                for span in row["evidence"]:
                    if span["label"] == label:
                        tokens |= set(range(span["start"], span["end"]))
                starts = [at for at in range(len(REPLY)) if at == 0 or REPLY[at - 1] == " "]
                spans = [range(at, REPLY.find(" ", at) % (len(REPLY) + 1)) for at in starts]
                marked.append({at.start for at in spans if tokens & set(at)})
            hits += 2 * len(marked[0] & marked[1])
            total += len(marked[0]) + len(marked[1])
    return hits / total


def test_marked_words_are_compared_word_by_word(tmp_path: Path) -> None:
    said = people(3, 30)
    found = measure_agreement(written(tmp_path, said), TASKS, resamples=20)
    for label in ("sorry", "thanks"):
        figure = found.labels["moves"][label].token_f1
        assert figure is not None
        assert figure.value == pytest.approx(by_hand(said, label))
    assert found.evidence is not None
    assert found.labels["mood"]["sad"].token_f1 is None  # nobody marked words for it


def three() -> dict[str, Said]:
    """Three who agree on one row, and of the other on something."""

    def row(name: str, moves: list[str], mood: str | None, start: int = 7) -> dict[str, Any]:
        marks = [{"label": "sorry", "start": start, "end": 15}] if "sorry" in moves else []
        labels = {"moves": moves, "mood": mood}
        return {"id": name, "reply": REPLY, "labels": labels, "evidence": marks}

    return {
        "ann": {"a": row("a", ["sorry"], "sad"), "b": row("b", ["sorry", "thanks"], "sad")},
        "bo": {"a": row("a", ["sorry"], "sad"), "b": row("b", ["sorry"], "happy", start=3)},
        "kim": {"a": row("a", ["sorry"], "sad"), "b": row("b", ["sorry"], "flat", start=3)},
    }


def measured(tmp_path: Path) -> Agreement:
    return measure_agreement(written(tmp_path, three()), TASKS, resamples=0)


def test_what_more_than_half_say_is_agreed_and_the_rest_is_in_dispute(tmp_path: Path) -> None:
    first, second = verdicts(measured(tmp_path))
    assert first.disputed == ()
    assert first.why == "consensus: moves 3 of 3, mood 3 of 3"
    assert second.row.labels == {"moves": ("sorry",), "mood": None}
    assert [REPLY[s.start : s.end] for s in second.row.evidence] == ["are so sorry"]
    assert second.disputed == (
        "thanks: ann; not bo, kim",
        "mood sad (ann), mood happy (bo), mood flat (kim)",
    )
    assert second.votes == {"moves": (2, 3), "mood": (0, 3)}


def test_disagreements_are_decided_in_a_table_and_merged(
    tmp_path: Path, data_set_writer: Callable[..., Path]
) -> None:
    found = measured(tmp_path)
    tasks = [{"name": t.name, "kind": t.kind, "labels": dict(t.labels)} for t in TASKS]
    folder = data_set_writer(tmp_path / "set", {"train": []}, tasks)
    (folder / "train.jsonl").unlink()
    consensus, disputes = tmp_path / "consensus.jsonl", tmp_path / "disputes.csv"
    assert write_consensus(consensus, found) == 2
    assert write_disagreements(disputes, found) == 1
    merge_data(folder, [consensus])
    with disputes.open(encoding="utf-8-sig", newline="") as file:
        [row] = csv.DictReader(file)
    assert row["said by ann: moves"] == "sorry|thanks"
    assert row["disputed"].startswith("thanks: ann; not bo, kim")
    assert (row["moves"], row["mood"]) == ("sorry", "null")
    row["mood"] = "sad"  # somebody decides
    with disputes.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    merge_data(folder, [disputes], who="lead", why="decided")
    rows = {each.id: each for each in load_data_set(folder).split("train")}
    assert rows["b"].labels == {"moves": ("sorry",), "mood": "sad"}
    assert rows["b"].columns == {}
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [(each["row"], each["by"], each["why"]) for each in history] == [
        ("a", "ann, bo, kim", "consensus: moves 3 of 3, mood 3 of 3"),
        ("b", "ann, bo, kim", "consensus: moves 2 of 3, mood 0 of 3"),
        ("b", "lead", "decided"),
    ]


def test_people_who_share_no_row_or_text_or_are_one_are_told(tmp_path: Path) -> None:
    said = three()
    said["bo"] = {"z": said["bo"]["a"] | {"id": "z"}}
    del said["kim"]
    with pytest.raises(
        DataError, match=r"no row was labelled by two people; ids are.*ann: 'a', 'b'"
    ):
        measure_agreement(written(tmp_path, said), TASKS)
    with pytest.raises(DataError, match="one person alone speaks"):
        measure_agreement(written(tmp_path, {"ann": said["ann"]}), TASKS)
    said["bo"] = {"a": said["ann"]["a"] | {"reply": "so sorry, other words", "evidence": []}}
    with pytest.raises(DataError, match="different replies under one id"):
        measure_agreement(written(tmp_path, said), TASKS)


def test_rows_that_only_some_labelled_count_where_two_did(tmp_path: Path) -> None:
    said = three()
    del said["bo"]["b"], said["kim"]["a"]
    found = measure_agreement(written(tmp_path, said), TASKS, resamples=0)
    assert found.pairs == {("ann", "bo"): 1, ("ann", "kim"): 1, ("bo", "kim"): 0}
    assert found.wholes["mood"].n == 2
