from __future__ import annotations

import pytest

from tactful import Classifier, InputError
from tactful.own_words.transcripts import speakers_of

TALKS = {
    "roles": "Customer: Where is my parcel?\nAgent: I'm so sorry, it leaves today.",
    "one line": "Agent: Hello, how can I help? Customer: My parcel never came. Agent: So sorry!",
    "capitals": "AGENT: Thanks for waiting.\nCUSTOMER: no problem at all",
    "bold": "**Agent:** Thanks for waiting.\n**Customer:** no problem at all",
    "names in brackets": "Agent (Ana): Thanks for waiting.\nCustomer (Jane): no problem at all",
    "time in brackets": "[10:32] Ana: Hello Jane\n[10:33] Jane: hi",
    "time with seconds": "10:32:05 AM Ana: Hello Jane\n10:33:10 AM Jane: hi",
    "round brackets": "(10:32:05) Visitor 4821: hello?\n(10:33:10) Ana: Hello",
    "time after the name": "Ana (10:32): Hello Jane\nJane (10:33): hi",
    "whatsapp": "03/11/2025, 10:32 - Ana: Hello Jane\n03/11/2025, 10:33 - Jane: hi",
    "irc": "[10:32] <Ana> hello\n[10:33] <Jane> hi there",
    "slack": "Ana Silva  10:32 AM\nHello Jane, it leaves today.\n\nJane Doe  10:33 AM\nThanks!",
    "ticket history": "Ana Silva (Lumen)\nNov 3, 2025, 10:32\n\nIt leaves today.\n\nJane Doe\n"
    "Nov 2, 2025, 09:15\n\nWhere is it?",
    "names": "Ana: Hello Jane, how are you?\nJane: fine thanks\nAna: Good to hear.",
    "you": "You: Where is my parcel?\nAna: I'm so sorry, it leaves today.",
    "bot": "Bot: Hi! What can I do?\nUser: I want to talk to a person",
    "said": "Jane said:\nWhere is my parcel?\nAna said:\nIt leaves today.\nJane said:\nThanks.",
    "teams": "[4/11 09:11] Silva, Ana\nHello Jane\n[4/11 09:12] Doe, Jane\nhi",
    "dashes": "Agent - Hello there, how are you?\nCustomer - It broke yesterday.",
    "brackets": "[Agent] Hello there, how are you?\n[Customer] It broke yesterday.",
    "two lines": "Jane: I never got it!\nAna: I'm so sorry about that.",
    "phone call": "Speaker 1: Thank you for calling.\nSpeaker 2: My phone is broken.",
    "iso time": "2025-11-04T09:11:02Z Ana: Hello\n2025-11-04T09:12:02Z Jane: hi",
    "bold, times": "**Tom** (8:15 AM): Where is it?\n**Ana** (8:16 AM): I'm so sorry.",
    "json": '[{"role": "assistant", "content": "So sorry!"}, {"role": "user", "content": "ok"}]',
    "short, with times": "10:02 Ed: order missing\n10:03 Jo: checking\n10:05 Ed: great",
    "two short lines with times": "[10:02] Ed: thanks\n[10:03] Jo: sorry",
    "short, of two": "Ed: I'm so angry\nJo: Hi Ed, I see the fee.\nEd: please remove it\nJo: Done.",
    "roles above": "AGENT\nHello, this is Tom.\n\nCALLER\nHi, it leaks.\n\nAGENT\nI am sorry.",
    "roles above, lone returns": "AGENT\rHello, I'm Tom.\rCALLER\rIt leaks.\rAGENT\rI am sorry.",
    "larger than": "Tom > where is my parcel?\nAna > I'm sorry, it left.\nTom > ok",
    "wrote": 'Tom wrote: "Where is it?"\nAna wrote: "I\'m sorry."\nTom wrote: "You are useless."',
    "wrote, with times": "10:02 You wrote: where is it?\n10:03 Ana wrote: on its way.",
    "webvtt": "WEBVTT\n\n00:00:00.000 --> 00:00:04.000\n<v Tom>Good morning.</v>\n\n"
    "00:00:04.500 --> 00:00:07.000\n<v Anna>Hi Tom, it leaks.</v>",
    "servicenow": "2025-03-03 10:02:11 CET - Tom Meyer\tAdditional comments\nQuota raised.\n\n"
    "2025-03-03 09:12:33 CET - Anna Kurz\tAdditional comments\nI am so sorry to nag.",
    "german": "Kunde: Wo ist mein Paket? Ich warte.\nMitarbeiter: Es geht heute raus, bis bald.",
}


