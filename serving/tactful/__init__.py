"""tactful reads support replies: empathy strategies with the words that carry them, and tone.

>>> from tactful import Classifier
>>> classifier = Classifier.load("models/tactful")
>>> reading = classifier.classify("I'm so sorry, Ana.", context="My parcel never came")
>>> reading.strategies[0].label, reading.strategies[0].evidence[0].text
('apology', '...sorry')
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tactful.errors import BundleError, InputError, SignatureError, TactfulError
from tactful.reading.decision_receipt import Receipt
from tactful.reading.readings import Evidence, Reading

if TYPE_CHECKING:
    from tactful.classifier import Classifier

__version__ = "0.1.0"
__all__ = [
    "BundleError",
    "Classifier",
    "Evidence",
    "InputError",
    "Reading",
    "Receipt",
    "SignatureError",
    "TactfulError",
    "__version__",
]

# onnxruntime's own builds report sessions to its makers, with digests of the graphs, and keep an id
# of the machine; the variable is read when it is first imported. What reads people's letters must
# not talk to anybody by itself. Who has set the variable decides.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    # The classifier brings onnxruntime and numpy; `tactful --help` need not wait for them.
    if name == "Classifier":
        from tactful.classifier import Classifier

        return Classifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
