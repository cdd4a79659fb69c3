"""Whether a text is a talk of several speakers, which must not be read as one voice."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tactful.own_words.mail_lines import Line, lines_of

_CLOCK = (
    r"\d{1,2}[:.h]\d{2}(?:[:.]\d{2})?(?:\.\d{1,3})?(?:\s?[ap]\.?m\.?)?"
    r"(?:\s(?:utc|gmt|[ecmp][sd]t))?"
)
_DAY = (
    r"(?:\d{1,4}[-/.]\d{1,2}(?:[-/.]\d{1,4})?|(?:\w{3,9},? )?[^\W\d]{3,9}\.? \d{1,2}(?:,? \d{4})?"
    r"|(?:\w{3,9},? )?\d{1,2}\.? [^\W\d]{3,9}\.?(?:,? \d{4})?|today|yesterday|\w{3,9}day)"
)
_WHEN = rf"(?:{_DAY}(?:,? at |,? |T))?{_CLOCK}(?: ?z)?"
_STAMPED = re.compile(rf"[\[(<]?{_WHEN}[\])>]?\s?[-–—|:,]?\s*", re.IGNORECASE)
_SPEAKER = re.compile(
    r"[*_<\[]{0,3}(?P<name>[^\W\d_][\w.'’ -]{0,38}?)[*_]{0,3}"
    r"(?: ?\([^()]{0,40}\)| ?\[[^\]]{0,40}\])?"
    rf"(?:,? (?:at )?{_WHEN})?(?P<verb> (?:says|said|wrote|writes))?\s?"
    r"(?:[*_]{0,3}\s?[::][*_]{0,3}|[>\]][:>]?)(?:\s+|$)(?P<text>.*)$",
    re.IGNORECASE,
)
# "Ana Silva  10:32 AM", "Ana · 3 Nov, 10:32", "Ana Silva (Acme)" above a line of a time alone.
_HEADING = re.compile(
    r"(?P<name>[^\W\d_][\w.'’ -]{0,38}?)(?: ?\([^()]{0,40}\))?\s{0,4}[,|·•–—-]?\s{0,4}"
    rf"[\[(]?{_WHEN}[\])]?:?$",
    re.IGNORECASE,
)
_TIME_ALONE = re.compile(rf"[\[(]?{_WHEN}[\])]?$", re.IGNORECASE)
# ServiceNow: "2025-03-03 10:02:11 CET - Ana Silva    Additional comments" above what she says.
_JOURNAL = re.compile(
    rf"{_WHEN}(?: [A-Z]{{2,5}})? - (?P<name>[^\t(]{{2,40}}?)(?:\t|\s{{2,9}}|\s?\()"
    r"(?:additional comments|work notes|comments)\b",
    re.IGNORECASE,
)
_PERSON = re.compile(r"[^\W\d_][\w.'’-]*(?:,? [^\W\d_][\w.'’-]*){0,3}(?: \([^()]{0,40}\))?$")

_ROLES = (
    "agent|support agent|customer|client|visitor|guest|representative|support representative|"
    "customer service representative|csr|advisor|adviser|operator|consumer|customer support|"
    "customer service|support team|shopper|buyer|caller|agente|cliente|kunde|kundin|mitarbeiter|"
    "berater|conseiller|conseillère|asesor|soporte"
)
_WEAK_ROLES = "rep|support|user|bot|chatbot|assistant|you|me|seller|system|staff|technician|team"
_ROLE = re.compile(rf"(?:{_ROLES})(?: ?\d{{1,6}})?$", re.IGNORECASE)
_WEAK_ROLE = re.compile(rf"(?:{_WEAK_ROLES}|speaker)(?: ?\d{{1,6}})?$", re.IGNORECASE)
# "[Agent] Hello", "Agent - Hello"
_ROLE_LINE = re.compile(
    rf"[*_]{{0,2}}(?:[\[(](?P<inner>{_ROLES}|{_WEAK_ROLES})[\])]|(?P<name>{_ROLES}) ?[-–—>])"
    r"[*_]{0,2}\s+(?P<text>\S.*)$",
    re.IGNORECASE,
)
# Within a line, whose breaks were lost; written like the name of a speaker.
_INLINE_ROLE = re.compile(
    rf"(?:(?<=^)|(?<=[\s>\])\"'”]))(?P<name>{_ROLES}|{_WEAK_ROLES})(?: ?\d{{1,6}})?"
    r"(?: ?\([^()]{0,40}\)| ?\[[^\]]{0,20}\])?\s?:\s",
    re.IGNORECASE,
)
# As programs keep a talk: JSON, and the voices of WebVTT.
_KEPT_ROLES = (
    re.compile(r'"(?:role|speaker|sender|author|from)"\s?:\s?"([^"]{1,40})"'),
    re.compile(r"<v(?:\.[\w.]{1,40})? ([^\W\d][^>]{0,40})>"),
)
_CITING = ("i", "we", "you", "my", "our", "your")
# What stands before a colon in lists and forms, and is nobody's name.
_FIELDS = frozenset(
    """
    a account actual address after also amount and android answer app arrival before billing
    browser but carrier case cause cc check click closed code color colour con cons cost date
    delivery departure detail details device edit email enter error example examples expected
    finally first flight friday from fwd go hotel hours id important in input invoice ios iphone
    issue item items link linux location mac mail model monday name next no note notes number
    open option options or order orders os out output password phone plan plus press price pro
    problem product pros ps q quantity question re reason ref reference refund reminder result
    results room saturday second select settings shipping size solution status step steps
    subject subtotal summary sunday tax tel then third thursday ticket time tip tips to today
    tomorrow total tracking tuesday type update url username version warning web website
    wednesday windows yes yesterday
    """.split()  # noqa: SIM905
)
_UTTERED = re.compile(
    r"[.!?…][\"')\]]*(?:\s|$)"
    r"|^(?:hi|hello|hey|yes|no|ok|okay|sure|great|please|sorry|thanks|thank you)\b",
    re.I,
)
# What somebody says to somebody, however short.
_ADDRESSED = re.compile(r"\b(?:i|me|my|you|your|we|us|our)\b|\?|^(?:hi|hello|hey)\b", re.I)
_ENDED = re.compile(r"[.!?…][\"')\]]*$")
_SIGNS = (":", "：", "[", "(", " -", " –", " —", ">")  # one of them parts speaker and words
_LEAST_WORDS, _LEAST_INLINE = 4, 3
_LONGEST_ROLE = 50
_LONGEST = 160  # characters of a line in which a speaker is looked for


@dataclass(frozen=True)
class _Turn:
    speaker: str
    says: str
    stamped: bool

    @property
    def uttered(self) -> bool:
        return len(self.says.split()) >= _LEAST_WORDS or _UTTERED.search(self.says) is not None

    @property
    def addressed(self) -> bool:
        return _ADDRESSED.search(self.says) is not None

    @property
    def spoken(self) -> bool:
        return self.uttered or self.addressed


def speakers_of(text: str) -> tuple[str, ...]:
    """The speakers of a talk, in the order in which they first speak; empty for one voice."""
    lines = lines_of(text)
    if not any(sign in text for sign in _SIGNS):
        return _by_role_above(lines)
    turns = list(_turns(lines))
    found = _by_time(turns) or _by_role(turns) or _by_name(turns, lines) or _by_role_above(lines)
    return found or _by_inline_role(text) or _by_kept_role(text)


def _turns(lines: Sequence[Line]) -> list[_Turn]:
    turns: list[_Turn] = []
    before = ""
    for index, line in enumerate(lines):
        words = line.words[:_LONGEST]
        if not words:
            continue
        turn = _turn(words, lines, index)
        if turn is None and _TIME_ALONE.match(words) and len(before) < 60 and _PERSON.match(before):
            turn = _Turn(before.lower(), _next(lines, index), stamped=True)
        if turn is not None:
            turns.append(turn)
        before = words
    return turns


def _turn(words: str, lines: Sequence[Line], index: int) -> _Turn | None:
    if (journal := _JOURNAL.match(words)) is not None:
        return _Turn(journal["name"].lower(), _next(lines, index), stamped=True)
    stamp = _STAMPED.match(words) if words[0] in "[(<" or words[0].isdigit() else None
    rest = words[stamp.end() :] if stamp else words
    found = _SPEAKER.match(rest)
    if stamp is None and found is not None and _cites(found):
        return None
    if found is not None and found["name"].lower() not in _FIELDS:
        says = found["text"] or _next(lines, index)
        timed = stamp is not None or re.search(_CLOCK, found[0][: found.start("text")]) is not None
        return _Turn(" ".join(found["name"].lower().split()), says, timed)
    found = _ROLE_LINE.match(rest)
    if found is not None:
        return _Turn((found["inner"] or found["name"]).lower(), found["text"], stamp is not None)
    # "[4/11 09:11] Silva, Ana" above what she says
    if stamp is not None and words[0] == "[" and _PERSON.match(rest) and rest.istitle():
        return _Turn(" ".join(rest.lower().split()), _next(lines, index), stamped=True)
    found = None if stamp else _HEADING.match(words)
    if found is not None and found["name"].lower() not in _FIELDS:
        says = _next(lines, index)
        # In a list of times the next line is another of them.
        says = "" if _HEADING.match(says) else says
        return _Turn(" ".join(found["name"].lower().split()), says, stamped=True)
    return None


def _cites(found: re.Match[str]) -> bool:
    """Whether a line speaks of what somebody said: "You wrote: …", "Our policy says: …"."""
    first = found["name"].lower().split()[0]
    return bool(found["verb"]) and bool(found["text"]) and first in _CITING


def _next(lines: Sequence[Line], index: int) -> str:
    return next((line.words for line in lines[index + 1 : index + 4] if line.words), "")


def _distinct(turns: Sequence[_Turn]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(turn.speaker for turn in turns))


def _takes_turns(turns: Sequence[_Turn]) -> bool:
    """Whether somebody speaks again after another."""
    seen: set[str] = set()
    for before, turn in pairwise(turns):
        seen.add(before.speaker)
        if turn.speaker in seen and turn.speaker != before.speaker:
            return True
    return False


def _by_time(turns: Sequence[_Turn]) -> tuple[str, ...]:
    """Each turn with its time: two speakers are enough, where it is no table of times."""
    stamped = [turn for turn in turns if turn.stamped and len(turn.speaker.split()) <= 5]
    speakers = _distinct(stamped)
    said = sum(turn.spoken for turn in stamped)
    talk = 2 * said > len(stamped) or _takes_turns(stamped)
    return speakers if len(speakers) > 1 and talk else ()


def _by_role(turns: Sequence[_Turn]) -> tuple[str, ...]:
    """Speakers who are called what they are: agent, customer."""
    talking = [turn for turn in turns if turn.uttered]
    roles = _distinct([turn for turn in talking if _ROLE.match(turn.speaker)])
    others = _distinct([turn for turn in talking if _WEAK_ROLE.match(turn.speaker)])
    named = _distinct(
        [
            turn
            for turn in talking
            if len(turn.speaker.split()) <= 2 and turn.speaker.split()[0] not in _FIELDS
        ]
    )
    # "You" and "me" are what a chat calls its reader beside the other's name.
    certain = roles or tuple(name for name in others if name in ("you", "me"))
    if (
        len(roles) > 1
        or len(others) > 1
        or (certain and (others or named) and len({*certain, *others, *named}) > 1)
    ):
        return _distinct([turn for turn in talking if turn.speaker in {*roles, *others, *named}])
    return ()


def _by_name(turns: Sequence[_Turn], lines: Sequence[Line]) -> tuple[str, ...]:
    """Names alone, where one of them speaks again after another."""
    talking = [turn for turn in turns if len(turn.speaker.split()) <= 3]
    speakers = _distinct(talking)
    filled = sum(bool(line.words) for line in lines)
    spoken = sum(turn.spoken for turn in talking)
    # Two short lines may be a talk too, where nothing else stands in the text.
    if len(turns) == filled == spoken == len(speakers) == 2:
        said = all(_ENDED.search(turn.says) and turn.addressed for turn in talking)
        return speakers if said else ()
    if not 2 <= len(speakers) <= 6 or not _takes_turns(talking):
        return ()
    return speakers if 2 * len(talking) >= filled and 2 * spoken > len(talking) else ()


def _by_role_above(lines: Sequence[Line]) -> tuple[str, ...]:
    """What speakers are called, each alone on a line above what is said."""
    turns = [
        _Turn(words.lower(), _next(lines, index), stamped=False)
        for index, line in enumerate(lines)
        if len(line.words) <= _LONGEST_ROLE and _ROLE.match(words := line.words.strip("*_ "))
    ]
    spoken = [turn for turn in turns if turn.uttered]
    return _distinct(spoken) if _takes_turns(spoken) else ()


def _by_kept_role(text: str) -> tuple[str, ...]:
    for pattern in _KEPT_ROLES:
        speakers = tuple(dict.fromkeys(name.lower() for name in pattern.findall(text)))
        if len(speakers) > 1:
            return speakers
    return ()


def _by_inline_role(text: str) -> tuple[str, ...]:
    found = list(_INLINE_ROLE.finditer(text))
    named = [one["name"].lower() for one in found if one["name"][0].isupper()]
    roles = tuple(dict.fromkeys(name for name in named if _ROLE.match(name)))
    others = tuple(dict.fromkeys(name for name in named if not _ROLE.match(name)))
    if len(roles) > 1 or (roles and others):
        ends = [one.start() for one in found[1:]] + [len(text)]
        said = [text[one.end() : end] for one, end in zip(found, ends, strict=True)]
        if sum(len(words.split()) >= _LEAST_INLINE for words in said) > 1:
            return (*roles, *others)
    return ()
