"""What lines of ticket systems look like: their notices, and who wrote a comment and when."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tactful.own_words.mail_lines import PLAIN, Line

NOTICE = r"your (?:request|ticket) \(?#?\w+\)? has been (?:updated|solved|received|closed)"
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
# "Priya Nair (Volta Energy)": a name of up to five words, no sentence.
_AUTHOR = re.compile(r"[^\s,]+(?: [^\s,(]+){0,4}(?: \([^()]{1,40}\))?(?<![.,:;!?])$")


def is_reply_above(line: Line) -> bool:
    """Whether a ticket system asks to write above this line."""
    return _REPLY_ABOVE.match(line.words) is not None


def is_of_ticket_system(line: Line) -> bool:
    """Whether a line is one that a ticket system puts around the comments of a request."""
    return is_reply_above(line) or _TICKET.match(line.words) is not None


def is_comment_heading(lines: Sequence[Line], at: int) -> bool:
    """Whether a line and the next, apart from others, say who wrote what follows, and when."""
    around = [lines[index].words for index in (at - 1, at + 2) if 0 <= index < len(lines)]
    return (
        at + 1 < len(lines)
        and not any(around)
        and _STAMP.match(lines[at + 1].words.translate(PLAIN)) is not None
        and _AUTHOR.match(lines[at].words) is not None
        and not any(
            word[0].islower() and len(word) > _LONGEST_PARTICLE
            for word in lines[at].words.split()[1:]
        )
    )
