"""Lines that stand under (or above) every mail: legal footers, banners, notes of ticket systems."""

from __future__ import annotations

import re

from tactful.own_words.quoted_messages import Marks
from tactful.own_words.signatures import names_a_sender
from tactful.own_words.ticket_lines import NOTICE, SERVICE

_FOOTER = re.compile(
    r"this (?:e-?mail|message|communication"
    r"|transmission)(?: message)?(?:,? \(?(?:and|including|together|with|or|any|all|its|files"
    r"|attachments?|transmitted|it)\b(?:\(s\))?\)?)*,?"
    r" (?:is|are|may be|may contain|contains?|is intended|are intended) (?:\w+ ){0,6}?"
    r"(?:confidential|privileged|intended|proprietary)"
    r"|\bconfidentiality (?:notice|note|statement)|\b(?:legal )?disclaimer ?:"
    r"|\bintended (?:solely|only|exclusively) for (?:the|use)"
    r"|\bif you (?:are|were) not the (?:intended|named|correct) (?:recipient|addressee)"
    r"|\b(?:if|should) you (?:\w+ ){0,2}received this (?:e-?mail|message|communication)(?: \w+)?"
    r" (?:in error|by mistake)|\bthink before (?:you print|printing)"
    r"|\bconsider the environment before printing"
    r"|\bregistered in (?:england|scotland|wales|ireland)"
    r"|\ball rights reserved|(?:©|\(c\)|copyright) ?\d{4}"
    r"|^\[message clipped\]|^unsubscribe ?[|•·]|^view request ?[|•·]"
    r"|^how would you rate the support you received\?$"  # Zendesk's survey
    r"|^(?:good, i['’]m satisfied|bad, i['’]m unsatisfied)"
    r"|^(?:view|manage) (?:this (?:ticket|request)|your (?:email )?preferences)\b"
    rf"|\b(?:{SERVICE})|^powered by \w+"
    r"|^\W{0,3}(?:external|caution|warning)\W{1,3}.{0,20}(?:this )?(?:e-?mail|message)"
    r" (?:originated|came|is|comes) (?:from )?(?:outside|external)"
    r"|^\[?external(?: e-?mail| sender)?\]?$"
    r"|\bdiese e-?mail (?:und|enthält|kann|ist).{0,80}vertraulich"
    r"|\bce (?:message|courriel|mail)\b.{0,120}confidentiel"
    r"|\beste (?:mensaje|correo)\b.{0,120}confidencial"
    r"|^(?:privacy policy|terms of (?:service|use)|help cent(?:er|re)|contact us)"
    r"(?: ?[|•·] ?.{0,120})$"
    rf"|^{NOTICE}",
    re.IGNORECASE,
)
# What an agent may say as well: a footer only as a paragraph of its own below what she wrote.
_SOFT = re.compile(
    r"registered (?:office|address) ?:|company (?:registration )?(?:no\b|number)\.? ?:? ?\d"
    r"|.{0,80}\bvat (?:no|number|reg(?:istration)?)\.? ?:? ?(?:no\.? ?)?[a-z]{0,3} ?\d{6}"
    r"|you(?:'re| are| have)? (?:receiving|received|are receiving|getting) this"
    r" (?:e-?mail|message|notification) (?:because|as|since)"
    r"|to (?:unsubscribe|stop receiving|opt out)(?: \w+){0,6},? (?:click|please click|reply|visit)"
    r"|unsubscribe\b"
    r"|this (?:e-?mail|message) (?:was|has been) (?:sent to|scanned|checked)|virus-?free\b"
    r"|(?:this is an automated|(?:this is )?(?:an )?automatically generated) (?:e-?mail|message)"
    r"|please do not reply (?:directly )?to this (?:automated |automatic )?(?:e-?mail|message)"
    r"|(?:follow us|connect with us|find us)(?: on)?\b.{0,80}$",
    re.IGNORECASE,
)
# Each footer has one of these: most lines need no closer look.
_HINTS = (
    *("confiden", "privileg", "proprietary", "disclaim", "intended", "addressee", "error"),
    *("mistake", "printing", "registered", "company", "vat ", "rights reserved", "©", "(c)"),
    *("copyright", "because", " since", " as ", "unsubscribe", "to stop", "opt out", "zendesk"),
    *("powered by", "scanned", "checked", "sent to", "automatic", "automated", "not reply"),
    *("external", "vertraulich", "follow us", "connect with", "find us", "view this", "manage "),
    *("privacy policy", "terms of", "help cent", "contact us", "virus", "your request"),
    *(
        "service from",
        "your ticket",
        "you print",
        "outside",
        "satisfied",
        "would you rate",
        "view request",
        "clipped",
    ),
)
_SENTENCE_END = re.compile(r"(?<!Ltd)(?<!Inc)(?<!LLC)(?<!\bCo)(?<!\bNo)[.!?…][\"')\]]*\s+")
_SHORT = 4  # words of the last line of a signature
_MOST_OF_SENDER = 4  # lines
_DECORATION = re.compile(r"[-_=*~—#]{3,}$")


def mark_standing(marks: Marks) -> None:
    """Find legal footers and the like; each goes from its sentence to the end of its paragraph."""
    lines = marks.lines
    index, own = 0, False
    while index < len(lines):
        cut = -1
        if marks.is_own(index):
            cut = _footer(lines[index].words)
            if cut < 0 and own and _SOFT.match(lines[index].words):
                cut = 0 if _is_apart(marks, index) or _sender_above(marks, index) < index else -1
        if cut < 0:
            own = own or marks.is_own(index)
            index += 1
            continue
        line = lines[index]
        stop = index + 1
        while stop < len(lines) and lines[stop].words and marks.whys[stop] is None:
            stop += 1
        marks.leave_out(index, stop, "footer")
        if cut > 0:
            place = marks.text.index(line.words, line.start, line.end) if line.words else line.start
            marks.cuts[index] = place + cut
        above = index - 1
        if cut == 0 and own and (first := _sender_above(marks, index)) < index:
            marks.leave_out(first, index, "footer")
            above = first - 1
        while above >= 0 and not lines[above].words:
            above -= 1
        if cut == 0 and above >= 0 and _DECORATION.match(lines[above].words):
            marks.leave_out(above, above + 1, marks.whys[above] or "footer")
        index = stop


def _is_apart(marks: Marks, index: int) -> bool:
    """Whether a line begins a paragraph, or stands below one that is no sentence."""
    above = marks.lines[index - 1].words
    return not marks.is_own(index - 1) or len(above.split()) <= _SHORT


def _sender_above(marks: Marks, index: int) -> int:
    """Where the paragraph above "Unsubscribe" begins if it is a company and its street.

    The line itself where it is not, or is another line.
    """
    first = index
    if not marks.lines[index].words.lower().startswith("unsubscribe"):
        return index
    while first > 0 and index - first <= _MOST_OF_SENDER and marks.is_own(first - 1):
        first -= 1
    found = first > 0 and index - first <= _MOST_OF_SENDER
    is_sender = found and names_a_sender(marks.lines[first:index])
    return first if is_sender else index


def _footer(words: str) -> int:
    """Where in a line a footer begins; -1 for nowhere."""
    lower = words.lower()
    if not any(hint in lower for hint in _HINTS):
        return -1
    found = _FOOTER.search(words)
    if found is None:
        return -1
    ends = [end.end() for end in _SENTENCE_END.finditer(words, 0, found.start())]
    return ends[-1] if ends else 0
