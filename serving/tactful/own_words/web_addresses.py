"""Addresses of the web and ids by which mail and ticket systems find their threads again."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tactful.own_words.traced_text import Span

_FOUND = re.compile(
    r"<(?:https?://|mailto:|tel:|www\.)[^\s<>]{1,4000}>"
    r"|\[(?:image|cid|inline image|logo)\b ?:?[^\]\n]{0,200}\]|<image\d{1,4}\.\w{2,5}>"
    r"|(?:https?://|\bwww\.)[^\s<>\"“”]{1,4000}"
    r"|\[?\bref:[\w!.]{6,80}:ref\b\]?"  # Salesforce
    r"|\{#HS:[\w-]{3,40}#?\}"  # Help Scout
    r"|(?-i:\[(?:#|~#)?[A-Z0-9]{4,12}-[A-Z0-9]{3,12}\](?=\s|$))"  # Zendesk, Kayako
    r"|\[(?:thread|ticket|msg|ref)[:#][\w:.\-]{3,60}\]",
    re.IGNORECASE,
)
_IMAGE = re.compile(r"\[(?:image|cid|inline|logo)|<image", re.IGNORECASE)
_AFTER = ".,;:!?'’\"”*_"
_PAIRS = {")": "(", "]": "["}


def may_have_addresses(text: str) -> bool:
    """Whether a closer look is worth its time."""
    return (
        "://" in text or "www." in text or "WWW." in text or "Www." in text
        or "[" in text or "{#" in text or "ref:" in text
    )  # fmt: skip


def find_addresses(text: str) -> Iterator[Span]:
    """Where they stand, in order, without the punctuation of the sentence around them."""
    for found in _FOUND.finditer(text):
        start, end = found.span()
        if text[start] not in "<[{":
            end = start + len(_trimmed(found[0]))
        if end - start > len("https://"):
            yield Span(start, end, "markup" if _IMAGE.match(found[0]) else "url")


def _trimmed(address: str) -> str:
    while address:
        last = address[-1]
        if last in _AFTER or (last in _PAIRS and address.count(_PAIRS[last]) < address.count(last)):
            address = address[:-1]
        else:
            break
    return address
