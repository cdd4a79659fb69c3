from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful import Classifier, InputError
from tactful.own_words.formats import FORMATS, Format
from tactful.own_words.preparation import OwnWords, prepare
from tactful.own_words.traced_text import WHYS, Skipped

CASES = yaml.safe_load(Path(__file__).with_name("reply_cases.yaml").read_text("utf-8"))
FURTHER = yaml.safe_load(Path(__file__).with_name("further_reply_cases.yaml").read_text("utf-8"))
BLIND = yaml.safe_load(Path(__file__).with_name("blind_reply_cases.yaml").read_text("utf-8"))
SHIPPED = Path(__file__).parents[3] / "data_cards" / "support_replies"


def unmarked(text: str) -> tuple[str, list[bool]]:
    """A case's reply, and for each character whether it is the agent's."""
    reply, own, inside = [], [], False
    for letter in text:
        if letter in "⟦⟧":
            inside = letter == "⟦"
        else:
            reply.append(letter)
            own.append(inside)
    return "".join(reply), own


def skipped(reply: str, format: Format = "auto") -> tuple[Skipped, ...]:
    prepared = prepare(reply, None, format)
    return prepared.skipped if isinstance(prepared, OwnWords) else ()


def left(reply: str, format: Format = "auto") -> str:
    """What is read, line breaks and runs of spaces as one space."""
    prepared = prepare(reply, None, format)
    text = prepared.traced.text if isinstance(prepared, OwnWords) else prepared[0]
    return " ".join(text.split())


@pytest.mark.parametrize("case", CASES + FURTHER, ids=lambda case: case["name"])
def test_the_agents_words_are_read_and_no_others(case: dict[str, Any]) -> None:
    reply, own = unmarked(case["reply"])
    stretches = skipped(reply)
    out = [any(s.start <= place < s.end for s in stretches) for place in range(len(reply))]
    for is_own, is_out, letter in zip(own, out, reply, strict=True):
        if letter.isalnum():
            assert is_own is not is_out, reply
    assert {stretch.why for stretch in stretches} >= set(case.get("why", ()))


def as_expected(case: dict[str, Any]) -> bool:
    reply = case["reply"]
    try:
        stretches, text = skipped(reply), left(reply)
    except InputError as error:
        return bool(error.code == case.get("error"))
    out = [any(s.start <= place < s.end for s in stretches) for place in range(len(reply))]

    def is_told(stretch: str) -> bool:
        at = reply.index(stretch)
        return all(
            is_out or letter.isspace() for is_out, letter in zip(out[at:], stretch, strict=False)
        )

    kept = all(" ".join(stretch.split()) in text for stretch in case.get("keep", ()))
    told = all(map(is_told, case.get("skip", ())))
    return "error" not in case and kept and told and not (case.get("same") and stretches)


@pytest.mark.parametrize("case", BLIND, ids=lambda case: case["name"])
def test_replies_of_somebody_who_had_not_read_the_code(case: dict[str, Any]) -> None:
    assert as_expected(case) is not ("missed" in case)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_no_evidence_stands_in_what_was_left_out(
    classifier: Classifier, case: dict[str, Any]
) -> None:
    reply, _ = unmarked(case["reply"])
    reading = classifier.classify(reply)
    for task in reading.labels:
        for label in reading.decided(task):
            for span in label.evidence:
                assert reply[span.start : span.end] == span.text
                for stretch in reading.skipped:
                    assert span.end <= stretch.start or stretch.end <= span.start


def test_words_of_the_customer_change_nothing(classifier: Classifier) -> None:
    own = "The parcel is late."
    mail = (
        f"{own}\n\nOn Mon, Nov 3, 2025 at 10:32 AM Jane <j@example.com> wrote:\n> So sorry, thanks!"
    )
    alone, read = classifier.classify(own), classifier.classify(mail)
    assert read.labels == alone.labels
    assert read.scores == alone.scores
    assert read.to_dict()["skipped"] == [{"start": 21, "end": len(mail), "why": "quoted"}]
    whole = classifier.classify(mail, format="text")
    assert "apology" in [label.label for label in whole.strategies]
    assert whole.skipped == ()


