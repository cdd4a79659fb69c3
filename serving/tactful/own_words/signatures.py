"""Who signs: the close and the name are the agent's words; title, company and numbers are not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import or_

from tactful.own_words.mail_lines import Line
from tactful.own_words.quoted_messages import Marks

_DELIMITER = re.compile(r"(?:--|—|–|-- -)$")
_RULE = re.compile(r"[-_=*~—]{3,}$")
_MOBILE = re.compile(
    r"(?:sent|written|composed) (?:from|with|via|using) (?:(?:my |the |a |all[- ]new |new ){0,3}\[?"
    r"(?:yahoo|outlook|proton ?mail|mail for|gmail|aol|samsung|galaxy|superhuman|airmail|blackberry"
    r"|iphone|ipad|android|pixel|huawei|xiaomi|missive|zoho|windows (?:mail|phone)|mobile|phone"
    r"|smartphone|tablet)\b.{0,80}|my [^\s.!?,;:]{2,20}(?: [^\s.!?,;:]{2,20}){0,2}\.?"
    r"|(?:front|spark|hey)\.?)$"
    r"|get outlook for (?:ios|android).{0,60}$|(?:von|vom) meinem .{2,40} gesendet\.?$"
    r"|gesendet (?:mit|von) (?:.{0,30} )?(?:app|mail|outlook|yahoo|proton|gmail|iphone|ipad|android"
    r"|handy)\b.{0,40}$|envoyé (?:de|depuis) (?:mon|ma) .{2,40}$"
    r"|enviado (?:desde|do|de) (?:mi|meu) .{2,40}$|inviato da (?:il mio )?.{2,40}$"
    r"|verzonden (?:vanaf|met) (?:mijn )?.{2,40}$|skickat från min .{2,40}$|sendt fra min .{2,40}$"
    r"|wysłane z .{2,40}$|отправлено с .{2,40}$",
    re.IGNORECASE,
)
_CLOSE = re.compile(
    r"(?:(?:(?:with|very|most|our|my|and|many|much|all|the|kind|kindest|warm|warmest|best|friendly"
    r"|sincere|again|once more|yours?|as always|in|a lot of|lots of|so)[ ,]+){0,4}"
    r"(?:regards|wishes|best|sincerely|faithfully|truly|cheers|thanks|thank you|thx|appreciation"
    r"|gratitude|respectfully|respect|cordially|warmly|kindly|love|care|hugs|rgds|br|ttyl)"
    r"(?: (?:so much|again|a lot|always|from(?: all of us)?(?: here)?(?: at)?(?: \w+){0,3}))?"
    r"|take (?:good )?care|all the best|have a (?:\w+ ){1,3}\w+|talk (?:to you )?soon|speak soon"
    r"|(?:viele|liebe|beste|herzliche|freundliche) grüße|mit (?:freundlichen|besten|lieben) grüßen"
    r"|cordialement|bien à vous|saludos(?: cordiales)?|un saludo|atentamente|cordiali saluti"
    r"|atenciosamente|met vriendelijke groet(?:en)?|med vänliga hälsningar|mvh|lg|vg|mfg)"
    r"(?P<rest>\s*[,.!–—-]+\s*.{0,60}|\s*)$",
    re.IGNORECASE,
)
_AFTERWORD = re.compile(r"(?:p\.?\s?){1,2}s\.?\b", re.IGNORECASE)

_PHONE = re.compile(r"(?:\+|\(0|\b)\(?\d[\d ().\-/]{6,20}\d\b")
_WEB = re.compile(
    r"https?://|\bwww\.|[\w.+-]{1,64}@[\w-]{1,64}\.\w"
    r"|\b[\w-]{2,40}\.(?:com|org|net|io|co|eu|uk|de|fr|es|it|nl|us|ca|au|app|shop|store|help)\b",
    re.IGNORECASE,
)
_FIELD = re.compile(
    r"(?:t|m|e|p|w|f|d|tel|telephone|phone|ph|mobile|mob|cell|fax|e-?mail|web|website|direct|office"
    r"|address|hours|skype|linkedin|twitter|instagram|facebook|follow us(?: on)?)\s?[:.|]\s",
    re.IGNORECASE,
)
_BAR = re.compile(r"\S\s+[|•·⋅]\s+\S")
_COMPANY = re.compile(
    r"\b(?:ltd|llc|inc|gmbh|corp|plc|limited|pty|s\.?a\.?r?\.?l|b\.v|s\.p\.a|ag|oy|ab|aps|kft"
    r"|incorporated|corporation)\b\.?,?(?:, (?-i:[A-ZÀ-Þ])[\w-]{2,20}){0,2}$",
    re.IGNORECASE,
)
_TITLE = re.compile(
    r"\b(?:support|customer|client|happiness|services?|care|success|experience|help ?desk"
    r"|relations|sales|billing|technical|senior|junior|team|account|community|guest|operations"
    r"|head of)\b.*"
    r"\b(?:specialist|manager|representative|rep|agent|advis[oe]r|associate|lead|leader|director"
    r"|engineer|consultant|officer|coordinator|executive|supervisor|analyst|hero|expert|champion"
    r"|team|department|desk|care|services?|support|success|experience|relations|operations"
    r"|specialists?|happiness|assistant|partner|concierge)\b"
    r"|^(?:support|customer|team|head|director|manager|chief|vp"
    r"|senior) ?(?:of|lead|specialist|manager"
    r"|agent|engineer|representative|officer)\b",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"\d{1,5}[a-z]?,? \w+.*\b(?:street|st|road|rd|avenue|ave|lane|ln"
    r"|drive|dr|blvd|square|suite|floor"
    r"|way|court|plaza)\b|\b(?:street|road|avenue|straße|strasse|rue|calle)\b.*\d"
    r"|\b[A-Z]{2} \d{5}\b|\b[A-Z]{1,2}\d{1,2}[A-Z]? \d[A-Z]{2}\b",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.!?…]['\")]*$")
_NAMED = re.compile(r"[^\W\d_][^\W\d_'’.-]*(?: [^\W\d_][^\W\d_'’.-]*){0,4}$")
_NAME_END = re.compile(r"\s+[|•·⋅–—-]\s+|,\s+")
# Lines of a signature; where the usual "--" stands above it, it may be longer.
_MOST_LINES, _MOST_MARKED = 20, 60
_LONGEST = 160  # characters of a line of a signature
_MOST_WORDS = 12  # of a line with a company or a street


def mark_signatures(marks: Marks) -> None:
    """Find what follows the agent's name, in each stretch of lines that is not quoted."""
    lines = marks.lines
    for index, line in enumerate(lines):
        if marks.is_own(index) and _MOBILE.match(line.words):
            marks.leave_out(index, index + 1, "signature")
    for first, stop in _stretches(marks):
        _mark_stretch(marks, first, stop)


