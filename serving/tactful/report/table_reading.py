"""From rows of SCORED to columns, in one pass; and what can be told only when all was read."""

from __future__ import annotations

import math
import re
import unicodedata
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tactful.errors import ReportError
from tactful.report.distress import read_distress
from tactful.report.intake import Intake
from tactful.report.label_roles import MEANINGS, STRATEGIES, TONE, in_order
from tactful.report.report_command import ReportOptions
from tactful.report.response_times import sent_time
from tactful.report.scored_rows import LeftRow, ScoredFiles, ScoredRow
from tactful.report.scored_table import KINDS, Coded, ScoredTable
from tactful.report.wording import Wordings, sentence_around

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")
# Vocabularies are compared by their frequent words; the rare are dropped now and then, for memory.
_MANY_WORDS = 200_000


@dataclass(slots=True)
class _Names:
    codes: array[int] = field(default_factory=lambda: array("l"))
    known: dict[str, int] = field(default_factory=dict)

    def add(self, value: object) -> None:
        name = "" if value is None else unicodedata.normalize("NFC", str(value)).strip()
        self.codes.append(self.known.setdefault(name, len(self.known)) if name else -1)

    def coded(self) -> Coded:
        return Coded(np.array(self.codes, np.int64), tuple(self.known))


class _Columns:
    """Grows by rows; labels are numbered as they come, and put in order at the end."""

    def __init__(self, options: ReportOptions, now: float) -> None:
        self._options, self._now = options, now
        roles = [r for r in ("agent", "team", "channel", "conversation") if r in options.columns]
        self.names = {role: _Names() for role in (*roles, "bundle")}
        self.labels: dict[tuple[str, str], int] = {}
        self.decided_rows, self.decided = array("l"), array("l")
        self.score_rows, self.score_labels, self.scores = array("l"), array("l"), array("f")
        self.numbers, self.words, self.context_words = array("l"), array("l"), array("l")
        self.distress, self.kinds = array("d"), array("B")
        self.time, self.response, self.outcome = array("d"), array("d"), array("d")
        self.faults: Counter[str] = Counter()
        self.span_rows, self.span_labels, self.span_texts = array("l"), array("l"), array("l")
        self.sentences: dict[str, int] = {}
        # Of each bundle the words of replies and of contexts.
        self.vocabularies: dict[str, tuple[Counter[str], Counter[str]]] = defaultdict(
            lambda: (Counter(), Counter())
        )
        self._scored: dict[str, int] = {}  # score column to label; negative: of another task
        self._contexts: dict[str, tuple[float, int]] = {}

    def add(self, row: ScoredRow) -> None:
        at = len(self.numbers)
        self.numbers.append(row.number)
        for label in row.strategies:
            self._decide(at, (STRATEGIES, label))
        if row.tone is not None:
            self._decide(at, (TONE, row.tone))
        for column, score in row.scores.items():
            if column not in self._scored:
                _, task, label = column.split(".", 2)
                known = task in (STRATEGIES, TONE)
                self._scored[column] = self._label((task, label)) if known else -1
            if (index := self._scored[column]) >= 0:
                self.score_rows.append(at)
                self.score_labels.append(index)
                self.scores.append(score)
        for role in self.names:
            self.names[role].add(row.bundle if role == "bundle" else row.cells[role])
        of_replies, of_contexts = self.vocabularies[row.bundle]
        for text, lengths, vocabulary in (
            (row.reply, self.words, of_replies),
            (row.context, self.context_words, of_contexts),
        ):
            words = _WORD.findall(text)
            lengths.append(len(words))
            # Those with a capital are names too often, which are nobody's business later.
            vocabulary.update([word for word in words if word.islower()])
            if len(vocabulary) > _MANY_WORDS:
                for word in [word for word, uses in vocabulary.items() if uses == 1]:
                    del vocabulary[word]
        score, kinds = self._distress(row.context)
        self.distress.append(score)
        self.kinds.append(kinds)
        self._times(row)
        self.outcome.append(self._outcome(row.cells.get("outcome")))
        for label, start, end in row.evidence or ():
            if label in row.strategies and 0 <= start < end <= len(row.reply):
                sentence = sentence_around(row.reply, start, end)
                self.span_rows.append(at)
                self.span_labels.append(self._label((STRATEGIES, label)))
                self.span_texts.append(self.sentences.setdefault(sentence, len(self.sentences)))

    def _label(self, key: tuple[str, str]) -> int:
        return self.labels.setdefault(key, len(self.labels))

    def _decide(self, at: int, key: tuple[str, str]) -> None:
        self.decided_rows.append(at)
        self.decided.append(self._label(key))

    def _distress(self, context: str) -> tuple[float, int]:
        if context not in self._contexts:
            if len(self._contexts) >= 4096:  # the replies of a conversation stand together
                self._contexts.clear()
            found = read_distress(context)
            kinds = sum(1 << KINDS.index(kind) for kind in found.kinds)
            self._contexts[context] = found.score, kinds
        return self._contexts[context]

    def _times(self, row: ScoredRow) -> None:
        moments = {}
        for role in ("time", "customer_time"):
            moments[role] = math.nan
            if role in self._options.columns:
                moments[role], fault = sent_time(row.cells[role], self._options.zone, self._now)
                if fault is not None:
                    self.faults[f"{role}_{fault}"] += 1
        self.time.append(moments["time"])
        response = moments["time"] - moments["customer_time"]
        if response < 0:
            self.faults["response_negative"] += 1
            response = math.nan
        self.response.append(response)

    def _outcome(self, value: object) -> float:
        if value is None or value == "":
            return math.nan
        said = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
        try:
            number = said.get(str(value).strip().casefold())
            number = float(str(value)) if number is None else number
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.faults["outcome_unreadable"] += 1
            return math.nan
        return number