def test_the_shipped_replies_are_read_as_they_stand() -> None:
    for file in sorted(SHIPPED.glob("*.jsonl")):
        for line in file.read_text("utf-8").splitlines():
            reply = json.loads(line)["reply"]
            # A few quote the customer with a mark, as writers in forums do; of others no more than
            # an address is left out.
            if not reply.startswith(">"):
                read = prepare(reply, "context")
                if "https://" in reply:
                    assert isinstance(read, OwnWords)
                    assert {each.why for each in read.skipped} == {"url"}
                else:
                    assert read == (reply, "context")


@pytest.mark.parametrize(
    "reply",
    [
        "Open Settings > Privacy, then press the <Save> button & wait.",
        ">:( that should not happen, I'm sorry!",
        "Two things:\n- the lamp is ready\n- the shade follows -- tomorrow\n\nBest,\nAna",
        "From: Porto\nTo: Lisbon\nDate: 3 November\n\nYour seats are booked.",
        "As you wrote on Monday: the parcel was open. We send a new one.",
        "Call us on +44 20 7946 0123, we are there until six.",
        "Is 3 < 5 and 7 > 4? Yes & no.",
        "| plan | price |\n| basic | 5 |\n| full | 9 |",
        "Your visit:\n\nDr Anna Smith\nMar 3, 2026, 10:14 AM\n\nPlease bring the letter. Sorry!",
        "We moved.\n\nOur new address:\n12 Main Street, Springfield\nSee you there!",
        "Our plans:\n| basic: 5 a month\n| full: 9 a month\nSorry that it was not clear!",
        "Hi Tom,\n\n| Please note: we're so sorry, the shop is closed on Monday.\n\nBest,\nPriya",
        "| I'm so sorry, Tom, I'll send it today.",
        "| Basic, 5 EUR\n| Pro, 9 EUR\n\nThose are our plans, Jane. Sorry for the wait!",
        "Write to help@lumen.example, that is the quickest way.",
        "Total: 20\nShipping: 3\nOrder: 17\nNote: paid",
        "Thanks,\nThe Lumen Team",
        "---\nThe first part.\n---\nThe second part.",
        "[Name], your request is confirmed.",
        "<3 thank you!",
        "I'm sorry you have received this email in error; I've taken you off the list.",
        "I understand you're getting this message because the app lost its session. I'm sorry.",
        "You're getting this message because your session ended, sorry!",
        "Sorry about that! To unsubscribe, please click the link in Settings. Thank you!",
        "To unsubscribe, click the link below any of our mails.",
        "Unsubscribe requests take a day, sorry!",
        "Contact us, we are here for you. I'm sorry.",
        "That was an automatically generated message, I'm sorry for the confusion!",
        "This email was sent to you by mistake, I'm sorry!",
        "Our VAT number: GB 123456789. Thank you!",
        "Please do not reply to this email, it is not read, sorry! Write to me instead.",
        "Sent from the warehouse this morning, so you should get it tomorrow. Sorry again!",
        "Sent with the wrong label, I'm afraid: my apologies.",
        "Written with a heavy heart: I'm sorry.\nThanks for choosing us.",
        "Here is the plan.\n---\nSorry about the delay!\nCall us: 0800 555 0134",
        "Please send it to:\n\nVolta Returns\n12 Main Street\nSpringfield, IL 62701",
        "It's booked.\n--\nI'm sorry, and thank you for waiting with us all this time.",
        'Hi Tom, on Tuesday you wrote: "the meter is broken". I\'m so sorry, we replace it.',
        "On 3 March our carrier wrote:\nno such house.\nI'm sorry.",
        "Our carrier wrote on 3/3/2025:\nno such house.\nI'm sorry.",
        "On Monday, 3 March 2025, you wrote:\n\nit never came.\n\nI'm sorry about it.",
        "Sent from my desk while on hold with the carrier",
        "DHL wrote on 3/3/2025:\nno such house.\n\nI'm so sorry about it.",
        "UPS wrote (12.03.2025):\nno such house.\n\nI'm so sorry about it.",
        f"Tom Reed wrote that the lamp {'of the upper hall ' * 4} broke on 3/3/2025 10:30:\nSorry!",
        # Four words before the verb may be a sentence.
        "It leaves today.\n\nJane Ann van Doe wrote on 4.11.2025 10:30: I'm so sorry, thank you!",
        "-- 3 March 2025: what Ana wrote --\nIt leaves today. I'm so sorry.",
        "View request: I am sorry it took long, it is on the page of orders.",
        "We support firmware <v 2.1> and <v 2.2>.",
        "Our new colours:\nBlue, Limited Edition\nRed, Limited Edition",
        "It ships today.\n\nBest,\nAna\nStock is limited, hurry up",
        "If you are not the intended recipient of the parcel, I'm sorry: we fetch it.",
        "Hi Ed\n\nHow did I do today? I'm sorry it took so long!",
    ],
)
def test_ordinary_replies_are_left_alone(reply: str) -> None:
    assert prepare(reply, None) == (reply, None)


