"""Readings and receipts as a person sees them in a terminal, evidence in colour."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tactful.reading.decision_receipt import Receipt, Replay
from tactful.reading.readings import LabelReading, Reading

# Colours of the 8 basic and 8 bright ones that stay legible on dark and on light backgrounds.
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
_EXCERPT = 60  # characters shown of what was not read
# A reply is somebody's text: its control characters must not steer the terminal. Each becomes
# its visible picture, one for one, so that evidence offsets stay right.
_VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421}
_VISIBLE |= dict.fromkeys(range(0x80, 0xA0), 0xFFFD)
# Marks that embed or isolate another direction of writing: they could reorder what is shown.
_VISIBLE |= dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD)


def visible(text: str) -> str:
    """Somebody's text without what could steer the terminal; offsets stay the same."""
    return text.translate(_VISIBLE)


def render_reading(reading: Reading, reply: str) -> RenderableType:
    """Lay out a reading: the reply with evidence coloured, then a line for each decided label.

    Args:
        reading: what a classifier returned for ``reply``.
        reply: the text that it was made of; all offsets count its code points.

    Returns:
        A ``rich`` renderable; without colour it still quotes every label's words.
    """
    text = Text(visible(reply))
    labels = Table.grid(padding=(0, 2))
    colours = 0
    for task, form in reading.labels.items():
        decided = reading.decided(task)
        for label in decided:
            style = "bold"
            if label.evidence:
                style = f"bold {_COLOURS[colours % len(_COLOURS)]}"
                colours += 1
            for span in label.evidence:
                text.stylize(style, span.start, span.end)
            quotes = " … ".join(f"“{visible(span.text)}”" for span in label.evidence)
            name = f"{task}: {label.label}" if isinstance(form, LabelReading) else label.label
            labels.add_row(Text(name, style), f"{label.score:.2f}", Text(quotes))
        if not decided:
            labels.add_row(Text(f"no {task}", "dim"), "", "")
    for stretch in reading.skipped:
        text.stylize("dim", stretch.start, stretch.end)
    parts: list[RenderableType] = [text, Text(), labels]
    if reading.skipped:
        parts.append(
            Text(f"Not read, for it is not the agent's words: {_left_out(reading)}.", "dim")
        )
    if reading.language_doubtful:
        parts.append(Text("This does not look like English: do not rely on the labels.", "yellow"))
    if reading.truncated:
        parts.append(Text("The end of this reply was too long to be read.", "yellow"))
    return Group(*parts)


def render_receipt(receipt: Receipt) -> RenderableType:
    """Lay out a receipt: every label with its figures, then what is near and what was not read.

    Args:
        receipt: what `Classifier.explain` returned.

    Returns:
        A ``rich`` renderable.
    """
    labels = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", "logit", "score", "threshold", "", "tokens that speak most for it"):
        labels.add_column(
            name, justify="right" if name in ("logit", "score", "threshold") else "left"
        )
    for task, decisions in receipt.labels.items():
        labels.add_row(Text(task, "bold underline"))
        for name, label in decisions.items():
            tokens = "  ".join(f"{visible(t.text)} {t.score:+.2f}" for t in label.tokens)
            labels.add_row(
                Text(name, "bold" if label.decided else ""),
                f"{label.logit:+.3f}",
                f"{label.score:.3f}",
                "highest" if label.threshold is None else f"{label.threshold:.3f}",
                Text("yes", "bold green") if label.decided else Text("no", "dim"),
                Text(tokens, "" if label.decided else "dim"),
            )
    parts: list[RenderableType] = [Text(visible(receipt.reply)), Text(), labels, Text()]
    parts += [Text("Read alike in training", "bold underline"), _neighbours(receipt), Text()]
    read = [f"{receipt.tokens} tokens of the reply in {receipt.windows} window(s)"]
    texts = {"reply": receipt.reply, "context": receipt.context or ""}
    for each in receipt.unread:
        text = visible(texts[each.part][each.start : each.end])
        shown = text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…"
        place = f"{each.part} {each.start} to {each.end}"
        read.append(f"not read ({each.why.replace('_', ' ')}): {place}, “{shown}”")
    facts = {"bundle": receipt.reading.bundle, **receipt.read_by}
    for name, value in facts.items():
        shown = " ".join(value) if isinstance(value, list) else str(value)
        read.append(f"{name.replace('_', ' ')}: {shown or 'none'}")
    return Group(*parts, *(Text(line) for line in read))


def _neighbours(receipt: Receipt) -> RenderableType:
    if receipt.nearest is None:
        return Text("This bundle keeps nothing of the replies that it learned from.", "dim")
    table = Table.grid(padding=(0, 2))
    for each in receipt.nearest:
        labels = each.row.get("labels", {})
        said = labels.values() if isinstance(labels, dict) else [labels]
        names = [", ".join(map(str, one)) if isinstance(one, list) else str(one) for one in said]
        text = f"{visible(str(each.row['reply']))} [{'; '.join(names)}]" if each.row else ""
        table.add_row(Text(visible(each.id)), f"{each.distance:.3f}", Text(text))
    return table


def render_replay(replay: Replay) -> RenderableType:
    """Say whether a receipt is what reading its text again gives, and what is not."""
    lines = [Text("It differs." if replay.differences else "It is the same.", "bold")]
    lines += [Text(visible(f"- {line}"), "yellow") for line in replay.differences]
    lines += [Text(visible(f"elsewhere: {line}"), "dim") for line in replay.elsewhere]
    if replay.elsewhere:
        lines.append(Text(f"largest difference of a score: {replay.largest:.2g}", "dim"))
    return Group(*lines)


def _left_out(reading: Reading) -> str:
    """The kinds of what was left out, with their characters."""
    sizes: dict[str, int] = {}
    for stretch in reading.skipped:
        sizes[stretch.why] = sizes.get(stretch.why, 0) + stretch.end - stretch.start
    return ", ".join(f"{why} ({size:,} characters)" for why, size in sizes.items())
