"""HTML as the text that a mail program shows, each character with its place in the source.

A scanner of our own, because mail is rarely well-formed, what a parser corrects loses its place,
and time must stay linear whatever is sent. It knows what a reply needs: tags, comments, scripts,
entities, what is hidden, and how mail programs mark a quoted message and a signature.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from tactful.own_words.traced_text import Piece, TracedText, Why

_BLOCKS = frozenset(
    """
    address article aside blockquote body caption center dd details dir div dl dt fieldset
    figcaption figure footer form h1 h2 h3 h4 h5 h6 header hr html legend li main menu nav ol p
    pre section summary table tbody tfoot thead tr ul
    """.split()  # noqa: SIM905
)
_SPACED = frozenset(
    """
    blockquote dl h1 h2 h3 h4 h5 h6 hr ol p pre table ul
    """.split()  # noqa: SIM905
)
_INLINE = frozenset(
    """
    a abbr acronym area audio b base basefont bdi bdo big br button canvas cite code col
    colgroup data datalist del dfn em embed font frame frameset head i iframe img input ins kbd
    label link map mark math meta meter noframes noscript object optgroup option output param
    picture progress q rp rt ruby s samp script select small source span strike strong style sub
    sup svg td template textarea th time title track tt u var video wbr xml xmp
    """.split()  # noqa: SIM905
)
_VOID = frozenset(
    """
    area base br col embed frame hr img input link meta param source track wbr
    """.split()  # noqa: SIM905
)
# What they hold is no text: it ends with their own end tag and nothing else.
_RAW = frozenset(
    """
    iframe noframes object script select style svg template textarea title xmp
    """.split()  # noqa: SIM905
)
# An end tag or a line break: one "<word>" alone may be a placeholder that somebody typed.
_SIGNS = re.compile(
    r"</(?:a|b|blockquote|body|center|div|em|font|h[1-6]|html|i|li|ol|p|pre|script|span|strong|style"
    r"|table|td|tr|u|ul)\s*>|<br\s{0,9}/?>|<!doctype html|<html\b|<blockquote\b",
    re.IGNORECASE,
)
_STRUCTURE = re.compile(
    r"<(?:br|p|div|table|tr|li|ul|ol|html|body|blockquote|h[1-6]|hr|pre)\b", re.IGNORECASE
)
# Of a plain text in which somebody speaks of tags: a blank line between two without any.
_PLAIN_LINES = re.compile(
    r"^[ \t]*[^<\s][^<\n]*\n[ \t\r]{0,20}\n[ \t]*[^<\s][^<\n]*$", re.MULTILINE
)
_ENTITY = re.compile(
    r"&(?:#\d{1,7};|#[xX][0-9a-fA-F]{1,6};|[A-Za-z][A-Za-z0-9]{1,31};|(?:nbsp|amp|lt|gt|quot)\b)"
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?::[A-Za-z0-9]+)?")
_QUOTED_VALUE = re.compile(r"=\s{0,9}([\"'])")
_BREAKS = str.maketrans("\n\r\t\f", "    ")

# How mail programs mark, in the attributes of a tag, what follows.
_LONGEST_ATTRIBUTES = 4_000
_QUOTED = re.compile(
    r"gmail_(?:quote|attr|extra)|yahoo_?quoted|moz-(?:cite-prefix|forward-container)"
    r"|(?:protonmail|freshdesk|front|zendesk)[_-]quote|zmail_extra|outlookmessageheader"
    r"|mail-editor-reference-message-container|quoted[_-](?:text|reply|message)|history_container"
    r"|type=[\"']?cite|gorgias[_-]quote|tutanota_quote",
    re.IGNORECASE,
)
_QUOTED_TO_THE_END = re.compile(
    r"\bid=[\"']?(?:x_)*(?:appendonsend|divrplyfwdmsg|replysplit|quoted_header)", re.IGNORECASE
)
_SIGNED = re.compile(
    r"gmail_signature|moz-signature|applemailsignature|ms-outlook-mobile-signature"
    r"|protonmail_signature_block|\bid=[\"']?(?:x_)*signature(?=[\"'\s]|$)"
    r"|class=[\"'](?:[\w -]*[ _-])?signature(?:[_-](?:block|container|wrapper))?(?=[\"'\s])",
    re.IGNORECASE,
)
_HIDDEN = re.compile(
    r"display\s{0,3}:\s{0,3}none|visibility\s{0,3}:\s{0,3}hidden|mso-hide\s{0,3}:\s{0,3}all"
    r"|\b(?:max-height|opacity)\s{0,3}:\s{0,3}0(?:px)?\s{0,3}(?:[;\"']|$)",
    re.IGNORECASE,
)
# The attribute, which is no word within the value of another.
_HIDDEN_ATTRIBUTE = re.compile(r"(?:^|\s)hidden(?:\s|=|/|$)", re.IGNORECASE)
_VALUES = re.compile(r"=\s{0,9}(?:\"[^\"]*\"|'[^']*')")
_FORWARDED = re.compile(r"forwarded message|original message", re.IGNORECASE)


@dataclass(frozen=True)
class Shown:
    """What a mail program would show of HTML.

    Attributes:
        traced: the text, without quoted messages, scripts and tags.
        signed: (start, end) of the stretches of the text that are marked as signatures.
    """

    traced: TracedText
    signed: tuple[tuple[int, int], ...]


def has_html(reply: str) -> bool:
    """Whether a text shows that it is HTML, by tags or by entities."""
    if "<" in reply and _SIGNS.search(reply):
        return True
    return "&" in reply and any(
        html.unescape(found[0]) != found[0] and found[0].endswith(";")
        for found in _ENTITY.finditer(reply)
    )


def scan_html(reply: str) -> Shown:
    """Read HTML; whatever is broken about it, the text is there and time is linear."""
    return _Scan(reply).run()


@dataclass
class _Region:
    """An element of which nothing is shown or read, from its start tag to its end tag."""

    name: str
    start: int
    why: Why
    depth: int = 1
    may_hold_answers: bool = False


class _Scan:
    def __init__(self, reply: str) -> None:
        self._reply = reply
        self._pieces: list[Piece] = []
        self._size = 0  # of the text so far
        self._newlines = 2  # at the end of the text so far; none are needed at its beginning
        self._region: _Region | None = None
        self._signature: tuple[str, int, int] | None = None  # name, depth, start in the text
        self._signed: list[tuple[int, int]] = []
        self._preformatted = 0
        # Tags alone, without a block among them, do not take the meaning from line breaks.
        self._flows = _STRUCTURE.search(reply) is not None and not _is_plain(reply)
        self._quotes_matter = True
        self._never: set[str] = set()  # what does not come any more

    def run(self) -> Shown:
        reply, at = self._reply, 0
        while at < len(reply):
            opens = self._find("<", at)
            if opens < 0:
                break
            tag_end = self._tag_end(opens)
            if tag_end is None:
                self._text(at, opens + 1)
                at = opens + 1
                continue
            self._text(at, opens)
            at = self._tag(opens, tag_end)
        self._text(at, len(reply))
        if self._region is not None:
            self._leave_out(self._region.start, len(reply), self._region.why)
        self._end_signature()
        return Shown(TracedText(reply, self._pieces), tuple(self._signed))

    def _find(self, what: str, at: int) -> int:
        if what in self._never:
            return -1
        found = self._reply.find(what, at)
        if found < 0:
            self._never.add(what)
        return found

    def _tag_end(self, opens: int) -> int | None:
        """One past a tag that begins here; None where none does."""
        reply = self._reply
        following = reply[opens + 1 : opens + 2]
        if following in ("!", "?"):
            if reply.startswith("<!--", opens):
                closes = self._find("-->", opens + 4)
                if closes >= 0:
                    return closes + 3
            closes = self._find(">", opens)
            return None if closes < 0 else closes + 1
        name = _NAME.match(reply, opens + (2 if following == "/" else 1))
        if name is None or not _known(name[0].lower()):
            return None
        if reply[name.end() : name.end() + 1] not in ("", ">", "/", " ", "\n", "\r", "\t", "\f"):
            return None
        return self._closes(name.end())

    def _closes(self, at: int) -> int | None:
        """One past the ``>`` of a tag; within a quoted value it is a character like others."""
        first = self._find(">", at)
        if first < 0:
            return None
        if not self._quotes_matter:
            return first + 1
        reply, closes = self._reply, first
        while closes >= 0:
            value = _QUOTED_VALUE.search(reply, at, closes)
            if value is None:
                return closes + 1
            at = self._find(value[1], value.end()) + 1
            if at == 0:
                break
            if at > closes:
                closes = self._find(">", at)
        # A quotation mark too many: it would swallow the rest, and looking for its end at every
        # further tag would take time without bounds.
        self._quotes_matter = False
        return first + 1

    def _tag(self, opens: int, end: int) -> int:
        """Take in a tag; returns where to go on."""
        reply = self._reply
        name_at = opens + (2 if reply[opens + 1] == "/" else 1)
        found = _NAME.match(reply, name_at)
        if found is None:
            self._markup(opens, end)
            return end
        name = found[0].lower()
        if reply[opens + 1] == "/":
            self._end_tag(name, opens, end)
            return end
        attributes = reply[found.end() : min(end - 1, found.end() + _LONGEST_ATTRIBUTES)]
        if name in _RAW and not attributes.endswith("/"):
            end = self._raw_end(name, end)
            self._markup(opens, end)
            return end
        self._start_tag(name, attributes, opens, end)
        return end

    def _raw_end(self, name: str, at: int) -> int:
        key = f"</{name}"
        if key in self._never:
            return at
        found = re.compile(f"</{name}[^>]{{0,99}}>", re.IGNORECASE).search(self._reply, at)
        if found is None:
            # Of a page's script, the rest is script; of another element that is never closed, or of
            # a tag that is spoken of ("put the <script> tag last"), text.
            self._never.add(key)
            return len(self._reply) if name in ("script", "style") and self._flows else at
        return found.end()

    def _start_tag(self, name: str, attributes: str, opens: int, end: int) -> None:
        holds = name not in _VOID and not attributes.endswith("/")
        region = self._region
        if region is not None:
            inner = name == "blockquote" and region.may_hold_answers
            region.may_hold_answers &= not inner
            if inner and not _FORWARDED.search(self._reply, region.start, opens):
                # From here to its end tag somebody else speaks; after it, the agent may answer.
                self._leave_out(region.start, opens, region.why)
                self._region = _Region(name, opens, "quoted")
            elif holds and name == region.name:
                region.depth += 1
            elif name == "body" and region.name == "head":
                self._leave_out(region.start, end, region.why)
                self._region = None
            return
        if _QUOTED_TO_THE_END.search(attributes):
            self._region = _Region("", opens, "quoted")  # no end tag has this name
            return
        why = self._why(name, attributes)
        if why is not None and holds:
            answers = "gmail_quote" in attributes and name != "blockquote"
            self._break_line(opens, name)
            self._region = _Region(name, opens, why, may_hold_answers=answers)
            return
        if self._signature is not None:
            signed, depth, start = self._signature
            self._signature = (signed, depth + (holds and name == signed), start)
        self._markup(opens, end, name)
        if name == "pre" and holds:
            self._preformatted += 1
        if self._signature is None and holds and _SIGNED.search(attributes):
            self._signature = (name, 1, self._size)

    def _why(self, name: str, attributes: str) -> Why | None:
        if name == "head" or _HIDDEN.search(attributes):
            return "markup"
        if "hidden" in attributes.lower() and _HIDDEN_ATTRIBUTE.search(
            _VALUES.sub("=''", attributes)
        ):
            return "markup"
        if name == "blockquote" or _QUOTED.search(attributes):
            return "quoted"
        return None

    def _end_tag(self, name: str, opens: int, end: int) -> None:
        region = self._region
        if region is not None:
            if name == region.name:
                region.depth -= 1
                if region.depth == 0:
                    self._leave_out(region.start, end, region.why)
                    self._region = None
            return
        if name == "pre":
            self._preformatted = max(0, self._preformatted - 1)
        if self._signature is not None and name == self._signature[0]:
            signed, depth, start = self._signature
            self._signature = (signed, depth - 1, start)
            if depth == 1:
                self._end_signature()
        self._markup(opens, end, name)

    def _end_signature(self) -> None:
        if self._signature is not None:
            _, _, start = self._signature
            if start < self._size:
                self._signed.append((start, self._size))
            self._signature = None

    def _markup(self, start: int, end: int, name: str = "") -> None:
        """Leave a tag out; what parts blocks parts the words around it."""
        if self._region is None:
            self._add(Piece(start, end, self._break(name), "markup"))

    def _break_line(self, at: int, name: str) -> None:
        if separator := self._break(name):
            self._add(Piece(at, at, separator, "markup"))

    def _break(self, name: str) -> str:
        if name == "br":
            return "\n"
        if name in ("td", "th"):
            return " "
        wanted = 2 if name in _SPACED else 1 if name in _BLOCKS else 0
        return "\n" * max(0, wanted - self._newlines)

    def _leave_out(self, start: int, end: int, why: Why) -> None:
        separator = "\n" * max(0, 1 - self._newlines) if why == "quoted" else ""
        if start < end:
            self._add(Piece(start, end, separator, why))

    def _text(self, start: int, end: int) -> None:
        if start >= end or self._region is not None:
            return
        at = start
        first = self._reply.find("&", start, end)
        if first >= 0:
            for found in _ENTITY.finditer(self._reply, first, end):
                meant = html.unescape(found[0])
                if meant != found[0]:
                    self._plain(at, found.start())
                    self._add(Piece(found.start(), found.end(), meant))
                    at = found.end()
        self._plain(at, end)

    def _plain(self, start: int, end: int) -> None:
        if start < end:
            text = self._reply[start:end]
            if self._flows and not self._preformatted:
                text = text.translate(_BREAKS)
            self._add(Piece(start, end, text))

    def _add(self, piece: Piece) -> None:
        self._pieces.append(piece)
        self._size += len(piece.text)
        if piece.text.strip():
            self._newlines = 0
        self._newlines += piece.text.count("\n", len(piece.text.rstrip()))


def _is_plain(reply: str) -> bool:
    return not reply.lstrip().startswith("<") and _PLAIN_LINES.search(reply) is not None


def _known(name: str) -> bool:
    return name in _BLOCKS or name in _INLINE or ":" in name
