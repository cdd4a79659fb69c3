"""Which lines of a mail are somebody else's message, and which are headers of the mail itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tactful.own_words.mail_lines import (
    Line,
    attribution,
    headers,
    inline_quotation,
    is_quoted,
    is_separator,
    is_underline,
    marks_for_bars,
)
from tactful.own_words.ticket_lines import (
    comment_heading,
    is_of_ticket_system,
    is_reply_above,
)
from tactful.own_words.traced_text import Why

# A mail program that breaks a long quoted line puts no mark before its second half.
_BROKEN_FROM = 60
_INLINE_FROM = 60
_SENTENCE_END = re.compile(r"(?<!\d)[.!?…]\s+(?=\S)")
# Mail programs break lines far earlier; a longer one that is all there is has lost its breaks.
_LONGEST_QUOTED = 100


class Marks:
    """Why each line of a text is left out.

    Args:
        text: the text.
        lines: its lines.

    Attributes:
        whys: for each line why it is left out; None for one that is read.
        cuts: for each line where what is left out of it begins, as an offset of the text.
        stops: for each line where what is left out of it ends.
    """

    def __init__(self, text: str, lines: Sequence[Line]) -> None:
        self.text = text
        self.lines = lines
        self.whys: list[Why | None] = [None] * len(lines)
        self.cuts = [line.start for line in lines]
        self.stops = [line.end for line in lines]

    def leave_out(self, first: int, stop: int, why: Why) -> None:
        """Leave whole lines out."""
        self.whys[first:stop] = [why] * (stop - first)

    def is_own(self, index: int) -> bool:
        """Whether words of a line are read."""
        return self.whys[index] is None and bool(self.lines[index].words)


def mark_quoted(marks: Marks) -> None:
    """Find the quoted messages: above, below or between the agent's lines."""
    lines, index, own = marks_for_bars(marks.lines), 0, False
    notices = [at for at, line in enumerate(lines) if is_of_ticket_system(line)]
    headed = False
    while index < len(lines):
        line = lines[index]
        if not line.words:
            index += 1
        elif is_quoted(line):
            marks.leave_out(index, index + 1, "quoted")
            if len(lines) == 1 and line.end - line.start > _LONGEST_QUOTED:
                _keep_answer(marks)
            index += 1
            if _is_rest(lines, index):
                marks.leave_out(index, index + 1, "quoted")
                index += 1
        else:
            stop, why = _begins(marks, lines, index, own=own)
            if why is None and notices and (count := comment_heading(lines, index)):
                # Newest first: below a notice stands the agent's comment, and then older ones.
                newest = not headed and (notices[0] < index or not own)
                stop, why = (index + count, "markup") if newest else (len(lines), "quoted")
                headed = True
            if why is None:
                own = own or any(letter.isalnum() for letter in line.words)
                index += 1
            else:
                marks.leave_out(index, stop, why)
                index = stop


def _keep_answer(marks: Marks) -> None:
    """A text whose line breaks were lost begins with a quotation: it ends with a sentence."""
    text = marks.text
    ends = _SENTENCE_END.search(text, text.rfind(" >") + 1)
    if ends is not None and ends.end() < len(text):
        marks.stops[0] = ends.start() + 1


def _begins(marks: Marks, lines: list[Line], index: int, *, own: bool) -> tuple[int, Why | None]:
    """What a line that is not quoted by a mark begins: where it ends, and why it is left out."""
    line, end = lines[index], len(lines)
    count, strong = attribution(lines, index)
    if count:
        # Answers may stand between the quoted lines that follow.
        if _marks_follow(lines, index + count):
            return index + count, "quoted"
        if strong:
            return end, "quoted"
    first = index + 1 if is_underline(line) else index
    while first < end and first < index + 3 and not lines[first].words:
        first += 1
    if first < end and (block := headers(lines, first)) is not None:
        if not own and first == index and not block.of_quotation:
            return index + block.lines, "markup"
        return _message(lines, first + block.lines, end), "quoted"
    if is_separator(line):
        return _message(lines, index + 1, end), "quoted"
    if is_reply_above(line):
        return (end, "quoted") if own else (index + 1, "markup")
    if line.end - line.start > _INLINE_FROM:
        cut = inline_quotation(marks.text[line.start : line.end])
        if cut >= 0:
            marks.cuts[index] = line.start + cut
            return end, "quoted"
    return index, None


def _message(lines: list[Line], first: int, end: int) -> int:
    """Where a message ends whose beginning was announced."""
    return first if _marks_follow(lines, first) else end


def _marks_follow(lines: list[Line], index: int) -> bool:
    while index < len(lines) and not lines[index].words:
        index += 1
    return index < len(lines) and is_quoted(lines[index])


def _is_rest(lines: list[Line], index: int) -> bool:
    """Whether a line is the second half of the quoted one before it."""
    if index + 1 >= len(lines) or not lines[index].words or is_quoted(lines[index]):
        return False
    before, words = lines[index - 1], lines[index].words
    broken = before.end - before.start >= _BROKEN_FROM and before.words[-1] not in ".!?:"
    return broken and words[0].islower() and is_quoted(lines[index + 1])
