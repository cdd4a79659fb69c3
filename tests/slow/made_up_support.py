"""A scored file of a support department that does not exist, for demonstrations and measurements.

Contexts, replies, labels and evidence are rows of data_cards/support_replies; who wrote them, when,
and how satisfied anybody was, is made up. docs/report.md shows the report of what
`python tests/slow/made_up_support.py scored.jsonl --evaluation evaluate.json` writes.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SET = ROOT / "data_cards/support_replies"
START = datetime(2026, 8, 3, 6, tzinfo=UTC)
NAMES = ["Ana", "Ben", "Chidi", "Dana", "Elif", "Femi", "Greta", "Hugo", "Ines", "Jamal", "Kaya"]
NAMES += ["Lena", "Mads", "Noor", "Olga", "Pavel", "Quim", "Rosa", "Sami", "Tala", "Uma", "Vito"]
NAMES += ["Wanda", "Ximena", "Yusuf", "Zoe"]
SURNAMES = ["Abara", "Brandt", "Costa", "Dahl", "Erdem", "Fuchs", "Gallo", "Haddad", "Ivanova"]
TEAMS = ["Deliveries", "Accounts", "Repairs", "Evenings"]
CHANNELS = ["chat", "email", "phone", "social"]
STOCK = [
    ("acknowledge_feelings", "I understand how frustrating this must be for you."),
    ("apology", "We apologise for any inconvenience this may have caused."),
    ("caring_close", "We wish you a wonderful rest of your day!"),
]


def labels(card: Path = SET / "README.md") -> dict[str, list[str]]:
    """Task to labels, from the front matter of the card."""
    found: dict[str, list[str]] = {}
    for line in card.read_text("utf-8").split("\n---\n")[0].splitlines():
        if match := re.match(r"  - name: (\w+)", line):
            task = found.setdefault(match[1], [])
        elif match := re.match(r'      (\w+): "', line):
            task.append(match[1])
    return found


def made_up(replies: int, agents: int, seed: int = 7, *, varied: bool = False):
    """Yield scored rows.

    Args:
        replies: how many.
        agents: how many people wrote them.
        seed: of what is made up.
        varied: change some words, so that no two replies are the same (the labels are then as good
            as made up too).
    """
    draw = random.Random(seed)
    tasks = labels()
    rows = [
        json.loads(line)
        for split in ("train", "test")
        for line in (SET / f"{split}.jsonl").read_text("utf-8").splitlines()
    ]
    words = sorted({w for row in rows for w in re.findall(r"[a-z]{4,}", row["reply"])})
    people = []
    for index in range(agents):
        name = f"{NAMES[index % len(NAMES)]} {SURNAMES[index // len(NAMES) % len(SURNAMES)]}"
        if index >= len(NAMES) * len(SURNAMES):
            name += f" {index}"
        liked = {label: draw.gauss(0, 0.3) for label in tasks["strategies"]}
        people.append((name, TEAMS[index % len(TEAMS)], liked, draw.random() < 0.15))
    people[0][2].update(acknowledge_feelings=2.5, offer_options=1.5)
    people[-1][2].update(acknowledge_feelings=-2.5, apology=-2, caring_close=-1.5)
    conversation, left = 0, 0
    for number in range(replies):
        if not left:
            conversation, left = conversation + 1, draw.choice([1, 1, 2, 3])
            person = draw.choice(people)
            channel = draw.choice(CHANNELS)
            sent = START + timedelta(minutes=draw.uniform(0, 16 * 7 * 24 * 60))
            satisfied = draw.gauss(3.4, 0.9)
        left -= 1
        name, team, liked, pastes = person
        row = max(
            draw.choices(rows, k=4),
            key=lambda r: sum(liked[s] for s in r["labels"]["strategies"]) + draw.gauss(0, 1),
        )
        reply, spans = row["reply"], row["evidence"]
        strategies, tone = row["labels"]["strategies"], row["labels"]["tone"]
        if varied:
            changed = [w for w in re.finditer(r"[A-Za-z]{4,}", reply) if draw.random() < 0.3]
            for match in reversed(changed):  # of the same length, so that evidence stays in place
                fit = (draw.choice(words) * 3)[: len(match[0])]
                reply = reply[: match.start()] + fit + reply[match.end() :]
        ends = reply.rstrip()[-1:] in ".!?"
        if ends and (draw.random() < (0.35 if pastes else 0.02)):
            label, phrase = draw.choice(STOCK)
            if label not in strategies:
                strategies = [*strategies, label]
            spans = [*spans, {"label": label, "start": len(reply) + 1,
                              "end": len(reply) + 1 + len(phrase)}]  # fmt: skip
            reply = f"{reply} {phrase}"
        waited = draw.lognormvariate(2.2 if channel in ("chat", "phone") else 4.6, 1.1)
        satisfied += 0.2 * ("acknowledge_feelings" in strategies) - 0.3 * (tone == "dismissive")
        sent += timedelta(minutes=draw.uniform(1, 20))
        yield {
            "id": number,
            "conversation": f"c-{conversation}",
            "agent": name,
            "team": team,
            "channel": channel,
            "received": (sent - timedelta(minutes=waited)).isoformat(timespec="seconds"),
            "sent": sent.isoformat(timespec="seconds"),
            "satisfaction": min(5, max(1, round(satisfied))) if not left else None,
            "context": row.get("context") or "",
            "reply": reply,
            "strategies": strategies,
            "tone": tone,
            **{
                f"score.strategies.{label}": round(
                    draw.uniform(0.55, 0.99) if label in strategies else draw.uniform(0, 0.4), 4
                )
                for label in tasks["strategies"]
            },
            **{f"score.tone.{label}": 0.88 if label == tone else 0.02 for label in tasks["tone"]},
            "evidence": [{**s, "text": reply[s["start"] : s["end"]]} for s in spans],
            "truncated": False,
            "bundle": "made-up@000000000000",
            "error": None,
        }


def made_up_evaluation(seed: int = 7):
    """Figures of the form of ``tactful evaluate --json``."""
    draw = random.Random(seed)
    found = {}
    for task, names in labels().items():
        found[task] = {"labels": {}}
        for name in names:
            precision, recall = draw.uniform(0.75, 0.96), draw.uniform(0.72, 0.95)
            found[task]["labels"][name] = {
                "precision": precision,
                "recall": recall,
                "f1": 2 * precision * recall / (precision + recall),
                "support": draw.randint(40, 300),
            }
    return {"n": 1689, **found}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--replies", type=int, default=6000)
    parser.add_argument("--agents", type=int, default=24)
    parser.add_argument("--varied", action="store_true")
    parser.add_argument("--evaluation", type=Path)
    given = parser.parse_args()
    if given.evaluation is not None:
        given.evaluation.write_text(json.dumps(made_up_evaluation()))
    with given.out.open("w", encoding="utf-8") as out:
        for made in made_up(given.replies, given.agents, varied=given.varied):
            out.write(json.dumps(made, ensure_ascii=False) + "\n")
