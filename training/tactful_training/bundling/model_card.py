"""The model card of a bundle, filled from the run that made it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import yaml

from tactful.reading.decisions import TaskHead
from tactful.reading.processor import instructions, processor_name
from tactful_training.bundling.run_record import RunRecord
from tactful_training.config.config_file import training_settings
from tactful_training.evaluation.bootstrap import Estimate
from tactful_training.evaluation.evaluation_results import Evaluation, headline

_FIGURES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "macro_f1_all": "macro F1 of all labels",
    "micro_f1": "micro F1",
    "ece": "expected calibration error",
    "token_f1": "token F1",
}
LEAST_SUPPORT = 10
"""Rows that a label needs for its F1 to be shown: with fewer the interval spans half the scale."""
_LICENCE_NAME, _LICENCE_LINK = "license_name", "license_link"
_USE = """\
It reads a reply, together with the message before it where there is one, and says which of the
labels below its wording shows, with a calibrated probability for each and, where it was trained for
that, the words that carry it. It is meant for feedback on replies (drafts, coaching) and for
statistics over many replies.

It judges the language of a reply, not the person who wrote it. A label says that certain words are
there; it does not say that they were meant, that they were right for whoever they answer, or what
kind of person their author is. Do not use it to rank, pay, promote or dismiss people, and do not
let its labels stand without somebody who reads the reply."""
_LIMITS = """\
- Its decisions are wrong as often as the figures above say, rare labels more often than common
  ones, and on replies unlike its training data more often than on the test split.
- Thresholds and calibration were fitted on the validation split, to the fp32 form, so figures on
  that split flatter; those on the test split are the ones to quote.
- Evidence is what the model looked at, marked to resemble what annotators marked. It is not an
  explanation of the reply.