def kept_of_signature(lines: list[Line]) -> int:
    """How many of the first lines of a marked signature are the agent's close and name."""
    filled = [index for index, line in enumerate(lines) if line.words]
    if not filled:
        return 0
    close = _CLOSE.match(lines[filled[0]].words)
    if close is None:
        return 0
    if close["rest"].strip(" ,.!–—-") or len(filled) == 1:
        return filled[0] + 1
    return filled[1] + 1 if _is_name(lines[filled[1]]) else filled[0] + 1


def _stretches(marks: Marks) -> list[tuple[int, int]]:
    """Runs of lines that are read; blank lines among them."""
    runs: list[tuple[int, int]] = []
    start = None
    for index, line in enumerate(marks.lines):
        if marks.whys[index] is not None:
            if start is not None:
                runs.append((start, index))
            start = None
        elif start is None and line.words:
            start = index
    if start is not None:
        runs.append((start, len(marks.lines)))
    return runs


def _mark_stretch(marks: Marks, first: int, stop: int) -> None:
    lines = list(marks.lines[first:stop])
    filled = [index for index, line in enumerate(lines) if line.words]
    for number, at in enumerate(filled):
        words = lines[at].words
        sure = _DELIMITER.match(words) is not None
        rest = filled[number + 1 : number + 2 + _MOST_MARKED]
        if not rest or len(rest) > (_MOST_MARKED if sure else _MOST_LINES):
            continue
        if (sure or _RULE.match(words)) and _signs(lines, rest, sure=sure):
            begins = at + 1 + kept_of_signature(lines[at + 1 :])
            marks.leave_out(first + at, first + at + 1, "signature")
            if begins < len(lines):
                marks.leave_out(first + begins, stop, "signature")
            return
    for number in range(len(filled) - 1, -1, -1):
        at = filled[number]
        close = _CLOSE.match(lines[at].words) if len(lines[at].words) < 100 else None
        if close is None:
            continue
        after = filled[number + 1 :]
        if not close["rest"].strip(" ,.!–—-") and after:
            _cut_name(marks, first, lines, after)
            after = after[1:]
        _leave_block(marks, first, lines, after)
        return
    _mark_unclosed(marks, first, lines, filled)


