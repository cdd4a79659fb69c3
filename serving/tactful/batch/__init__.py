"""Batch jobs: label every row of a JSONL, CSV or Parquet table, on one machine or on many.

In come files and a bundle; parts of them are scored and committed one after the other in a folder
beside OUTPUT, from which a killed job goes on. Out goes the table with what was added, in one
rename, and a `Summary`.

>>> from tactful import batch
>>> summary = batch.score("replies.jsonl", "scored.jsonl", "models/tactful")
>>> summary.rows, summary.failed, summary.labels["strategies"]["apology"]
(30, 0, 0.4)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tactful.errors import JobError, TooManyErrorsError

if TYPE_CHECKING:
    from tactful.batch.job import score
    from tactful.batch.job_progress_and_summary import Summary

__all__ = ["JobError", "Summary", "TooManyErrorsError", "score"]
_HOMES = {"score": "tactful.batch.job", "Summary": "tactful.batch.job_progress_and_summary"}


def __getattr__(name: str) -> Any:
    # The command line knows this package from its start; what a job needs can wait for one.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
