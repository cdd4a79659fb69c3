"""What single lines of mail look like: quotation marks, "On … wrote:", headers, separators.

Mail programs write them in the language of their user. Each pattern looks at one line, cut to a
length that bounds its time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

LONGEST = 500
"""Characters of a line that are looked at."""


class Line(NamedTuple):
    """One line of a text.

    Attributes:
        start: where it begins in the text.
        end: where it ends, without its line break.
        words: what stands in it, without outer white space, at most `LONGEST` characters.
    """

    start: int
    end: int
    words: str


def lines_of(text: str) -> list[Line]:
    """The lines of a text, ended by any of the three usual line breaks."""
    lines, start = [], 0
    for line in text.replace("\r", "\n").split("\n"):
        end = start + len(line)
        lines.append(Line(start, end, line[: 2 * LONGEST].strip(_OUTER)[:LONGEST]))
        start = end + 1
    return lines


# White space, and the marks of direction that mail programs put before lines.
_OUTER = " \t\v\f\xa0\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
_QUOTE = re.compile(r">(?!(?:[:;=]['-]?[()DPpO/\\|\[\]]|_<|\.<|=|-))")

_VERB = re.compile(
    r"\b(?:wrote|writes|schrieb|hat am .{4,40} geschrieben|a écrit|a ecrit|escribió|escribio"
    r"|ha scritto|escreveu|schreef|skrev|pisze|napisał\(a\)|napisała?"
    r"|napsal(?:\(a\))?|kirjoitti|yazdı|írta|написала?|пишет)(?!\w)"
    r"|写道|さんは書きました|님이 작성",
    re.IGNORECASE,
)
_SAID = re.compile(r"\b(?:wrote|writes|said|asked|says)\s?:$", re.IGNORECASE)
_BEGINS = re.compile(
    r"(?:on|am|le|el|il giorno|il|em|op|den|dne|w dniu|dnia|в|пн|вт|ср|чт|пт|сб|вс|at|mon|tue|wed"
    r"|thu|fri|sat|sun)\b|\d",
    re.IGNORECASE,
)
_DATED = re.compile(
    r"\d{1,4}[-./:年]\s?\d|\b\d{1,2}\b.{0,40}\b\d{4}\b|\b\d{1,2}h\d{2}\b"
    r"|\b\d{1,2}\.? (?:de )?[^\W\d]{3,10}\.?(?:,|\s|$)|[^\W\d]{3,9}\.? \d{1,2}\b"
)
# What a program writes of when: "On 3 March our carrier wrote:" is a sentence.
_PROGRAM_DATE = re.compile(r"\d{1,4}[-./:年h]\s?\d|\b\d{4}\b")
_CLOCK = re.compile(r"\d[:.h]\d\d\b")
_PRONOUN = re.compile(r"\b(?:i|you|he|she|we|they) (?:wrote|writes)\b", re.IGNORECASE)
_QUOTING = re.compile(r"(?:quoting|zitat von|citando|citation de) ", re.IGNORECASE)
_ADDRESS = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}\.\w")
PLAIN = str.maketrans("\xa0\u202f\u2009’", "   '")
"""Spaces that do not break and curly apostrophes, as French and dates have them, to plain ones."""
_LONGEST_NAME = 120  # of who wrote, after the verb
_LONGEST_DATE = 60  # after the verb
_FEW_WORDS = 4  # of a line that only says who spoke
_LONGEST_ATTRIBUTION = 300
_COLONS = ":："

_MESSAGE = (
    "original message|originalnachricht|ursprüngliche nachricht|message d'origine|message original|"
    "mensaje original|messaggio originale|mensagem original|oorspronkelijk bericht|"
    "ursprungligt meddelande|oprindelig meddelelse|opprinnelig melding|wiadomość oryginalna|"
    "исходное сообщение|forwarded message|forwarded by|weitergeleitete nachricht|message transféré|"
    "mensaje reenviado|messaggio inoltrato|mensagem encaminhada|doorgestuurd bericht|"
    "vidarebefordrat meddelande|reply message|antwort|previous message|quoted text|"
    "conversation history|ticket history|original request"
)
_DASHES = r"[-_=*~—–‐‑ ]"
_SEPARATOR = re.compile(
    rf"{_DASHES}{{2,80}}(?:{_MESSAGE})(?: .{{0,60}})?{_DASHES}{{2,80}}$"
    r"|begin forwarded message:?$|anfang der weitergeleiteten (?:nachricht|e-mail):?$"
    r"|début du message (?:réexpédié|transféré) ?:?$|inicio del mensaje reenviado:?$"
    r"|inizio messaggio inoltrato:?$",
    re.IGNORECASE,
)
_INLINE_SEPARATOR = re.compile(rf"--- ?(?:{_MESSAGE}) ?---", re.IGNORECASE)
_FROM = "from|von|de|da|van|från|fra|od|lähettäjä|kimden|от|发件人|差出人"
_SENT = (
    "sent|gesendet|envoyé|envoye|enviado(?: el)?|enviada(?: em)?|inviato|verzonden|skickat|sendt|"
    "wysłano|lähetetty|gönderildi|отправлено|发送时间|送信日時"
)
_DATE = "date|datum|fecha|data|dato|päivämäärä|tarih|дата|日期|日時"
_TO = "to|an|à|para|a|aan|till|til|do|vastaanottaja|kime|кому|收件人|宛先"
_SUBJECT = (
    "subject|betreff|objet|asunto|oggetto|assunto|onderwerp|ämne|emne|temat|aihe|konu|тема|主题"
    "|件名"
)
_OTHER = (
    "cc|bcc|kopie|reply-to|message-id|in-reply-to|references|received|return-path|mime-version|"
    "content-type|content-transfer-encoding|importance|priority|attachments?|x-[a-z-]+|"
    "delivered-to|dkim-signature|user-agent|list-unsubscribe|organization"
)
_HEADER = re.compile(
    rf"[*_]{{0,2}}(?:(?P<sender>{_FROM})|(?P<sent>{_SENT})|(?P<date>{_DATE})|(?P<to>{_TO})"
    rf"|(?P<subject>{_SUBJECT})|(?P<other>{_OTHER}))[*_]{{0,2}}\s?[::][*_]{{0,2}}(?:\s|$)",
    re.IGNORECASE,
)
_INLINE_HEADERS = re.compile(
    r"\bFrom: .{1,120}? Sent: .{1,120}? To: .{1,200}? Subject: |"
    r"\bVon: .{1,120}? Gesendet: .{1,120}? An: .{1,200}? Betreff: "
)
_INLINE_HINTS = ("wrote", "---", "From: ", "Von: ")
_UNDERLINE = re.compile(r"[_\-=*—]{5,}$")
_MOST_HEADERS = 40


def is_quoted(line: Line) -> bool:
    """Whether a line begins with a quotation mark of mail; ``>:(`` is a face."""
    return _QUOTE.match(line.words) is not None


def is_separator(line: Line) -> bool:
    """Whether a line says that another message begins: ``-----Original Message-----``."""
    return _SEPARATOR.match(line.words.translate(PLAIN)) is not None


def marks_for_bars(lines: Sequence[Line]) -> list[Line]:
    """The lines with ``>`` in the place of bars that mark a quotation.

    Bars do below a line that says who wrote what follows, where several lines begin with one;
    elsewhere they are a list or a table.
    """
    filled = [at for at, line in enumerate(lines) if line.words]
    bars = {at for at in filled if lines[at].words.startswith("|")}
    announced = (
        at
        for above, at in pairwise(filled)
        if at in bars and above not in bars and _announces(lines, above)
    )
    first = next(announced, len(lines))
    quoted = {at for at in bars if at >= first}
    if len(quoted) < 2:
        return list(lines)
    return [
        line._replace(words=f">{line.words[1:]}") if at in quoted else line
        for at, line in enumerate(lines)
    ]


def _announces(lines: Sequence[Line], at: int) -> bool:
    """Whether a line ends what says that another message follows."""
    starts = range(max(0, at - 2), at + 1)
    return is_separator(lines[at]) or any(
        attribution(lines, start)[0] == at + 1 - start for start in starts
    )


def is_underline(line: Line) -> bool:
    """Whether a line is nothing but a rule."""
    return _UNDERLINE.match(line.words) is not None


def attribution(lines: Sequence[Line], at: int) -> tuple[int, bool]:
    """How many lines say who wrote what follows, broken as mail programs break them.

    Returns:
        Their number, 0 for none; and whether they name a day or an address, so that what follows
        is a message even without quotation marks.
    """
    words = lines[at].words.translate(PLAIN)
    if words.startswith("---") and words.endswith("---"):  # "---- On … wrote ----"
        words = f"{words.strip('- ')}:"
    if not words:
        return 0, False
    if words[-1] in _COLONS:
        if _is_attribution(words):
            return 1, _is_strong(words)
        return int(len(words.split()) <= _FEW_WORDS and _SAID.search(words) is not None), False
    if not _BEGINS.match(words):
        return 0, False
    for more in (1, 2):
        if at + more >= len(lines) or not lines[at + more].words:
            break
        words += f" {lines[at + more].words.translate(PLAIN)}"
        if words[-1] in _COLONS:
            found = _is_attribution(words) and _is_strong(words)
            return (more + 1, True) if found else (0, False)
    return 0, False


def _is_attribution(words: str) -> bool:
    if len(words) > _LONGEST_ATTRIBUTION:
        return False
    verb = _VERB.search(words)
    address = _ADDRESS.search(words) is not None
    if verb is None:  # "2024年11月3日 10:32 Jane <jane@example.com>:", "Quoting Jane <jane@…>:"
        dated = _BEGINS.match(words) is not None and _DATED.search(words) is not None
        begins = dated or _QUOTING.match(words) is not None
        return address and begins and words.endswith((">:", ">："))
    rest = len(words) - verb.end()
    if _BEGINS.match(words):
        return rest <= _LONGEST_NAME
    if address and rest <= 2:
        return True
    # "Rui Costa <rui@example.pt> escreveu no dia 4/03/2025 17:31:"; without an address two names
    # and the time, "Jane Doe wrote on 5.3.2025 17:31:", for "DHL wrote on 5.3.2025:" is a sentence.
    before = words[: verb.start()].split()
    named = 1 < len(before) < _FEW_WORDS and not before[-1][0].islower()
    dated = (_PROGRAM_DATE if address else _CLOCK).search(words) is not None
    return (address or named) and dated and rest <= _LONGEST_DATE


def _is_strong(words: str) -> bool:
    """Whether what follows is a message even without quotation marks."""
    if _ADDRESS.search(words) is not None:
        return True
    return _PROGRAM_DATE.search(words) is not None and _PRONOUN.search(words) is None


class Headers(NamedTuple):
    """A block of mail headers.

    Attributes:
        lines: how many lines it has.
        of_quotation: whether it has the header that only programs quoting a message write.
    """

    lines: int
    of_quotation: bool


def headers(lines: list[Line], at: int) -> Headers | None:
    """The block of headers that begins with a line; None where it is none.

    A sender and a recipient alone are a journey: a subject, a sending time or an address makes
    them mail.
    """
    if _HEADER.match(lines[at].words) is None:
        return None
    kinds: set[str] = set()
    address, last, blank = False, at, 0
    for index in range(at, min(len(lines), at + _MOST_HEADERS)):
        words = lines[index].words
        found = _HEADER.match(words)
        if found is not None:
            kinds.add(found.lastgroup or "")
            address = address or _ADDRESS.search(words) is not None
            last, blank = index, 0
        elif not words:
            blank += 1
            if blank > 1:
                break
        elif blank or not _continues(lines[index], words):
            break
        else:
            last = index
    if len(kinds) < 2 or not ({"sender", "to"} & kinds):
        return None
    if not ({"sent", "subject"} & kinds or address):
        return None
    if "sender" not in kinds and not {"to", "subject", "date"} <= kinds:
        return None
    return Headers(last - at + 1, "sent" in kinds)


def _continues(line: Line, words: str) -> bool:
    """Whether a line goes on with a header: a list of recipients that was broken."""
    return line.end - line.start < 200 and ("@" in words or words.endswith((";", ",")))


def inline_quotation(line: str) -> int:
    """Where in a line, whose line breaks were lost, a quoted message begins; -1 for nowhere."""
    if not any(hint in line for hint in _INLINE_HINTS):
        return -1
    places = [
        found.start()
        for pattern in (_INLINE_SEPARATOR, _INLINE_HEADERS)
        if (found := pattern.search(line)) is not None
    ]
    for verb in _VERB.finditer(line):
        start = line.rfind(" On ", max(0, verb.start() - _LONGEST_ATTRIBUTION), verb.start()) + 1
        colon = line.find(":", verb.end(), verb.end() + _LONGEST_NAME)
        if start > 0 and colon >= 0 and _DATED.search(line, start, verb.start()):
            # "On Monday at 9:30 you wrote: …" is a sentence of the agent.
            who = line[start : verb.start()].rstrip()
            if _ADDRESS.search(who) or line[colon + 1 : colon + 3].strip() == ">":
                places.append(start)
                break
    return min(places, default=-1)
