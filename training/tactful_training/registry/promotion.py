"""A promotion: the challenger is measured, the decision and its evidence go to MLflow, and the
alias ``champion`` moves only if the policy holds.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tactful.bundle.addresses import is_remote
from tactful.bundle.mlflow_store import URI_VARIABLE, shown_uri, sqlite_file, tracking_uri
from tactful.classifier import Classifier
from tactful.reading.tasks import Tasks
from tactful.storage import locked
from tactful_training.config.config_file import load_config
from tactful_training.data.data_set import LabelledData, load_labelled
from tactful_training.errors import DataError, RunError
from tactful_training.evaluation.bundle_comparison import Comparison, compare, shared_tasks
from tactful_training.evaluation.bundle_evaluation import evaluate_answers, evaluate_classifier
from tactful_training.evaluation.evaluation_results import Evaluation, headline
from tactful_training.registry.mlflow_tracker import RUN_KIND, Tracker, connect
from tactful_training.registry.model_registration import CHAMPION, MODEL, find_alias
from tactful_training.registry.promotion_policy import (
    Check,
    PromotionPolicy,
    Verdict,
    check_against,
    check_alone,
    verdict,
)

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

_ADDRESS = re.compile(rf"(?:models:/{MODEL}(?:@|/))?([^/@:]+)")


@dataclass(frozen=True)
class Decision:
    """What was decided about a challenger.

    Attributes:
        challenger: version of the registered model.
        champion: what it was measured against; None where there is no champion yet.
        verdict: None where the challenger is the champion already.
        checks: all that the policy asks, with the figures.
        moved: whether the alias moved.
        run: the MLflow run that holds the evidence; None in a dry run.
    """

    challenger: str
    champion: str | None
    verdict: Verdict | None
    checks: Sequence[Check]
    moved: bool = False
    run: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON of ``tactful promote``."""
        return {**asdict(self), "checks": [asdict(check) for check in self.checks]}

    def said(self, *, dry_run: bool) -> str:
        """The decision and its reasons, a line each."""
        if self.verdict is None:
            return f"version {self.challenger} is the champion already"
        marks = {"passed": "ok  ", "unproven": "held", "harmful": "no  "}
        lines = [f"{marks[check.outcome]} {check.reason}" for check in self.checks]
        against = self.champion or "no champion"
        lines.append(f"version {self.challenger} against {against}: {self.verdict}")
        if dry_run:
            lines.append("dry run: nothing was changed")
        elif not self.moved:
            lines.append("the alias champion stays where it is")
        return "\n".join(lines)


def promote(
    policy: PromotionPolicy,
    *,
    challenger: str,
    champion: str | None = None,
    data: str | None = None,
    split: str | None = None,
    delimiter: str | None = None,
    dry_run: bool = False,
) -> Decision:
    """Decide about a challenger, and make it champion if the policy holds.

    Args:
        policy: what is asked of it.
        challenger: a registered version: its number, its alias, or its ``models:/`` URI.
        champion: what to measure it against: a version likewise, or a bundle's address; None is
            the alias ``champion`` if there is one.
        data: the rows to measure on; None takes the policy's.
        split: of a data set; None takes the policy's.
        delimiter: of CSV files; None finds it.
        dry_run: decide only; nothing in MLflow changes.

    Raises:
        RunError: another promotion runs, MLflow does not answer, or the champion changed meanwhile.
        DataError: the rows cannot be used, or the bundles are for other tasks.
        BundleError: one of both cannot be loaded.
    """
    uri = tracking_uri()
    with _lock(uri), _told(uri):
        client = connect(uri)
        version = _resolve(client, challenger)
        before = find_alias(client, CHAMPION)
        against = _against(client, champion, before)
        if against == _address(version):
            return Decision(str(version.version), str(version.version), None, ())
        checks, evaluation, comparison = _measure(
            policy,
            _address(version),
            against,
            lambda tasks: _all_labelled(
                data or policy.data, split or policy.split, tasks, delimiter
            ),
        )
        decision = Decision(str(version.version), against, verdict(checks), checks)
        if dry_run:
            return decision
        return _carry_out(client, uri, decision, before, evaluation, comparison)


def _measure(
    policy: PromotionPolicy,
    challenger: str,
    champion: str | None,
    rows_for: Callable[[Tasks], LabelledData],
) -> tuple[list[Check], Evaluation, Comparison | None]:
    new = Classifier.load(challenger)
    if champion is None:
        labelled = rows_for(new.bundle.heads.tasks)
        evaluation = evaluate_classifier(new, labelled.rows, labelled.tasks)
        return check_alone(policy, headline(evaluation), evaluation), evaluation, None
    old = Classifier.load(champion)
    tasks = shared_tasks(old, new)
    labelled = rows_for(tasks)
    comparison = compare(old, new, labelled.rows, labelled.tasks)
    evaluation = evaluate_answers(comparison.answers[1])
    checks = check_alone(policy, headline(evaluation), evaluation)
    lost = {task.name for task in old.bundle.heads.tasks} - {task.name for task in tasks}
    if lost:
        names = ", ".join(sorted(lost))
        checks.append(Check("tasks", "harmful", f"the champion answers {names} too"))
    return [*checks, *check_against(policy, comparison)], evaluation, comparison


