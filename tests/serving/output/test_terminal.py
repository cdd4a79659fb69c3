from __future__ import annotations

from rich.console import Console

from tactful.classifier import Classifier
from tactful.output.terminal import render_reading

BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def test_nothing_in_a_reply_steers_the_terminal(classifier: Classifier) -> None:
    reply = f"sorry\x1b[31m{BIDI}\x9b sorry\u202e"
    console = Console(width=200, no_color=True)
    with console.capture() as capture:
        console.print(render_reading(classifier.classify(reply), reply))
    shown = capture.get()
    assert "sorry\u241b[31m" + "\ufffd" * 10 + " sorry\ufffd" in shown
    assert not set(shown) & {*BIDI, "\x1b", "\x9b"}
