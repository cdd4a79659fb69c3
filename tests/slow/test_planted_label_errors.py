"""How many planted label errors are told: 2% of the shipped train rows get one wrong label each."""

from __future__ import annotations

import json
import random
import shutil

import pytest

from tactful_training.config.shipped_files import shipped_root
from tactful_training.data.data_set import load_data_set
from tactful_training.triage.label_errors import find_label_errors

SHIPPED = shipped_root() / "data_cards/support_replies"


@pytest.mark.slow
def test_most_of_the_planted_errors_are_in_the_five_percent_that_are_told(tmp_path):
    choice = random.Random(1)
    tasks = load_data_set(SHIPPED).tasks
    rows = [json.loads(line) for line in (SHIPPED / "train.jsonl").open()]
    planted = set()
    for number, row in enumerate(choice.sample(rows, round(0.02 * len(rows)))):
        labels, given = row["labels"], row["labels"]["strategies"]
        if number % 2:
            others = [tone for tone in tasks.named("tone").names if tone != labels["tone"]]
            labels["tone"] = choice.choice(others)
            planted.add((row["id"], "tone", labels["tone"]))
        elif number % 4 == 2 and given:  # with its evidence
            gone = given.pop(choice.randrange(len(given)))
            row["evidence"] = [span for span in row["evidence"] if span["label"] != gone]
            planted.add((row["id"], "strategies", f"not {gone}"))
        else:
            names = [name for name in tasks.named("strategies").names if name not in given]
            given.append(choice.choice(names))
            start = choice.randrange(max(1, len(row["reply"]) - 20))
            end = min(len(row["reply"]), start + 20)
            row["evidence"].append({"label": given[-1], "start": start, "end": end})
            planted.add((row["id"], "strategies", given[-1]))
    shutil.copy(SHIPPED / "README.md", tmp_path)
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = find_label_errors(tmp_path)
    told = {(doubt.row.id, doubt.task, doubt.given) for doubt in found.doubts}
    share = len(planted & told) / len(planted)
    print(f"{len(planted)} wrong labels in {len(rows)} rows: {share:.1%} in the top 5%")
    assert share >= 0.7
