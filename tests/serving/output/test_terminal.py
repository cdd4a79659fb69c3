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


def test_what_was_left_out_is_grey_and_told(classifier: Classifier) -> None:
    reply = "Your parcel is late, sorry.\n> thank you"
    console = Console(width=200, force_terminal=True, color_system="standard")
    with console.capture() as capture:
        console.print(render_reading(classifier.classify(reply), reply))
    shown = capture.get()
    assert "\x1b[2m> thank you\x1b[0m" in shown
    assert "not the agent's words: quoted (11 characters)" in shown
    assert "English" not in shown
    german = "Es tut mir leid, Ihr Paket kommt erst morgen an."
    with console.capture() as capture:
        console.print(render_reading(classifier.classify(german), german))
    assert "does not look like English" in capture.get()