- What is not the agent's words (quoted messages, signatures, footers, markup, addresses) is left
  out before it reads and named in `skipped`; a transcript of several speakers is refused. Text that
  does not look like English is told as `language_doubtful`."""


def model_card(record: RunRecord) -> str:
    """Write the card, Markdown with the front matter of a Hugging Face model card."""
    config = record.config
    sections = [
        ("What it is for", _USE),
        ("How good it is", _figures(record)),
        ("How well each label is read", _per_label(record)),
        ("Labels", "\n\n".join(_labels(record, head) for head in record.heads.heads)),
        ("Limits", _limits(record)),
        ("Speed and precision", _speed(record)),
        ("Data", _data(record)),
        ("How it was made", _making(record)),
        ("Licence", _licence(record)),
    ]
    front_matter = yaml.safe_dump(_front_matter(record), sort_keys=False, allow_unicode=True)
    text = "\n\n".join(f"## {title}\n\n{body}" for title, body in sections)
    return f"---\n{front_matter}---\n\n# {config.name} {config.version}\n\n{text}\n"


def _front_matter(record: RunRecord) -> dict[str, object]:
    stated = record.inputs.data.front_matter
    tags = stated.get("tags")
    # A licence that the hub has no word for is "other", with its name in a field of its own.
    named = {key: stated[key] for key in (_LICENCE_NAME, _LICENCE_LINK) if key in stated}
    return {
        "library_name": "tactful",
        "pipeline_tag": "text-classification",
        "language": stated.get("language", "unknown"),
        "license": stated.get("license", "other"),
        **named,
        "base_model": record.inputs.encoder.name,
        "datasets": [member.name for member in record.inputs.data.members],
        "tags": ["onnx", "label-wise-attention", *(tags if isinstance(tags, list) else [])],
        "model-index": [{"name": record.config.name, "results": _model_index(record)}],
    }


def _model_index(record: RunRecord) -> list[dict[str, object]]:
    """The measured figures as the hub shows them: those of the last split, one result a task."""
    split, evaluation = list(record.evaluations.items())[-1]
    data = record.inputs.data
    title = " and ".join(member.title for member in data.members)
    results: dict[str, list[dict[str, object]]] = {}
    for figure, estimate in headline(evaluation).items():
        task, _, key = figure.rpartition("/")
        if not math.isfinite(estimate.value):
            continue
        metric = {"type": "f1" if "f1" in key else key, "name": f"{task}: {_FIGURES[key]}"}
        results.setdefault(task, []).append(metric | {"value": round(float(estimate.value), 4)})
    return [
        {
            "task": {"type": "text-classification", "name": task},
            "dataset": {"type": data.name, "name": title, "split": split},
            "metrics": metrics,
        }
        for task, metrics in results.items()
    ]


def _figures(record: RunRecord) -> str:
    measured = [*record.evaluations.values(), *record.beside.values()]
    columns = [headline(evaluation) for evaluation in measured]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = []
    for name in names:
        task, _, key = name.rpartition("/")
        cells = [_estimate(column.get(name)) for column in columns]
        rows.append([f"{task}: {_FIGURES[key]}", *cells])
    table = _table(["", *record.evaluations, *record.beside], rows)
    largest = max(record.evaluations.values(), key=lambda evaluation: evaluation.resamples)
    return (
        f"{table}\n\nIn brackets: 95% intervals from {largest.resamples} bootstrap resamples of "
        "groups of rows. Macro F1 is over labels with enough rows (see `tactful evaluate`)."
    )


def _per_label(record: RunRecord) -> str:
    split, test = list(record.evaluations.items())[-1]
    columns = {split: test, **record.beside}
    rows = []
    for head in record.heads.heads:
        for name in head.task.names:
            cells = [_label_cell(each, head.task.name, name) for each in columns.values()]
            rows.append([f"{head.task.name}: `{name}`", *cells])
    titles = [f"{name} ({evaluation.n} rows)" for name, evaluation in columns.items()]
    return (
        "F1, its 95% interval and the rows that have the label. Where fewer than "
        f"{LEAST_SUPPORT} have it, they are too few to say.\n\n{_table(['', *titles], rows)}"
    )


def _label_cell(evaluation: Evaluation, task: str, label: str) -> str:
    if (results := evaluation.tasks.get(task)) is None:
        return "not labelled"
    result = results.labels[label]
    if result.support < LEAST_SUPPORT:
        return f"too few to say; {result.support}"
    return f"{_estimate(result.estimates['f1'])}; {result.support}"


def _labels(record: RunRecord, head: TaskHead) -> str:
    kind = "any number of labels" if head.task.kind == "multilabel" else "exactly one label"
    rows = []
    for index, (name, description) in enumerate(head.task.labels.items()):
        cells = [f"`{name}`", description.replace("|", "\\|")]
        if head.thresholds is not None:
            cells.append(f"{head.thresholds[index]:.3f}")
        rows.append(cells)
    titles = ["label", "meaning"]
    if head.thresholds is not None:
        titles.append("threshold")
    return f"### {head.task.name} ({kind})\n\n{_table(titles, rows)}"


def _limits(record: RunRecord) -> str:
    languages = record.inputs.data.front_matter.get("language")
    if isinstance(languages, list):
        languages = ", ".join(map(str, languages))
    lines = [_LIMITS]
    if languages:
        lines.append(f"- It was trained on replies in this language only: {languages}.")
    limits = record.heads.limits
    lines.append(
        f"- Replies of more than {limits.capacity} tokens are read in overlapping windows, "
        f"at most {limits.max_windows}; what lies beyond is not read, and the reading says so."
    )
    return "\n".join(lines)


def _speed(record: RunRecord) -> str:
    choice = record.choice
    figures = list(choice.shipped.quality)
    rows = [
        [
            f"`{each.candidate.name}`",
            f"{len(each.candidate.content) / 1e6:.1f} MB",
            f"{rate.median:.0f} ({rate.low:.0f} to {rate.high:.0f})",
            *(_number(each.quality[name]) for name in figures),
            verdict,
        ]
        for each, rate, verdict in zip(choice.measured, choice.rates, choice.verdicts, strict=True)
    ]
    known = ", ".join(instructions()) or "unknown"
    return (
        f"This bundle holds the form `{choice.shipped.candidate.name}`: the first in the order of "
        "the configuration that reads as well as fp32. Measured on the validation split, on "
        f"{processor_name()} (instructions for 8-bit products: {known}); other processors may "
        "round otherwise, and a bundle whose goldens are not reproduced refuses to load.\n\n"
        + "".join(f"**{line}.**\n\n" for line in choice.warnings)
        + _table(["form", "size", "replies/s (96% interval)", *figures, ""], rows)
    )


def _data(record: RunRecord) -> str:
    stated = record.inputs.data.front_matter
    lines = []
    for number, member in enumerate(record.inputs.data.members):
        sizes = ", ".join(f"{s[number]} {split}" for split, s in record.inputs.sizes.items())
        version = "" if member.version is None else f", version {member.version}"
        weight = "" if member.weight == 1 else f", each train row with weight {member.weight:g}"
        lines.append(f"{member.title}{version}: {sizes} rows{weight}.")
    if "machine-generated" in stated.get("language_creators", ()):
        lines.append("Its texts were written by language models.")
    if "machine-generated" in stated.get("annotations_creators", ()):
        lines.append(
            "**All labels and marked words were made by language models, not by people**, those "
            "that the figures above are measured against included."
        )
    digests = [[f"`{name}`", f"`{value}`"] for name, value in record.inputs.data.digests.items()]
    return " ".join(lines) + "\n\n" + _table(["file", "sha256"], digests)


def _making(record: RunRecord) -> str:
    config, environment, encoder = record.config, record.environment, record.inputs.encoder
    parity = record.choice.parity
    versions = ", ".join(f"{name} {value}" for name, value in environment.items())
    facts = [
        f"Encoder {encoder.name}, weights sha256 `{encoder.sha256}`, with label-wise attention "
        "heads.",
        *_start(record),
        f"Seed {config.seed}; best of {len(record.fitted.epochs)} epochs: {record.fitted.best}; "
        f"autocast {record.precision}.",
        *_averaged(record),
        f"ONNX opset {config.export.opset}, {record.choice.shipped.candidate.precision}; largest "
        f"difference of its fp32 form to PyTorch on {parity.rows} validation rows: logits "
        f"{parity.logits:.1e}, token scores {parity.token_scores:.1e}.",
        f"Labels with fewer than {config.calibration.min_positives} positive validation rows "
        "share their task's pooled calibration and threshold.",
        f"Git commit: {record.commit or 'unknown (not a checkout)'}. "
        f"MLflow run: {record.tracking_run or 'none'}.",
        f"Made with {versions}.",
    ]
    settings = yaml.safe_dump(training_settings(config), sort_keys=False, allow_unicode=True)
    listed = "\n".join(f"- {fact}" for fact in facts)
    return (
        f"{listed}\n\nThe same data, configuration, versions and processor give the same model:\n\n"
        f"```yaml\n{settings}```"
    )


def _averaged(record: RunRecord) -> list[str]:
    score = record.fitted.averaged
    if score is None:
        return []
    return [
        "The weights are the mean over the last steps, which reads the validation split better "
        f"(score {score:.4f}) than those of the best epoch."
    ]


def _start(record: RunRecord) -> list[str]:
    lines = []
    encoder, start, learnt = record.inputs.encoder, record.inputs.start, record.inputs.learnt_from()
    if encoder.layers is not None:
        kept = ", ".join(map(str, encoder.layers))
        lines.append(f"Of the encoder's layers these are kept, counted from 0: {kept}.")
    if start is not None:
        run = "" if start.run is None else f" (MLflow run {start.run})"
        lines.append(
            f"Started from the trained weights of {start.address}{run}, sha256 `{start.sha256}`; "
            "heads of labels that are the same came along."
        )
    if learnt is not None:
        sources = []
        if "address" in learnt:
            sources.append(f"{learnt['address']} (sha256 `{learnt['sha256']}`)")
        if "soft_labels" in learnt:
            digest = learnt["soft_labels_sha256"]
            sources.append(f"the soft labels in {learnt['soft_labels']} (sha256 `{digest}`)")
        lines.append(f"Learnt from {' and '.join(sources)} beside the labels.")
    return lines


def _licence(record: RunRecord) -> str:
    stated = record.inputs.data.front_matter
    licence = stated.get(_LICENCE_NAME, stated.get("license", "not stated in its card"))
    link = f" ({stated[_LICENCE_LINK]})" if _LICENCE_LINK in stated else ""
    return (
        "The software is under Apache-2.0. The weights derive from the encoder "
        f"{record.inputs.encoder.name}, which has a licence of its own, and from the data set, "
        f"whose licence is: {licence}{link}."
    )


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None or not math.isfinite(estimate.value):
        return "–"  # noqa: RUF001
    if not math.isfinite(estimate.low):
        return _number(estimate.value)
    return f"{_number(estimate.value)} ({_number(estimate.low)} to {_number(estimate.high)})"


def _number(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "–"  # noqa: RUF001


def _table(titles: list[str], rows: list[list[str]]) -> str:
    def lines() -> Iterator[str]:
        for cells in (titles, ["---"] * len(titles), *rows):
            yield f"| {' | '.join(cells)} |"

    return "\n".join(lines())
