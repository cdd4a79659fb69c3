"""Errors travel between processes: from pools of workers, from machines of a cluster."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import pytest

from tactful.client import ServiceError
from tactful.errors import BundleError, InputError, MissingExtraError, SignatureError, TactfulError
from tactful.server.fair_queue import Failure
from tactful.server.live_bundle import NotReady
from tactful.server.problem_documents import RequestError
from tactful_training.errors import ExportError

DEFINITION = re.compile(r"^class \w+\(.*(Error|Failure)\b.*\)", re.MULTILINE)
EXAMPLES: dict[type[TactfulError], TactfulError] = {
    BundleError: BundleError(Path("models/tactful"), ["model.onnx: missing", "é: extra"]),
    SignatureError: SignatureError("hf://team/tactful", ["model.sig: missing"]),
    InputError: InputError("reply_empty", "the reply is empty", 3),
    MissingExtraError: MissingExtraError("a table", "batch"),
    ServiceError: ServiceError("busy", status=429, code="queue_full", problem={"detail": ["x"]}),
    RequestError: RequestError("not_found", "no", errors=[{"code": "a"}], headers={"Allow": "GET"}),
    NotReady: NotReady("the bundle is being loaded", retry_after=2),
}


def error_classes() -> list[type[TactfulError]]:
    """All, with the modules that define one imported first."""
    for package in ("tactful", "tactful_training"):
        spec = find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations
        folder = Path(spec.submodule_search_locations[0])
        for path in sorted(folder.rglob("*.py")):
            if DEFINITION.search(path.read_text()):
                import_module(".".join([package, *path.relative_to(folder).with_suffix("").parts]))
    found, pending = {TactfulError}, [TactfulError]
    while pending:
        new = set(pending.pop().__subclasses__()) - found
        found |= new
        pending += new
    return sorted(found, key=lambda kind: kind.__qualname__)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield pool


def test_the_errors_of_all_rooms_are_found() -> None:
    assert {*EXAMPLES, Failure, ExportError} <= {*error_classes()}


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_an_error_survives_the_way_between_processes(
    pool: ProcessPoolExecutor, kind: type[TactfulError]
) -> None:
    # A class with a constructor of its own belongs among the examples.
    error = EXAMPLES.get(kind) or kind("what was given, what is allowed, what to do")
    with pytest.raises(TactfulError) as caught:
        pool.submit(exec, "raise error", {"error": error}).result()
    for back in (caught.value, pickle.loads(pickle.dumps(error))):
        state = {key: value for key, value in back.__dict__.items() if key != "__notes__"}
        assert type(back) is kind
        assert str(back) == str(error)
        assert (back.args, state) == (error.args, error.__dict__)
        if isinstance(error, ImportError):
            assert isinstance(back, ImportError)
            assert back.msg == error.msg