@pytest.mark.parametrize(
    "sentence",
    [
        "The gift card is intended only for the Berlin shop, and I'm sorry about it.",
        "The discount is only for the person who booked. I'm sorry that it was not clear!",
        "Powered by two AA batteries, the lamp lasts a month. I hope your son enjoys it!",
        "Your car is registered in England, so we need form 7. Thank you for your patience!",
        "I've attached the confidentiality statement you asked for. Thank you!",
        "If you received this message by mistake, please ignore it. I'm so sorry!",
        "Your request 48213 has been closed. I'm sorry it took so long.",
        "View this ticket in your portal and add the photo there. I'm happy to help!",
        "Manage your preferences under Settings. I'm sorry for the many mails!",
        "This email is intended to reassure you: nothing was lost. I feel for you.",
        "We found three: (a) 2022, (b) 2023, (c) 2024. I'm sorry for the muddle.",
        "Disclaimer: I'm no doctor, but I do feel for you.",
        "How did I do today? I'd love to hear it!",
    ],
)
@pytest.mark.parametrize("reply", ["{0}", "Hi Ed,\n\n{0}", "It's done, Ed. {0}\n\nBest,\nAna"])
def test_a_sentence_with_words_of_a_footer_is_read(sentence: str, reply: str) -> None:
    assert prepare(reply.format(sentence), None) == (reply.format(sentence), None)


@pytest.mark.parametrize(
    ("reply", "own"),
    [
        ("{0} I hope it helps. This message is confidential.", "all"),
        ("{0}\n\nI hope it helps. This message is confidential.", "all"),
        ("{0}\n\nThis message is confidential. I hope it helps.", "{0}"),
        ("{0} If you are not the intended recipient, please delete it. Sorry!", "{0}"),
        ("{0} Confidential:\nThis email is intended only for the named. All rights reserved.",
         "{0} Confidential:"),
        ("{0}\nThis message is confidential,\na\nb\nc\nall rights reserved. Sorry!", "{0}"),
        ("{0}\nThis message is confidential" + 5 * ",\nand so on and on" + "\nall rights reserved",
         "all"),
        ("CONFIDENTIALITY NOTICE: for the addressee. Sorry!\n\n{0}", "{0}"),
        ("{0}\nDiese E-Mail enthält vertrauliche Angaben. Vielen Dank!", "{0}"),
    ],
)  # fmt: skip
def test_one_sign_of_a_legal_notice_is_one_too_few_within_a_paragraph(reply: str, own: str) -> None:
    given = reply.format("I have asked for it, Ed.")
    expected = given if own == "all" else own.format("I have asked for it, Ed.")
    assert left(given) == " ".join(expected.split())


