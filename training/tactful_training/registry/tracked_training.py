"""What of a run goes to MLflow, and which of it is there already."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tactful_training.bundling.run_record import RunRecord
from tactful_training.config.config_file import flat
from tactful_training.config.config_schema import Config
from tactful_training.errors import ConfigError
from tactful_training.evaluation.bootstrap import Estimate
from tactful_training.evaluation.decisions_on_rows import evaluation_rows
from tactful_training.evaluation.evaluation_results import Evaluation, headline
from tactful_training.fitting.epochs import Epoch
from tactful_training.fitting.resuming import Fitted, WorkFolder
from tactful_training.fitting.trained_weights import WEIGHTS_FOLDER
from tactful_training.fitting.training_inputs import TrainingInputs
from tactful_training.registry.mlflow_tracker import BUNDLE, RUN_KIND, Tracker, parts
from tactful_training.registry.model_registration import Registration, register
from tactful_training.registry.promotion_policy import load_policy, missed_floors

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

# MLflow's name for what a data set was used for.
_USES = {"train": "training", "validation": "validation", "test": "test"}
_LONGEST_DIGEST = 36  # of a data set in MLflow


class TrackedRun:
    """The MLflow run of a training; an interrupted one is gone on with.

    Args:
        work: remembers the run.
        tags: that a new run begins with, beside the usual ones.

    Attributes:
        tracker: the connection; says whether and why tracking failed.
        registration: what became of the bundle in the registry, once it was sent.
    """

    def __init__(self, work: WorkFolder, tags: Mapping[str, str] | None = None) -> None:
        self._tags = {RUN_KIND: "training", "mlflow.source.name": "tactful train", **(tags or {})}
        self.tracker = Tracker()
        self.registration: Registration | None = None
        self._work = work

    def open(self, config: Config, inputs: TrainingInputs) -> None:
        """Go on with the run that the work folder remembers, or begin one; send parameters."""
        state = self._work.state
        self._started = (config, inputs)
        self.tracker.open(
            config.tracking.experiment, self._work.path.name, state.tracking_run, self._tags
        )
        if self.tracker.run_id not in (None, state.tracking_run):
            state.tracking_run, state.tracked_epochs = self.tracker.run_id, -1
            self._work.save()
        found = {"encoder.sha256": inputs.encoder.sha256}
        found |= {f"data.sha256.{name}": value for name, value in inputs.data.digests.items()}
        found |= {
            f"data.version.{member.name}": member.version
            for member in inputs.data.members
            if member.version is not None
        }
        if inputs.start is not None:
            found |= {f"start.{key}": str(value) for key, value in inputs.start.to_json().items()}
        if (learnt := inputs.learnt_from()) is not None:
            found |= {f"distilled_from.{key}": str(value) for key, value in learnt.items()}
        self.tracker.log_params({**flat(config), **found})
        self.tracker.set_tags(
            {"encoder": inputs.encoder.name, "encoder.sha256": inputs.encoder.sha256}
        )
        self.tracker.attempt(lambda client, run: _log_inputs(client, run, inputs))
        self.tracker.watch_system()

    def send_epoch(self, epoch: Epoch) -> None:
        """Send an epoch that MLflow does not have yet."""
        if epoch.number > self._work.state.tracked_epochs:
            self.tracker.log_metrics(epoch.metrics, step=epoch.number)
            if self.tracker.failure is None:
                self._work.state.tracked_epochs = epoch.number
                self._work.save()

    def after_training(self, fitted: Fitted) -> None:
        """Send what is missing; a server that was away may be back by now."""
        if self.tracker.failure is not None:
            self.open(*self._started)
        for epoch in fitted.all_epochs:
            self.send_epoch(epoch)

    def send_result(self, record: RunRecord, out: Path, bundle: str) -> None:
        """Send what is missing, what was measured and made with, the bundle; register it."""
        self.after_training(record.fitted)
        tags = {f"environment.{name}": value for name, value in record.environment.items()}
        tags |= {"bundle": bundle, "training_precision": record.precision, **_form(record)}
        if record.commit is not None:
            tags["mlflow.source.git.commit"] = record.commit
        self.tracker.set_tags(tags)
        if record.config.tracking.register_model:
            self.tracker.attempt(
                lambda client, run: self._register(client, run, record, out, bundle)
            )
        metrics = {
            "export/logit_difference": record.choice.parity.logits,
            "export/token_score_difference": record.choice.parity.token_scores,
        }
        for each, rate in zip(record.choice.measured, record.choice.rates, strict=True):
            path = f"candidates/{each.candidate.name}"
            metrics[f"{path}/bytes"] = len(each.candidate.content)
            metrics[f"{path}/replies_per_second"] = rate.median
            figures = each.quality.items()
            metrics |= {f"{path}/{name}": value for name, value in figures if math.isfinite(value)}
        named = parts(record.beside)
        beside = {f"beside/{named[name]}": found for name, found in record.beside.items()}
        for split, evaluation in {**record.evaluations, **beside}.items():
            metrics |= {
                f"{split}/{path}": value for path, value in flat_metrics(evaluation).items()
            }
        self.tracker.log_metrics(metrics, step=record.fitted.best)
        self.tracker.attempt(lambda client, run: _log_evaluation(client, run, record))
        self.tracker.log_folder(out, BUNDLE)
        self.tracker.log_folder(self._work.weights, WEIGHTS_FOLDER)
        self.tracker.attempt(
            lambda client, run: client.log_artifact(run, str(out / "README.md"), "model_card")
        )

    def _register(
        self, client: MlflowClient, run: str, record: RunRecord, out: Path, bundle: str
    ) -> None:
        figures = headline(record.evaluations["test"])
        try:
            obstacles = missed_floors(load_policy(), figures)
        except ConfigError as error:
            obstacles = [str(error)]
        tags = {"bundle": bundle, **_form(record)}
        if record.commit is not None:
            tags["git_commit"] = record.commit
        self.registration = register(
            client,
            run,
            out,
            record.heads.tasks,
            headline=figures,
            tags=tags,
            obstacles=obstacles,
        )


def _form(record: RunRecord) -> dict[str, str]:
    """Tags for the form of the model that ships; training may have had another precision."""
    shipped = record.choice.shipped.candidate
    return {"candidate": shipped.name, "precision": shipped.precision}


def _log_inputs(client: MlflowClient, run: str, inputs: TrainingInputs) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    used = []
    for number, member in enumerate(inputs.data.members):
        for split, sizes in inputs.sizes.items():
            path = member.data.files[split]
            dataset = Dataset(
                name=f"{member.name}/{split}",
                digest=member.data.digests[path.name][:_LONGEST_DIGEST],
                source_type="local",
                source=json.dumps({"uri": str(path)}),
                profile=json.dumps({"rows": sizes[number]}),
            )
            used.append(DatasetInput(dataset, [InputTag("mlflow.data.context", _USES[split])]))
    client.log_inputs(run, used)


def _log_evaluation(client: MlflowClient, run: str, record: RunRecord) -> None:
    # It would tell that it builds a cache of fonts, and where it keeps that without a home.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from tactful_training.registry.run_plots import draw_run_plots

    for name, figure in draw_run_plots(record.fitted.all_epochs, record.evaluations):
        client.log_figure(run, figure, f"figures/{name}")
    there = {each.path for each in client.list_artifacts(run, "evaluation")}
    for split, evaluation in record.evaluations.items():
        client.log_dict(run, evaluation.to_dict(), f"evaluation/{split}_metrics.json")
        if f"evaluation/{split}.json" not in there:  # MLflow would append the rows
            client.log_table(run, evaluation_rows(evaluation.answers), f"evaluation/{split}.json")


def flat_metrics(evaluation: Evaluation) -> dict[str, float]:
    """Defined values by path, for a tracking server: ``strategies/labels/apology/f1``.

    Headline figures bring their interval as ``strategies/macro_f1_low`` and ``…_high``. Labels,
    columns and their values stand in a path as `parts` writes them.
    """
    values: dict[str, float] = {"n": evaluation.n}
    for name, task in evaluation.tasks.items():
        _put(values, name, task.headline)
        _put(values, f"calibration/{name}", {"ece": task.ece})
        labels = parts(task.labels)
        for label, result in task.labels.items():
            path = f"{name}/labels/{labels[label]}"
            values[f"{path}/support"] = result.support
            for key, estimate in result.estimates.items():
                values[f"{path}/{key}"] = estimate.value
        columns = parts(evaluation.slices[name])
        for column, slices in evaluation.slices[name].items():
            named = parts(slices)
            for value, found in slices.items():
                if found.value is not None:
                    place = f"slices/{name}/{columns[column]}/{named[value]}"
                    values[place] = found.value.value
    _put(values, "evidence", evaluation.evidence or {})
    return {path: value for path, value in values.items() if math.isfinite(value)}


def _put(values: dict[str, float], path: str, estimates: Mapping[str, Estimate]) -> None:
    for key, estimate in estimates.items():
        values[f"{path}/{key}"] = estimate.value
        values[f"{path}/{key}_low"] = estimate.low
        values[f"{path}/{key}_high"] = estimate.high