@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS.keys())
def test_a_talk_is_refused_with_what_to_do(classifier: Classifier, talk: str) -> None:
    assert len(speakers_of(talk)) > 1
    with pytest.raises(InputError, match="each turn of the agent as a reply of its own") as caught:
        classifier.classify(talk)
    assert caught.value.code == "reply_is_transcript"
    assert classifier.classify(talk, format="text").scores


@pytest.mark.parametrize(
    "reply",
    [
        "Agent: I'm so sorry, it leaves today.",
        "[10:32] Ana: Hello\n[10:33] Ana: It leaves today.",
        "Customer: Jane Doe\nAgent: Ana\nOrder: 17\n\nYour lamp was repaired.",
        "Note: the shop is closed.\nTip: use the app.\nNote: it is free.",
        "Step 1: open the lid. Step 2: press the button. Step 1: again.",
        "Q: Is it free?\nA: Yes.\nQ: For how long?\nA: A month.",
        "Opening hours:\nMonday: 9:00 - 17:00\nTuesday: 9:00 - 17:00\nSunday: closed",
        "Your flight leaves at 10:32, and at 11:05 you land in Porto: gate 7.",
        "Two options:\nRed: it ships today.\nBlue: it ships on Friday.\nYour choice!",
        "[10:32] Parcel left Porto\n[11:40] Parcel reached Lisbon",
        "Options (agent) - see below.\nThe agent - Ana - will call.",
        "Your agent: Ana. Your customer number: 17.",
        "Here is what I found: the parcel is in Porto. Good news: it leaves today.",
        "Support: 9 to 5\nPhone: +44 20 7946 0123",
        "10:32 the parcel left Porto\n11:40 the parcel reached Lisbon",
        "Opening hours:\nMon 10:00\nTue 11:00",
        "Doors open 10:00\nShow starts 11:00\nEnjoy, and sorry again!",
        "Berlin 10:05\nHamburg 12:10\nHave a good trip!",
        "Parcel 1 (10:05): delivered\nParcel 2 (10:10): delivered\nSo sorry for the wait!",
        "Pick-up 10:00: Anna\nDrop-off 11:00: Ben",
        "10:05 London: board the train\n12:40 Paris: change platforms",
        "Good news: it works!\nBad news: it costs more, sorry.",
        "Blue: sold out.\nRed: two left.",
        "Open Tools > Rules.\nOpen File > Options.",
        'You wrote: "My machine leaks."\nYour colleague said: "It is new."',
        'You wrote: "Where is it?"\n\nDHL said: "In Mainz."\n\nI am sorry for the wait.',
        "You said: it leaks at the back.\nOur policy says: two years.",
        "Berlin 10:05\nFrankfurt am Main 11:10\nBad Homburg vor der Höhe 12:10",
        "Please send me:\nClient: your full name\nContract: your contract number",
        "Support: call us\nTeam: ask me",
        "Client\nAnna Kurz, since 2021.\nAdvisor\nTom Meyer, in Leeds.",
        "Client\nAnna Kurz\nAdvisor\nTom Meyer\nClient\nsince 2021",
    ],
)
def test_one_voice_is_no_talk(reply: str) -> None:
    assert speakers_of(reply) == ()