def test_a_survey_below_a_quotation_is_the_agents() -> None:
    assert left("> Where?\n\nHow did we do that? Sorry!") == "How did we do that? Sorry!"


@pytest.mark.parametrize(
    "attribution",
    [
        "On Tuesday, November 4, 2025, Tom Reed wrote:",
        "Jane van Doe wrote:\n>",
    ],
)
def test_who_wrote_begins_a_message(attribution: str) -> None:
    reply = f"It leaves today.\n\n{attribution} I'm so sorry, thank you!"
    assert left(reply.replace(": I'm", ":\n\nI'm")) == "It leaves today."


@pytest.mark.parametrize(
    "comment",
    [
        "Tuesday, Nov 7, 2025, 10:30 AM",
        "Installation, Nov 7, 2025, 10:30 AM",
        "04.11.2025 10:30\n",
        "04.11.2025 10:30\n\n04.12.2025 10:30",
    ],
)
def test_a_date_in_a_ticket_is_no_comment(comment: str) -> None:
    reply = f"Hi Tom, done. Your new slot:\n\n{comment}\n\nI'm so sorry!"
    assert left(reply + SERVICE) == " ".join(reply.split())
    greeted = "Hi Tom\n\nNov 7, 2025, 10:30 AM\n\nI'm so sorry!"
    assert left(greeted + SERVICE) == " ".join(greeted.split())


def test_a_comma_in_the_company_is_no_end_of_the_name() -> None:
    older = "Tom Reed (Acme, Inc)\nNov 3, 2025, 8:15 AM\n\nThank you for nothing!"
    assert left(f"It's done, Tom.\n\n{older}{SERVICE}") == "It's done, Tom."


@pytest.mark.parametrize(
    "footer",
    [
        "This email is confidential. It is intended solely for the addressee. Sorry!",
        "If you have received this\nemail in error, please notify the sender. Sorry!",
        "This message is intended only for the person\nnamed above. All rights reserved.",
    ],
)
def test_a_notice_of_two_signs_ends_what_the_agent_says(footer: str) -> None:
    assert left(f"It's done, Ed.\n\n{footer}") == "It's done, Ed."
    if "\n" not in footer:
        assert left(f"It's done, Ed. {footer}") == "It's done, Ed."


def test_a_tag_in_a_mail_of_lines_takes_no_line_away() -> None:
    mail = (
        "Hi Anna,\n\nOn 03.03.2025 09:12, Anna wrote:\n> I am so angry. When?\n\nOn Friday.\n\n{0}"
    )
    answer = "> And how do I break the line?\n\nWith <br>, happy to help.\n"
    assert left(mail.format(answer)) == "Hi Anna, On Friday. With , happy to help."


def test_a_tag_that_is_spoken_of_swallows_nothing() -> None:
    reply = "I'm sorry. Put the <script> tag right before </body> and reload."
    assert left(reply) == "I'm sorry. Put the tag right before and reload."
    assert left(f"<p>It left.</p>{reply}") == "It left. I'm sorry. Put the"
    assert left("<p>It left.</p><style>p {") == "It left."
    page = "<p>It\n\nleft\n\ntoday.</p>"
    read = prepare(page, None)
    assert isinstance(read, OwnWords)
    assert "\n" not in read.traced.text.strip()


def test_a_quotation_takes_no_sentence_above_it_along() -> None:
    reply = "I understand your anger. Our policy says:\n> no refunds\nBut I'll ask again."
    assert left(reply) == "I understand your anger. Our policy says: But I'll ask again."


SERVICE = "\n\nThis email is a service from Volta Energy. Delivered by Zendesk"


