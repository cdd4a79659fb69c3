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
from tactful.own_words.formats import FORMATS, Format
from tactful.own_words.preparation import OwnWords, prepare
from tactful.reading.decision_receipt import Receipt
from tactful.reading.encoding import Pair
from tactful.reading.engine import Engine, Readable
from tactful.reading.readings import Reading

Item = str | tuple[str, str | None] | InputError
Prepared = Item | OwnWords


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

    def classify(
        self, reply: str, context: str | None = None, *, format: Format = "auto"
    ) -> Reading:
        """Label one reply.

        Args:
            reply: what the agent wrote.
            context: what the customer said before, if known.
            format: what the reply is: ``auto`` leaves out what bears the marks of mail or HTML and
                reads plain text bit for bit as ``text`` does, which leaves nothing out.

        Raises:
            InputError: the reply is no text or blank, holds no words of the agent or those of
                several speakers; the context is no text; or there is no such format.
        """
        item = readable_or_error((reply, context), format=format)
        if isinstance(item, InputError):
            raise item
        [reading] = self.engine.read([item])
        return reading

    def explain(
        self,
        reply: str,
        context: str | None = None,
        *,
        format: Format = "auto",
        tokens: int = 5,
        nearest: int = 5,
    ) -> Receipt:
        """Label one reply and keep what led to the decisions; see `Receipt`.

        Args:
            reply: what the agent wrote.
            context: what the customer said before, if known.
            format: what the reply is; see `classify`.
            tokens: how many tokens are told of each label.
            nearest: how many training replies are told.

        Raises:
            InputError: as of `classify`.
            ModelError: what the bundle keeps of training replies is damaged.
        """
        item = readable_or_error((reply, context), format=format)
        if isinstance(item, InputError):
            raise item
        return self.explain_prepared(item, tokens=tokens, nearest=nearest)

    def explain_prepared(self, item: Readable, *, tokens: int = 5, nearest: int = 5) -> Receipt:
        """As `explain`, of a reply that was prepared already or is to be read as it stands."""
        from tactful import __version__
        from tactful.reading.receipt_from_output import make_receipt

        digest = "" if self._bundle is None else self._bundle.digest
        model = {"digest": digest, "tactful": __version__}
        return make_receipt(self.engine, item, model, tokens=tokens, nearest=nearest)

    @overload
    def classify_many(
        self,
        items: Iterable[Prepared],
        *,
        errors: Literal["raise"] = "raise",
        format: Format = "auto",
    ) -> Iterator[Reading]: ...
    @overload
    def classify_many(
        self, items: Iterable[Prepared], *, errors: Literal["return"], format: Format = "auto"
    ) -> Iterator[Reading | InputError]: ...
    def classify_many(
        self,
        items: Iterable[Prepared],
        *,
        errors: Literal["raise", "return"] = "raise",
        format: Format = "auto",
    ) -> Iterator[Reading | InputError]:
        """Label many replies, lazily and in order; endless iterables are welcome.

        Up to 512 items are read before the first reading is given: replies of like lengths
        share a run, and some are tokenised while others are run. Where the iterable itself raises,
        readings of what it gave come first.

        Args:
            items: replies, or (reply, context) pairs; an InputError in the place of one is passed
                on, and what `prepare` made of one is read.
            errors: what happens to an item that cannot be read: ``raise`` its InputError, or
                ``return`` it in the item's place.
            format: what the replies are; see `classify`.

        Raises:
            InputError: has the index of the item; readings of items before it were given.
        """
        check_many(items, errors)
        check_format(format)
        return self._stream(items, format, raising=errors == "raise")

    def _stream(
        self, items: Iterable[Prepared], format: Format, *, raising: bool
    ) -> Iterator[Reading | InputError]:
        read = (readable_or_error(item, index, format) for index, item in enumerate(items))
        for result in self.engine.stream(read):
            if raising and isinstance(result, InputError):
                raise result
            yield result


def check_many(items: object, errors: object) -> None:
    """Raise TypeError or ValueError where the arguments of `classify_many` are no such thing."""
    if errors not in ("raise", "return"):
        raise ValueError(f"errors is {errors!r}, allowed: 'raise', 'return'")
    if isinstance(items, str | bytes):
        raise TypeError("items must be replies or (reply, context) pairs, not one text")


def check_format(format: object) -> None:
    """Raise InputError where there is no such format."""
    if format not in FORMATS:
        raise InputError(
            "format_unknown", f"format is {format!r}, allowed: {', '.join(map(repr, FORMATS))}"
        )


def readable_or_error(
    item: object, index: int | None = None, format: Format = "auto"
) -> Readable | InputError:
    """What is to be read of an item, or why it cannot be read.

    Args:
        item: a reply, a (reply, context) pair, what was prepared already, or an `InputError`; the
            last two are passed on.
        index: its place among several.
        format: what the reply is.
    """
    if isinstance(item, OwnWords):
        return item
    pair = pair_or_error(item, index)
    if isinstance(pair, InputError):
        return pair
    try:
        check_format(format)
        return prepare(*pair, format)
    except InputError as error:
        return InputError(error.code, error.message, index)


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
