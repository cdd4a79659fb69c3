"""Makes a CSV export as a help desk gives one: 400 replies and five labels, all of them made up.

``python tests/slow/own_labels_export.py export.csv``; its columns have names of their own.
"""

from __future__ import annotations

import csv
import random
import sys
from pathlib import Path

LABELS = {
    "refund": [
        "I have refunded {amount} to your card",
        "the {amount} go back to your account today",
        "you get {amount} back within three days",
        "we return the full {amount} to you",
    ],
    "replacement": [
        "a new {item} leaves our warehouse tonight",
        "I am sending you another {item}",
        "we exchange the {item} for a new one",
        "your spare {item} is packed already",
    ],
    "delay": [
        "the carrier is running {days} days late",
        "your order is held up for {days} days",
        "snow keeps the lorry back for about {days} days",
        "we are {days} days behind with packing",
    ],
    "apology": [
        "I am sorry for the trouble with the {item}",
        "please accept my apologies, {name}",
        "sorry that the {item} let you down",
        "my apologies for the long wait",
    ],
    "self_service": [
        "you can change it yourself under {menu}",
        "the form for that is in {menu}",
        "open {menu} and choose the other address",
        "in {menu} there is a button for exactly this",
    ],
}
OPENINGS = ["Hello {name},", "Hi {name},", "Dear {name},", "Good morning {name},", ""]
REST = [
    "The {item} is on your list since {month}.",
    "I looked at the order of {month}.",
    "Colleagues in {city} have checked it.",
    "The number on the parcel begins with {amount}.",
    "Our shop in {city} knows about it.",
    "You wrote to us in {month}.",
]
ENDINGS = ["Best, {agent}", "Regards, {agent}", "{agent} from the {city} team", "Yours, {agent}"]
CONTEXTS = [
    "Where is my {item}?",
    "The {item} from {city} is broken.",
    "I ordered a {item} in {month}.",
    "How do I change my address for the {item}?",
    "",
]
WORDS = {
    "name": ["Ana", "Ben", "Chloe", "Dov", "Emre", "Fay", "Goran", "Hana", "Iris", "Jon", "Kai"],
    "item": ["lamp", "kettle", "tent", "bicycle", "chair", "camera", "mixer", "jacket", "drill"],
    "city": ["Lyon", "Porto", "Graz", "Turku", "Ghent", "Split", "Riga", "Cork", "Bari"],
    "month": ["January", "February", "March", "April", "May", "June", "July", "August"],
    "agent": ["Sam", "Lee", "Nour", "Pia", "Tom", "Vera", "Wim", "Yara"],
    "menu": ["Settings", "My orders", "Profile", "Delivery", "Help"],
    "amount": [f"{n} euros" for n in range(11, 97, 7)],
    "days": ["two", "three", "four", "five", "six", "seven"],
}


def write_export(path: Path, rows: int = 400, seed: int = 4) -> None:
    """Write the export."""
    choice = random.Random(seed)

    def filled(template: str) -> str:
        return template.format(**{word: choice.choice(WORDS[word]) for word in WORDS})

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Ticket", "Customer message", "Agent reply", "Category", "Team"])
        for number in range(rows):
            labels = [label for label in LABELS if choice.random() < 0.35]
            parts = [filled(choice.choice(LABELS[label])) for label in labels]
            parts += [filled(each) for each in choice.sample(REST, 2)]
            choice.shuffle(parts)
            text = " ".join(f"{part[:1].upper()}{part[1:]}".rstrip(".") + "." for part in parts)
            opening, ending = filled(choice.choice(OPENINGS)), filled(choice.choice(ENDINGS))
            writer.writerow(
                [
                    f"T-{1000 + number}",
                    filled(choice.choice(CONTEXTS)),
                    f"{opening} {text} {ending}".strip(),
                    "|".join(labels),
                    choice.choice(["north", "south"]),
                ]
            )


if __name__ == "__main__":
    write_export(Path(sys.argv[1]))