@pytest.mark.parametrize(
    ("reply", "footer"),
    [
        ("Hi Tom,\n\nNew appointment:\n07/11/2025 10:30\n\nSorry for the wait!", SERVICE),
        ("Hi Tom, your engineer comes on:\nNov 7, 2025, 10:30 AM\n\nI'm so sorry!", SERVICE),
        ("Hi,\n\nYour technician will come\nNov 3, 2025, 10:00 AM\n\nPlease be there.", SERVICE),
        ("It left, Tom.", SERVICE),
        ("Hi Ana,\n\nYour 2 parcels are now on the way", "\nUnsubscribe"),
        ("Hi Ana,\n\nThe number of your newsletter subscription is 48213", "\nUnsubscribe"),
        ("Hi Ana,\n\nSend it to 12 High Street, Leeds, and write:", "\nUnsubscribe me"),
        ("Your part is late.\nSorry! Our support team calls you.", "\nPowered by Zendesk"),
        ("I'm so sorry, the part is late. Come to 12 Main Street then.", "\nUnsubscribe"),
        ("Two ways to stop the mails:\n\nWrite to our team at Main Street", "\nUnsubscribe"),
    ],
)
def test_what_stands_above_a_footer_is_read(reply: str, footer: str) -> None:
    text = left(reply + footer)
    assert text.startswith(" ".join(reply.split()))


@pytest.mark.parametrize(
    "opening", ["", "Hi Tom,\n\n", "[Volta] Update\n\n", "You can see it in the help centre.\n\n"]
)
@pytest.mark.parametrize("above", [True, False])
def test_the_newest_comment_of_a_ticket_is_read(opening: str, *, above: bool) -> None:
    notice = "Your request (48213) has been updated.\n\n"
    top = opening + notice if above else notice + opening
    slot = "Hi Tom, here is your new slot:\nNov 7, 2025, 10:30 AM\n\nI'm so sorry for the delay."
    reply = (
        f"{top}Priya Nair\nNov 4, 2025, 10:14\u202fAM\n\n{slot}\n\n"
        f"Tom Reed\nNov 3, 2025, 8:15\u202fAM\n\nThank you for nothing!{SERVICE}"
    )
    text = left(reply)
    assert text.endswith(" ".join(slot.split()))
    assert "Priya" not in text


@pytest.mark.parametrize(
    "reply",
    [
        "Plans:\n| Basic, 5\n| Pro, 9\n\nPick one.\n\n{0}\n| Which plans?\n| Sorry to ask.",
        "Plans:\n| Basic, 5\n| Pro, 9\n\nPick one.\n\n{0}\n| Order 123\n\nSorry to ask.",
        "Plans:\n| Basic, 5\n| Pro, 9\n\nPick one.\n\n{0}\n| Which?\n| | We said.\n|Sorry.",
    ],
)
def test_bars_are_quotation_marks_below_who_wrote_alone(reply: str) -> None:
    text = left(reply.format("On Mon, Nov 3, 2025 at 10:14 AM Jane Roe <jane@x.example> wrote:"))
    assert text == "Plans: | Basic, 5 | Pro, 9 Pick one."


def test_a_separator_is_nobody_who_comments() -> None:
    top = "##- Please type your reply above this line -##\n\nHi Ana, it is done.\n\n"
    below = "-----Original Message-----\nNov 3, 2025, 10:14 AM\n\nYou are useless, sorry!"
    assert left(top + below) == "Hi Ana, it is done."


def test_a_line_above_everything_is_no_sender() -> None:
    reply = "Visit www.volta.example\nUnsubscribe\n\nI'm so sorry, write to me at ana@volta.example"
    assert "I'm so sorry, write to me at" in left(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "> You never answered me.\n> I am furious.",
        "> Where is it?",
        "On Mon, Nov 3, 2025 at 10:32 AM Jane <jane@example.com> wrote:\n\nI'm so sorry.",
        "-----Original Message-----\nFrom: Jane\nSubject: Hi\n\nThanks!",
        "<p></p><br>&nbsp;<div>\u200b</div>",
        "<blockquote>sorry, thank you</blockquote>",
        "<style>p { color: red }</style><script>sorry()</script>",
        "-- \nAna Silva\nCustomer Care | Lumen Ltd\n+44 20 7946 0123",
        "https://lumen.example/sorry",
        "Sent from my iPhone",
        "This email and any attachments are confidential and intended solely for the addressee.",
    ],
)
def test_a_reply_without_words_of_the_agent(classifier: Classifier, reply: str) -> None:
    with pytest.raises(InputError, match="no words of the agent") as caught:
        classifier.classify(reply)
    assert caught.value.code == "reply_only_quotes"
    assert classifier.classify(reply, format="text").skipped == ()
    [error] = classifier.classify_many([reply], errors="return")
    assert isinstance(error, InputError)
    assert (error.code, error.index) == ("reply_only_quotes", 0)


