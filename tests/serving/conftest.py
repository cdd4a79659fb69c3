"""Pages in a real browser, for the checks of `make test-page`.

They need Chromium (`$CHROMIUM`, or `chromium` on the path; Debian's package of that name) and, for
accessibility, axe-core's axe.min.js at `$AXE` (`npm pack axe-core` holds it).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
ARGUMENTS += ("--disable-background-networking", "--disable-component-update", "--disable-sync")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert chromium, "no chromium found; install it or name it in $CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*ARGUMENTS])
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Makes empty pages; what they complain of is kept in ``new_page.complaints``."""
    complaints: list[str] = []
    contexts = []

    def make(**options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}} | options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda m: m.type == "error" and complaints.append(m.text))
        return page

    make.complaints = complaints  # type: ignore[attr-defined]
    yield make
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The script that finds what keeps people out."""
    path = os.environ.get("AXE")
    if not path:
        pytest.skip("axe-core not found; name its axe.min.js in $AXE")
    return Path(path).read_text("utf-8")
