"""Lines that stand under (or above) every mail: legal footers, banners, notes of ticket systems."""

from __future__ import annotations

import re

from tactful.own_words.quoted_messages import Marks
from tactful.own_words.signatures import names_a_sender
from tactful.own_words.ticket_lines import NOTICE, SERVICE

_WHERE = r"(?:\s?[:|•·<(].{0,200}|\s?https?:\S{1,200})?\.?$"  # what links have behind their words
# What no agent says.
_CERTAIN = re.compile(
    r"\bthink before (?:you print|printing)|\bconsider the environment before printing"
    r"|\bpensez à l['’]environnement avant d['’]imprimer"
    r"|^\[message clipped\]|^\[quoted text hidden\]|^unsubscribe ?[|•·]"
    r"|^view request ?(?:[|•·]|:\s?(?:$|<|https?:))"
    r"|^\W{0,3}confidentiality (?:notice|note|statement) ?(?:[:.–—-]|$)"
    r"|\bif you (?:are|were) not the (?:intended|named|correct) (?:recipient|addressee)(?! of)"
    r"|\bdiese e-?mail (?:und|enthält|kann|ist).{0,80}vertraulich"
    r"|\bce (?:message|courriel|mail)\b.{0,120}confidentiel"
    r"|\beste (?:mensaje|correo)\b.{0,120}confidencial"
    r"|^how would you rate the support you received\?$"  # Zendesk's survey
    r"|^(?:good, i['’]m satisfied|bad, i['’]m unsatisfied)"
    r"|^(?:view|manage) (?:this (?:ticket|request)|your (?:email )?preferences)"
    rf"(?: (?:in|on|at|online|here)\b[^.!?]{{0,40}}?)?{_WHERE}"
    rf"|\b(?:{SERVICE})|^powered by \w+(?: \w+)?{_WHERE}"
    r"|^powered by jira service management\b|\bpowered by jira\b.{0,80}sent you this"
    r"|^\W{0,3}(?:external|caution|warning)\W{1,3}.{0,20}(?:this )?(?:e-?mail|message)"
    r" (?:originated|came|is|comes) (?:from )?(?:outside|external)"
    r"|^\[?external(?: e-?mail| sender)?\]?$"
    r"|^(?:privacy policy|terms of (?:service|use)|help cent(?:er|re)|contact us)"
    r"(?: ?[|•·] ?.{0,120})$"
    rf"|^{NOTICE}(?: by [^.!?]{{1,40}})?\.?"
    r"(?: +(?:to (?:add|review|view|reopen|update)|you can|(?:please )?reply)\b.*)?$",
    re.IGNORECASE,
)
# What an agent may say as well: a footer where two of them stand together, or as a paragraph of its
# own below what she wrote.
_LEGAL = re.compile(
    r"this (?:e-?mail|message|communication"
    r"|transmission)(?: message)?(?:,? \(?(?:and|including|together|with|or|any|all|its|files"
    r"|attachments?|transmitted|it)\b(?:\(s\))?\)?)*,?"
    r" (?:is|are|may be|may contain|contains?|is intended|are intended) (?:\w+ ){0,6}?"
    r"(?=confidential|privileged|proprietary|intended (?:solely|only|exclusively|for)\b)"
    r"|\b(?:legal|e-?mail) disclaimer\b|\bdisclaimer ?:(?= ?(?:this|the|any|views)\b)"
    r"|\bintended (?:solely|only|exclusively) for (?:use\b|the (?:\w+ ){0,3}?(?:use|attention"
    r"|addressee|recipient|person|individual|entity|named))"
    r"|\b(?:if|should) you (?:\w+ ){0,2}received this (?:e-?mail|message|communication)(?: \w+)?"
    r" (?:in error|by mistake)\b.{0,80}?\b(?:notify|inform|advise|contact|delete|destroy|return"
    r"|sender)"
    r"|\bregistered in (?:england|scotland|wales|ireland)(?: (?:and|&) wales)?,?"
    r"(?: (?:with|under|as|company|registration|reg|no|number))*\.?:? ?\d"
    r"|\b(?:company|ltd|limited|plc|llp)\b.{0,40}\bregistered in (?:england|scotland|wales|ireland)"
    r"|\bauthori[sz]ed and regulated by\b|\bregistered office ?:"
    r"|\ball rights reserved|(?:©|copyright)(?: \(c\))? ?\d{4}|^\(c\) ?\d{4}"
    r"|\bsitz der gesellschaft\b|\bgeschäftsführ(?:er|ung)(?:in|innen)?: |\bhr[ab]:? ?\d{3}",
    re.IGNORECASE,
)
# What agents say, too, a footer only as such a paragraph.
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
# What agents ask and say, too: the ticket system's only below a name.
_BELOW_NAME = re.compile(
    r"how did (?:i|we) do\b|was this (?:answer|article|reply|response) helpful\b"
    r"|(?:please )?rate (?:my|our|this|your)\b"
    r"|this (?:case|conversation|request|ticket) (?:was|has been|will be)"
    r" (?:automatically closed|closed automatically)",
    re.IGNORECASE,
)
# Each footer has one of these: most lines need no closer look.
_HINTS = (
    *("confiden", "privileg", "proprietary", "disclaim", "intended", "addressee", "not the "),
    *("preferences", "printing", "registered", "company", "vat ", "rights reserved", "©", "(c)"),
    *("copyright", "because", " since", " as", "unsubscribe", "to stop", "opt out", "zendesk"),
    *("powered by", "scanned", "checked", "sent to", "automatic", "automated", "not reply"),
    *("external", "vertraulich", "follow us", "connect with", "find us", "view this", "manage "),
    *("privacy policy", "terms of", "help cent", "contact us", "virus", "your request", "clipped"),
    *("service from", "your ticket", "you print", "outside", "satisfied", "would you rate"),
    *("environnement", "regulated by", "view request", "text hidden", "received this"),
    *("gesellschaft", "geschäftsf", "hra", "hrb"),
)
_SENTENCE_END = re.compile(r"(?<!Ltd)(?<!Inc)(?<!LLC)(?<!\bCo)(?<!\bNo)[.!?…][\"')\]]*\s+")
_GREETING = re.compile(r"(?:hi|hello|hey|dear|good)\b", re.IGNORECASE)
_SHORT = 4  # words of the last line of a signature
_NEAR = 6  # lines in which the signs of a footer stand together
_LONGEST_SIGN = 150  # characters of one
_MOST_OF_SENDER = 4  # lines
_DECORATION = re.compile(r"[-_=*~—#]{3,}$")