def test_a_format_says_what_to_look_for() -> None:
    reply = "Press <b>Save</b>.\n> thank you"
    assert skipped(reply, "text") == ()
    assert [stretch.why for stretch in skipped(reply, "email")] == ["quoted"]
    assert [stretch.why for stretch in skipped(reply, "html")] == ["markup", "markup", "quoted"]
    assert skipped(reply) == skipped(reply, "html")
    with pytest.raises(InputError, match="'auto', 'text', 'email', 'html'"):
        Classifier.classify(None, "a", format="pdf")  # type: ignore[arg-type]


def test_an_entity_is_read_as_what_it_means(classifier: Classifier) -> None:
    reply = "I&#39;m <b>so</b> sorry &amp; glad &lt;3"
    assert left(reply) == "I'm so sorry & glad <3"
    [apology] = [
        label for label in classifier.classify(reply).strategies if label.label == "apology"
    ]
    assert "sorry" in " ".join(span.text for span in apology.evidence)
    for none in ("Terms &; &#xZZ; &nosuch; &#;", "Yes & no; so be it"):
        assert prepare(none, None) == (none, None)


def test_words_of_attributes_hide_nothing() -> None:
    assert left('<p title="the hidden fee">Sorry about the fee.</p><br>') == "Sorry about the fee."
    assert left('<p style="overflow: hidden ; color: red">Sorry.</p><br>') == "Sorry."
    assert left('<p class="signature-pad-help">The pad is broken, sorry.</p>') == (
        "The pad is broken, sorry."
    )
    assert left("<p hidden>Thanks</p><p>Done.</p>") == "Done."
    assert left('<p style="max-height:0;opacity:0">Thanks</p><p>Done.</p>') == "Done."


def test_a_close_in_a_marked_signature_is_kept() -> None:
    assert left("Done.\n-- \nWarm regards,\nAna Silva\nSupport Agent\n+1 555 010 9999") == (
        "Done. Warm regards, Ana Silva"
    )
    html = '<p>Done.</p><div class="gmail_signature">Best,<br>Ana<br>Sales Manager<br>Lumen</div>'
    assert left(html) == "Done. Best, Ana"


