"""What a training run was, for all that tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tactful.reading.decisions import Heads
from tactful_training.bundling.candidate_choice import Choice
from tactful_training.config.config_schema import Config
from tactful_training.evaluation.evaluation_results import Evaluation
from tactful_training.fitting.resuming import Fitted
from tactful_training.fitting.training_inputs import TrainingInputs


@dataclass(frozen=True)
class RunRecord:
    """Everything about a run that its model card, its manifest, MLflow and neighbours are made of.

    Attributes:
        config: the whole configuration.
        inputs: the data and the pretrained encoder.
        fitted: the training.
        precision: of autocast.
        choice: which form of the model ships, and what all of them were measured at.
        evaluations: split name to what was measured there, the test split last.
        beside: name to what was measured on parts of the test split and on rows of other sources.
        environment: versions and processor.
        commit: git commit, or None.
        tracking_run: MLflow run, or None.
    """

    config: Config
    inputs: TrainingInputs
    fitted: Fitted
    precision: str
    choice: Choice
    evaluations: Mapping[str, Evaluation]
    beside: Mapping[str, Evaluation]
    environment: Mapping[str, str]
    commit: str | None
    tracking_run: str | None

    @property
    def heads(self) -> Heads:
        """Calibration and thresholds that ship, fitted to the fp32 form."""
        return self.choice.shipped.heads