def mark_standing(marks: Marks) -> None:
    """Find legal footers and the like; each goes from its sentence to the end of its paragraph."""
    lines = marks.lines
    index, own = 0, False
    while index < len(lines):
        cut = -1
        if marks.is_own(index):
            cut = _footer(marks, index, own=own)
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


def _footer(marks: Marks, index: int, *, own: bool) -> int:
    """Where in a line a footer begins, of which lines are read above or none; -1 for nowhere."""
    words = marks.lines[index].words
    if own and _BELOW_NAME.match(words) and _is_below_name(marks, index):
        return 0
    lower = words.lower()
    if not any(hint in lower for hint in _HINTS):
        return -1
    certain = _CERTAIN.search(words)
    starts = [] if certain is None else [certain.start()]
    below = own and (_is_apart(marks, index) or _sender_above(marks, index) < index)
    near = _near(marks, index)
    sign = _LEGAL.search(near, 0, len(words) + _LONGEST_SIGN)
    if sign is not None and sign.start() < len(words):
        alone = below and _sentence_at(words, sign.start()) == 0
        if certain or alone or _LEGAL.search(near, sign.end()) is not None:
            starts.append(sign.start())
    if starts:
        return _sentence_at(words, min(starts))
    return 0 if below and _SOFT.match(words) else -1


def _near(marks: Marks, index: int) -> str:
    """A line and the next ones of its paragraph, as one."""
    words = []
    for at in range(index, min(index + _NEAR, len(marks.lines))):
        if not marks.is_own(at):
            break
        words.append(marks.lines[at].words)
    return " ".join(words)


def _sentence_at(words: str, place: int) -> int:
    """Where in a line the sentence begins that holds a place."""
    ends = [end.end() for end in _SENTENCE_END.finditer(words, 0, place)]
    return ends[-1] if ends else 0


def _is_below_name(marks: Marks, index: int) -> bool:
    """Whether what was written above ends with a few words that are no sentence or greeting."""
    above = index - 1
    while above > 0 and not marks.lines[above].words:
        above -= 1
    words = marks.lines[above].words
    short = len(words.split()) <= _SHORT and words[-1:].isalpha()
    return short and marks.is_own(above) and _GREETING.match(words) is None