@pytest.mark.parametrize(
    "reply",
    [
        "<div>" * 12_000 + "the parcel" + "</div>" * 12_000,
        "<blockquote>" * 50 + "thanks" + "</blockquote>" * 50 + "the parcel" * 6_000,
        "the parcel " + '<a href="' * 12_000,
        "the parcel " + "<a b='>\" " * 12_000,
        "the parcel " + "<!--" * 20_000,
        "the parcel <b>x</b>" + "<script>" * 12_000,
        "the parcel " + "&amp" * 20_000 + "<br>",
        "the parcel\n" + "> " * 40_000,
        "the parcel\n" + "On Monday 3 wrote " * 6_000,
        "the parcel\n" + "Unsubscribe a b c d\n" * 12_000,
        "the parcel\n" + ("|" + ">" * 498 + "|\n") * 400,
        "the parcel\n\n" + (("1 " * 249 + "\n") * 4 + "Unsubscribe\n\n") * 50,
        "the parcel\n" + ("On 3 Nov 2025, at 10:32 Jane\n<a@b.example> said\n" * 2_000),
        "the parcel\n" + "From: a@b.example\n" * 6_000,
        "the parcel" + " http://a" * 12_000,
        "the parcel" + "https://" * 12_000,
        "the parcel" + "(" * 60_000,
        "the parcel\n" + "-" * 100_000,
        "the parcel\n" + "_ " * 50_000,
        "the parcel " + "Agent " * 16_000 + ":",
        "the parcel\n" + "Ana: 10:32 " * 10_000,
        "the parcel\n" + "Best,\nAna\n+1 555 010 9999\n" * 4_000,
        "the parcel\n" + "-- \nAna\n" * 10_000,
        "the parcel\n" + "this e-mail and any attachments " * 4_000,
        "the parcel\n" + "[image" * 16_000 + "ref:" * 10_000,
        "the parcel <p>x</p> " + '<div class="gmail_quote">forwarded message<blockquote>' * 2_000,
    ],
    ids=range(26),
)
def test_nonsense_made_to_be_slow_ends(reply: str) -> None:
    # Whatever it is taken for, it ends.
    with contextlib.suppress(InputError):
        assert left(reply).startswith("the parcel")


MARKS = [
    "\n", "\n> ", " <b>", "</b>", "<br>", "<blockquote>", "</blockquote>", "</div>",
    "<div class='gmail_quote'>", "<p", ">", '"', "&amp;", "&#128578;", "&nbsp;",
    "https://a.example/b ", "\n-- \n",
    "\nOn 3 Nov 2025 at 10:32, J <j@b.example> wrote:\n", "\nBest regards,\nAna\n", "<!--", "-->",
    "\nSupport Team | Lumen Ltd\n", "\n\n", "\u202eשלום\u202c", "👩‍👩‍👧", "\ud800", "\x00", "İ",
    "<script>", "</script>", "sorry", "thank you", " the parcel. ",
    "This e-mail is confidential.", "\r\n",
    "<span style='display:none'>", "</span>", "\nSent from my iPhone\n", "Agent: ", "[10:32] ",
]  # fmt: skip
mail = st.lists(st.sampled_from(MARKS) | st.text(max_size=6), max_size=30).map("".join)


@settings(deadline=None, max_examples=300)
@given(reply=mail, format=st.sampled_from(FORMATS))
def test_every_character_is_read_where_it_stands_or_left_out(reply: str, format: Format) -> None:
    try:
        prepared = prepare(reply, None, format)
    except InputError:
        return
    if not isinstance(prepared, OwnWords):
        assert prepared == (reply, None)
        return
    assert format != "text"
    before = 0
    for stretch in prepared.skipped:
        assert before <= stretch.start < stretch.end <= len(reply)
        assert stretch.why in WHYS
        before = stretch.end
    text, traced = prepared.traced.text, prepared.traced
    for place, letter in enumerate(text):
        originals = traced.originals(place, place + 1)
        for start, end in originals:
            # White space between two stretches of one kind stands in both: it is nobody's word.
            assert letter.isspace() or all(
                s.end <= start or end <= s.start for s in prepared.skipped
            )
            source = reply[start:end]
            assert source == letter or source.startswith("&") or (source + letter).isspace()
        assert originals or letter.isspace()
    whole = [
        place for first, last in traced.originals(0, len(text)) for place in range(first, last)
    ]
    out = [place for s in prepared.skipped for place in range(s.start, s.end)]
    assert sorted({*whole, *out}) == list(range(len(reply)))


@settings(deadline=None, max_examples=100)
@given(reply=mail)
def test_a_reading_of_any_mail_quotes_its_original(classifier: Classifier, reply: str) -> None:
    try:
        reading = classifier.classify(reply)
    except InputError:
        return
    for task in reading.labels:
        for label in reading.decided(task):
            for span in label.evidence:
                assert reply[span.start : span.end] == span.text != ""
                for stretch in reading.skipped:
                    assert span.end <= stretch.start or stretch.end <= span.start
