"""What MLflow calls to use a bundle that was logged as a ``pyfunc`` model.

MLflow imports this module by name (its ``loader_module``) from the copy of this package that lies
beside the bundle, so that a logged model needs neither an installed tactful nor anything of
training.
"""

from __future__ import annotations

import json
from typing import Any

from tactful.classifier import Classifier
from tactful.output.flat_rows import FlatRows

COLUMNS = ("reply", "context")


class FlatModel:
    """A model whose input is a table of replies and whose output is the flat row of each.

    Args:
        classifier: the loaded bundle.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        bundle = classifier.bundle
        self._flat = FlatRows(bundle.heads.tasks, bundle.id)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Read every reply; a row that cannot be read has its reason in the column ``error``.

        Args:
            model_input: a pandas DataFrame with the columns ``reply`` and (optional) ``context``.
            params: none are known.

        Returns:
            A DataFrame of the same index: ``reply``, ``context``, then the flat reading.
        """
        import pandas as pd

        table = model_input if isinstance(model_input, pd.DataFrame) else pd.DataFrame(model_input)
        # As objects: None stays None, where pandas would make it NaN or NA, which are no JSON.
        given = table.reindex(columns=list(COLUMNS)).astype(object)
        pairs = list(given.where(given.notna(), None).itertuples(index=False, name=None))
        results = self._classifier.classify_many(pairs, errors="return")
        rows = []
        for pair, result in zip(pairs, results, strict=True):
            row = {**dict(zip(COLUMNS, pair, strict=True)), **self._flat.row(result)}
            row["evidence"] = row["evidence"] or []  # Spark takes no null for a list of structs
            row["error"] = row["error"] and _Problem(row["error"])
            rows.append(row)
        columns = [*COLUMNS, *self._flat.columns]
        return pd.DataFrame(rows, index=table.index, columns=columns, dtype=object)


class _Problem(dict[str, str]):
    """The reason of a row, whose text is JSON: what a column of text, as in Spark, shows."""

    def __str__(self) -> str:
        return json.dumps(self, ensure_ascii=False)


def _load_pyfunc(path: str) -> FlatModel:
    return FlatModel(Classifier.load(path))