Labels = Mapping[str, Collection[str]]
"""Task to the names of its labels."""


def read_table(
    files: ScoredFiles, options: ReportOptions, now: float, known: Mapping[str, Labels]
) -> ScoredTable:
    """Read SCORED.

    Args:
        files: what to read.
        options: which columns have which role.
        now: times later than this (seconds since 1970) are in the future.
        known: ids of bundles to what labels they have, where that is known.

    Raises:
        ReportError: a column that was asked for is missing, or no reply was read.
        JobError: a file is damaged or changed meanwhile.
    """
    columns, left, rows = _Columns(options, now), Counter[str](), 0
    for row in files.rows():
        rows += 1
        if isinstance(row, LeftRow):
            left[row.why] += 1
        else:
            columns.add(row)
    files.check_columns()
    if not columns.numbers:
        why = ", ".join(f"{code}: {count:,}" for code, count in left.most_common())
        raise ReportError(
            f"{files.scored} holds no reply that was read: "
            + (f"{rows:,} rows, all of them left out ({why})" if rows else "it has no rows")
        )
    bundles = columns.names["bundle"].coded()
    [(most, count), *others] = Counter(bundles.codes.tolist()).most_common()
    named = [*bundles.names, "no bundle"]  # a code of -1 is the last
    intake = Intake.of(files, options, rows, left, columns.faults).read_by(named[most], count)
    if others:  # what two readers find cannot be added up
        intake = intake.of_other_bundles({named[code]: rows for code, rows in others})
    table = _assembled(columns, intake, known.get(named[most], {}))
    table = table.taken(bundles.rows_of(most))
    replies, contexts = columns.vocabularies["" if most < 0 else bundles.names[most]]
    return replace(
        table,
        intake=intake.with_names(table.names, persons=options.names_persons),
        reply_vocabulary=replies,
        context_vocabulary=contexts,
    )


def _assembled(columns: _Columns, intake: Intake, known: Labels) -> ScoredTable:
    rows = len(columns.numbers)
    order = {}
    for task in (STRATEGIES, TONE):
        found = {label for of, label in columns.labels if of == task}
        names: Collection[str] = known.get(task, ())
        # Where scores were not kept, a label that nobody used is known from elsewhere only.
        if not names and not columns.scores and found <= MEANINGS[task].keys():
            names = MEANINGS[task] if found or task == STRATEGIES else ()
        order[task] = in_order(task, found.union(names))
    place = np.zeros(len(columns.labels), np.int64)  # label as it came → column of its task
    single = np.zeros(len(columns.labels), np.bool_)
    for (task, label), index in columns.labels.items():
        place[index], single[index] = order[task].index(label), task == TONE
    decided_rows = np.array(columns.decided_rows, np.int64)
    decided = np.array(columns.decided, np.int64)
    has = np.zeros((rows, len(order[STRATEGIES])), np.bool_)
    several = ~single[decided] if len(decided) else np.zeros(0, np.bool_)
    has[decided_rows[several], place[decided[several]]] = True
    tone = np.full(rows, -1, np.int64)
    tone[decided_rows[~several]] = place[decided[~several]]
    scores = {}
    labels = np.array(columns.score_labels, np.int64)
    for task, names in order.items():
        mine = single[labels] == (task == TONE) if len(labels) else np.zeros(0, np.bool_)
        scores[task] = np.full((rows, len(names)), np.nan, np.float32)
        scores[task][np.array(columns.score_rows, np.int64)[mine], place[labels[mine]]] = np.array(
            columns.scores, np.float32
        )[mine]
    kinds = np.array(columns.kinds, np.uint8)
    return ScoredTable(
        intake,
        np.array(columns.numbers, np.int64),
        order[STRATEGIES],
        order[TONE],
        has,
        tone,
        scores,
        np.array(columns.words, np.int64),
        np.array(columns.context_words, np.int64),
        np.array(columns.distress),
        (kinds[:, None] >> np.arange(len(KINDS))) % 2 == 1,
        {role: names.coded() for role, names in columns.names.items() if role != "bundle"},
        np.array(columns.time),
        np.array(columns.response),
        np.array(columns.outcome),
        Wordings(
            np.array(columns.span_rows, np.int64),
            place[np.array(columns.span_labels, np.int64)],
            np.array(columns.span_texts, np.int64),
            tuple(columns.sentences),
        ),
        Counter(),
        Counter(),
    )
