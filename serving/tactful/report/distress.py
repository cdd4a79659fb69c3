"""Whether a customer's words show distress: a lexicon with a handful of patterns.

Distress is what the customer's own words show of (a) *emotion*: fear, grief, shame, anger, despair;
(b) *loss*: death, illness, danger, hardship, something dear or needed gone; (c) *repeated failure*:
it went wrong again, or they have waited or asked for long. Every cue has a weight w, and the score
is 1 - Π(1 - w): one strong cue or two middling ones reach the threshold. Turns that begin with
``Agent:`` are not the customer's. No model is asked: who reads the report can check each case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

Kind = Literal["emotion", "loss", "failure"]
THRESHOLD = 0.5
"""From this score on, a customer counts as distressed."""


@dataclass(frozen=True, slots=True)
class Distress:
    """What was found in one context.

    Attributes:
        score: from 0 to below 1.
        kinds: what the cues speak of, the weightiest first.
    """

    score: float
    kinds: tuple[Kind, ...] = ()

    @property
    def found(self) -> bool:
        """Whether the score reaches `THRESHOLD`."""
        return self.score >= THRESHOLD


@dataclass(frozen=True, slots=True)
class Measured:
    """How well `THRESHOLD` does on contexts labelled by hand; a test holds these to their rows.

    Attributes:
        contexts: how many were labelled.
        distressed: how many of them show distress.
        found: how many of these the score finds.
        wrongly: how many others it takes for distressed.
    """

    contexts: int
    distressed: int
    found: int
    wrongly: int


MEASURED = Measured(contexts=203, distressed=67, found=39, wrongly=5)

# A strong cue is enough alone, two middling ones are; a slight one only adds.
_STRONG, _MIDDLING, _SLIGHT = 0.6, 0.35, 0.15

_CUES: dict[Kind, dict[float, str]] = {
    "emotion": {
        _STRONG: """
            scared, terrified, frightened, afraid, desperate, despair, devastated, heartbroken,
            distraught, humiliated, humiliating, mortified, mortifying, embarrassed, embarrassing,
            ashamed, furious, fuming, livid, outraged, outrageous, outrage, disgusted, disgusting,
            disgraceful, disgrace, appalled, appalling, crying, cried, tears, sobbing, weeping,
            panicking, panic, panicked, panicky, anxious, anxiety, shaking, trembling, exhausted,
            frustrated, frustrating, frustration, stressed, stressful, stress, overwhelmed, upset,
            upsetting, miserable, lonely, hopeless, helpless, unbearable, nightmare, traumatised,
            traumatized, heartbreaking, grieving, unacceptable, ridiculous, infuriating, angry, fed
            up, sick of, tired of, had enough, at my wits end, wits end, at the end of my tether,
            losing my mind, lose my mind, going mad, going crazy, driving me mad, driving me crazy,
            freaking out, breaking down, break down in tears, last straw, so worried, really
            worried, very worried, worried sick, worried to death, feel so stupid, feel stupid, feel
            like a fool, feel like an idiot, felt like a fool, felt like an idiot, feel awful, feel
            terrible, feel sick, bad owner, bad mother, bad mum, bad father, dont know what to do,
            do not know what to do, dont know who to ask, cant cope, cannot cope, cant go on, cant
            take it, cant take this, cant sleep, havent slept, not slept, no sleep, how dare you,
            shame on you, worst, never again, robbery, robbed, scam, scammers, scammed, thieves, rip
            off, ripped off, liars, lied to, jokers, clowns, a joke, laughed at me, laughing at me,
            ruined, ruining, traumatic, cruel, heartless, insulting, insulted, insult, horrible,
            horrified, horrific, horrendous, in bits, i beg, broken hearted, beside myself, hate
            you, hate this, want to die, end of my rope, such an idiot, im so stupid, i am so
            stupid, im an idiot, in a panic, freaked out, oh god, oh my god, nightmares, terrifying,
            cries, in tears, so sad, weep, i want out, you are useless, you people, i want a
            manager, speak to a manager, speak with your manager, speak to your manager, want to
            complain, formal complaint, feel silly, feel ashamed, feel guilty, feel bad, i feel so,
            please i, losing patience, no patience, insomnia, sleepless, dont have the head, i give
            up, screaming, yelled, yelling, bullied, mocked, sneered, disrespectful, patronising,
            humiliate, what am i paying, who is responsible, right now please, wont stop crying,
            absolute joke, this is a joke, disgusted with, never felt so
        """,
        _MIDDLING: """
            worried, worry, worrying, nervous, annoyed, annoying, disappointed, disappointing,
            disappointment, confused, confusing, stuck, stranded, trapped, alone, awful, terrible,
            dreadful, unhappy, sad, gutted, sorry sorry, rude, ignored, unfair, insane, absurd,
            shocking, shocked, useless, pathetic, rubbish, garbage, shambles, incompetent, wtf, omg,
            ffs, urgently, emergency, please please, dying, struggling, suffer, suffering, hurt,
            hurts, painful, hate, blame, shouting, shouted, swear, swore, unbelievable, cant
            believe, cannot believe, dread, dreading, scary, scare, please help, pls help, urgent,
            on my own, lives alone, live alone, travels alone, what do i do, typical, no apology,
            laughing emoji, gave up, giving up, cant go home, joke, manager, supervisor, your fault,
            threatening, threatened, threat, begging, beg, cruelty, panics, shouldnt have, my fault,
            stupid, dumb, idiot, please tell me, tell me theres, oh no, guilty, awkward, tense,
            fear, fears, shaken, feel like, money back now, you think thats ok, you think that is
            ok, is anyone, anyone there, anyone alive, actual human, human being, do something, sort
            it out, fix it
        """,
        _SLIGHT: "concerned, unsure, hard, difficult, really need, waste, shame, bad, help",
    },
    "loss": {
        _STRONG: """
            died, passed away, funeral, bereaved, bereavement, late husband, late wife, late father,
            late mother, my late, widow, widowed, widower, stillborn, miscarriage, miscarried, lost
            my husband, lost my wife, lost my mum, lost my mom, lost my dad, lost my mother, lost my
            father, lost my son, lost my daughter, lost my job, lose my job, losing my job, lost
            everything, lose everything, made redundant, evicted, eviction, homeless, bailiffs,
            bailiff, hospital, ambulance, intensive care, cancer, chemo, chemotherapy, hospice,
            stroke, heart attack, seizure, overdose, suicide, suicidal, bleeding, burned, burnt,
            injured, injury, choking, unconscious, collapsed, fainted, allergic reaction, gas leak,
            smell gas, flood, flooded, flooding, burglary, burgled, broken into, break in, broke in,
            stolen, stole, mugged, assaulted, attacked, harassed, stalking, hacked, life savings,
            all my savings, my only copy, only photos, divorce, abusive, violent, unsafe, not safe,
            dont feel safe, car accident, crashed into, had an accident, fallen, swollen, pregnant
            and, cant breathe, no heating, no water, no electricity, no power, medication, insulin,
            oxygen, in memory of, on fire, caught fire, house fire, full of smoke, dad passed, mum
            passed, burst pipe, pipe burst, through the ceiling, ceiling down, ceiling came down,
            write off, being followed, my inhaler, premature, separating, left me, we are separated,
            battery swollen, dialysis, angina, blind, deaf, autistic, autism, epilepsy, epileptic,
            paralysed, crutches, broken hip, broken leg, a and e, in er, the er, throat closes,
            anaphylaxis, epipen, night in a, blue light, debt, repossess, repossessed, repossession,
            penalty notice, take it back off me, sleeping on the floor, sleeping upright, slept on
            the floor, food parcel, i had toast, nothing to eat, no food, out of food, cant eat,
            cant get out, locked me in, locked in, irreplaceable, no backup, isnt saved, wasnt
            saved, not saved, losing sales, lost sales, losing customers, losing money, loans from,
            landlord has given, notice to quit, nowhere to go, nowhere to live, nowhere to sleep,
            lost our home, pendant alarm, care home, hospice nurse, got cancer, diagnosed, biopsy,
            tumour, tumor, transplant, pneumonia, concussion, poisoning, food poisoning, knows where
            i live, given notice, dont know if he is, dont know if she is, dont know she is, gran
            made it, grandma made it, grandmas, late grandmother, sentimental, heirloom
        """,
        _MIDDLING: """
            dead, lost, losing, gone, missed, miss, missing, broken, damaged, destroyed, smashed,
            dementia, disabled, wheelchair, elderly, newborn, surgery, operation, ill, sick, fell,
            falls, pain, accident, freezing, no hot water, leak, leaking, in debt, overdraft,
            overdrawn, cant pay, cannot pay, cant afford, cannot afford, no money, rent, money is
            gone, deleted, all my photos, all my files, wedding, danger, dangerous, unwell,
            asthmatic, allergic, allergy, fraud, fraudulent, charged twice, temperature, floppy,
            fever, rash, chest pain, drained, emptied, wiped, benefits, food bank, keep the heating
            off, daughters birthday, sons birthday, pension, vet, redundant, cut off, locked out,
            deadline, in the dark, outside at night, at night, landlord, disability, disabilities,
            walking frame, mobility, diabetic, diabetes, arthritis, weeks old, days old, months old,
            tracker watch, premature baby, snapped, crushed, torn, ripped, shattered, flat battery,
            wages, salary, livelihood, groceries, savings, customers are calling, presentation,
            thesis, exam, exams, visa, only one i have, the only one, my only, no hotel, stolen
            from, cold house, freezing cold, bitten, bite mark, bruise, bruised, spilt, deleted the
            whole, lost all, lost my, lost our, has died, hes died, shes died, grandfather died
        """,
        _SLIGHT: "baby, kids, kid, children, son, daughter, mum, mom, dad, husband, wife, birthday",
    },
    "failure": {
        _STRONG: """
            third time, fourth time, fifth time, sixth time, tenth time, nth time, umpteenth time,
            3rd time, 4th time, 5th time, 6th time, yet again, once again, again and again, over and
            over, time and again, every single time, every time i call, keeps happening, keep
            happening, happened again, same problem again, passed around, passed me on, sent me
            round, nobody answers, no one answers, nobody replies, no one replies, nobody has
            replied, no reply, no response, ignored me, ignoring me, hung up on me, been on hold,
            still waiting, been waiting, keep waiting, kept waiting, already told, already told you,
            told you already, already explained, already said, told me the same, last time you said,
            as i said before, how many times, how many more, how much longer, several times, many
            times, multiple times, three times, four times, five times, six times, seven times, 3
            times, 4 times, 5 times, 6 times, twice already, still nothing, still hasnt, still
            havent, still isnt, still doesnt, not once, broken promise, promised me, you promised,
            was promised, broken again, wrong again, late again, down again, cancelled again, failed
            again, off again, out again, every time you, rejected every time, each time i, nothing
            back, heard nothing, no one has come, nobody has come, nobody came, never came, never
            turned up, nobody tells us, nobody tells me, nobody told, nobody said a word, nobody
            picks up, no one picks up, error error, same error, same mistake, same answer, same
            reply, same thing again, still cant, you still havent, you still have not, rang twice,
            called twice, emailed twice, wrote twice, asked twice, complained twice, despite
            sending, despite calling, rung four times, rung three times, rung twice, called three
            times, third letter, chasing me, chasing you, closing the chat on me
        """,
        _MIDDLING: """
            again, keeps, repeatedly, constantly, always late, promised, waited, waiting, on hold,
            second time, 2nd time, twice, second week, nobody, no one, every day, every week, for
            weeks, for months, for days, for hours, weeks ago, months ago, escalate, complaint,
            cancelled, still, supposed to, took the day off, day off, nobody knows, no info, charged
            again, still no, still not, no answer, not reply, hasnt replied, following up,
            escalated, every time, each time, second one, another one, on and on, not fixed, isnt
            fixed, wasnt fixed, no change, came back again, no update, no updates, no news, no
            explanation, wont listen, hours late, days late, weeks late
        """,
        _SLIGHT: "already, late, yesterday, delayed, never, wrong, overdue",
    },
}
# A word of joy halves the score: people cry at weddings, and thank with exclamation marks.
_JOY = frozenset(
    re.findall(
        r"\w+",
        "thank thanks thx lovely beautiful wonderful fantastic brilliant magic amazing grateful "
        "lol delighted yay congrats perfect excellent happy love loved haha hero shoutout shout "
        "praise superb kudos restored",
    )
)
_NOT = frozenset(("not", "never", "no", "isnt", "wasnt", "arent", "dont", "didnt", "without"))
_AGENT_TURN = re.compile(r"^\s*agent\s*:.*$", re.IGNORECASE | re.MULTILINE)
_WORD = re.compile(r"[a-z0-9]+")
_APOSTROPHE = re.compile("['\u2019`]")
_NUMBER = (
    r"(?:\d+|an?|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty|forty|fifty)"
)
_ORDINAL = r"(?:third|fourth|fifth|sixth|seventh|eighth|3rd|[4-9]th)"
_AGAIN = re.compile(
    rf"\b{_ORDINAL} (?:time|week|day|month|call|e ?mail|mail|engineer|attempt|letter|message|"
    r"replacement|person|visit|agent|one)\b"
    rf"|\b{_NUMBER}(?: \w+){{0,2}} (?:in a row|running|straight)\b"
    rf"|\b(?:rung|called|rang|phoned|emailed|e-mailed|written|wrote|asked|told|dmed)\b[^.!?]{{0,20}}"
    rf"\b(?:{_NUMBER}|several|many) times\b"
    r"|\b(?:[3-9]|three|four|five|six|seven) (?:e-?mails|calls|letters|mails|messages|engineers)\b"
)
_LONG = re.compile(
    rf"\b(?:waited|waiting|wait|hold|queued?|been|since|for|its|it s|day)\b[^.!?]{{0,25}}?"
    rf"\b{_NUMBER}[ -]?(?:hours?|hrs?|days?|weeks?|wks?|months?|minutes|mins?)\b"
    rf"|\b{_NUMBER} (?:days?|weeks?|wks?|months?)(?: \w+)? (?:ago|now|later|already|without)\b"
    r"|\bday \d+\b"
)
_SHOUT = re.compile(r"\b[A-Z]{4,}\b(?:[^a-z]*\b[A-Z]{2,}\b)|\b[A-Z]{4,}!|!{2,}|\?{2,}|!\?|\?!")
_SORROW = frozenset("😩😭😡🤬💔😢😠😤😰😱🥺😞😔")
_PATTERNS: tuple[tuple[Kind, float, re.Pattern[str]], ...] = (
    ("failure", _STRONG, _AGAIN),
    ("failure", _MIDDLING, _LONG),
)


def read_distress(context: str) -> Distress:
    """The distress that a context shows, by the customer's own words.

    Args:
        context: what the customer said before the reply; may hold turns of both.
    """
    own = _AGENT_TURN.sub("", context)
    plain = _APOSTROPHE.sub("", own.casefold())
    words = _WORD.findall(plain)
    weights: dict[Kind, list[float]] = {}
    for kind, weight in (*_spoken(words), *_patterns(own, plain)):
        weights.setdefault(kind, []).append(weight)
    left = 1.0
    for found in weights.values():
        for weight in found:
            left *= 1 - weight
    score = 1 - left
    if not _JOY.isdisjoint(words):
        score /= 2
    kinds = sorted(weights, key=lambda kind: -sum(weights[kind]))
    return Distress(round(score, 6), tuple(kinds))


def _spoken(words: list[str]) -> Iterator[tuple[Kind, float]]:
    """Cues of the lexicon; the longest at each place, each of them once, none that is denied."""
    (cues, longest), seen, place = _lexicon(), set(), 0
    while place < len(words):
        for length in range(min(longest.get(words[place], 0), len(words) - place), 0, -1):
            cue = " ".join(words[place : place + length])
            if cue in cues:
                denied = length == 1 and not _NOT.isdisjoint(words[max(0, place - 2) : place])
                if cue not in seen and not denied:
                    seen.add(cue)
                    yield cues[cue]
                place += length - 1
                break
        place += 1


def _patterns(own: str, plain: str) -> Iterator[tuple[Kind, float]]:
    for kind, weight, pattern in _PATTERNS:
        if pattern.search(plain):
            yield kind, weight
    if _SHOUT.search(own):
        yield "emotion", _MIDDLING
    if not _SORROW.isdisjoint(own):
        yield "emotion", _MIDDLING


@cache
def _lexicon() -> tuple[dict[str, tuple[Kind, float]], dict[str, int]]:
    """Cue to what it speaks of and its weight; and a cue's first word to the most words of such."""
    found: dict[str, tuple[Kind, float]] = {}
    longest: dict[str, int] = {}
    for kind, by_weight in _CUES.items():
        for weight, listed in by_weight.items():
            for cue in (cue.split() for cue in listed.split(",")):
                found.setdefault(" ".join(cue), (kind, weight))
                longest[cue[0]] = max(longest.get(cue[0], 0), len(cue))
    return found, longest