def _cut_name(marks: Marks, first: int, lines: list[Line], after: list[int]) -> None:
    """Leave out what stands on the line of the name behind it: "Ana Silva | Acme"."""
    line = lines[after[0]]
    title = _title_at(line.words)
    if 0 <= title < 40:
        text = marks.text[line.start : line.end]
        place = line.start + text.index(line.words[:title]) + title
        marks.leave_out(first + after[0], first + after[0] + 1, "signature")
        marks.cuts[first + after[0]] = place


def _title_at(words: str) -> int:
    """Where on the line of a name begins what is not the name; -1 for nowhere."""
    found = _NAME_END.search(words)
    return found.start() if found is not None and _is_strong(words[found.end() :]) else -1


def _leave_block(marks: Marks, first: int, lines: list[Line], after: list[int]) -> None:
    block: list[int] = []
    for index in after[:_MOST_LINES]:
        words = lines[index].words
        if _AFTERWORD.match(words) or not (_is_strong(words) or _is_weak(words)):
            break
        block.append(index)
    while block and not _is_strong(lines[block[-1]].words) and _gap(lines, block[-1]):
        block.pop()
    if any(_is_strong(lines[index].words) for index in block):
        marks.leave_out(first + block[0], first + block[-1] + 1, "signature")


def _gap(lines: list[Line], index: int) -> bool:
    """Whether a blank line stands above."""
    return index == 0 or not lines[index - 1].words


def _mark_unclosed(marks: Marks, first: int, lines: list[Line], filled: list[int]) -> None:
    """A block at the end that begins with a name, without a close above it."""
    start = len(filled)
    while start > 0 and (start == len(filled) or filled[start - 1] == filled[start] - 1):
        start -= 1
    block = filled[start:]
    if len(block) < 3 or not _is_name(lines[block[0]]):
        return
    # "Please send it to:" is followed by what the agent says.
    if start > 0 and lines[filled[start - 1]].words.endswith(":"):
        return
    rest = [lines[index].words for index in block[1:]]
    if all(_is_strong(words) or _is_weak(words) for words in rest) and (
        sum(map(_is_strong, rest)) + (_title_at(lines[block[0]].words) > 0) >= 2
    ):
        _cut_name(marks, first, lines, block)
        marks.leave_out(first + block[1], first + block[-1] + 1, "signature")


def _signs(lines: list[Line], rest: list[int], *, sure: bool) -> bool:
    words = [lines[index].words for index in rest]
    # Below a rule that is no "--", even a short sentence is what the agent says.
    longest = 5 if sure else 2
    sentences = sum(
        len(line.split()) > longest and _SENTENCE.search(line) is not None for line in words
    )
    strong = any(map(_is_strong, words))
    return (strong and (sure or sentences == 0)) or (sure and sentences == 0)


def _is_name(line: Line) -> bool:
    words = line.words
    if (title := _title_at(words)) > 0:
        words = words[:title]
    return len(words) <= 50 and _NAMED.match(words.strip("*_")) is not None


def _is_strong(words: str) -> bool:
    """Whether a line is one that only signatures have."""
    words = words.strip("*_")  # bold, as text
    if len(words) > _LONGEST:
        return False
    if len(words.split()) > 6 and _SENTENCE.search(words) and not _BAR.search(words):
        return False
    return (
        any(
            pattern.search(words) is not None
            for pattern in (_PHONE, _WEB, _BAR, _COMPANY, _TITLE, _PLACE)
        )
        or _FIELD.match(words) is not None
    )


def names_a_sender(lines: Sequence[Line]) -> bool:
    """Whether lines are nothing but a company and its street."""
    if any(len(line.words) > _LONGEST or len(line.words.split()) > _MOST_WORDS for line in lines):
        return False
    companies = [_COMPANY.search(line.words) is not None for line in lines]
    streets = [
        _PLACE.search(line.words) is not None and _SENTENCE.search(line.words) is None
        for line in lines
    ]
    return any(companies) and any(streets) and all(map(or_, companies, streets))


def _is_weak(words: str) -> bool:
    """Whether a line may stand in a signature beside such as only they have."""
    return len(words.split()) <= 7 and len(words) <= 70 and _SENTENCE.search(words) is None
