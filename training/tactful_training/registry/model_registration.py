"""A bundle as a registered MLflow model, and who becomes challenger and first champion.

The model is a ``pyfunc``: the bundle as its data, `output.mlflow_model` as its loader and this
installation's ``tactful`` package as its code, so that it loads where neither tactful nor anything
of training is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tactful
from tactful.reading.tasks import Tasks
from tactful.strict_json import canonical_json, sha256_hex
from tactful_training.evaluation.bootstrap import Estimate

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.models import ModelSignature
    from mlflow.tracking import MlflowClient

MODEL = "tactful"
CHAMPION, CHALLENGER = "champion", "challenger"
ARTIFACT = "model"
"""Name of the logged model within its run."""
_TASKS = "tasks"  # tag of a version, see `_meaning`
_REQUIREMENTS = ("mlflow", "numpy", "onnxruntime", "pandas", "tokenizers", "typer")
_EXAMPLE = {
    "reply": ["I'm so sorry, Ana. I've sent a new one today.", "Thanks for your patience!"],
    "context": ["My parcel never came", None],
}


@dataclass(frozen=True)
class Registration:
    """What became of a bundle in the registry.

    Attributes:
        version: of the registered model.
        champion: whether it became the champion at once, there being none.
        obstacles: why it did not; empty where there is a champion already.
        other_tasks: where it is no challenger, since the champion (or, without one, the present
            challenger) has other tasks: what they are.
    """

    version: str
    champion: bool
    obstacles: Sequence[str] = ()
    other_tasks: str | None = None


def register(
    client: MlflowClient,
    run_id: str,
    bundle: Path,
    tasks: Tasks,
    *,
    headline: Mapping[str, Estimate],
    tags: Mapping[str, str],
    obstacles: Sequence[str],
) -> Registration:
    """Log the bundle as a model of the run and register it as challenger; twice is once.

    A bundle that cannot be compared with the champion, since no task is common to both or a common
    one has other labels, is registered and challenges nobody: a real challenger would lose its
    alias. So is one that misses the floors where there is no champion yet.

    Args:
        client: of the tracking server.
        run_id: the run that made the bundle.
        bundle: its folder.
        tasks: its tasks.
        headline: the figures that speak for it.
        tags: of the version.
        obstacles: why it may not become the first champion; none if it may.
    """
    found = client.search_model_versions(f"run_id='{run_id}'")
    there = [each for each in found if each.name == MODEL]
    own = _meaning(tasks)
    tags = {**tags, _TASKS: own}
    made = there[0] if there else _register(client, run_id, bundle, tasks, headline, tags)
    number = str(made.version)
    champion = find_alias(client, CHAMPION)
    before = champion or (find_alias(client, CHALLENGER) if obstacles else None)
    if before is not None and str(before.version) != number:
        others = before.tags.get(_TASKS, own)
        if not _comparable(own, others):
            return Registration(number, False, other_tasks=", ".join(_split(others)))
    client.set_registered_model_alias(MODEL, CHALLENGER, number)
    if champion is not None:
        return Registration(number, str(champion.version) == number)
    if not obstacles:
        client.set_registered_model_alias(MODEL, CHAMPION, number)
    return Registration(number, not obstacles, obstacles)


def _meaning(tasks: Tasks) -> str:
    """``name:digest`` of every task; the digest is of its kind and its labels in any order."""
    digests = {
        task.name: sha256_hex(canonical_json({"kind": task.kind, "labels": sorted(task.names)}))
        for task in tasks
    }
    return " ".join(f"{name}:{digest[:12]}" for name, digest in digests.items())


def _split(meaning: str) -> dict[str, str]:
    return dict(each.split(":") for each in meaning.split())


def _comparable(one: str, other: str) -> bool:
    """Whether a task is common to both, and none of one name differs."""
    ours, theirs = _split(one), _split(other)
    shared = ours.keys() & theirs.keys()
    return bool(shared) and all(ours[name] == theirs[name] for name in shared)


def find_alias(client: MlflowClient, alias: str) -> ModelVersion | None:
    """The version of the registered model that has an alias, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(MODEL, alias)
    except MlflowException as error:
        # An unknown alias is an invalid parameter to some stores, a missing resource to others.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _register(
    client: MlflowClient,
    run_id: str,
    bundle: Path,
    tasks: Tasks,
    headline: Mapping[str, Estimate],
    tags: Mapping[str, str],
) -> ModelVersion:
    import mlflow
    import pandas as pd
    from mlflow.exceptions import MlflowException

    # Made here, as MLflow would make it in the experiment that it takes for the current one.
    made = client.create_logged_model(
        client.get_run(run_id).info.experiment_id, name=ARTIFACT, source_run_id=run_id
    )
    logged = mlflow.models.Model.log(
        artifact_path=None,
        name=ARTIFACT,
        run_id=run_id,
        model_id=made.model_id,
        flavor=mlflow.pyfunc,
        loader_module="tactful.output.mlflow_model",
        data_path=str(bundle),
        code_paths=[str(Path(tactful.__file__).parent)],
        signature=model_signature(tasks),
        input_example=pd.DataFrame(_EXAMPLE),
        pip_requirements=[f"{name}=={version(name)}" for name in _REQUIREMENTS],
    )
    try:
        client.create_registered_model(
            MODEL, description="Empathy strategies and tone of support replies."
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    return client.create_model_version(
        MODEL,
        source=logged.model_uri,
        run_id=run_id,
        model_id=logged.model_id,
        tags=dict(tags),
        description=_description(client, run_id, headline),
    )


def model_signature(tasks: Tasks) -> ModelSignature:
    """A table of ``reply`` and optional ``context`` in, the flat row out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType, Array, Object, Property

    text, whole = DataType.string, DataType.long
    span: Any = Object(
        [
            Property("label", text),
            Property("start", whole),
            Property("end", whole),
            Property("text", text),
        ]
    )
    # Not text: a column of nothing but NaN is one of floats, which MLflow takes for no text.
    anything: Any = AnyType()  # type: ignore[no-untyped-call]
    inputs: list[Any] = [ColSpec(text, "reply"), ColSpec(anything, "context", required=False)]
    outputs: list[Any] = [ColSpec(text, "reply"), ColSpec(text, "context", required=False)]
    for task in tasks:
        several = task.kind == "multilabel"
        outputs.append(ColSpec(Array(text) if several else text, task.name, required=False))
    outputs += [
        ColSpec(DataType.double, f"score.{task.name}.{label}", required=False)
        for task in tasks
        for label in task.names
    ]
    outputs += [
        ColSpec(Array(span), "evidence", required=False),
        ColSpec(DataType.boolean, "truncated", required=False),
        ColSpec(text, "bundle"),
        # {code, message} or null; as text, since MLflow gives Spark no null for a struct.
        ColSpec(text, "error", required=False),
    ]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def _description(client: MlflowClient, run_id: str, headline: Mapping[str, Estimate]) -> str:
    """Markdown: a link to the run, and the headline figures."""
    experiment = client.get_run(run_id).info.experiment_id
    lines = [
        f"Made by [run {run_id}](#/experiments/{experiment}/runs/{run_id}). On the test split, "
        "with 95% intervals:",
        "",
    ]
    lines += [
        f"- {name}: {each.value:.3f} ({each.low:.3f} to {each.high:.3f})"
        for name, each in headline.items()
    ]
    return "\n".join(lines)