def _all_labelled(data: str, split: str, tasks: Tasks, delimiter: str | None) -> LabelledData:
    """Rows that speak of all tasks: none may be promoted unmeasured."""
    labelled = load_labelled(data, split, tasks, delimiter=delimiter)
    if labelled.lacking:
        lines = "".join(f"\n  - {line}" for line in labelled.lacking)
        raise DataError(f"a promotion measures every task of the data:{lines}")
    return labelled


def _carry_out(
    client: MlflowClient,
    uri: str,
    decision: Decision,
    before: ModelVersion | None,
    evaluation: Evaluation,
    comparison: Comparison | None,
) -> Decision:
    """Write the evidence, then move the alias if that was decided."""
    tracker = Tracker(uri)
    tracker.open(
        load_config().tracking.experiment,
        f"promotion of version {decision.challenger}",
        None,
        {RUN_KIND: "promotion", "mlflow.source.name": "tactful promote"},
    )
    run = tracker.run_id
    if run is None:
        raise RunError(
            f"MLflow at {tracker} cannot be used: {tracker.failure}; nothing was changed"
        )
    moved = False
    try:
        _write_evidence(client, run, decision, evaluation, comparison)
        if decision.verdict == "promoted":
            now = find_alias(client, CHAMPION)
            if (now and now.version) != (before and before.version):
                raise RunError(
                    "the champion changed while this challenger was measured; nothing was "
                    "changed: run it again"
                )
            client.set_registered_model_alias(MODEL, CHAMPION, decision.challenger)
            moved = True
    except BaseException:
        tracker.close("FAILED")
        raise
    client.set_tag(run, "promotion.alias_moved", str(moved).lower())
    tracker.close("FINISHED")
    return replace(decision, moved=moved, run=run)


def _write_evidence(
    client: MlflowClient,
    run: str,
    decision: Decision,
    evaluation: Evaluation,
    comparison: Comparison | None,
) -> None:
    from mlflow.entities import Metric, RunTag

    reasons = [f"{each.outcome}: {each.reason}" for each in decision.checks]
    tags = {
        "promotion.decision": str(decision.verdict),
        "promotion.challenger": decision.challenger,
        "promotion.champion": decision.champion or "none",
        "mlflow.note.content": "\n".join(f"- {line}" for line in reasons),
    }
    figures = {f"challenger/{name}": each.value for name, each in headline(evaluation).items()}
    if comparison is not None:
        for name, task in comparison.tasks.items():
            for key, figure in task.headline.items():
                figures[f"difference/{name}/{key}"] = figure.difference.value
                figures[f"difference/{name}/{key}_low"] = figure.difference.low
                figures[f"difference/{name}/{key}_high"] = figure.difference.high
    client.log_batch(
        run,
        metrics=[Metric(name, value, 0, 0) for name, value in figures.items() if value == value],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )
    client.log_dict(run, decision.to_dict(), "decision.json")
    client.log_dict(run, evaluation.to_dict(), "challenger.json")
    if comparison is not None:
        client.log_dict(run, comparison.to_dict(), "comparison.json")
    for name, value in {"promotion.decision": decision.verdict, "promotion.run": run}.items():
        client.set_model_version_tag(MODEL, decision.challenger, name, value)


def _resolve(client: MlflowClient, address: str) -> ModelVersion:
    """A registered version by number, alias or URI."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise DataError(
            f"{address!r} is no version of the registered model {MODEL!r}; give its number, its "
            f"alias, or models:/{MODEL}@challenger (`tactful train` registers what it makes)"
        )
    name = match[1]
    if name.isdecimal():
        from mlflow.exceptions import MlflowException

        try:
            return client.get_model_version(MODEL, name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise DataError(f"the registered model {MODEL!r} has no version {name}") from error
    found = find_alias(client, name)
    if found is None:
        raise DataError(
            f"no version of the registered model {MODEL!r} has the alias {name!r}; a finished "
            "`tactful train` registers its bundle as challenger"
        )
    return found


def _against(
    client: MlflowClient, champion: str | None, current: ModelVersion | None
) -> str | None:
    if champion is None:
        return None if current is None else _address(current)
    # A bundle of whatever address, or a version of the registered model.
    ours = _ADDRESS.fullmatch(champion) is not None
    if os.path.exists(champion) or (is_remote(champion) and not ours):
        return champion
    return _address(_resolve(client, champion))


def _address(version: ModelVersion) -> str:
    return f"models:/{MODEL}/{version.version}"


def _lock(uri: str) -> contextlib.AbstractContextManager[None]:
    """One promotion at a time: beside the store's file, or on this machine for a server."""
    store, name = sqlite_file(uri), shown_uri(uri)
    if store is None:
        digest = hashlib.sha256(uri.encode()).hexdigest()[:16]
        user = getattr(os, "getuid", int)()  # Windows gives each a folder of their own
        path = Path(tempfile.gettempdir()) / f"tactful-promote-{user}-{digest}.lock"
    elif store.is_file():
        path = store.with_name(f".{store.name}.promote-lock")
    else:
        raise RunError(
            f"there is no MLflow store {name}; train first (`tactful train`), or set {URI_VARIABLE}"
        )
    refusal = RunError(f"another promotion is running on {name}; wait until it has ended")
    return locked(path, refusal=refusal)


@contextlib.contextmanager
def _told(uri: str) -> Iterator[None]:
    """MLflow's errors as one of ours."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        line = str(error).strip().splitlines()[0]
        raise RunError(f"MLflow at {shown_uri(uri)}: {line}") from error
