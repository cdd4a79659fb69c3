"""A small client of `tactful serve` (extra ``client``).

>>> from tactful.client import Client
>>> with Client("http://127.0.0.1:8000") as client:
...     reading = client.label("I'm so sorry, Ana.", context="My parcel never came")
...     many = list(client.label_many(["Thank you, Ana.", ("I'm so sorry.", "It never came")]))
>>> reading.strategies[0].label, [each.strategies[0].label for each in many]
('apology', ['gratitude', 'apology'])
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, Literal, Self, overload

from tactful.classifier import Item, check_format, check_many, pair_or_error
from tactful.errors import InputError, MissingExtraError, TactfulError
from tactful.own_words.formats import Format
from tactful.reading.decision_receipt import Receipt
from tactful.reading.readings import Reading

try:
    import httpx
except ModuleNotFoundError as error:
    raise MissingExtraError("tactful.client", "client") from error

BUSY = frozenset({429, 503})
_LONGEST_PAUSE = 30.0  # seconds; a service that asks for more is given up earlier by `retries`


class ServiceError(TactfulError):
    """The service gave no reading.

    Attributes:
        status: the HTTP status; None where no answer came.
        code: what kind of problem it is, ``queue_full`` for example; ``unreachable`` where no
            answer came.
        problem: the whole problem document.
    """

    def __init__(
        self, message: str, *, status: int | None, code: str, problem: Mapping[str, Any]
    ) -> None:
        self.status = status
        self.code = code
        self.problem = problem
        super().__init__(message)


class Client:
    """Asks a service for readings; safe to use from several threads.

    Args:
        url: where the service is.
        token: its bearer token, where it asks for one.
        timeout: seconds for one try, connecting and reading included.
        retries: further tries after 429, 503 and a refused connection; the pause is what the
            service asks for in Retry-After or, without that, doubles from a quarter of a second.
        batch_items: most replies in one request of `label_many`; not above the service's
            ``--max-items``.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        token: str | None = None,
        timeout: float = 30.0,
        retries: int = 5,
        batch_items: int = 32,
    ) -> None:
        if retries < 0 or batch_items < 1:
            raise ValueError(
                f"retries is {retries} and batch_items {batch_items}; allowed: at least 0 and 1"
            )
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, timeout=timeout, headers=headers)
        self._retries = retries
        self._batch_items = batch_items

    def label(self, reply: str, context: str | None = None, *, format: Format = "auto") -> Reading:
        """Label one reply; the arguments are those of `Classifier.classify`.

        Raises:
            InputError: the service cannot read it.
            ServiceError: there is no answer, or another problem.
        """
        return Reading.from_dict(self._ask_one("/v1/label", _body(reply, context, format)))

    def explain(
        self, reply: str, context: str | None = None, *, format: Format = "auto"
    ) -> Receipt:
        """Label one reply and keep what led to the decisions.

        Raises:
            InputError: the service cannot read it.
            ServiceError: there is no answer, or another problem.
        """
        asked = _body(reply, context, format)
        return Receipt.from_dict(self._ask_one("/v1/label?explain=true", asked))

    @overload
    def label_many(
        self,
        items: Iterable[Item],
        *,
        errors: Literal["raise"] = "raise",
        format: Format = "auto",
    ) -> Iterator[Reading]: ...
    @overload
    def label_many(
        self, items: Iterable[Item], *, errors: Literal["return"], format: Format = "auto"
    ) -> Iterator[Reading | InputError]: ...
    def label_many(
        self,
        items: Iterable[Item],
        *,
        errors: Literal["raise", "return"] = "raise",
        format: Format = "auto",
    ) -> Iterator[Reading | InputError]:
        """Label many replies, lazily and in order, some in each request.

        Args:
            items: replies, or (reply, context) pairs.
            errors: what happens to an item that cannot be read: ``raise`` its InputError, or
                ``return`` it in the item's place.
            format: what the replies are.

        Raises:
            InputError: has the index of the item; readings of items before it were given.
            ServiceError: there is no answer, or another problem.
        """
        check_many(items, errors)
        check_format(format)
        return self._stream(items, format, raising=errors == "raise")

    def bundle(self) -> dict[str, Any]:
        """The manifest, labels and thresholds of the bundle that reads."""
        return self._ask("GET", "/v1/bundle")

    def is_ready(self) -> bool:
        """Whether the service answers that it is ready; never raises for one that does not."""
        try:
            return self._http.get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _stream(
        self, items: Iterable[Item], format: Format, *, raising: bool
    ) -> Iterator[Reading | InputError]:
        numbered = enumerate(items)
        while chunk := list(islice(numbered, self._batch_items)):
            pairs = [(index, pair_or_error(item, index)) for index, item in chunk]
            sent = [_body(*pair, format) for _, pair in pairs if not isinstance(pair, InputError)]
            answers = self._read(sent) if sent else iter(())
            for index, pair in pairs:
                result = pair if isinstance(pair, InputError) else _result(index, next(answers))
                if raising and isinstance(result, InputError):
                    raise result
                yield result

    def _ask_one(self, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        try:
            return self._ask("POST", path, body)
        except ServiceError as error:
            if error.code != "field_wrong":
                raise
            [field, *_] = error.problem.get("errors") or [{"code": error.code}]
            raise InputError(field["code"], str(error)) from error

    def _read(self, sent: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        answers = self._ask("POST", "/v1/label", {"items": sent}).get("items")
        if not isinstance(answers, list) or len(answers) != len(sent):
            raise ServiceError(
                f"the service at {self._http.base_url} did not answer for each of {len(sent)} "
                "items; is it tactful serve?",
                status=200,
                code="answer_malformed",
                problem={},
            )
        return iter(answers)

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        for tried in range(self._retries + 1):
            last = tried == self._retries
            try:
                response = self._send(method, path, body)
            # A connection that was refused or closed before an answer cost nobody anything, and
            # asking again for a reading changes nothing.
            except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
                if last:
                    raise _unreachable(self._http.base_url, error) from error
                _pause(tried, None)
                continue
            except httpx.HTTPError as error:
                raise _unreachable(self._http.base_url, error) from error
            if response.status_code in BUSY and not last:
                _pause(tried, response.headers.get("Retry-After"))
                continue
            return _content(response)
        raise AssertionError("the last try returns or raises")

    def _send(self, method: str, path: str, body: object) -> httpx.Response:
        if body is None:
            return self._http.request(method, path)
        # ASCII: a lone surrogate can only be sent escaped.
        content = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        return self._http.request(method, path, content=content, headers=headers)


def _body(reply: object, context: object, format: object) -> dict[str, object]:
    # The default is left out: a service of an older release does not know the field.
    fields = {"context": context, "format": None if format == "auto" else format}
    return {"reply": reply, **{name: value for name, value in fields.items() if value is not None}}


def _result(index: int, answer: Mapping[str, Any]) -> Reading | InputError:
    if "error" not in answer:
        return Reading.from_dict(answer)
    told = answer["error"]
    return InputError(told["code"], told["message"], index)


def _pause(tried: int, retry_after: str | None) -> None:
    if retry_after is not None and retry_after.isdecimal():
        seconds = float(retry_after)
    else:
        seconds = 0.25 * 2**tried
    # Spread out, so that all who were refused do not come back in the same moment.
    time.sleep(min(seconds, _LONGEST_PAUSE) + random.uniform(0, 0.1))


def _content(response: httpx.Response) -> dict[str, Any]:
    try:
        content = response.json()
    except ValueError:
        content = None
    if response.is_success and isinstance(content, dict):
        return content
    problem = content if isinstance(content, dict) else {}
    detail = problem.get("detail") or response.reason_phrase or "no answer of tactful"
    raise ServiceError(
        f"the service answered {response.status_code}: {detail}",
        status=response.status_code,
        code=str(problem.get("code", "unknown")),
        problem=problem,
    )


def _unreachable(url: httpx.URL, error: Exception) -> ServiceError:
    return ServiceError(
        f"the service at {url} gave no answer: {error or type(error).__name__}; start it with "
        "`tactful serve`, or name another url",
        status=None,
        code="unreachable",
        problem={},
    )
