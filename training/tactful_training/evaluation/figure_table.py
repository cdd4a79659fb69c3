"""Figures and their intervals in a terminal: a table that fits its width."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from tactful.output.terminal import visible
from tactful_training.evaluation.bootstrap import Estimate

INTERVAL = "95%"
"""Heading of a column that belongs to the one before it."""
_UNBOUNDED = 10_000  # characters: wider than any terminal


class FigureTable:
    """A table of names and figures that gives way to the width of the terminal.

    Where there is no room it is set tighter, then its intervals go below their values; figures are
    never cut, and names are broken last.

    Args:
        title: stands above it.
        names: headings of the columns of names, on the left.
        figures: headings of the other columns; `INTERVAL` belongs to the one before.
        caption: stands below it.
    """

    def __init__(
        self, title: str, names: Sequence[str], figures: Sequence[str], caption: str | None = None
    ) -> None:
        self._title, self._names, self._figures, self._caption = title, names, figures, caption
        self._rows: list[tuple[Sequence[str], str]] = []

    def add(self, *cells: str, style: str = "") -> None:
        """Add a row: a plain text for each column."""
        self._rows.append((cells, style))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        unbounded = options.update(max_width=_UNBOUNDED)
        table = self._laid_out(tight=False, tall=False)
        for tall in (False, True):
            if console.measure(table, options=unbounded).maximum > options.max_width:
                table = self._laid_out(tight=True, tall=tall)
        yield table

    def _laid_out(self, *, tight: bool, tall: bool) -> Table:
        table = Table(
            title=self._title or None,
            title_justify="left",
            caption=self._caption,
            caption_justify="left",
            box=SIMPLE,
            pad_edge=False,
            padding=(0, 0 if tight else 1),
        )
        for name in self._names:
            table.add_column(Text(name), overflow="fold")
        headings = [heading for heading in self._figures if not (tall and heading == INTERVAL)]
        for heading in headings:
            shown = Text(heading.replace(" ", "\n") if tight else heading)
            table.add_column(shown, justify="right", no_wrap=True)
        for cells, style in self._rows:
            names, figures = cells[: len(self._names)], cells[len(self._names) :]
            kept: list[str] = []
            for heading, figure in zip(self._figures, figures, strict=True):
                if tall and heading == INTERVAL:
                    kept[-1] += f"\n{figure}" if figure else ""
                else:
                    kept.append(figure)
            table.add_row(*(Text(visible(each)) for each in (*names, *kept)), style=style)
        return table


def number_text(value: float, digits: int) -> str:
    """A value; ``-`` where it is undefined."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def value_text(estimate: Estimate, digits: int = 2) -> str:
    """The value of an estimate; ``-`` where it is undefined."""
    return number_text(estimate.value, digits)


def interval_text(estimate: Estimate, digits: int = 2) -> str:
    """Its interval; nothing where there is none."""
    if not math.isfinite(estimate.low):
        return ""
    return f"{estimate.low:.{digits}f}-{estimate.high:.{digits}f}"
