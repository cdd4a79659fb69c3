"""How many labels a model needs: replies of `next_replies` beside replies drawn at random.

The labels of a data set are hidden and shown again batch by batch, as if a person gave them; after
each batch light heads are trained and measured on the validation split. Run it as
``python -m tactful_training.triage.labelling_curve docs/labelling_curve.png``; it takes some
minutes of one core, and writes the figures beside the image.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import f1_score

from tactful.reading.tasks import Tasks
from tactful.storage import write_file
from tactful_training.data.data_set import load_data_set
from tactful_training.triage.light_heads import Doubles, ReplyWords, Rows
from tactful_training.triage.next_replies import draw, few_rows, semantic_vectors

SEEDS = range(5)
POOL, FIRST, BATCH, LAST = 3000, 200, 200, 3000
# From which probability on a label counts as decided; heads trained on few rows are timid.
_LEAST = 0.3
_POINTS = 0.02


def curve(
    words: ReplyWords,
    pool: Rows,
    test: Rows,
    seed: int,
    vectors: Doubles | None,
    *,
    first: int = FIRST,
    batch: int = BATCH,
    last: int = LAST,
) -> list[tuple[int, float]]:
    """Rows and macro F1 after each batch.

    Args:
        words: of all rows.
        pool: indices of the rows whose labels are hidden at first.
        test: indices of the rows to measure on.
        seed: of the first rows and what comes after.
        vectors: `semantic_vectors` of the pool; None draws at random.
        first: how many rows are labelled at first.
        batch: how many more each time.
        last: how many in the end.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(pool))
    known = order[:first].tolist()
    points = []
    while True:
        asked = test if vectors is None else np.concatenate([test, pool])
        scores, _ = words.learn_and_ask(pool[known], asked)
        points.append((len(known), macro_f1(words.truth[test], scores[: len(test)], words.tasks)))
        if len(known) >= min(last, len(pool)):
            return points
        if vectors is None:
            known = order[: len(known) + batch].tolist()
            continue
        there = set(known)
        rest = np.array([at for at in range(len(pool)) if at not in there])
        few = few_rows([words.rows[at] for at in pool[known].tolist()], words.tasks)
        said = scores[len(test) :][rest]
        known += [
            int(rest[at]) for at, _ in draw(vectors[rest], said, words.tasks, few, batch, seed)
        ]


def macro_f1(truth: Doubles, scores: Doubles, tasks: Tasks) -> float:
    """The mean over the tasks of macro F1 over the task's labels."""
    found = []
    for task, at in tasks.slices.items():
        if tasks.named(task).kind == "single":
            said = scores[:, at].argmax(axis=1)
            found.append(f1_score(truth[:, at].argmax(axis=1), said, average="macro"))
        else:
            said = scores[:, at] >= _LEAST
            found.append(f1_score(truth[:, at], said, average="macro", zero_division=0.0))
    return float(np.mean(found))


def reached(points: list[tuple[int, float]], goal: float) -> float | None:
    """The number of rows at which a curve reaches a goal, between two points in proportion."""
    for (rows, before), (more, after) in pairwise(points):
        if before >= goal:
            return rows
        if after >= goal:
            return rows + (more - rows) * (goal - before) / (after - before)
    return None


def main(out: Path) -> None:
    """Simulate, draw and write the figures."""
    data = load_data_set("support_replies")
    train, test_rows = data.split("train"), data.split("validation")
    chosen = np.sort(np.random.default_rng(0).permutation(len(train))[:POOL])
    rows = [*(train[at] for at in chosen.tolist()), *test_rows]
    words = ReplyWords(rows, data.tasks)
    pool, test = np.arange(POOL), np.arange(POOL, len(rows))
    whole, _ = words.learn_and_ask(pool, test)
    full = macro_f1(words.truth[test], whole, data.tasks)
    vectors = semantic_vectors([row.reply for row in rows[:POOL]], 0)
    curves: dict[str, list[list[tuple[int, float]]]] = {"random": [], "next": []}
    for seed in SEEDS:
        curves["random"].append(curve(words, pool, test, seed, None))
        curves["next"].append(curve(words, pool, test, seed, vectors))
        print(f"seed {seed}:", *(f"{name} {some[-1][-1]}" for name, some in curves.items()),
              file=sys.stderr, flush=True)  # fmt: skip
    means = {
        name: [
            (some[0][at][0], float(np.mean([points[at][1] for points in some])))
            for at in range(len(some[0]))
        ]
        for name, some in curves.items()
    }
    goal = full - _POINTS
    rows_to_goal = {name: reached(points, goal) for name, points in means.items()}
    figures = {"pool": POOL, "full": full, "goal": goal, "rows_to_goal": rows_to_goal,
               "mean": means, "seeds": curves}  # fmt: skip
    write_file(out.with_suffix(".json"), json.dumps(figures, indent=1).encode() + b"\n")
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for (name, some), colour in zip(curves.items(), ("#9a5b13", "#1d6b66"), strict=True):
        for points in some:
            axes.plot(*zip(*points, strict=True), color=colour, alpha=0.2, linewidth=1)
        title = "tactful data next" if name == "next" else "at random"
        axes.plot(*zip(*means[name], strict=True), color=colour, linewidth=2, label=title)
    axes.axhline(goal, color="#56635f", linewidth=1, linestyle="--",
                 label=f"all {POOL} rows, less 2 points")  # fmt: skip
    axes.set_xlabel("labelled rows")
    axes.set_ylabel("macro F1, mean of the tasks")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=120, metadata={"Software": None})
    print(json.dumps({"full": full, "goal": goal, "rows_to_goal": rows_to_goal}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
