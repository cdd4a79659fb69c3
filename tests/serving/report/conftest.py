"""Scored files that are made up, and reports of them."""

from __future__ import annotations

import json
import random
import runpy
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 12, 1, tzinfo=UTC)
BUNDLE = "tactful@0123456789ab"
COLUMNS = {
    "agent_column": "agent",
    "team_column": "team",
    "channel_column": "channel",
    "time_column": "sent",
    "customer_time_column": "received",
    "conversation_column": "conversation",
    "outcome_column": "satisfaction",
}
WORDS = [a + b for a in ("ba", "ke", "lo", "mi", "nu", "ra") for b in ("da", "fen", "gir", "pol")]


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def columns() -> dict[str, str]:
    return COLUMNS


@pytest.fixture(scope="session")
def made_up() -> Callable[..., Iterable[dict[str, Any]]]:
    return runpy.run_path(str(ROOT / "tests/slow/made_up_support.py"))["made_up"]


@pytest.fixture(scope="session")
def write_jsonl() -> Callable[..., Path]:
    def write(path: Path, rows: Iterable[dict[str, Any] | str]) -> Path:
        lines = (
            row if isinstance(row, str) else json.dumps(row, ensure_ascii=True) for row in rows
        )
        path.write_text("".join(line + "\n" for line in lines), "utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def row() -> Callable[..., dict[str, Any]]:
    """A scored row; its evidence is where the phrases of ``said`` stand in the reply."""

    def make(
        reply: str = "Fine.", said: dict[str, str] | None = None, **more: Any
    ) -> dict[str, Any]:
        said = said or {}
        spans = [
            {"label": label, "start": reply.index(phrase), "end": reply.index(phrase) + len(phrase),
             "text": phrase}
            for label, phrase in said.items()
        ]  # fmt: skip
        return {
            "reply": reply, "context": "", "strategies": list(said), "tone": "neutral",
            "evidence": spans, "truncated": False, "bundle": BUNDLE, "error": None,
        } | more  # fmt: skip

    return make


@pytest.fixture(scope="session")
def simulated(row: Callable[..., dict[str, Any]]) -> Callable[..., list[dict[str, Any]]]:
    """Rows of agents who have strategies at given rates, in words of their own."""

    def rows(
        rates: dict[str, dict[str, float]],
        replies: int,
        *,
        seed: int = 0,
        a_conversation: int = 1,
        team: str = "all",
    ) -> list[dict[str, Any]]:
        draw, found = random.Random(seed), []
        for agent, wanted in rates.items():
            for number in range(replies):
                if number % a_conversation == 0:
                    said = {
                        label: " ".join(draw.choices(WORDS, k=7)).capitalize() + "."
                        for label, share in wanted.items()
                        if draw.random() < share
                    }
                reply = " ".join(["Order.", *said.values()])
                found.append(
                    row(reply, said, agent=agent, team=team,
                        conversation=f"{agent}-{number // a_conversation}")
                )  # fmt: skip
        return found

    return rows


@pytest.fixture
def figures_of(table_of: Callable[..., Any]) -> Callable[..., Any]:
    """The figures of some rows; nothing is drawn or written."""
    from tactful.report import ReportOptions
    from tactful.report.bundle_facts import BundleFacts, with_files
    from tactful.report.figures import make_figures

    def make(rows: Iterable[dict[str, Any] | str], **options: Any) -> Any:
        asked = ReportOptions(**options)
        table = table_of(rows, **options)
        facts = with_files(BundleFacts(), asked)
        return make_figures(table, facts, asked, NOW, table_of.files.texts)

    return make


@pytest.fixture
def table_of(tmp_path: Path, write_jsonl: Callable[..., Path]) -> Callable[..., Any]:
    """The table that is read of some rows."""
    from tactful.report import ReportOptions
    from tactful.report.scored_rows import ScoredFiles
    from tactful.report.table_reading import read_table

    def read(rows: Iterable[dict[str, Any] | str], **options: Any) -> Any:
        asked = ReportOptions(**options)
        files = ScoredFiles(
            str(write_jsonl(tmp_path / "table.jsonl", rows)), asked, tmp_path / "report.html"
        )
        read.files = files  # for the texts that figures quote
        return read_table(files, asked, NOW.timestamp(), {})

    return read


@pytest.fixture
def report_of(tmp_path: Path, write_jsonl: Callable[..., Path]) -> Callable[..., Any]:
    """The report of some rows, made as a user makes it."""
    from tactful import report

    def make(rows: Iterable[dict[str, Any] | str] | Path, **options: Any) -> Any:
        scored = rows if isinstance(rows, Path) else write_jsonl(tmp_path / "scored.jsonl", rows)
        return report.write(scored, tmp_path / "report.html", now=NOW, **options)

    return make
