"""Which unlabelled replies to label next, and what a model would say of them.

A batch is drawn from three sides. Most of it are replies of which the model is unsure; a part are
replies that look most like labels of which few rows are known; and the whole is spread over
clusters of what the replies talk about (k-means over latent semantic vectors, Deerwester et al.
1990), so that no batch is twenty times the same. Without any labelled row the clusters decide
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from tactful.classifier import Classifier
from tactful.reading.readings import Reading
from tactful.reading.tasks import Tasks
from tactful_training.data.data_set import common_tasks, load_data_set
from tactful_training.data.labelled_row import Decided, EvidenceSpan, Row, targets
from tactful_training.data.near_duplicates import normalised
from tactful_training.data.row_files import scan_rows
from tactful_training.data.row_records import check_table_path, write_table
from tactful_training.errors import DataError
from tactful_training.triage.light_heads import Doubles, ReplyWords, Rows

COUNT = 50
HEADS = "light heads"
COLUMNS = ("suggested_by", "why", "uncertainty")
"""Columns of the file that mark a row as not yet labelled by a person."""
# Of a batch, the share that is drawn for rare labels.
_FOR_RARE = 0.3
# A label is rare where fewer labelled rows than this have it.
_RARE = 200
# Of the replies that are most unsure, this many times the batch are spread over the clusters.
_POOL = 5
_DIMENSIONS = 100
_DECIDED = 0.5


@dataclass(frozen=True)
class NextReply:
    """A reply that is worth labelling.

    Attributes:
        row: the reply, with the labels and evidence that the model suggests.
        why: ``unsure``, ``rare: LABEL`` or ``new`` (unlike what is labelled).
        uncertainty: of the model, from 0 to 1; the largest over the tasks.
    """

    row: Row
    why: str
    uncertainty: float


@dataclass(frozen=True)
class NextBatch:
    """What `choose_next` chose.

    Attributes:
        replies: the batch, the most useful first.
        suggested_by: the bundle, or ``light heads``; empty where nothing is labelled yet.
        left: unlabelled replies that were not chosen.
        tasks: of the data set.
    """

    replies: tuple[NextReply, ...]
    suggested_by: str
    left: int
    tasks: Tasks

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "suggested_by": self.suggested_by,
            "left": self.left,
            "replies": [
                {
                    "id": each.row.id,
                    "why": each.why,
                    "uncertainty": round(each.uncertainty, 4),
                    "suggested": {
                        task: list(said) if isinstance(said, tuple) else said
                        for task, said in each.row.labels.items()
                    },
                }
                for each in self.replies
            ],
        }


def choose_next(
    pool: Path,
    data: str | Path,
    *,
    count: int = COUNT,
    seed: int = 13,
    bundle: str | None = None,
    delimiter: str | None = None,
) -> NextBatch:
    """Choose replies to label next.

    Args:
        pool: a .jsonl, .csv or .parquet file of unlabelled replies.
        data: the data set that they are to join; its splits may be empty or missing. Replies that
            it holds are not chosen again.
        count: how many to choose.
        seed: of what nothing else decides; the same pool, data and seed give the same batch.
        bundle: gives the suggestions, with evidence, and says of what it is unsure; without one
            light heads do, trained on the data set.
        delimiter: of a CSV file; None finds it.

    Raises:
        DataError: a file cannot be used, or holds nothing new.
        BundleError: the bundle cannot be used.
    """
    if count < 1:
        raise DataError(f"count is {count}; at least 1 reply can be chosen")
    data_set = load_data_set(data)
    labelled = [row for split in data_set.files for row in data_set.scan(split).rows]
    known = {(normalised(row.context or ""), normalised(row.reply)) for row in labelled}
    given = scan_rows(pool, data_set.tasks, require_labels=False, delimiter=delimiter).usable()
    fresh: dict[tuple[str, str], Row] = {}
    for row in given:
        fresh.setdefault((normalised(row.context or ""), normalised(row.reply)), row)
    rows = [row for key, row in fresh.items() if key not in known]
    if not rows:
        raise DataError(f"{pool} holds no reply that {data_set.folder} does not hold already")
    if bundle is not None:
        answers = _bundle_answers(bundle, rows, data_set.tasks)
    elif labelled:
        answers = _heads_answers(labelled, rows, data_set.tasks)
    else:
        answers = None
    few = few_rows(labelled, data_set.tasks)
    chosen = draw(
        semantic_vectors([row.reply for row in rows], seed),
        None if answers is None else answers.scores,
        data_set.tasks,
        few,
        count,
        seed,
    )
    replies = tuple(
        NextReply(
            rows[at] if answers is None else answers.suggested(at),
            why,
            1.0 if answers is None else float(uncertainty(answers.scores, data_set.tasks)[at]),
        )
        for at, why in chosen
    )
    by = "" if answers is None else answers.by
    return NextBatch(replies, by, len(rows) - len(replies), data_set.tasks)


@dataclass(frozen=True)
class _Answers:
    """What a model says of the pool.

    Attributes:
        scores: ``[R, L]``, probabilities.
        by: who says so.
        suggested: index to the row with suggested labels.
    """

    scores: Doubles
    by: str
    suggested: Callable[[int], Row]


def _heads_answers(labelled: Sequence[Row], rows: Sequence[Row], tasks: Tasks) -> _Answers:
    blank = [replace(row, labels=dict.fromkeys(row.labels), evidence=()) for row in rows]
    words = ReplyWords([*labelled, *blank], tasks)
    known: Rows = np.arange(len(labelled))
    scores, _ = words.learn_and_ask(known, np.arange(len(labelled), len(labelled) + len(rows)))

    def suggested(at: int) -> Row:
        labels: dict[str, Decided] = {}
        for task in tasks:
            said = scores[at, tasks.slices[task.name]]
            if task.kind == "single":
                labels[task.name] = task.names[int(said.argmax())]
            else:
                labels[task.name] = tuple(
                    name for name, score in zip(task.names, said, strict=True) if score >= _DECIDED
                )
        return replace(rows[at], labels=labels, evidence=())

    return _Answers(scores, HEADS, suggested)


def _bundle_answers(bundle: str, rows: Sequence[Row], tasks: Tasks) -> _Answers:
    classifier = Classifier.load(bundle)
    shared = common_tasks(tasks, classifier.bundle.heads.tasks, "the data set")
    readings: list[Reading] = list(
        classifier.classify_many([(row.reply, row.context) for row in rows])
    )
    scores = np.full((len(rows), tasks.size), np.nan)
    for at, reading in enumerate(readings):
        for (task, label), column in tasks.columns.items():
            if task in shared.slices:
                scores[at, column] = reading.scores[task][label]

    def suggested(at: int) -> Row:
        labels: dict[str, Decided] = dict.fromkeys(task.name for task in tasks)
        spans = []
        for task in shared:
            said = readings[at].decided(task.name)
            names = tuple(each.label for each in said)
            labels[task.name] = names[0] if task.kind == "single" else names
            spans += [
                EvidenceSpan(task.name, each.label, one.start, one.end)
                for each in said
                for one in each.evidence
            ]
        return replace(rows[at], labels=labels, evidence=tuple(spans))

    return _Answers(scores, readings[0].bundle, suggested)


def few_rows(labelled: Sequence[Row], tasks: Tasks) -> Mapping[int, int]:
    """Columns of the labels of which few rows are known, with their number, the fewest first."""
    counts = np.nansum(targets(labelled, tasks), axis=0) if labelled else np.zeros(tasks.size)
    order = sorted(range(tasks.size), key=lambda column: (counts[column], column))
    return {column: int(counts[column]) for column in order if counts[column] < _RARE}


def uncertainty(scores: Doubles, tasks: Tasks) -> Doubles:
    """How unsure a model is of each reply, from 0 to 1: the mean over its tasks.

    Of a multi-label task it is the mean entropy of its labels, in which what nobody doubts counts
    next to nothing; of a single task the entropy of its classes.

    Args:
        scores: ``[R, L]``, probabilities; NaN for tasks that the model does not know.
        tasks: the tasks of the label axis.
    """
    p = np.clip(scores, 1e-9, 1 - 1e-9)
    found = []
    for task in tasks:
        part = p[:, tasks.slices[task.name]]
        if task.kind == "single":
            part = part / part.sum(axis=1, keepdims=True)
            entropy = -(part * np.log(part)).sum(axis=1) / np.log(len(task.labels))
        else:
            entropy = -(part * np.log2(part) + (1 - part) * np.log2(1 - part)).mean(axis=1)
        found.append(entropy)
    return np.asarray(np.nanmean(found, axis=0))


def draw(
    vectors: Doubles,
    scores: Doubles | None,
    tasks: Tasks,
    few: Mapping[int, int],
    count: int,
    seed: int,
) -> list[tuple[int, str]]:
    """Draw a batch.

    Args:
        vectors: ``[R, D]``, the `semantic_vectors` of the pool.
        scores: ``[R, L]``, what a model says of them; None where there is no model.
        tasks: the tasks of the label axis.
        few: columns of rare labels, see `choose_next`.
        count: how many to draw.
        seed: of the clusters.

    Returns:
        Indices of the pool, each with why it was drawn; in the order in which to label them.
    """
    count = min(count, len(vectors))
    if scores is None:
        spread = _spread(vectors, np.zeros(len(vectors)), np.arange(len(vectors)), count, seed)
        return [(at, "new") for at in spread]
    chosen: dict[int, str] = {}
    wanted = [column for column in few if not np.isnan(scores[:, column]).any()]
    turns = round(_FOR_RARE * count) if wanted else 0
    # The fewer rows a label has, the more turns: its share of what all of them lack.
    lacking = np.array([_RARE - few[column] for column in wanted], dtype=np.float64)
    for column, part in zip(wanted, _parts(lacking, turns), strict=True):
        order = np.argsort(-scores[:, column], kind="stable")
        name = list(tasks.columns)[column][1]
        for at in [at for at in order.tolist() if at not in chosen][:part]:
            chosen[at] = f"rare: {name}"
    doubt = uncertainty(scores, tasks)
    order = np.argsort(-doubt, kind="stable")
    open_to = np.array([at for at in order.tolist() if at not in chosen], dtype=np.int64)
    rest = count - len(chosen)
    for at in _spread(vectors, doubt, open_to[: _POOL * rest], rest, seed):
        chosen[at] = "unsure"
    return sorted(chosen.items(), key=lambda each: (-doubt[each[0]], each[0]))


def _parts(weights: Doubles, total: int) -> list[int]:
    """Whole numbers of that sum, in proportion; the largest rests get what is left over."""
    if not total:
        return [0] * len(weights)
    exact = weights / weights.sum() * total
    parts = np.floor(exact).astype(int)
    for at in np.argsort(-(exact - parts), kind="stable")[: total - int(parts.sum())]:
        parts[at] += 1
    return [int(part) for part in parts]


def semantic_vectors(replies: Sequence[str], seed: int) -> Doubles:
    """Latent semantic vectors of replies, ``[R, D]``, of length 1; 0 for one without words."""
    try:
        x = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b").fit_transform(replies)
    except ValueError:  # no words at all
        return np.zeros((len(replies), 1))
    dimensions = min(_DIMENSIONS, *(side - 1 for side in x.shape))
    if dimensions < 2:
        return np.zeros((len(replies), 1))
    return np.asarray(
        normalize(TruncatedSVD(dimensions, n_iter=3, random_state=seed).fit_transform(x))
    )


def _spread(
    vectors: Doubles, value: Doubles, among: NDArray[np.int64], count: int, seed: int
) -> list[int]:
    """As many as asked for, one from each cluster: that of most value, or nearest to its centre."""
    if count <= 0 or len(among) <= count:
        return [int(at) for at in among[: max(count, 0)]]
    means = MiniBatchKMeans(count, n_init=1, batch_size=1024, random_state=seed)
    distances = means.fit_transform(vectors[among])
    cluster = distances.argmin(axis=1)
    best: dict[int, tuple[float, float, int]] = {}
    for place, (at, number) in enumerate(zip(among.tolist(), cluster.tolist(), strict=True)):
        rank = (float(value[at]), -float(distances[place, number]), -at)
        if number not in best or rank > best[number]:
            best[number] = rank
    chosen = [-rank[2] for rank in best.values()]
    taken = set(chosen)
    # Clusters may be empty; the most valuable of the others take their places.
    order = among[np.argsort(-value[among], kind="stable")]
    return [*chosen, *(int(at) for at in order if int(at) not in taken)][:count]


def write_next(batch: NextBatch, path: Path) -> None:
    """Write the batch, each reply with its suggested labels and who suggests them.

    Args:
        batch: what `choose_next` chose.
        path: ends in .csv or .jsonl.

    Raises:
        DataError: it cannot be written.
    """
    check_table_path(path)
    lines = [
        (
            each.row,
            {
                "suggested_by": batch.suggested_by,
                "why": each.why,
                "uncertainty": round(each.uncertainty, 4),
            },
        )
        for each in batch.replies
    ]
    write_table(path, lines, batch.tasks, COLUMNS)


def render_next(batch: NextBatch, path: Path) -> RenderableType:
    """Lay out why how many were chosen, and what to do with them."""
    table = Table(title=f"{len(batch.replies)} replies to label next", title_justify="left")
    table.add_column("why")
    table.add_column("replies", justify="right")
    reasons: dict[str, int] = {}
    for each in batch.replies:
        reasons[each.why] = reasons.get(each.why, 0) + 1
    for why, number in sorted(reasons.items(), key=lambda pair: -pair[1]):
        table.add_row(Text(why), str(number))
    by = (
        f"Labels suggested by {batch.suggested_by}" if batch.suggested_by else "Without suggestions"
    )
    return Group(
        table,
        Text(f"{by}; {batch.left} replies are left."),
        Text(f"Correct the labels in {path}, then: tactful data merge SET {path}"),
    )
