"""What looks like personal data that nobody masked: e-mail addresses, phone and card numbers.

Phone numbers are found by Google's libphonenumber (`phonenumbers`), card and account numbers by
their check digits (`stdnum`). Both find what could be one; a number of an order may pass for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import phonenumbers
from stdnum import iban, luhn

# Numbers without a country's prefix are read as those of these countries.
_REGIONS = ("US", "GB")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[^\W\d]{2,}")
# Reserved for examples (RFC 2606).
_EXAMPLE = re.compile(r"@(?:.*\.)?example(?:\.(?:com|net|org))?$|\.(?:test|invalid|localhost)$")
_LEAST_DIGITS = 7  # of a phone number that is worth masking
# In North America 555-0100 to 555-0199 are nobody's.
_FICTITIOUS = re.compile(r"555\D?01\d\d$")
_CARD = re.compile(r"(?<![\w#-])\d(?:[ -]?\d){12,18}(?![\w-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b")


class PersonalData(NamedTuple):
    """A stretch of a text that looks like personal data.

    Attributes:
        kind: ``e-mail``, ``phone``, ``card`` or ``account``.
        start: first code point.
        end: one past the last.
    """

    kind: str
    start: int
    end: int


def find_personal_data(text: str) -> Iterator[PersonalData]:
    """What looks like personal data in a text, kind by kind; none stands for two kinds."""
    taken: list[tuple[int, int]] = []
    for found in (*_emails(text), *_accounts(text), *_phones(text)):
        if all(found.end <= start or end <= found.start for start, end in taken):
            taken.append((found.start, found.end))
            yield found


def masked(text: str) -> str:
    """A text of which letters and digits are no more to be read, but for its first character."""
    return text[:1] + re.sub(r"\d", "0", re.sub(r"[^\W\d]", "x", text[1:]))


def _emails(text: str) -> Iterator[PersonalData]:
    for match in _EMAIL.finditer(text):
        if not _EXAMPLE.search(match.group().casefold()):
            yield PersonalData("e-mail", *match.span())


def _accounts(text: str) -> Iterator[PersonalData]:
    for match in _CARD.finditer(text):
        if luhn.is_valid(re.sub(r"\D", "", match.group())):
            yield PersonalData("card", *match.span())
    for match in _IBAN.finditer(text):
        if iban.is_valid(match.group()):
            yield PersonalData("account", *match.span())


def _phones(text: str) -> Iterator[PersonalData]:
    if sum(letter.isdigit() for letter in text) < _LEAST_DIGITS:
        return  # libphonenumber takes its time
    for region in _REGIONS:
        for match in phonenumbers.PhoneNumberMatcher(text, region):
            if not _FICTITIOUS.search(match.raw_string):
                yield PersonalData("phone", match.start, match.end)
