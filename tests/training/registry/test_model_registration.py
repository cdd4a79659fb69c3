"""A logged model as MLflow calls it, with its signature, on tables as pandas makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from tactful import Classifier
from tactful_training.registry.model_registration import model_signature


@pytest.fixture(scope="module")
def model(
    sound_bundle: Path, classifier: Classifier, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    folder = tmp_path_factory.mktemp("logged") / "model"
    mlflow.pyfunc.save_model(
        folder,
        loader_module="tactful.output.mlflow_model",
        data_path=str(sound_bundle),
        signature=model_signature(classifier.bundle.heads.tasks),
        pip_requirements=[],
    )
    return mlflow.pyfunc.load_model(str(folder))


@pytest.mark.parametrize(
    "context",
    [
        pd.Series(["my parcel", None, pd.NA], dtype="string"),
        pd.Series(["my parcel", None, np.nan], dtype="str"),
        pd.Series(["my parcel", pd.NA, pd.NaT], dtype=object),
        pd.Series([np.nan] * 3),
        pd.Series([None] * 3),
        pd.Series([pd.NA] * 3, dtype="Float64"),
        pd.Series([pd.NaT] * 3),
        None,
    ],
    ids=lambda given: str(getattr(given, "dtype", None)),
)
def test_a_missing_context_is_none_however_pandas_holds_it(
    model: Any, classifier: Classifier, context: Any
) -> None:
    table = pd.DataFrame({"reply": ["I am so sorry", "Thank you", "sorry"]}, index=[7, 5, 3])
    if context is not None:
        table["context"] = context.array
    first = "my parcel" if context is not None and isinstance(context[0], str) else None
    for given in (table, table.convert_dtypes()):
        said = model.predict(given)
        assert list(said.index) == [7, 5, 3]
        assert list(said["error"]) == [None] * 3
        assert list(said["context"]) == [first, None, None]
        reading = classifier.classify("I am so sorry", context=first)
        score = reading.scores["tone"]["warm"]
        assert said["score.tone.warm"][7] == pytest.approx(score, abs=1e-4)


def test_a_missing_reply_or_a_context_that_is_no_text_costs_only_its_row(model: Any) -> None:
    table = pd.DataFrame({"reply": ["sorry", pd.NA, np.nan, "sorry", "sorry"]})
    table["context"] = pd.Series(["a", "b", "c", 5.0, ["d"]], dtype=object)
    said = [error and error["code"] for error in model.predict(table)["error"]]
    assert said == [None, "reply_missing", "reply_missing", *["context_not_text"] * 2]
