"""The keys of a configuration and what each may hold; no defaults, they are in default.yaml."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from tactful.reading.encoding import MAX_TOKENS, MAX_WINDOWS, EncodingLimits

_Text = Annotated[str, Field(min_length=1)]
# Part of file names and of a bundle's id.
_Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
_Count = Annotated[int, Field(ge=1)]
_Weight = Annotated[float, Field(ge=0)]
_Positive = Annotated[float, Field(gt=0)]
_Layers = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
_Fraction = Annotated[float, Field(ge=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class WeightedFolder(_Section):
    """One data set of several, and what its rows weigh beside those of the others."""

    folder: _Text
    weight: _Positive = 1.0


def _one_of_several(given: object) -> str | WeightedFolder:
    if isinstance(given, str) and given:
        return given
    try:
        return WeightedFolder.model_validate(given)
    except ValidationError as error:
        raise ValueError(
            f"{given!r} given in the list, should be a folder, or {{folder: …, weight: …}} with a "
            "weight above 0"
        ) from error


class DataConfig(_Section):
    """What to train on."""

    folder: _Text | list[_Text | WeightedFolder]
    limit: _Count | None
    allow_missing_tasks: list[_Text] | dict[str, list[_Text]]

    @field_validator("folder", mode="plain")
    @classmethod
    def _one_or_several(cls, given: object) -> str | list[str | WeightedFolder]:
        if isinstance(given, str) and given:
            return given
        if not isinstance(given, list) or not given:
            raise ValueError(
                f"{given!r} given, should be the folder of a data set, or a list of folders, each "
                "by itself or as {folder: …, weight: …}"
            )
        return [_one_of_several(each) for each in given]

    # pydantic warns of what it makes itself of a model within a list within a union.
    @field_serializer("folder")
    def _plain(self, folder: str | list[str | WeightedFolder]) -> str | list[Any]:
        if isinstance(folder, str):
            return folder
        return [each if isinstance(each, str) else each.model_dump() for each in folder]

    @property
    def folders(self) -> list[WeightedFolder]:
        """The data sets, one or several, with their weights."""
        given = [self.folder] if isinstance(self.folder, str) else self.folder
        return [WeightedFolder(folder=each) if isinstance(each, str) else each for each in given]


class EncoderConfig(_Section):
    """The pretrained encoder with its digest, what is kept of it, and weights to start from."""

    name: _Text
    path: _Text | None
    layers: _Layers | None
    pieces_left_out: _Text | None
    init_from: _Text | None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None

    @model_validator(mode="after")
    def _in_order(self) -> EncoderConfig:
        if self.layers is not None and sorted(set(self.layers)) != self.layers:
            raise ValueError("layers must be in ascending order, each once, as in [0, 2, 5]")
        return self


class EncodingConfig(_Section):
    """How a reply and its context become tokens."""

    max_tokens: Annotated[int, Field(ge=8, le=MAX_TOKENS)]
    max_windows: Annotated[int, Field(ge=1, le=MAX_WINDOWS)]
    window_overlap: Annotated[int, Field(ge=0)]
    use_context: bool

    @model_validator(mode="after")
    def _windows_advance(self) -> EncodingConfig:
        _ = self.limits
        return self

    @property
    def limits(self) -> EncodingLimits:
        """The section as the value that training and serving share."""
        return EncodingLimits(**self.model_dump())


class ModelConfig(_Section):
    """Regularisation and what is trained of the encoder."""

    dropout: _Fraction
    hidden_dropout: _Fraction
    attention_dropout: _Fraction
    freeze_word_embeddings: bool


class LossConfig(_Section):
    """What the parts of the loss weigh; a task that is not named weighs 1."""

    task_weights: dict[str, _Weight]
    evidence_weight: _Weight
    label_smoothing: _Fraction


class TrainingConfig(_Section):
    """The optimiser and its schedule."""

    epochs: _Count
    batch_size: _Count
    learning_rate: _Positive
    head_learning_rate_factor: _Positive
    weight_decay: _Weight
    warmup_fraction: _Fraction
    max_grad_norm: _Positive
    context_dropout: _Fraction
    token_dropout: _Fraction
    weight_averaging: _Fraction
    early_stopping_patience: _Count
    precision: Literal["auto", "fp32", "bf16"]


class DistillConfig(_Section):
    """What is learnt from a teacher beside the labels."""

    teacher: _Text | None
    soft_labels: _Text | None
    cache: _Text | None
    label_weight: _Weight
    logits_weight: _Weight
    temperature: _Positive
    token_weight: _Weight
    hidden_weight: _Weight
    attention_weight: _Weight
    teacher_layers: list[Annotated[int, Field(ge=0)]] | None

    @model_validator(mode="after")
    def _states_have_a_source(self) -> DistillConfig:
        if self.teacher is None and self.reads_states:
            raise ValueError(
                "hidden_weight and attention_weight need a teacher: soft labels hold no hidden "
                "states and no attention; name one in distill.teacher or set both to 0"
            )
        return self

    @property
    def reads_states(self) -> bool:
        """Whether the teacher runs beside the student, for what it has inside."""
        return self.hidden_weight > 0 or self.attention_weight > 0


class CalibrationConfig(_Section):
    """Calibration and thresholds, on the validation split."""

    min_positives: _Count
    threshold_pull: _Weight
    prior_shift: _Weight | None


class ExportConfig(_Section):
    """The ONNX graph and how closely it must reproduce the trained model."""

    # 20 is the last one of PyTorch's TorchScript exporter.
    opset: Annotated[int, Field(ge=14, le=20)]
    tolerance: _Positive


CandidateName = Literal[
    "int8-static",
    "int8-static-corrected",
    "int8-static-smooth",
    "int8-dynamic",
    "int8-dynamic-7bit",
    "int8-dynamic-all-fused",
    "int8-dynamic-unfused",
    "int8-dynamic-unsigned",
]


class QuantisationConfig(_Section):
    """Which int8 candidates are tried, and what quality one may cost."""

    candidates: list[CandidateName]
    max_macro_f1_loss: _Weight
    max_evidence_loss: _Weight
    calibration_rows: _Count
    keep_fp32: list[_Text]

    @model_validator(mode="after")
    def _each_once(self) -> QuantisationConfig:
        if len(set(self.candidates)) < len(self.candidates):
            raise ValueError("candidates must name each candidate once")
        return self


class GoldensConfig(_Section):
    """The examples that a bundle carries to check itself."""

    count: _Count


class NeighboursConfig(_Section):
    """The training replies that a bundle keeps to compare others with."""

    rows: Annotated[int, Field(ge=0)]


class EvaluationConfig(_Section):
    """Bootstrap intervals, and what the model card tells of each label beside the test split."""

    resamples: _Count
    part_by: _Text | None
    further: dict[str, str]


class TrackingConfig(_Section):
    """Where MLflow files the run, and whether its bundle becomes a registered model."""

    experiment: _Text
    register_model: bool


class SweepRange(_Section):
    """Numbers from ``low`` to ``high``; whole ones where both are whole."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> SweepRange:
        if not self.low < self.high:
            raise ValueError("low must be below high")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("with log, low must be above 0 and step is not allowed")
        if self.step is not None and self.step <= 0:
            raise ValueError("step must be above 0")
        return self


class SweepChoices(_Section):
    """Some values, in no order."""

    choices: Annotated[list[str | int | float | bool | None], Field(min_length=1)]


class SweepConfig(_Section):
    """What ``tactful sweep`` tries; no part of a training."""

    trials: _Count
    pruning: bool
    space: dict[str, SweepRange | SweepChoices]


class Config(_Section):
    """A whole configuration; ``configs/default.yaml`` says what each key means."""

    name: _Slug
    version: _Slug
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    data: DataConfig
    encoder: EncoderConfig
    encoding: EncodingConfig
    model: ModelConfig
    loss: LossConfig
    training: TrainingConfig
    distill: DistillConfig
    calibration: CalibrationConfig
    export: ExportConfig
    quantisation: QuantisationConfig
    goldens: GoldensConfig
    neighbours: NeighboursConfig
    evaluation: EvaluationConfig
    tracking: TrackingConfig
    sweep: SweepConfig
