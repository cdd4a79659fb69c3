"""From a reply in some format to the agent's own words, or why there are none."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from tactful.errors import InputError
from tactful.own_words.formats import Format
from tactful.own_words.html_scan import has_html, scan_html
from tactful.own_words.mail_lines import lines_of
from tactful.own_words.quoted_messages import Marks, mark_quoted
from tactful.own_words.signatures import kept_of_signature, mark_signatures
from tactful.own_words.standing_lines import mark_standing
from tactful.own_words.traced_text import Skipped, Span, TracedText
from tactful.own_words.transcripts import speakers_of
from tactful.own_words.web_addresses import find_addresses, may_have_addresses


@dataclass(frozen=True, slots=True)
class OwnWords:
    """A reply of which something was left out.

    Attributes:
        reply: the original.
        context: what the customer said before, or None.
        traced: what is read, with its places in the original.
        skipped: what was left out.
    """

    reply: str
    context: str | None
    traced: TracedText
    skipped: tuple[Skipped, ...]

    # By what it was made of: the same reply with the same left out is read the same.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnWords) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self.reply, self.context))

    def _key(self) -> tuple[object, ...]:
        return self.reply, self.context, self.traced.text, self.skipped


def prepare(
    reply: str, context: str | None, format: Format = "auto"
) -> tuple[str, str | None] | OwnWords:
    """Leave out of a reply what is not the agent's words.

    Args:
        reply: what was sent, not blank.
        context: what the customer said before, or None.
        format: what the reply is.

    Returns:
        The reply and context as they are where nothing is to be left out: it is then read bit for
        bit as ``text``.

    Raises:
        InputError: ``reply_only_quotes`` where nothing is left, ``reply_is_transcript`` for a talk
            of several speakers.
    """
    if format == "text":
        return reply, context
    traced = TracedText.whole(reply)
    signed: tuple[tuple[int, int], ...] = ()
    changed = format == "html" or (format == "auto" and has_html(reply))
    if changed:
        shown = scan_html(reply)
        traced, signed = shown.traced, shown.signed
    spans = _mail_spans(traced.text, signed)
    if spans:
        traced, changed = traced.without(spans), True
    if may_have_addresses(traced.text) and (addresses := list(find_addresses(traced.text))):
        traced, changed = traced.without(addresses), True
    skipped = traced.skipped
    if changed and not _has_words(traced.text):
        kinds = ", ".join(dict.fromkeys(one.why for one in skipped)) or "markup"
        raise InputError(
            "reply_only_quotes",
            f"the reply holds no words of the agent, only what is left out ({kinds}); give what "
            "the agent wrote, or format='text' to read it as it stands",
        )
    if speakers := speakers_of(traced.text):
        raise InputError(
            "reply_is_transcript",
            f"the reply is a talk of {len(speakers)} speakers, which cannot be read as one voice; "
            "give each turn of the agent as a reply of its own, with the customer's turn before "
            "it as context, or format='text' to read it as it stands",
        )
    if traced.text == reply:
        return reply, context
    return OwnWords(reply, context, traced, skipped)


def _mail_spans(text: str, signed: tuple[tuple[int, int], ...]) -> list[Span]:
    lines = lines_of(text)
    marks = Marks(text, lines)
    mark_quoted(marks)
    for start, end in signed:
        inside = [index for index, line in enumerate(lines) if start <= line.start < end]
        if not inside:
            continue
        first, stop = inside[0], inside[-1] + 1
        first += kept_of_signature(lines[first:stop])
        if first < stop:
            marks.leave_out(first, stop, "signature")
    mark_standing(marks)
    mark_signatures(marks)
    return _spans(marks)


def _spans(marks: Marks) -> list[Span]:
    """The marked lines as stretches; neighbours of one kind, and blank lines between, are one."""
    spans: list[Span] = []
    open_since = -1  # the last line of the stretch before, while only blank lines followed
    for index, line in enumerate(marks.lines):
        why = marks.whys[index]
        if why is None:
            if line.words:
                open_since = -1
            continue
        start, end = marks.cuts[index], marks.stops[index]
        if start >= end:
            continue
        if spans and open_since >= 0 and spans[-1].why == why and start == line.start:
            spans[-1] = Span(spans[-1].start, end, why)
        else:
            spans.append(Span(start, end, why))
        open_since = index
    return spans


def _has_words(text: str) -> bool:
    """Whether anything is left that somebody may have said; a smile is something."""
    return any(
        letter.isalnum() or unicodedata.category(letter) == "So"
        for letter in text
        if not letter.isspace()
    )
