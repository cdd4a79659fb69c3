"""What lines of ticket systems look like: their notices, and who wrote a comment and when."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tactful.own_words.mail_lines import PLAIN, Line

NOTICE = (
    r"your (?:request|ticket) \(?#?\w+\)? has been (?:deemed )?(?:updated|solved|received|closed)"
)
"""Above the comments, at the beginning of a line."""
SERVICE = r"this (?:e-?mail|message) is a service from|delivered by zendesk"
"""Below them."""

_REPLY_ABOVE = re.compile(
    r"\W{0,12}(?:please )?(?:type |write |enter )?(?:your )?(?:reply|replies|response|answer)"
    r"(?: to this (?:e-?mail|message))? above this line\b|\W{0,12}(?:in replies all text above|"
    r"bitte geben sie ihre antwort (?:oberhalb|über) dieser zeile|"
    r"veuillez (?:saisir|rédiger|répondre).{0,30}au-dessus de cette ligne|"
    r"escriba su respuesta (?:por )?encima de esta línea)",
    re.IGNORECASE,
)
_TICKET = re.compile(rf"{NOTICE}|{SERVICE}", re.IGNORECASE)
# "Nov 3, 2025, 10:14 AM PST", the second line of a ticket's comment, below who wrote it.
_STAMP = re.compile(
    r"(?:[^\W\d]{3,9}\.? \d{1,2},? \d{4}|\d{1,2}\.? [^\W\d]{3,9}\.? \d{4}|\d{4}-\d\d-\d\d"
    r"|\d{1,2}[/.]\d{1,2}[/.]\d{4}),?(?: at)? \d{1,2}[:.]\d\d(?: ?[ap]\.?m\.?)?"
    r"(?: [A-Z]{2,5}(?:[+-]\d{1,2}(?::\d\d)?)?)?$",
    re.IGNORECASE,
)
_LONGEST_PARTICLE = 3  # of a name: "van", "der"
# "Priya Nair (Volta Energy)": a name of up to five words, no greeting, date or sentence.
_AUTHOR = re.compile(
    r"(?!(?i:hi|hello|dear)\b)[^\W\d][^\s,]*(?: [^\s,(]+){0,4}(?: \([^()]{1,40}\))?(?<![.,:;!?])$"
)


def is_reply_above(line: Line) -> bool:
    """Whether a ticket system asks to write above this line."""
    return _REPLY_ABOVE.match(line.words) is not None


def is_of_ticket_system(line: Line) -> bool:
    """Whether a line is one that a ticket system puts around the comments of a request."""
    return is_reply_above(line) or _TICKET.match(line.words) is not None


def comment_heading(lines: Sequence[Line], at: int) -> int:
    """How many lines, apart from others, say who wrote what follows, and when; 0 for none.

    The stamp stands below the name. A name of two words may also have it on its line, "Ana Silva,
    Nov 3, 2025, 10:14", or below a blank line.
    """
    author, _, when = lines[at].words.translate(PLAIN).partition(", ")
    last = at
    if _STAMP.match(when) is None:
        author = lines[at].words
        below = (index for index in (at + 1, at + 2) if index < len(lines) and lines[index].words)
        last = next(below, at)
        when = lines[last].words.translate(PLAIN)
    if last != at + 1 and " " not in author:
        return 0
    around = [lines[index].words for index in (at - 1, last + 1) if 0 <= index < len(lines)]
    found = (
        not any(around)
        and _STAMP.match(when) is not None
        and _AUTHOR.match(author) is not None
        and not any(
            word[0].islower() and len(word) > _LONGEST_PARTICLE for word in author.split()[1:]
        )
    )
    return last + 1 - at if found else 0
