"""A reading as a person sees it in a terminal: the reply with its evidence in colour."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tactful.reading.readings import LabelReading, Reading

# Colours of the 8 basic and 8 bright ones that stay legible on dark and on light backgrounds.
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
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
        reply: the text that was read; evidence offsets count its code points.

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
    parts: list[RenderableType] = [text, Text(), labels]
    if reading.truncated:
        parts.append(Text("The end of this reply was too long to be read.", "yellow"))
    return Group(*parts)
