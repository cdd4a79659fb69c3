"""What of a run goes to MLflow, and which of it is there already."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from tactful_training.candidates.choose import quality
from tactful_training.config import flat
from tactful_training.config_schema import Config
from tactful_training.epochs import Epoch
from tactful_training.material import Material
from tactful_training.model_card import RunRecord
from tactful_training.tracking import BUNDLE, Tracker
from tactful_training.work import WorkFolder


class TrackedRun:
    """The MLflow run of a training; an interrupted one is gone on with.

    Attributes:
        tracker: the connection; says whether and why tracking failed.
    """

    def __init__(self, work: WorkFolder) -> None:
        self.tracker = Tracker()
        self._work = work

    def open(self, config: Config, material: Material) -> None:
        """Go on with the run that the work folder remembers, or begin one; send parameters."""
        state = self._work.state
        self.tracker.open(config.tracking.experiment, self._work.path.name, state.tracking_run)
        if self.tracker.run_id not in (None, state.tracking_run):
            state.tracking_run, state.tracked_epochs = self.tracker.run_id, 0
            self._work.save()
        found = {"encoder.sha256": material.encoder.sha256}
        found |= {f"data.sha256.{name}": value for name, value in material.data.digests.items()}
        self.tracker.log_params({**flat(config), **found})

    def send_epochs(self, epochs: Sequence[Epoch]) -> None:
        """Send the epochs that MLflow does not have yet."""
        for epoch in epochs:
            if epoch.number > self._work.state.tracked_epochs:
                self.tracker.log_metrics(epoch.metrics, step=epoch.number)
                if self.tracker.failure is None:
                    self._work.state.tracked_epochs = epoch.number
                    self._work.save()

    def send_result(self, record: RunRecord, out: Path, bundle: str) -> None:
        """Send what was measured, what it was made with, and the bundle."""
        metrics = {
            "export/logit_difference": record.parity.logits,
            "export/token_score_difference": record.parity.token_scores,
        }
        for each, rate in zip(record.choice.measured, record.choice.rates, strict=True):
            path = f"candidates/{each.candidate.name}"
            metrics[f"{path}/bytes"] = len(each.candidate.content)
            metrics[f"{path}/replies_per_second"] = rate
            figures = quality(each).items()
            metrics |= {f"{path}/{name}": value for name, value in figures if math.isfinite(value)}
        for split, evaluation in record.evaluations.items():
            metrics |= {f"{split}/{path}": value for path, value in evaluation.flat().items()}
        self.tracker.log_metrics(metrics, step=record.fitted.best)
        tags = {f"environment.{name}": value for name, value in record.environment.items()}
        tags |= {"bundle": bundle, "precision": record.precision}
        tags["candidate"] = record.choice.shipped.candidate.name
        if record.commit is not None:
            tags["mlflow.source.git.commit"] = record.commit
        self.tracker.set_tags(tags)
        self.tracker.log_folder(out, BUNDLE)
