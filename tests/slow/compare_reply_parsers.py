"""The cases of replies beside libraries that find what is not the writer's own in mail.

Not part of the project's environment: in one that has tactful, ``pip install mail-parser-reply
email-reply-parser quotequail selectolax pyyaml``, then run this file.
Libraries give text without places, so that words are compared; a case is right where all are.
"""

from __future__ import annotations

import html.parser
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import quotequail
import yaml
from email_reply_parser import EmailReplyParser as GithubParser
from mailparser_reply import EmailReplyParser
from selectolax.lexbor import LexborHTMLParser

from tactful import InputError
from tactful.own_words.preparation import OwnWords, prepare

CASES = Path(__file__).parents[1] / "serving" / "own_words" / "reply_cases.yaml"
LANGUAGES = ["en", "de", "fr", "es", "it", "pt", "nl"]
HIDDEN = (
    "head, style, script, title, blockquote, [style*='display:none'], .gmail_quote, .gmail_attr"
)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def tactful(text: str) -> str:
    try:
        prepared = prepare(text, None)
    except InputError:
        return ""
    return prepared.traced.text if isinstance(prepared, OwnWords) else prepared[0]


def quotequail_text(text: str) -> str:
    return "\n".join(part for own, part in quotequail.quote(text, quote_intro_line=True) if own)


def quotequail_html(text: str) -> str:
    return selectolax_text(
        "".join(part for own, part in quotequail.quote_html(text, quote_intro_line=True) if own)
    )


def selectolax_text(text: str) -> str:
    tree = LexborHTMLParser(text)
    for node in tree.css(HIDDEN):
        node.decompose()
    return tree.text(separator=" ")


class _Stdlib(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.text = 0, ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in ("head", "style", "script", "blockquote")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("head", "style", "script", "blockquote")

    def handle_data(self, data: str) -> None:
        self.text += "" if self.hidden else f" {data} "


def stdlib_text(text: str) -> str:
    parser = _Stdlib()
    parser.feed(text)
    parser.close()
    return parser.text


PLAIN: dict[str, Callable[[str], str]] = {
    "tactful": tactful,
    "mail-parser-reply": lambda text: EmailReplyParser(LANGUAGES).parse_reply(text=text) or "",
    "email-reply-parser": GithubParser.parse_reply,
    "quotequail": quotequail_text,
}
HTML: dict[str, Callable[[str], str]] = {
    "tactful": tactful,
    "selectolax": selectolax_text,
    "html.parser": stdlib_text,
    "quotequail": quotequail_html,
}


def cases(*, of_html: bool) -> Iterator[tuple[str, str]]:
    """Each reply, and the agent's own words of it."""
    for case in yaml.safe_load(CASES.read_text("utf-8")):
        if ("html" in case["name"]) == of_html:
            marked = case["reply"]
            own = " ".join(re.findall(r"⟦(.*?)⟧", marked, flags=re.DOTALL))
            yield re.sub("[⟦⟧]", "", marked), html.unescape(own) if of_html else own


def compare(readers: dict[str, Callable[[str], str]], *, of_html: bool) -> None:
    known = list(cases(of_html=of_html))
    kind = "HTML" if of_html else "plain text"
    print(f"| {kind}, {len(known)} cases | right | others' words read | own words lost |")
    print("|---|---|---|---|")
    total = sum(len(words(own)) for _, own in known)
    for name, read in readers.items():
        right = extra = lost = 0
        for reply, own in known:
            got, wanted = Counter(words(read(reply))), Counter(words(own))
            extra += (got - wanted).total()
            lost += (wanted - got).total()
            right += got == wanted
        print(f"| {name} | {right} | {extra} | {lost} of {total} |")


if __name__ == "__main__":
    compare(PLAIN, of_html=False)
    print()
    compare(HTML, of_html=True)
