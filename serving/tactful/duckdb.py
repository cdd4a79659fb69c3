"""Label a column in SQL: a function for DuckDB (extra ``duckdb``).

>>> import duckdb, tactful.duckdb
>>> con = duckdb.connect()
>>> tactful.duckdb.register(con, "models/tactful")
>>> con.sql("SELECT tactful_label('I am so sorry, Ana.', NULL).strategies").fetchall()
[(['apology'],)]

``tactful_label(reply, context)`` gives a STRUCT: one field for each task (a list of labels, or
one), then ``scores`` (task to label to calibrated probability), ``evidence`` (a list of label,
start, end, text), ``truncated``, ``bundle`` and ``error``, which says why a reply has no reading.
Of a NULL reply it is NULL; a NULL context stands for none. DuckDB hands over some thousand rows at
a time, as Arrow, and they are read together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tactful.classifier import Classifier
from tactful.errors import InputError, MissingExtraError
from tactful.output.flat_rows import FlatRows
from tactful.reading.tasks import Tasks

try:
    import duckdb
    import pyarrow as pa
    from duckdb.func import ARROW, SPECIAL
except ModuleNotFoundError as error:
    raise MissingExtraError("tactful.duckdb", "duckdb") from error

NAME = "tactful_label"


def register(
    con: duckdb.DuckDBPyConnection,
    model: Classifier | str | Path | None = None,
    *,
    name: str = NAME,
) -> None:
    """Give a connection a function that labels replies.

    Args:
        con: the connection.
        model: a classifier, or the address of a bundle; by default that of
            `Classifier.load`.
        name: of the function in SQL.

    Raises:
        BundleError: the bundle cannot be used.
        duckdb.CatalogException: the connection has a function of this name already.
    """
    if not isinstance(model, Classifier):
        model = Classifier.load(model)
    labeller = _Labeller(model)
    con.create_function(
        name,
        labeller,
        ["VARCHAR", "VARCHAR"],
        duckdb.sqltype(_sql(labeller.struct)),
        type=ARROW,
        null_handling=SPECIAL,
    )


class _Labeller:
    """What DuckDB calls with the columns of some rows."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        bundle = classifier.bundle
        self._flat = FlatRows(bundle.heads.tasks, bundle.id, scores="none")
        self.struct = _struct(bundle.heads.tasks)

    def __call__(self, replies: Any, contexts: Any) -> Any:
        pairs = list(zip(replies.to_pylist(), contexts.to_pylist(), strict=True))
        present = [pair for pair in pairs if pair[0] is not None]
        results = self._classifier.classify_many(present, errors="return")
        rows = [None if reply is None else self._row(next(results)) for reply, _ in pairs]
        return pa.array(rows, self.struct)

    def _row(self, result: Any) -> dict[str, Any]:
        scores = None if isinstance(result, InputError) else result.scores
        return self._flat.row(result) | {"scores": scores}


def _struct(tasks: Tasks) -> Any:
    """The type of one labelled row."""
    text, number = pa.string(), pa.int64()
    span = pa.struct([("label", text), ("start", number), ("end", number), ("text", text)])
    scores = [
        (task.name, pa.struct([(label, pa.float64()) for label in task.names])) for task in tasks
    ]
    decided = [(task.name, pa.list_(text) if task.kind == "multilabel" else text) for task in tasks]
    return pa.struct(
        [
            *decided,
            ("scores", pa.struct(scores)),
            ("evidence", pa.list_(span)),
            ("truncated", pa.bool_()),
            ("bundle", text),
            ("error", pa.struct([("code", text), ("message", text)])),
        ]
    )


def _sql(kind: Any) -> str:
    """An Arrow type as DuckDB writes it."""
    if pa.types.is_struct(kind):
        fields = (
            f'"{field.name.replace(chr(34), chr(34) * 2)}" {_sql(field.type)}' for field in kind
        )
        return f"STRUCT({', '.join(fields)})"
    if pa.types.is_list(kind):
        return f"{_sql(kind.value_type)}[]"
    names = {pa.string(): "VARCHAR", pa.int64(): "BIGINT", pa.float64(): "DOUBLE"}
    return names.get(kind, "BOOLEAN")
