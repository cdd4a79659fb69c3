"""What the report knows of single labels: meanings, and what each is good for.

Nothing here is needed: labels that a bundle of one's own has are counted like the others, and a
part of the report whose labels are not there says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from tactful.report.distress import Kind

STRATEGIES = "strategies"
TONE = "tone"

# As in the front matter of data_cards/support_replies (a test compares them); a bundle's own
# descriptions go before.
MEANINGS: Mapping[str, Mapping[str, str]] = {
    STRATEGIES: {
        "warm_greeting": "opens with a friendly welcome: a greeting with the customer's name, a "
        "welcome, a well-wish, or thanks for getting in touch",
        "clarifying_question": "asks about the customer's situation, need or feelings in order to "
        "understand them",
        "paraphrase": "says back, in its own words, what the customer said or wants",
        "acknowledge_feelings": "names or validates the customer's emotion or hardship",
        "perspective_taking": "explicitly steps into the customer's place",
        "apology": "says sorry or apologises to the customer for a trouble, delay, mistake or "
        "limit",
        "genuine_concern": "shows care for the person, or personal commitment to see it put right",
        "personalization": "uses what is particular to this customer (history, plan, "
        "circumstances, stated preference) to shape the answer",
        "concrete_solution": "states a specific action taken or offered, or specific steps, that "
        "address the problem",
        "proactive_help": "anticipates a need that was not stated, or prevents the problem from "
        "coming back",
        "offer_options": "gives two or more alternatives to choose from, or hands the customer "
        "the choice",
        "gratitude": "thanks or appreciates the customer",
        "reassurance": "lowers worry or encourages: positive framing, optimism, confidence",
        "follow_up": "promises or offers a later contact or check by the company",
        "next_step": "says what happens next or when",
        "invite_feedback": "asks for feedback, a rating, a survey or suggestions, or says that the "
        "feedback is valued and passed on",
        "caring_close": "ends with a warm closing: a wish, an open door, a personal sign-off",
    },
    TONE: {
        "irritated": "heated, hostile, sarcastic, blaming or defensive towards the customer",
        "dismissive": "cold, curt or brushing off where the customer needed more; minimises or "
        "refuses without care",
        "sympathetic": "compassion, regret or sorrow for the customer's trouble dominates",
        "reassuring": "calm, steady confidence that lowers worry dominates",
        "cheerful": "upbeat, enthusiastic, playful",
        "warm": "kind, friendly, polite care without strong emotion",
        "neutral": "informational, procedural or businesslike; politeness formulas alone leave it "
        "neutral",
    },
}

# What answers distress: a reply that has one of these has not missed it.
ANSWERS = ("acknowledge_feelings", "perspective_taking", "apology", "genuine_concern")

# What a conversation's last turn is looked at for: name of the figure to labels (any of them).
ENDINGS: Mapping[str, tuple[str, ...]] = {
    "ends with care": ("caring_close",),
    "offers options": ("offer_options",),
    "says what comes next": ("next_step", "follow_up"),
}

# What would have fitted, by what the distress is of; the first that are missing are suggested.
FITTING: Mapping[Kind, tuple[str, ...]] = {
    "emotion": ("acknowledge_feelings", "perspective_taking", "reassurance"),
    "loss": ("genuine_concern", "acknowledge_feelings", "apology"),
    "failure": ("apology", "acknowledge_feelings", "follow_up"),
}


def in_order(task: str, labels: set[str]) -> tuple[str, ...]:
    """Labels in the order of the shipped set, others after them by name."""
    known = [label for label in MEANINGS.get(task, {}) if label in labels]
    return (*known, *sorted(labels.difference(known)))


def spoken(label: str) -> str:
    """A label as people say it."""
    return label.replace("_", " ")
