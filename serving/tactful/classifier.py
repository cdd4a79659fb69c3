"""The library's front door: load a bundle, label replies."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, overload

from tactful.bundle.addresses import DEFAULT_BUNDLE
from tactful.bundle.loading import Bundle
from tactful.bundle.signatures import Keys
from tactful.errors import InputError
from tactful.reading.decision_receipt import Receipt
from tactful.reading.encoding import Pair
from tactful.reading.engine import Engine
from tactful.reading.readings import Reading

Item = str | tuple[str, str | None] | InputError


class Classifier:
    """Labels support replies; safe to use from several threads.

    >>> classifier = Classifier.load("models/tactful")
    >>> items = ["I'm so sorry, Ana.", "", ("It is on its way.", "Where is my parcel?")]
    >>> for result in classifier.classify_many(items, errors="return"):
    ...     print(result if isinstance(result, InputError) else sorted(result.labels))
    ['strategies', 'tone']
    item 1: the reply is empty or blank; give the text that the agent wrote
    ['strategies', 'tone']

    Args:
        model: a loaded bundle, or an engine alone; `Classifier.load` is the usual way here.

    Attributes:
        engine: what reads.
    """

    def __init__(self, model: Bundle | Engine) -> None:
        self._bundle = None if isinstance(model, Engine) else model
        self.engine = model if isinstance(model, Engine) else model.engine

    @property
    def bundle(self) -> Bundle:
        """The bundle that was loaded.

        Raises:
            ValueError: the classifier was made of an engine alone.
        """
        if self._bundle is None:
            raise ValueError("this classifier was made of an engine, not of a bundle")
        return self._bundle

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        *,
        threads: int | None = None,
        trusted_keys: Keys | None = None,
    ) -> Classifier:
        """Load and verify a bundle.

        Args:
            path: a bundle's folder, its ``.tar.gz`` archive, a model in MLflow
                (``models:/tactful@champion``, extra ``registry``) or a repository of the Hugging
                Face hub (``hf://owner/name@revision``, extra ``hub``). By default what
                ``$TACTFUL_BUNDLE`` names, then ``models/tactful`` in the working folder, then the
                model that the package carries where it was installed from a release.
            threads: threads of one run; by default the processors this process may use.
            trusted_keys: files of public keys or certificates (PEM), one of which must have signed
                it (extra ``sign``); by default those of ``TACTFUL_TRUSTED_KEYS``, and () for none.

        Raises:
            SignatureError: it is signed by none of the trusted keys, or not as it is.
            BundleError: lists everything that is wrong with it.
        """
        if path is None:
            path = os.environ.get("TACTFUL_BUNDLE") or DEFAULT_BUNDLE
        return cls(Bundle.load(path, threads=threads, trusted_keys=trusted_keys))

    def classify(self, reply: str, context: str | None = None) -> Reading:
        """Label one reply.

        Args:
            reply: what the agent wrote.
            context: what the customer said before, if known.

        Raises:
            InputError: the reply is no text or blank, or the context is no text.
        """
        pair = pair_or_error((reply, context))
        if isinstance(pair, InputError):
            raise pair
        [reading] = self.engine.read([pair])
        return reading

    def explain(
        self, reply: str, context: str | None = None, *, tokens: int = 5, nearest: int = 5
    ) -> Receipt:
        """Label one reply and keep what led to the decisions; see `Receipt`.

        Args:
            reply: what the agent wrote.
            context: what the customer said before, if known.
            tokens: how many tokens are told of each label.
            nearest: how many training replies are told.

        Raises:
            InputError: the reply is no text or blank, or the context is no text.
            ModelError: what the bundle keeps of training replies is damaged.
        """
        from tactful import __version__
        from tactful.reading.receipt_from_output import make_receipt

        pair = pair_or_error((reply, context))
        if isinstance(pair, InputError):
            raise pair
        digest = "" if self._bundle is None else self._bundle.digest
        model = {"digest": digest, "tactful": __version__}
        return make_receipt(self.engine, pair, model, tokens=tokens, nearest=nearest)

    @overload
    def classify_many(
        self, items: Iterable[Item], *, errors: Literal["raise"] = "raise"
    ) -> Iterator[Reading]: ...
    @overload
    def classify_many(
        self, items: Iterable[Item], *, errors: Literal["return"]
    ) -> Iterator[Reading | InputError]: ...
    def classify_many(
        self, items: Iterable[Item], *, errors: Literal["raise", "return"] = "raise"
    ) -> Iterator[Reading | InputError]:
        """Label many replies, lazily and in order; endless iterables are welcome.

        Up to 512 items are read before the first reading is given: replies of like lengths
        share a run, and some are tokenised while others are run. Where the iterable itself raises,
        readings of what it gave come first.

        Args:
            items: replies, or (reply, context) pairs; an InputError in the place of one is passed
                on.
            errors: what happens to an item that cannot be read: ``raise`` its InputError, or
                ``return`` it in the item's place.

        Raises:
            InputError: has the index of the item; readings of items before it were given.
        """
        check_many(items, errors)
        return self._stream(items, raising=errors == "raise")

    def _stream(self, items: Iterable[Item], *, raising: bool) -> Iterator[Reading | InputError]:
        pairs = (pair_or_error(item, index) for index, item in enumerate(items))
        for result in self.engine.stream(pairs):
            if raising and isinstance(result, InputError):
                raise result
            yield result


def check_many(items: object, errors: object) -> None:
    """Raise TypeError or ValueError where the arguments of `classify_many` are no such thing."""
    if errors not in ("raise", "return"):
        raise ValueError(f"errors is {errors!r}, allowed: 'raise', 'return'")
    if isinstance(items, str | bytes):
        raise TypeError("items must be replies or (reply, context) pairs, not one text")


def pair_or_error(item: object, index: int | None = None) -> Pair | InputError:
    """An item as (reply, context), or why it cannot be read.

    Args:
        item: a reply, a (reply, context) pair, or an `InputError`, which is passed on.
        index: its place among several.
    """
    if isinstance(item, InputError):
        return item
    if isinstance(item, tuple | list) and len(item) != 2:
        code = "item_malformed"
        message = f"must be a reply or a (reply, context) pair, not {len(item)} values"
        return InputError(code, message, index)
    reply, context = item if isinstance(item, tuple | list) else (item, None)
    if reply is None:
        code, message = "reply_missing", "there is no reply; give the text that the agent wrote"
    elif not isinstance(reply, str):
        code, message = "reply_not_text", f"the reply must be text, not {type(reply).__name__}"
    elif not reply or reply.isspace():
        code = "reply_empty"
        message = "the reply is empty or blank; give the text that the agent wrote"
    elif context is not None and not isinstance(context, str):
        code = "context_not_text"
        message = f"the context must be text or None, not {type(context).__name__}"
    else:
        return reply, context
    return InputError(code, message, index)
