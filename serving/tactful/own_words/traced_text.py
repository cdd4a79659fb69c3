"""A text that was made of a reply by leaving out, and the way back to the reply's code points."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, NamedTuple, get_args

Why = Literal["quoted", "signature", "footer", "markup", "url"]
"""Why a stretch is not read: somebody else's message; who signs, beyond the name; legal and other
standing lines; tags and what a browser does not show, headers of the mail itself; addresses and
tracking ids."""

WHYS: tuple[Why, ...] = get_args(Why)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A stretch of the reply that was not read.

    Attributes:
        start: first code point of the reply.
        end: one past the last code point.
        why: one of `WHYS`.
    """

    start: int
    end: int
    why: Why

    def to_dict(self) -> dict[str, Any]:
        """As in the JSON of a reading."""
        return {"start": self.start, "end": self.end, "why": self.why}


class Span(NamedTuple):
    """A stretch of a text that is to be left out."""

    start: int
    end: int
    why: Why


class Piece(NamedTuple):
    """A stretch of the reply and what stands for it in the text.

    Attributes:
        start: first code point in the reply.
        end: one past the last.
        text: what stands for it: itself, or what an entity means, or what parts the words around
            a stretch that is left out.
        why: why it is left out; None for what is read.
    """

    start: int
    end: int
    text: str
    why: Why | None = None


class TracedText:
    """A text whose every character is known by its place in the reply.

    Args:
        reply: the original.
        pieces: stretches that follow each other and together are the whole reply.

    Attributes:
        text: what is read.
    """

    def __init__(self, reply: str, pieces: Sequence[Piece]) -> None:
        self._reply = reply
        self._pieces = pieces
        self.text = "".join(piece.text for piece in pieces)
        self._starts = list(accumulate((len(piece.text) for piece in pieces), initial=0))[:-1]

    @classmethod
    def whole(cls, reply: str) -> TracedText:
        """A reply of which nothing is left out."""
        return cls(reply, [Piece(0, len(reply), reply)])

    def without(self, spans: Iterable[Span]) -> TracedText:
        """Leave out more.

        Args:
            spans: stretches of ``text``, in order, not overlapping, none empty.
        """
        return TracedText(self._reply, list(self._cut(list(spans))))

    def _cut(self, spans: Sequence[Span]) -> Iterator[Piece]:
        index = 0
        for at, piece in zip(self._starts, self._pieces, strict=True):
            size = len(piece.text)
            while index < len(spans) and spans[index].end <= at:
                index += 1
            if index == len(spans) or at + size <= spans[index].start:
                yield piece
            elif piece.why is not None:
                yield piece._replace(text="")  # its place among the words is left out with them
            elif size != piece.end - piece.start:  # what an entity means has no half
                yield piece._replace(text="", why=spans[index].why)
            else:
                done = 0
                while index < len(spans) and spans[index].start < at + size:
                    first = max(0, spans[index].start - at)
                    last = min(size, spans[index].end - at)
                    if first > done:
                        yield _part(piece, done, first)
                    yield _part(piece, first, last)._replace(text="", why=spans[index].why)
                    done = last
                    if spans[index].end > at + size:
                        break
                    index += 1
                if done < size:
                    yield _part(piece, done, size)

    def originals(self, start: int, end: int) -> list[tuple[int, int]]:
        """Where a stretch of ``text`` stands in the reply: several places where something between
        was left out, none where it is nothing but what parts words.
        """
        places: list[tuple[int, int]] = []
        for index in range(max(0, bisect_right(self._starts, start) - 1), len(self._pieces)):
            at, piece = self._starts[index], self._pieces[index]
            if at >= end:
                break
            if piece.why is not None or at + len(piece.text) <= start:
                continue
            first, last = piece.start, piece.end
            if len(piece.text) == piece.end - piece.start:
                first, last = max(first, first + start - at), min(last, first + end - at)
            if places and places[-1][1] == first:
                places[-1] = (places[-1][0], last)
            else:
                places.append((first, last))
        return places

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was left out, in order: neighbours of one kind, and markup between them, are one."""
        found: list[tuple[Skipped, bool]] = []  # with whether it follows at once on the one before
        at_once = False
        for piece in self._pieces:
            if piece.why is None:
                at_once = at_once and piece.text.isspace()
            elif piece.start < piece.end:
                one = Skipped(piece.start, piece.end, piece.why)
                kept = _before(found, one.why) if at_once else len(found)
                if kept < len(found):
                    first, at_once = found[kept]
                    one = Skipped(first.start, one.end, one.why)
                found[kept:] = [(one, at_once)]
                at_once = True
        return tuple(one for one, _ in found)


def _part(piece: Piece, first: int, last: int) -> Piece:
    return Piece(piece.start + first, piece.start + last, piece.text[first:last])


def _before(found: Sequence[tuple[Skipped, bool]], why: Why) -> int:
    """How many of those found stay as they are when a neighbour of that kind follows."""
    if found and found[-1][0].why == why:
        return len(found) - 1
    # Tags within a quotation are part of it.
    if len(found) > 1 and found[-1][1] and (found[-1][0].why, found[-2][0].why) == ("markup", why):
        return len(found) - 2
    return len(found)
